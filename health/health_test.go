package health_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/otelbreaker/otelbreaker/breaker"
	"github.com/otelbreaker/otelbreaker/health"
)

var errDown = errors.New("down")

// page and entry are written down here once more, as a reader of the page would.
type page struct {
	Timestamp       string                      `json:"timestamp"`
	CircuitBreakers map[string]map[string]entry `json:"circuit_breakers"`
	Performance     performance                 `json:"performance"`
}

type performance struct {
	RequestsPerSecond *float64 `json:"requests_per_second"`
	BlockRate         *float64 `json:"block_rate"`
	WindowSeconds     *float64 `json:"window_seconds"`
	ProcessCPU        *float64 `json:"process_cpu_cores"`
	ResidentMemory    *float64 `json:"resident_memory_bytes"`
}

type entry struct {
	Engine              string         `json:"engine"`
	State               string         `json:"state"`
	Healthy             bool           `json:"healthy"`
	Override            string         `json:"override"`
	OverrideNote        string         `json:"override_note"`
	WouldOpenCount      int            `json:"would_open_count"`
	WouldBlockCount     int            `json:"would_block_count"`
	SuccessCount        int            `json:"success_count"`
	FailureCount        int            `json:"failure_count"`
	BlockedCount        int            `json:"blocked_count"`
	IgnoredCount        int            `json:"ignored_count"`
	ConsecutiveFailures int            `json:"consecutive_failures"`
	LastFailureTime     *string        `json:"last_failure_time"`
	OutageID            string         `json:"outage_id"`
	OpenedAt            *string        `json:"opened_at"`
	OpenSeconds         float64        `json:"open_seconds"`
	NextProbeTime       *string        `json:"next_probe_time"`
	NextProbeInSeconds  *float64       `json:"next_probe_in_seconds"`
	EventsDropped       *int           `json:"events_dropped"`
	Configuration       map[string]any `json:"configuration"`
	LastTransitions     []transition   `json:"last_transitions"`
	Performance         performance    `json:"performance"`
}

type transition struct {
	Time             string   `json:"time"`
	OldState         string   `json:"old_state"`
	NewState         string   `json:"new_state"`
	Reason           string   `json:"reason"`
	Observed         float64  `json:"observed"`
	Threshold        float64  `json:"threshold"`
	Note             string   `json:"note"`
	ErrorType        string   `json:"error.type"`
	OutageID         string   `json:"outage_id"`
	TraceID          string   `json:"trace_id"`
	SpanID           string   `json:"span_id"`
	RecoveryDuration *float64 `json:"recovery_duration_seconds"`
	BlockedCount     *int     `json:"blocked_count"`
}

func get(t *testing.T, h http.Handler) page {
	t.Helper()
	return getBy(t, h, "")
}

func getBy(t *testing.T, h http.Handler, query string) page {
	t.Helper()
	rec := ask(h, query, "")
	if rec.Code != http.StatusOK {
		t.Fatalf("status %d: %s", rec.Code, rec.Body)
	}
	d := json.NewDecoder(rec.Body)
	d.DisallowUnknownFields() // whoever adds to the page adds it here, too
	var p page
	if err := d.Decode(&p); err != nil {
		t.Fatalf("the page: %v", err)
	}
	return p
}

func ask(h http.Handler, query, accept string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, "/health/circuit-breakers", nil)
	r.URL.RawQuery = query
	if accept != "" {
		r.Header.Set("Accept", accept)
	}
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, r)
	return rec
}

