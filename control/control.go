// Package control lets operators take circuit breakers over by HTTP: force one open, disable it, reset it, change its
// configuration. Nothing mounts it by itself, and it answers to nobody without a token.
//
//	operate, err := control.Handler([]control.Source{guarded.Breakers()}, control.WithTokenFile("/run/secrets/operators"))
//	if err != nil {
//		return err
//	}
//	http.Handle("/control/circuit-breakers", operate)
//
// A request is a POST of JSON, with "Authorization: Bearer TOKEN":
//
//	{"action": "force_open", "service": "payments", "endpoint": "https://payments.example", "reason": "migration", "for": "15m"}
//
// The action is force_open, disable, reset or reconfigure. Service and endpoint name a breaker that there is, as the
// health page does; the reason says why, in up to 500 characters. for (1s to 720h, with force_open and disable) has the
// override end by itself: one that was there before is then in force again, else the breaker is reset. reconfigure wants configuration, an object with the
// fields of [breaker.Config] to be changed, named as in its JSON; the others stay as they are, and 0 stands for a
// default. reset leaves the configuration as it is. Unknown and doubled fields are refused. Where breakers of several groups have the same names, all of them are
// meant.
//
// 200 answers with what the breaker is then. Everything else answers {"error": "..."}: 400 and 415 for what is not such
// a request, 401 for a missing or a wrong token alike, 403 for a page of another origin, 404 for an unknown breaker, 405
// for another method, 409 for a breaker of another make, of which only its own program can change anything, 413 above 16
// KiB, 422 for a configuration that makes no sense, 429 (with Retry-After) in place of 401 for an address that keeps coming
// with wrong tokens: ten at once, ten a minute in the long run. A good one is let in all the same.
//
// Every request leaves an audit record, also one that was refused, by OpenTelemetry and by slog: event circuit_control,
// INFO where something was done and WARN where not, in the trace of the request where there is one (otelhttp.NewHandler
// around this handler begins or continues it), with the attributes
//
//	component, event_type     circuit_breaker, circuit_control
//	result                    applied or refused
//	http.response.status_code what was answered
//	client.address            from where: the connection's, unless WithClientAddress tells otherwise
//	operator                  who: the name of the token; left out without a good one
//	action, service, endpoint what was asked, of which breaker
//	note                      why: the reason given
//	for, configuration        what was asked besides; configuration is JSON
//	configuration_before      what was in force until then, as JSON
//	refusal                   why it was refused
//	held_back                 refusals before this one that were too many to be recorded (10 a minute of one address)
//
// No token is ever in a record or an answer, and nothing of a request without a good token but its address.
// The connection should be encrypted, or stay on the machine: a token is as good as what carries it.
package control

import (
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"sync"
	"time"

	"github.com/otelbreaker/otelbreaker/breaker"
)

const (
	maxBody  = 16 << 10
	maxError = 2000

	// So many wrong tokens of one address at once, and one more each such time.
	failureBurst    = 10
	failureInterval = 6 * time.Second
)

// Source is a set of breakers: a [*breaker.Group], or a single [*breaker.Breaker].
type Source interface {
	All() iter.Seq[*breaker.Breaker]
}

// Handler serves the control of the breakers of all groups, those to come included. The error tells of every option
// that is wrong, of a group that is nil, and where there is no group or no token. The handler may be used concurrently.
func Handler(groups []Source, options ...Option) (http.Handler, error) {
	s, err := newSettings(options)
	var errs []error
	if len(groups) == 0 {
		errs = append(errs, errors.New("control: there is no group: allowed is one or more"))
	}
	for i, g := range groups {
		if !listable(g) {
			errs = append(errs, fmt.Errorf("control: group %d is nil, or cannot be listed", i))
		}
	}
	if err := errors.Join(append(errs, err)...); err != nil {
		return nil, err
	}
	return &handler{
		groups: groups, tokens: s.tokens, address: s.address, audit: newAudit(s),
		failures: newAllowance(failureBurst, failureInterval), records: newAllowance(failureBurst, failureInterval),
		temporary: make(map[*breaker.Breaker]*temporary),
	}, nil
}

// listable finds out about a nil in an interface now rather than in an emergency.
func listable(g Source) (good bool) {
	defer func() { _ = recover() }()
	for range g.All() {
		break
	}
	return true
}

