package otelcb_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/attribute"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/otelbreaker/otelbreaker/breaker"
	"github.com/otelbreaker/otelbreaker/logs"
	"github.com/otelbreaker/otelbreaker/otelcb"
)

// traced is a program with traces: each call is made in a span of its own.
type traced struct {
	t        *testing.T
	recorder *tracetest.SpanRecorder
	provider *sdktrace.TracerProvider
	tracer   trace.Tracer
}

func newTraced(t *testing.T, opts ...sdktrace.TracerProviderOption) *traced {
	recorder := tracetest.NewSpanRecorder()
	provider := sdktrace.NewTracerProvider(append(opts, sdktrace.WithSpanProcessor(recorder))...)
	return &traced{t: t, recorder: recorder, provider: provider, tracer: provider.Tracer("test")}
}

func (p *traced) call(b *breaker.Breaker, name string, fn func(context.Context) error) (trace.SpanContext, error) {
	ctx, span := p.tracer.Start(context.Background(), name)
	defer span.End()
	return span.SpanContext(), b.Do(ctx, fn)
}

func (p *traced) span(name string) sdktrace.ReadOnlySpan {
	p.t.Helper()
	var found []sdktrace.ReadOnlySpan
	for _, s := range p.recorder.Ended() {
		if s.Name() == name {
			found = append(found, s)
		}
	}
	if len(found) != 1 {
		p.t.Fatalf("there are %d spans called %s, want 1", len(found), name)
	}
	return found[0]
}

// id names a span as links do.
func id(sc trace.SpanContext) string { return sc.TraceID().String() + "/" + sc.SpanID().String() }

func linked(s sdktrace.ReadOnlySpan) []string {
	var to []string
	for _, l := range s.Links() {
		to = append(to, id(l.SpanContext))
	}
	return to
}

func events(s sdktrace.ReadOnlySpan) []string {
	var names []string
	for _, e := range s.Events() {
		names = append(names, e.Name)
	}
	return names
}

func equal(t *testing.T, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

func attributes(all []attribute.KeyValue) map[string]string {
	m := map[string]string{}
	for _, a := range all {
		m[string(a.Key)] = a.Value.String()
	}
	return m
}

func TestSpans(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newTraced(t)
		_, meters := newReader()
		c := config()
		b := newBreaker(t, c)
		observe(t, b, meters, otelcb.WithTracerProvider(p.provider))
		var seen []breaker.Event
		defer b.Subscribe(breaker.ListenerFunc(func(e breaker.Event) { seen = append(seen, e) }))()

		_, _ = p.call(b, "failing", fail)
		opening, _ := p.call(b, "opening", fail)
		opened := time.Now()
		_, err := p.call(b, "blocked", succeed)
		if err == nil {
			t.Fatal("the call was not blocked")
		}
		time.Sleep(c.RecoveryTimeout)
		_, _ = p.call(b, "reopening", fail)
		time.Sleep(c.RecoveryTimeout)
		closing, _ := p.call(b, "closing", succeed)
		closed := time.Now()
		_, _ = p.call(b, "after", succeed)
		flush(t, b)

		for name, want := range map[string]struct {
			events []string
			links  []string
		}{
			"failing":                {},
			"opening":                {events: []string{"circuit_breaker.state_change"}},
			"blocked":                {events: []string{"circuit_breaker.blocked"}, links: []string{id(opening)}},
			"reopening":              {events: []string{"circuit_breaker.state_change"}, links: []string{id(opening)}},
			"closing":                {events: []string{"circuit_breaker.state_change"}, links: []string{id(opening)}},
			"after":                  {},
			"circuit_breaker.outage": {links: []string{id(opening), id(closing)}},
		} {
			equal(t, name+" events", events(p.span(name)), want.events)
			equal(t, name+" links", linked(p.span(name)), want.links)
		}

		if len(seen) != 5 {
			t.Fatalf("%d transitions, want 5", len(seen))
		}
		for name, e := range map[string]breaker.Event{"opening": seen[0], "reopening": seen[2], "closing": seen[4]} {
			event := p.span(name).Events()[0]
			if !slices.Equal(event.Attributes, logs.Attributes(e)) {
				t.Errorf("%s: attributes are %v, want those of the log record", name, event.Attributes)
			}
			if !event.Time.Equal(e.At) {
				t.Errorf("%s: time is %v, want %v", name, event.Time, e.At)
			}
		}
		got := attributes(p.span("blocked").Events()[0].Attributes)
		want := map[string]string{"service": service, "endpoint": endpoint, "state": "open",
			"reason": "consecutive_failures", "outage_id": seen[0].OutageID}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("blocked: attributes are %v, want %v", got, want)
		}

		outage := p.span("circuit_breaker.outage")
		if !outage.StartTime().Equal(opened) || !outage.EndTime().Equal(closed) {
			t.Errorf("the outage is from %v to %v, want %v to %v", outage.StartTime(), outage.EndTime(), opened, closed)
		}
		if outage.Parent().SpanID() != opening.SpanID() || outage.SpanContext().TraceID() != opening.TraceID() {
			t.Error("the outage is not a child of the opening call")
		}
		if s := outage.InstrumentationScope(); s.Name != otelcb.ScopeName || s.Version != otelcb.Version {
			t.Errorf("the scope is %s %s", s.Name, s.Version)
		}
		got = attributes(outage.Attributes())
		want = map[string]string{"component": "circuit_breaker", "service": service, "endpoint": endpoint,
			"reason": "probes_succeeded", "outage_id": seen[0].OutageID, "failure_count": "1", "success_count": "1",
			"blocked_count": "1", "recovery_duration_seconds": "20"}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("outage: attributes are %v, want %v", got, want)
		}
	})
}

