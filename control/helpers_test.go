package control_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	sdklog "go.opentelemetry.io/otel/sdk/log"

	"github.com/otelbreaker/otelbreaker/breaker"
	"github.com/otelbreaker/otelbreaker/control"
)

const (
	alices = "alice-0123456789abcdef0123456789"
	bobs   = "bob---0123456789abcdef0123456789"
	a      = "https://a.example"
)

var errDown = errors.New("down")

// rig is a handler with what it controls and what it writes.
type rig struct {
	t       *testing.T
	group   *breaker.Group
	handler http.Handler

	mu      sync.Mutex
	lines   bytes.Buffer
	records []sdklog.Record
}

func newRig(t *testing.T, options ...control.Option) *rig {
	t.Helper()
	r := &rig{t: t, group: newGroup(t, breaker.Config{Service: "s"})}
	r.group.Get(a)
	r.handle([]control.Source{r.group}, options...)
	return r
}

func (r *rig) handle(groups []control.Source, options ...control.Option) {
	r.t.Helper()
	var err error
	r.handler, err = control.Handler(groups, append([]control.Option{
		control.WithToken("alice", alices), control.WithToken("bob", bobs),
		control.WithSlog(slog.New(slog.NewJSONHandler(r, nil))),
		control.WithLoggerProvider(sdklog.NewLoggerProvider(sdklog.WithProcessor(r))),
	}, options...)...)
	if err != nil {
		r.t.Fatal(err)
	}
}

func newGroup(t *testing.T, c breaker.Config, options ...breaker.GroupOption) *breaker.Group {
	t.Helper()
	g, err := breaker.NewGroup(c, options...)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// Write takes slog's lines.
func (r *rig) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lines.Write(p)
}

// OnEmit takes OpenTelemetry's records.
func (r *rig) OnEmit(_ context.Context, rec *sdklog.Record) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.records = append(r.records, rec.Clone())
	return nil
}

func (*rig) Enabled(context.Context, sdklog.EnabledParameters) bool { return true }
func (*rig) Shutdown(context.Context) error                         { return nil }
func (*rig) ForceFlush(context.Context) error                       { return nil }

// audit gives the records since the last time, as both logs have them, which must be the same.
func (r *rig) audit() []map[string]any {
	r.t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []map[string]any
	for line := range bytes.Lines(r.lines.Bytes()) {
		m := map[string]any{}
		if err := json.Unmarshal(line, &m); err != nil {
			r.t.Fatalf("%v: %s", err, line)
		}
		all = append(all, m)
	}
	if len(all) != len(r.records) {
		r.t.Fatalf("%d records by slog, %d by OpenTelemetry", len(all), len(r.records))
	}
	for i, rec := range r.records {
		m := map[string]any{"level": rec.SeverityText(), "msg": rec.Body().AsString(), "time": all[i]["time"]}
		rec.WalkAttributes(func(a attribute.KeyValue) bool {
			m[string(a.Key)] = a.Value.AsInterface()
			return true
		})
		if rec.EventName() != "circuit_control" || m["event_type"] != "circuit_control" || m["component"] != "circuit_breaker" {
			r.t.Errorf("the record is called %q: %v", rec.EventName(), m)
		}
		if rec.TraceID().IsValid() {
			m["trace_id"], m["span_id"] = rec.TraceID().String(), rec.SpanID().String()
		}
		byOTel, _ := json.Marshal(m)
		if bySlog, _ := json.Marshal(all[i]); !bytes.Equal(byOTel, bySlog) {
			r.t.Errorf("by OpenTelemetry %s, by slog %s", byOTel, bySlog)
		}
	}
	r.lines.Reset()
	r.records = nil
	return all
}

// one gives the only record.
func (r *rig) one() map[string]any {
	r.t.Helper()
	all := r.audit()
	if len(all) != 1 {
		r.t.Fatalf("%d records, want one: %v", len(all), all)
	}
	return all[0]
}

// post makes a request as the client does; changes make it another one.
func (r *rig) post(token, body string, changes ...func(*http.Request)) *httptest.ResponseRecorder {
	req := httptest.NewRequest(http.MethodPost, "/control/circuit-breakers", strings.NewReader(body))
	req.RemoteAddr = "192.0.2.7:1234"
	req.Header.Set("Content-Type", "application/json")
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	for _, change := range changes {
		change(req)
	}
	rec := httptest.NewRecorder()
	r.handler.ServeHTTP(rec, req)
	return rec
}

func with(header string, values ...string) func(*http.Request) {
	return func(r *http.Request) { r.Header[http.CanonicalHeaderKey(header)] = values }
}

func by(method string) func(*http.Request) { return func(r *http.Request) { r.Method = method } }

func from(address string) func(*http.Request) {
	return func(r *http.Request) { r.RemoteAddr = address }
}

// order is a good one, but for the changes.
func order(action string, pairs ...string) string {
	o := map[string]any{"action": action, "service": "s", "endpoint": a, "reason": "migration"}
	for i := 0; i < len(pairs); i += 2 {
		o[pairs[i]] = pairs[i+1]
		if pairs[i] == "configuration" {
			o[pairs[i]] = json.RawMessage(pairs[i+1])
		}
	}
	text, _ := json.Marshal(o)
	return string(text)
}

func (r *rig) snapshot() breaker.Snapshot { return r.group.Get(a).Snapshot() }