type handler struct {
	groups   []Source
	tokens   *tokens
	address  func(*http.Request) string
	origin   http.CrossOriginProtection // as it is: no origin but the handler's own
	audit    *audit
	failures *allowance // wrong tokens
	records  *allowance // of refusals without a good token

	mu        sync.Mutex // one operation at a time
	temporary map[*breaker.Breaker]*temporary
}

// refusal is an answer that is no 200.
type refusal struct {
	status int
	text   string
}

func (r *refusal) Error() string { return r.text }

// refuse bounds the text, which has a part for each thing that is wrong.
func refuse(status int, format string, args ...any) *refusal {
	return &refusal{status, cut(fmt.Sprintf(format, args...), maxError)}
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("Cache-Control", "no-store")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Content-Type", "application/json")

	u := use{at: time.Now(), address: h.address(r)}
	who, refused := h.admit(header, r, u.address)
	if refused != nil {
		u.status, u.err = refused.status, refused.text
		if h.records.spend(u.address, u.at) == 0 {
			h.audit.record(r.Context(), u)
		} else {
			h.audit.heldBack.Add(1)
		}
		answer(w, refused.status, map[string]string{"error": refused.text})
		return
	}
	u.operator = who
	done, refused := h.operate(w, r, &u)
	if refused != nil {
		u.status, u.err = refused.status, refused.text
		h.audit.record(r.Context(), u)
		answer(w, refused.status, map[string]string{"error": refused.text})
		return
	}
	u.status = http.StatusOK
	h.audit.record(r.Context(), u)
	answer(w, http.StatusOK, done)
}

// admit tells who it is, having read nothing but the request's head.
func (h *handler) admit(header http.Header, r *http.Request, address string) (who string, refused *refusal) {
	now := time.Now()
	if r.Method != http.MethodPost {
		header.Set("Allow", http.MethodPost)
		return "", refuse(http.StatusMethodNotAllowed, "method not allowed; allowed is POST")
	}
	if h.origin.Check(r) != nil {
		return "", refuse(http.StatusForbidden, "a page of another origin may not do this")
	}
	// A good token passes whatever else came from its address: that of a proxy or of the machine itself is everybody's,
	// and one who guesses, or a job with an old token, must not keep the operators out. Guesses fail by its length.
	if who, known := h.tokens.owner(r.Header.Values("Authorization")); known {
		return who, nil
	}
	if wait := h.failures.spend(address, now); wait > 0 {
		header.Set("Retry-After", fmt.Sprint(int(wait.Seconds())+1))
		return "", refuse(http.StatusTooManyRequests, "too many attempts")
	}
	header.Set("WWW-Authenticate", "Bearer") // which HTTP demands, and which tells nothing of the token
	return "", refuse(http.StatusUnauthorized, "unauthorized")
}

// operate does what the body says, and notes in u what that was.
func (h *handler) operate(w http.ResponseWriter, r *http.Request, u *use) (*done, *refusal) {
	o, refused := readOrder(w, r)
	u.order = o
	if refused != nil {
		return nil, refused
	}
	all := h.find(o.service, o.endpoint)
	if len(all) == 0 {
		return nil, refuse(http.StatusNotFound, "no breaker has service %q and endpoint %q: allowed is one that the health page lists, of a group that the control has",
			shortened(o.service), shortened(o.endpoint))
	}
	for _, b := range all {
		if s := b.Snapshot(); s.Engine != "" {
			return nil, refuse(http.StatusConflict, "service %q, endpoint %q is a breaker of another make (%s), which is shown here "+
				"and not decided: only the program itself can change it", shortened(o.service), shortened(o.endpoint), shortened(s.Engine))
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	u.at = time.Now() // so that the records' times are in the order in which things were done
	return h.apply(all, u)
}

func answer(w http.ResponseWriter, status int, body any) {
	text, err := json.Marshal(body)
	if err != nil { // its types cannot fail to encode
		status, text = http.StatusInternalServerError, []byte(`{"error":"the answer could not be encoded"}`)
	}
	w.WriteHeader(status)
	_, _ = w.Write(append(text, '\n')) // a client that went away wants none
}
