// Package health serves what circuit breakers are doing right now, for people and for programs that would rather ask
// one service than a metrics server.
//
//	http.Handle("GET /health/circuit-breakers", health.Handler(guarded.Breakers()))
//
// The answer is JSON: a timestamp (RFC 3339, UTC) and, under circuit_breakers, by service and then by endpoint, what
// each breaker does, why, since when, and when the next probe goes through. Times are RFC 3339 in UTC; durations in the
// configuration are Go's notation ("1m30s"), all others are numbers of seconds, with the unit in the name.
//
// Of a breaker of another make, engine names that, and its configuration has only what is known of it.
//
// A browser gets the same as a page of HTML. What is shown can be narrowed down: ?service= and ?state= take what a service
// is called, and closed, half_open or open; several of one kind widen it again.
//
// The page informs; it is no readiness probe. It answers 200 also while breakers are open, since restarting a
// service does not mend what it depends on. It changes nothing. Whoever can reach it learns what a program depends on
// and how that fares, so it belongs where /metrics does.
package health

import (
	"encoding/json"
	"fmt"
	"iter"
	"log/slog"
	"net/http"
	"runtime"
	"strconv"
	"sync"
	"time"

	"github.com/otelbreaker/otelbreaker/breaker"
)

// Source is a set of breakers: a [*breaker.Group], or a single [*breaker.Breaker]. Where it also has
// Subscribe(breaker.Listener) (cancel func()), as those two do, the page shows each breaker's last transitions.
type Source interface {
	All() iter.Seq[*breaker.Breaker]
}

// Handler serves the health page of the breakers of all groups, those to come included. Make it once and keep it: it
// remembers transitions and measures rates from its making on, which costs one look at the counters every five seconds.
// Once nothing holds the handler any more, it stops listening to its groups.
//
// It answers GET and HEAD, with 200 whatever the breakers' states, and refuses other methods (405) and states that there
// are not (400). JSON it is unless the request prefers text/html. A nil group counts as an empty one. Where two breakers have the same service and endpoint, the second is shown as "endpoint #2", and so on.
// It may be used concurrently.
func Handler(groups ...Source) http.Handler { return newHandler(newUsages(), groups) }

func newHandler(u *usages, groups []Source) http.Handler {
	h := &handler{rates: rates{usages: u}}
	var cancels []func()
	for _, g := range groups {
		history := newHistory(&guarded{source: g})
		if cancel := history.source.subscribe(history); cancel != nil {
			cancels = append(cancels, cancel)
		}
		h.groups = append(h.groups, history)
	}
	h.rates.keepSampling(h.groups)
	// The groups hold the histories and outlive the handler; they must not hold what nobody can see any more.
	runtime.AddCleanup(h, func(cancels []func()) {
		for _, cancel := range cancels {
			cancel()
		}
	}, cancels)
	return h
}

type handler struct {
	groups []*history
	rates  rates
}

// ServeHTTP answers with the page.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Cache-Control", "no-store")
	header.Set("Vary", "Accept")
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		header.Set("Allow", "GET, HEAD")
		http.Error(w, "method not allowed; allowed is GET or HEAD", http.StatusMethodNotAllowed)
		return
	}
	wanted, err := filterOf(r.URL.RawQuery)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	p := h.collect(time.Now(), wanted)
	var body []byte
	if prefersHTML(r.Header.Values("Accept")) {
		header.Set("Content-Type", "text/html; charset=utf-8")
		header.Set("Content-Security-Policy", contentSecurityPolicy)
		header.Set("Referrer-Policy", "no-referrer")
		body, err = p.html(wanted)
	} else {
		header.Set("Content-Type", "application/json")
		body, err = p.json()
	}
	if err != nil { // the page's types cannot fail to encode
		http.Error(w, "the health page could not be encoded", http.StatusInternalServerError)
		return
	}
	header.Set("Content-Length", strconv.Itoa(len(body)))
	_, _ = w.Write(body) // the server leaves it out for HEAD; a client that went away wants none
}

func (p page) json() ([]byte, error) {
	body, err := json.MarshalIndent(p, "", "  ")
	return append(body, '\n'), err
}

// guarded keeps the panic of a source that is badly made, or nil, from the caller, which may be a timer and would take
// the process down.
type guarded struct {
	source   Source
	complain sync.Once
}

// breakers lists what the source has now.
func (g *guarded) breakers() []*breaker.Breaker {
	var all []*breaker.Breaker
	g.do(func() {
		for b := range g.source.All() {
			if b != nil {
				all = append(all, b)
			}
		}
	})
	return all
}

// subscribe gives nil where the source cannot be listened to.
func (g *guarded) subscribe(l breaker.Listener) (cancel func()) {
	s, ok := g.source.(interface {
		Subscribe(breaker.Listener) (cancel func())
	})
	if ok {
		g.do(func() { cancel = s.Subscribe(l) })
	}
	return cancel
}

func (g *guarded) do(f func()) {
	if g.source == nil {
		return
	}
	defer func() {
		if recover() != nil {
			g.complain.Do(func() {
				slog.Default().Error("health: a source panicked; breakers are missing from the page",
					"source", fmt.Sprintf("%T", g.source))
			})
		}
	}()
	f()
}