func newBreaker(t *testing.T, c breaker.Config) *breaker.Breaker {
	t.Helper()
	b, err := breaker.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func newGroup(t *testing.T, c breaker.Config, options ...breaker.GroupOption) *breaker.Group {
	t.Helper()
	g, err := breaker.NewGroup(c, options...)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func fail(ctx context.Context, b *breaker.Breaker, n int) {
	for range n {
		_ = b.Do(ctx, func(context.Context) error { return errDown })
	}
}

func succeed(b *breaker.Breaker, n int) {
	for range n {
		_ = b.Do(context.Background(), func(context.Context) error { return nil })
	}
}

func flush(t *testing.T, b *breaker.Breaker) {
	t.Helper()
	if err := b.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func span(traceByte, spanByte byte) context.Context {
	return trace.ContextWithSpanContext(context.Background(), trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: trace.TraceID{15: traceByte}, SpanID: trace.SpanID{7: spanByte}, TraceFlags: trace.FlagsSampled,
	}))
}

func TestHandler_AnOutageFromEndToEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const endpoint = "https://payments.internal:8443"
		g := newGroup(t, breaker.Config{Service: "payments", FailureThreshold: 3, RecoveryTimeout: 30 * time.Second})
		h := health.Handler(g)
		if p := get(t, h); len(p.CircuitBreakers) != 0 || p.CircuitBreakers == nil {
			t.Errorf("before the first breaker: %v, want an empty object", p.CircuitBreakers)
		}

		b := g.Get(endpoint)
		succeed(b, 2)
		e := get(t, h).CircuitBreakers["payments"][endpoint]
		if e.State != "closed" || !e.Healthy || e.SuccessCount != 2 || e.LastFailureTime != nil || e.OpenedAt != nil ||
			e.NextProbeTime != nil || e.NextProbeInSeconds != nil || e.Override != "automatic" {
			t.Errorf("closed: %+v", e)
		}
		if e.LastTransitions == nil || len(e.LastTransitions) != 0 {
			t.Errorf("last_transitions is %v, want an empty list", e.LastTransitions)
		}

		opened := time.Now()
		fail(span(1, 2), b, 3)
		fail(context.Background(), b, 4) // blocked
		time.Sleep(10 * time.Second)
		flush(t, b)
		p := get(t, h)
		if want := time.Now().UTC().Format(time.RFC3339); p.Timestamp != want {
			t.Errorf("timestamp %q, want %q", p.Timestamp, want)
		}
		e = p.CircuitBreakers["payments"][endpoint]
		if e.State != "open" || e.Healthy || e.FailureCount != 3 || e.BlockedCount != 4 || e.ConsecutiveFailures != 3 {
			t.Errorf("open: %+v", e)
		}
		if e.LastFailureTime == nil || *e.LastFailureTime != opened.UTC().Format(time.RFC3339) {
			t.Errorf("last_failure_time is %v, want %v", e.LastFailureTime, opened)
		}
		if e.OpenedAt == nil || *e.OpenedAt != opened.UTC().Format(time.RFC3339) || e.OpenSeconds != 10 {
			t.Errorf("opened_at is %v with open_seconds %v, want %v and 10", e.OpenedAt, e.OpenSeconds, opened)
		}
		if e.NextProbeInSeconds == nil || *e.NextProbeInSeconds != 20 ||
			e.NextProbeTime == nil || *e.NextProbeTime != opened.Add(30*time.Second).UTC().Format(time.RFC3339) {
			t.Errorf("the next probe is in %v s at %v", e.NextProbeInSeconds, e.NextProbeTime)
		}

		time.Sleep(20 * time.Second) // the delay ends, with no call
		if e = get(t, h).CircuitBreakers["payments"][endpoint]; e.State != "half_open" || !e.Healthy || e.OutageID == "" {
			t.Errorf("half-open: %+v", e)
		}
		_ = b.Do(span(3, 4), func(context.Context) error { return nil })
		flush(t, b)
		e = get(t, h).CircuitBreakers["payments"][endpoint]
		if e.State != "closed" || e.OutageID != "" || len(e.LastTransitions) != 3 {
			t.Fatalf("closed again: %+v", e)
		}
		outage := e.LastTransitions[0].OutageID
		if outage == "" {
			t.Error("the outage has no id")
		}
		traceOf := func(n byte) string { return trace.TraceID{15: n}.String() }
		thirty, four := 30.0, 4
		want := []transition{
			{OldState: "closed", NewState: "open", Reason: "consecutive_failures", Observed: 3, Threshold: 3,
				ErrorType: "*errors.errorString", TraceID: traceOf(1), SpanID: trace.SpanID{7: 2}.String()},
			{OldState: "open", NewState: "half_open", Reason: "delay_elapsed", Observed: 30, Threshold: 30,
				TraceID: traceOf(1), SpanID: trace.SpanID{7: 2}.String()},
			{OldState: "half_open", NewState: "closed", Reason: "probes_succeeded", Observed: 1, Threshold: 1,
				TraceID: traceOf(3), SpanID: trace.SpanID{7: 4}.String(), RecoveryDuration: &thirty, BlockedCount: &four},
		}
		for i, at := range []time.Duration{0, 30 * time.Second, 30 * time.Second} {
			want[i].OutageID, want[i].Time = outage, opened.Add(at).UTC().Format(time.RFC3339)
			got, _ := json.Marshal(e.LastTransitions[i])
			if expected, _ := json.Marshal(want[i]); string(got) != string(expected) {
				t.Errorf("transition %d is\n%s, want\n%s", i, got, expected)
			}
		}
	})
}

