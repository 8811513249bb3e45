package e2e

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/trace"

	"github.com/otelbreaker/otelbreaker/breaker"
	"github.com/otelbreaker/otelbreaker/collector"
	"github.com/otelbreaker/otelbreaker/transport"
)

// process is a service that uses otelbreaker as the quick start does: the pipeline set up by OTEL_*
// variables alone, and the transport with nothing but its configuration.
type process struct {
	pipeline *collector.Pipeline
	tracer   trace.Tracer
}

func startProcess(t *testing.T, protocol, endpoint string) *process {
	t.Helper()
	clearEnvironment(t)
	t.Setenv("OTEL_SERVICE_NAME", "checkout")
	t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
	t.Setenv("OTEL_METRIC_EXPORT_INTERVAL", "100") // ms, so that the pages meet soon

	pipeline, err := collector.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	p := &process{pipeline: pipeline, tracer: pipeline.TracerProvider().Tracer("e2e")}
	t.Cleanup(func() { p.shutdown(t) })
	return p
}

// clearEnvironment takes away what would set an SDK up otherwise than the test does.
func clearEnvironment(t *testing.T) {
	t.Helper()
	for _, variable := range os.Environ() {
		if name, _, _ := strings.Cut(variable, "="); strings.HasPrefix(name, "OTEL_") {
			t.Setenv(name, "") // the same as not set
		}
	}
}

func shutDown(t *testing.T, pipeline *collector.Pipeline) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), settle)
	defer cancel()
	if err := pipeline.Shutdown(ctx); err != nil {
		t.Errorf("shutting the pipeline down: %v", err)
	}
}

// shutdown sends what the process still holds. A second call does nothing.
func (p *process) shutdown(t *testing.T) {
	t.Helper()
	if p.pipeline == nil {
		return
	}
	shutDown(t, p.pipeline)
	p.pipeline = nil
}

// What an upstream does with a request.
const (
	answers int32 = iota
	fails
	hangs // until the client gives up
)

// dependency is an HTTP server and the client with which the process calls it.
type dependency struct {
	endpoint    string
	breaker     *breaker.Breaker
	behaviour   atomic.Int32
	began       chan struct{} // a request that hangs has come in
	transitions chan breaker.Event
	client      *http.Client
	tracer      trace.Tracer
}

func (p *process) dependsOn(t *testing.T, config breaker.Config) *dependency {
	t.Helper()
	d := &dependency{
		began:       make(chan struct{}),
		transitions: make(chan breaker.Event, 16),
		tracer:      p.tracer,
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch d.behaviour.Load() {
		case fails:
			w.WriteHeader(http.StatusServiceUnavailable)
		case hangs:
			d.began <- struct{}{}
			<-r.Context().Done()
		}
	}))
	t.Cleanup(server.Close)
	d.endpoint = server.URL

	base := &http.Transport{}
	t.Cleanup(base.CloseIdleConnections)
	guarded, err := transport.New(otelhttp.NewTransport(base), transport.WithConfig(config))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := guarded.Close(); err != nil {
			t.Errorf("closing the transport: %v", err)
		}
	})
	d.client = &http.Client{Transport: guarded}
	d.breaker = guarded.Breakers().Get(d.endpoint)
	t.Cleanup(d.breaker.Subscribe(listener(d.transitions)))
	return d
}

type listener chan<- breaker.Event

func (l listener) OnTransition(e breaker.Event) { l <- e }

// call makes one request in a trace of its own, as the handler of an incoming request would, and
// returns the span that it was made in.
func (d *dependency) call(ctx context.Context, t *testing.T) (trace.SpanContext, error) {
	t.Helper()
	ctx, span := d.tracer.Start(ctx, "handle")
	defer span.End()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, d.endpoint+"/pay", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := d.client.Do(req)
	if err != nil {
		return span.SpanContext(), err
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return span.SpanContext(), errors.Join(err, resp.Body.Close())
}

// must makes a call that has to reach the dependency and come back, whatever the answer.
func (d *dependency) must(t *testing.T) trace.SpanContext {
	t.Helper()
	span, err := d.call(t.Context(), t)
	if err != nil {
		t.Fatal(err)
	}
	return span
}

// awaits returns when the breaker has made a transition to a state.
func (d *dependency) awaits(t *testing.T, want breaker.State) {
	t.Helper()
	select {
	case e := <-d.transitions:
		if e.To != want {
			t.Fatalf("the breaker went from %v to %v, want to %v", e.From, e.To, want)
		}
	case <-time.After(settle):
		t.Fatalf("no transition to %v after %v", want, settle)
	}
}

// outage is what is known of an outage that the breaker went through.
type outage struct {
	endpoint                       string
	openedBy, reopenedBy, closedBy trace.SpanContext
	blocked                        []trace.TraceID
}

// recoveredOutage is an outage with everything in it: three successes, a call that its caller gave up,
// three failures that open, five calls blocked, a probe that fails and reopens, a probe that succeeds
// and closes.
func (p *process) recoveredOutage(t *testing.T) outage {
	t.Helper()
	d := p.dependsOn(t, breaker.Config{
		Service:          "payments",
		FailureThreshold: 3,
		RecoveryTimeout:  300 * time.Millisecond,
	})
	for range 3 {
		d.must(t)
	}

	d.behaviour.Store(hangs)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-d.began
		cancel()
	}()
	if _, err := d.call(ctx, t); !errors.Is(err, context.Canceled) {
		t.Fatalf("a call that was given up returned %v", err)
	}

	o := outage{endpoint: d.endpoint}
	d.behaviour.Store(fails)
	d.must(t)
	d.must(t)
	o.openedBy = d.must(t)
	d.awaits(t, breaker.Open)
	for range 5 {
		span, err := d.call(t.Context(), t)
		if !errors.Is(err, breaker.ErrOpen) {
			t.Fatalf("a call while the breaker is open returned %v", err)
		}
		o.blocked = append(o.blocked, span.TraceID())
	}

	d.awaits(t, breaker.HalfOpen)
	o.reopenedBy = d.must(t)
	d.awaits(t, breaker.Open)
	d.awaits(t, breaker.HalfOpen)
	d.behaviour.Store(answers)
	o.closedBy = d.must(t)
	d.awaits(t, breaker.Closed)
	d.flush(t)
	return o
}

// lastingOutage leaves a breaker open, and one success and one failure, both of them slow, behind.
func (p *process) lastingOutage(t *testing.T) {
	t.Helper()
	d := p.dependsOn(t, breaker.Config{
		Service:          "inventory",
		FailureThreshold: 1,
		SlowCallDuration: time.Nanosecond,
		RecoveryTimeout:  time.Hour,
	})
	d.must(t)
	d.behaviour.Store(fails)
	d.must(t)
	d.awaits(t, breaker.Open)
	d.flush(t)
}

// switchedOff leaves a breaker that an operator has disabled.
func (p *process) switchedOff(t *testing.T) {
	t.Helper()
	d := p.dependsOn(t, breaker.Config{Service: "reviews"})
	d.breaker.Disable("maintenance")
	d.must(t)
	d.flush(t)
}

// flush waits until the log records of all transitions are with the pipeline.
func (d *dependency) flush(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), settle)
	defer cancel()
	if err := d.breaker.Flush(ctx); err != nil {
		t.Fatal(err)
	}
}
