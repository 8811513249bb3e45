package control_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	sdklog "go.opentelemetry.io/otel/sdk/log"

	"github.com/otelbreaker/otelbreaker/breaker"
	"github.com/otelbreaker/otelbreaker/control"
)

// has compares a record with what is wanted of it, all of it but what every record has.
func has(t *testing.T, record map[string]any, want map[string]any) {
	t.Helper()
	rest := map[string]any{}
	for k, v := range record {
		switch k {
		case "time", "component", "event_type":
		default:
			rest[k] = v
		}
	}
	if got, expected := fmt.Sprint(rest), fmt.Sprint(want); got != expected {
		t.Errorf("the record is\n%s, want\n%s", got, expected)
	}
}

const (
	applied = "Circuit breaker control applied"
	refused = "Circuit breaker control refused"
)

func TestG17_EveryUseIsRecorded(t *testing.T) {
	r := newRig(t)
	r.post(alices, order("force_open", "for", "15m"), traced)
	has(t, r.one(), map[string]any{"level": "INFO", "msg": applied, "result": "applied", "http.response.status_code": 200,
		"client.address": "192.0.2.7", "operator": "alice", "action": "force_open", "service": "s", "endpoint": a,
		"note": "migration", "for": "15m0s", "trace_id": "00000000000000000000000000000001", "span_id": "0000000000000002"})

	before := `{"service":"s","endpoint":"https://a.example","failure_threshold":5,"recovery_timeout":"30s","backoff_factor":1,` +
		`"max_recovery_timeout":"1h0m0s","success_threshold":1,"max_probes":1,"probe_timeout":"1m0s"}`
	r.post(bobs, order("reconfigure", "configuration", `{ "max_probes" : 2 }`))
	has(t, r.one(), map[string]any{"level": "INFO", "msg": applied, "result": "applied", "http.response.status_code": 200,
		"client.address": "192.0.2.7", "operator": "bob", "action": "reconfigure", "service": "s", "endpoint": a,
		"note": "migration", "configuration": `{"max_probes":2}`, "configuration_before": before})

	r.post(bobs, order("reset", "endpoint", "typo"))
	has(t, r.one(), map[string]any{"level": "WARN", "msg": refused, "result": "refused", "http.response.status_code": 404,
		"client.address": "192.0.2.7", "operator": "bob", "action": "reset", "service": "s", "endpoint": "typo",
		"note": "migration", "refusal": `no breaker has service "s" and endpoint "typo": allowed is one that the health page lists, of a group that the control has`})

	r.post(bobs, order("explode"))
	has(t, r.one(), map[string]any{"level": "WARN", "msg": refused, "result": "refused", "http.response.status_code": 400,
		"client.address": "192.0.2.7", "operator": "bob", "service": "s", "endpoint": a, "note": "migration",
		"refusal": `action is "explode": allowed is force_open, disable, reset, reconfigure`})

	r.post("guessed", order("reset"))
	has(t, r.one(), map[string]any{"level": "WARN", "msg": refused, "result": "refused", "http.response.status_code": 401,
		"client.address": "192.0.2.7", "refusal": "unauthorized"})
}

func TestG17_AFloodOfRefusalsIsCountedRatherThanRecorded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		for range 1000 {
			r.post("wrong", "")
			r.post(alices, order("reset"), with("Sec-Fetch-Site", "cross-site"))
		}
		if n := len(r.audit()); n != 10 {
			t.Errorf("%d records, want 10", n)
		}
		r.post("wrong", "", from("192.0.2.8:1"))
		if u := r.one(); u["held_back"] != 1990.0 || u["client.address"] != "192.0.2.8" {
			t.Errorf("the next record is %v", u)
		}
		time.Sleep(time.Hour)
		r.post(alices, order("reset"))
		if u := r.one(); u["held_back"] != nil || u["result"] != "applied" {
			t.Errorf("the next record is %v", u)
		}
	})
}