func TestHandler_Configuration(t *testing.T) {
	for _, c := range []struct {
		name   string
		config breaker.Config
		want   map[string]any
	}{
		{"defaults", breaker.Config{}, map[string]any{
			"failure_threshold": 5.0, "recovery_timeout": "30s", "success_threshold": 1.0, "backoff_factor": 1.0,
			"max_recovery_timeout": "1h0m0s", "max_probes": 1.0, "probe_timeout": "1m0s"}},
		{"rates over time", breaker.Config{FailureRate: 0.5, SlowCallRate: 0.8, SlowCallDuration: 1500 * time.Millisecond,
			WindowDuration: 10 * time.Second, MinCalls: 20, RecoveryTimeout: time.Second, BackoffFactor: 2, Jitter: 0.1,
			MaxRecoveryTimeout: time.Minute, SuccessThreshold: 3, MaxProbes: 2, ProbeTimeout: 5 * time.Second},
			map[string]any{
				"failure_threshold": 0.0, "recovery_timeout": "1s", "success_threshold": 3.0, "failure_rate": 0.5,
				"slow_call_rate": 0.8, "slow_call_duration": "1.5s", "window_duration": "10s", "min_calls": 20.0,
				"backoff_factor": 2.0, "max_recovery_timeout": "1m0s", "jitter": 0.1, "max_probes": 2.0,
				"probe_timeout": "5s"}},
		{"rates over calls", breaker.Config{FailureThreshold: 7, FailureRate: 1, WindowCalls: 4}, map[string]any{
			"failure_threshold": 7.0, "recovery_timeout": "30s", "success_threshold": 1.0, "failure_rate": 1.0,
			"window_calls": 4.0, "min_calls": 4.0, "backoff_factor": 1.0, "max_recovery_timeout": "1h0m0s",
			"max_probes": 1.0, "probe_timeout": "1m0s"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := get(t, health.Handler(newBreaker(t, c.config))).CircuitBreakers["default"]["default"].Configuration
			for k, v := range c.want {
				if got[k] != v {
					t.Errorf("%s is %v, want %v", k, got[k], v)
				}
			}
			for k, v := range got {
				if _, wanted := c.want[k]; !wanted {
					t.Errorf("%s is there with %v, though no such rule is in force", k, v)
				}
			}
		})
	}
}