func TestOutageByOperatorIsARootSpan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newTraced(t)
		_, meters := newReader()
		b := newBreaker(t, config())
		observe(t, b, meters, otelcb.WithTracerProvider(p.provider))
		b.ForceOpen("drill")
		_, _ = p.call(b, "blocked", succeed)
		time.Sleep(time.Minute)
		b.Reset()
		flush(t, b)
		outage := p.span("circuit_breaker.outage")
		if outage.Parent().IsValid() || len(outage.Links()) != 0 || outage.EndTime().Sub(outage.StartTime()) != time.Minute {
			t.Errorf("parent %v, links %v, from %v to %v", outage.Parent(), outage.Links(), outage.StartTime(), outage.EndTime())
		}
		blocked := p.span("blocked")
		equal(t, "events", events(blocked), []string{"circuit_breaker.blocked"})
		equal(t, "links", linked(blocked), nil)
	})
}

// Where an operator closed it, there is no closing call to link to.
func TestOutageEndedByOperator(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newTraced(t)
		_, meters := newReader()
		b := newBreaker(t, config())
		observe(t, b, meters, otelcb.WithTracerProvider(p.provider))
		_, _ = p.call(b, "failing", fail)
		opening, _ := p.call(b, "opening", fail)
		b.Reset()
		flush(t, b)
		outage := p.span("circuit_breaker.outage")
		equal(t, "links", linked(outage), []string{id(opening)})
		if got := attributes(outage.Attributes())["reason"]; got != "reset" {
			t.Errorf("the reason is %s", got)
		}
	})
}

// An opening call whose trace is not sampled leaves no spans, but its context is linked to all the same.
func TestSamplingIsRespected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newTraced(t, sdktrace.WithSampler(sdktrace.ParentBased(sampleNamed("sampled"))))
		_, meters := newReader()
		c := config()
		b := newBreaker(t, c)
		observe(t, b, meters, otelcb.WithTracerProvider(p.provider))
		_, _ = p.call(b, "unsampled", fail)
		opening, _ := p.call(b, "unsampled", fail)
		_, _ = p.call(b, "sampled", succeed)
		time.Sleep(c.RecoveryTimeout)
		_, _ = p.call(b, "unsampled", succeed)
		flush(t, b)
		if n := len(p.recorder.Ended()); n != 1 {
			t.Errorf("%d spans were recorded, want 1", n)
		}
		equal(t, "links", linked(p.span("sampled")), []string{id(opening)})
	})
}