func TestG16_HostileTextIsInertInTheAudit(t *testing.T) {
	hostile := "\"}\n{\"level\":\"INFO\"} \x1b[2J <script>\u202e\xff"
	r := newRig(t)
	b := r.group.Get(hostile)
	s := b.Snapshot()
	rec := r.post(alices, order("force_open", "endpoint", s.Endpoint, "reason", hostile))
	if rec.Code != http.StatusOK || strings.ContainsAny(rec.Body.String(), "<>\x1b") {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
	u := r.one()
	if u["endpoint"] != s.Endpoint || u["note"] != strings.ToValidUTF8(hostile, "\uFFFD") {
		t.Errorf("the audit has %q", u)
	}
}

func TestG15_NoTokenLeaves(t *testing.T) {
	r := newRig(t)
	secret := "secret-0123456789abcdef0123456789"
	var said strings.Builder
	for _, change := range []func(*http.Request){
		with("Authorization", "Bearer "+secret),
		with("Authorization", secret),
		with("Authorization", "Basic "+secret),
		func(q *http.Request) { q.URL.RawQuery = "token=" + secret },
		with("Cookie", "token="+secret),
	} {
		rec := r.post("", `{"token":"`+secret+`"}`, change)
		fmt.Fprint(&said, rec.Header(), rec.Body)
	}
	fmt.Fprint(&said, r.post(alices, order("force_open")).Body, r.post(alices, order("nothing")).Body, r.audit())
	fmt.Fprintf(&said, "%+v", r.snapshot())
	for _, token := range []string{secret, alices, bobs} {
		if strings.Contains(said.String(), token) {
			t.Errorf("a token is in %s", said.String())
		}
	}
}

// TestG15_CredentialsInANameGoNowhere has an endpoint pasted with what belongs to nobody's eyes.
func TestG15_CredentialsInANameGoNowhere(t *testing.T) {
	r := newRig(t)
	for _, step := range []struct {
		body   string
		status int
	}{
		{order("force_open", "endpoint", "https://user:hunter2@a.example?token=hunter2"), 200},
		{order("force_open", "endpoint", "https://user:hunter2@b.example/?token=hunter2"), 404},
		{order("force_open", "service", "https://user:hunter2@b.example"), 404},
		{order("reconfigure", "configuration", `{"endpoint":"https://user:hunter2@a.example","max_probes":2}`), 200},
		{order("reconfigure", "configuration", `{"service":"user:hunter2@s","endpoint":"https://user:hunter2@b.example"}`), 422},
	} {
		rec := r.post(alices, step.body)
		u := r.one()
		if rec.Code != step.status || u["service"] == nil || u["endpoint"] == nil || u["note"] != "migration" {
			t.Errorf("%s: %d %s, and the audit has %v", step.body, rec.Code, rec.Body, u)
		}
		if said := fmt.Sprint(rec.Body, u); strings.Contains(said, "hunter2") {
			t.Errorf("%s: a credential is in %s", step.body, said)
		}
	}
	if s := r.snapshot(); s.Override != breaker.ForcedOpen || s.Config.MaxProbes != 2 {
		t.Errorf("it is %+v", s)
	}
}

// heedful is an exporter that exports nothing for a context that has ended, as those that speak HTTP do.
type heedful struct{ exported int }

func (h *heedful) Export(ctx context.Context, records []sdklog.Record) error {
	if ctx.Err() == nil {
		h.exported += len(records)
	}
	return ctx.Err()
}

func (*heedful) Shutdown(context.Context) error   { return nil }
func (*heedful) ForceFlush(context.Context) error { return nil }

func TestG17_AUseIsRecordedThoughTheClientIsGone(t *testing.T) {
	r, to := newRig(t), new(heedful)
	r.handle([]control.Source{r.group}, control.WithLoggerProvider(
		sdklog.NewLoggerProvider(sdklog.WithProcessor(sdklog.NewSimpleProcessor(to)))))
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	r.post(alices, order("force_open"), func(q *http.Request) { *q = *q.WithContext(gone) })
	r.post("wrong", order("force_open"), func(q *http.Request) { *q = *q.WithContext(gone) })
	if r.snapshot().Override != breaker.ForcedOpen || to.exported != 2 {
		t.Errorf("it is %v, with %d records", r.snapshot().Override, to.exported)
	}
}

type panicking struct{ slog.Handler }

func (panicking) Enabled(context.Context, slog.Level) bool { panic("no") }

func TestAudit_ALogThatPanicsKeepsNothingFromBeingDone(t *testing.T) {
	r := newRig(t)
	r.handle([]control.Source{r.group}, control.WithSlog(slog.New(panicking{})))
	if rec := r.post(alices, order("force_open")); rec.Code != http.StatusOK || r.snapshot().State != breaker.Open {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
	if len(r.records) != 1 {
		t.Errorf("%d records by OpenTelemetry, want 1", len(r.records))
	}
}

var _ sdklog.Processor = (*rig)(nil)