func TestHandler_Override(t *testing.T) {
	b := newBreaker(t, breaker.Config{Service: "s", Endpoint: "e"})
	h := health.Handler(b)
	b.ForceOpen("migration <night>")
	flush(t, b)
	e := get(t, h).CircuitBreakers["s"]["e"]
	if e.State != "open" || e.Override != "forced_open" || e.OverrideNote != "migration <night>" || e.NextProbeTime != nil {
		t.Errorf("forced open: %+v", e)
	}
	if n := len(e.LastTransitions); n != 1 || e.LastTransitions[0].Note != "migration <night>" ||
		e.LastTransitions[0].Reason != "forced" || e.LastTransitions[0].TraceID != "" {
		t.Errorf("transitions: %+v", e.LastTransitions)
	}
}

func TestHandler_WhatADisabledBreakerWouldDo(t *testing.T) {
	b := newBreaker(t, breaker.Config{Service: "s", Endpoint: "e", FailureThreshold: 2})
	h := health.Handler(b)
	b.Disable("trial")
	fail(t.Context(), b, 5)
	e := get(t, h).CircuitBreakers["s"]["e"]
	if e.State != "closed" || e.Override != "disabled" || e.WouldOpenCount != 1 || e.WouldBlockCount != 3 || e.BlockedCount != 0 {
		t.Errorf("disabled: %+v", e)
	}
	if page := ask(h, "", "text/html").Body.String(); !strings.Contains(page, "Would have blocked, while disabled</dt><dd>3</dd>") {
		t.Errorf("the page does not tell of it: %s", page)
	}
}

func TestHandler_KeepsTheLastTenTransitions(t *testing.T) {
	b := newBreaker(t, breaker.Config{Service: "s", Endpoint: "e"})
	h := health.Handler(b)
	for i := range 8 {
		b.ForceOpen(fmt.Sprint(i))
		b.Reset()
	}
	flush(t, b)
	last := get(t, h).CircuitBreakers["s"]["e"].LastTransitions
	if len(last) != 10 {
		t.Fatalf("%d transitions, want the last 10", len(last))
	}
	for i := 0; i < 10; i += 2 {
		if want := fmt.Sprint(3 + i/2); last[i].Note != want || last[i+1].Reason != "reset" {
			t.Errorf("transition %d is %+v, want opening %s, and then its reset", i, last[i], want)
		}
	}
}