// What is not sampled leaves no span, and yet its trace is in the log records and in the links of others.
func TestUnsampledCauseIsInTheLogRecords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newTraced(t, sdktrace.WithSampler(sdktrace.NeverSample()))
		_, meters := newReader()
		recorded := &recorder{}
		c := config()
		b := newBreaker(t, c)
		observe(t, b, meters, otelcb.WithTracerProvider(p.provider))
		defer b.Subscribe(logs.NewListener(logs.WithLoggerProvider(
			sdklog.NewLoggerProvider(sdklog.WithProcessor(recorded)))))()
		_, _ = p.call(b, "failing", fail)
		opening, _ := p.call(b, "opening", fail)
		time.Sleep(c.RecoveryTimeout)
		reopening, _ := p.call(b, "reopening", fail)
		time.Sleep(c.RecoveryTimeout)
		closing, _ := p.call(b, "closing", succeed)
		flush(t, b)
		if n := len(p.recorder.Ended()); n != 0 {
			t.Errorf("%d spans were recorded, want none", n)
		}
		equal(t, "causes", recorded.causes, []string{
			"circuit_opened " + id(opening), "circuit_half_open " + id(opening), "circuit_reopened " + id(reopening),
			"circuit_half_open " + id(opening), "circuit_closed " + id(closing),
		})
	})
}

// recorder is a processor that keeps which span each record is of.
type recorder struct{ causes []string }

func (r *recorder) OnEmit(_ context.Context, record *sdklog.Record) error {
	r.causes = append(r.causes, record.EventName()+" "+record.TraceID().String()+"/"+record.SpanID().String())
	return nil
}

func (*recorder) Enabled(context.Context, sdklog.EnabledParameters) bool { return true }
func (*recorder) Shutdown(context.Context) error                         { return nil }
func (*recorder) ForceFlush(context.Context) error                       { return nil }

// While a probe is under way, others are blocked as well, and told so.
func TestBlockedBesideAProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newTraced(t)
		_, meters := newReader()
		c := config()
		b := newBreaker(t, c)
		observe(t, b, meters, otelcb.WithTracerProvider(p.provider))
		_, _ = p.call(b, "failing", fail)
		opening, _ := p.call(b, "opening", fail)
		time.Sleep(c.RecoveryTimeout)
		_, _ = p.call(b, "closing", func(context.Context) error {
			_, _ = p.call(b, "blocked", succeed)
			return nil
		})
		flush(t, b)
		blocked := p.span("blocked")
		equal(t, "events", events(blocked), []string{"circuit_breaker.blocked"})
		equal(t, "links", linked(blocked), []string{id(opening)})
		if a := attributes(blocked.Events()[0].Attributes); a["state"] != "half_open" || a["reason"] != "delay_elapsed" {
			t.Errorf("attributes are %v", a)
		}
	})
}

type sampleNamed string

func (n sampleNamed) ShouldSample(p sdktrace.SamplingParameters) sdktrace.SamplingResult {
	if p.Name == string(n) {
		return sdktrace.SamplingResult{Decision: sdktrace.RecordAndSample}
	}
	return sdktrace.SamplingResult{Decision: sdktrace.Drop}
}

func (n sampleNamed) Description() string { return string(n) }

// The exemplar of a recovery leads to the call that closed the breaker.
func TestRecoveryExemplar(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newTraced(t)
		reader := sdkmetric.NewManualReader()
		c := config()
		b := newBreaker(t, c)
		observe(t, b, sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader)))
		_, _ = p.call(b, "failing", fail)
		_, _ = p.call(b, "opening", fail)
		time.Sleep(c.RecoveryTimeout)
		closing, _ := p.call(b, "closing", succeed)
		flush(t, b)

		var data metricdata.ResourceMetrics
		if err := reader.Collect(context.Background(), &data); err != nil {
			t.Fatal(err)
		}
		exemplars := histogram(t, data).Exemplars
		if len(exemplars) != 1 {
			t.Fatalf("%d exemplars, want 1", len(exemplars))
		}
		traceID, spanID := closing.TraceID(), closing.SpanID()
		if e := exemplars[0]; !slices.Equal(e.TraceID, traceID[:]) || !slices.Equal(e.SpanID, spanID[:]) || e.Value != 10 {
			t.Errorf("the exemplar is %x %x %v, want that of the closing call", e.TraceID, e.SpanID, e.Value)
		}
	})
}