func TestG16_HostileNamesStayInertInJSON(t *testing.T) {
	hostile := []string{
		`</script><script>alert(1)</script>`, `"}}}, "x": {"`, "new\nline\tand\x00zero", `\`, "\u2028\u2029",
		"☃ \U0001F525", " ", "other #2",
	}
	g := newGroup(t, breaker.Config{})
	for _, n := range hostile {
		b := newBreaker(t, breaker.Config{Service: n, Endpoint: n})
		b.ForceOpen(n)
		flush(t, b)
		h := health.Handler(b)
		b.Reset()
		flush(t, b)
		if e := get(t, h).CircuitBreakers[n][n]; e.State != "closed" || len(e.LastTransitions) != 1 {
			t.Errorf("%q is not on the page as it is", n)
		}
	}
	g.Get("a\xff")
	p := get(t, health.Handler(g)).CircuitBreakers["default"]
	if _, found := p["a\uFFFD"]; !found {
		t.Errorf("a name that is no UTF-8 is not on the page: %v", p)
	}
	rec := httptest.NewRecorder()
	health.Handler(newBreaker(t, breaker.Config{Service: hostile[0]})).ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/", nil))
	if strings.ContainsAny(rec.Body.String(), "<>") {
		t.Errorf("markup in the page: %s", rec.Body)
	}
}

func TestHandler_SeveralSources(t *testing.T) {
	one := newBreaker(t, breaker.Config{Service: "s", Endpoint: "e"})
	two := newBreaker(t, breaker.Config{Service: "s", Endpoint: "e"})
	three := newBreaker(t, breaker.Config{Service: "s", Endpoint: "e"})
	fail(t.Context(), two, 1)
	h := health.Handler(one, two, two, three)
	three.ForceOpen("")
	flush(t, three)
	p := get(t, h).CircuitBreakers["s"]
	if len(p) != 3 || p["e"].FailureCount != 0 || p["e #2"].FailureCount != 1 || p["e #3"].State != "open" {
		t.Errorf("the page has %+v", p)
	}
	if len(p["e"].LastTransitions) != 0 || len(p["e #3"].LastTransitions) != 1 {
		t.Error("transitions went to the wrong breaker of that name")
	}
}

type oddSource func(yield func(*breaker.Breaker) bool)

func (s oddSource) All() iter.Seq[*breaker.Breaker] { return iter.Seq[*breaker.Breaker](s) }

func TestHandler_SourcesThatAreNone(t *testing.T) {
	good := newBreaker(t, breaker.Config{Service: "s", Endpoint: "e"})
	h := health.Handler(nil, (*breaker.Group)(nil), (*breaker.Breaker)(nil),
		oddSource(func(func(*breaker.Breaker) bool) { panic("odd") }),
		oddSource(func(yield func(*breaker.Breaker) bool) { _ = yield(nil) && yield(good) }))
	if p := get(t, h); len(p.CircuitBreakers) != 1 || p.CircuitBreakers["s"]["e"].State != "closed" {
		t.Errorf("the page has %+v", p.CircuitBreakers)
	}
	if p := get(t, health.Handler()); p.CircuitBreakers == nil || len(p.CircuitBreakers) != 0 {
		t.Errorf("without a source: %+v", p.CircuitBreakers)
	}
}

// TestG12_HistoryStaysBounded has far more breakers trip and go than the group keeps.
func TestG12_HistoryStaysBounded(t *testing.T) {
	g := newGroup(t, breaker.Config{Service: "s"}, breaker.WithMaxEndpoints(4))
	counting := &countingSource{Group: g}
	h := health.Handler(counting)
	for i := range 3000 {
		b := g.Get(fmt.Sprint(i))
		b.ForceOpen("")
		b.Reset()
		flush(t, b)
	}
	if n := counting.asked.Load(); n < 2 || n > 20 {
		t.Errorf("the source was asked %d times which breakers still exist; want now and then, not each time", n)
	}
	p := get(t, h).CircuitBreakers["s"]
	if n := len(p["2999"].LastTransitions); n != 2 {
		t.Errorf("the newest breaker has %d transitions, want 2", n)
	}
	if n := health.Remembered(h); n > 600 {
		t.Errorf("%d breakers are remembered where 5 exist", n)
	}
}

func TestG19_NothingIsLeftOfAHandlerThatIsGone(t *testing.T) {
	g := newGroup(t, breaker.Config{})
	source := &countingSource{Group: g}
	func() { get(t, health.Handler(source)) }()
	deadline := time.After(10 * time.Second)
	for {
		runtime.GC()
		select {
		case <-source.cancelled():
			return
		case <-deadline:
			t.Fatal("the handler still listens to its source")
		default:
			runtime.Gosched()
		}
	}
}

func TestHandler_ConcurrentSafe(t *testing.T) {
	g := newGroup(t, breaker.Config{Service: "s", FailureThreshold: 1, RecoveryTimeout: time.Nanosecond},
		breaker.WithMaxEndpoints(8))
	h := health.Handler(g)
	var all sync.WaitGroup
	for i := range 4 {
		all.Go(func() {
			for n := range 300 {
				b := g.Get(fmt.Sprint((n + i) % 16))
				fail(span(byte(i+1), 1), b, 1)
				succeed(b, 1)
			}
		})
		all.Go(func() {
			for range 50 {
				for _, byEndpoint := range get(t, h).CircuitBreakers {
					for name, e := range byEndpoint {
						if !slices.Contains([]string{"closed", "half_open", "open"}, e.State) ||
							len(e.LastTransitions) > 10 || *e.Performance.BlockRate > 1 {
							t.Errorf("%s: %+v", name, e)
						}
					}
				}
			}
		})
	}
	all.Wait()
}
