package benchmarks

import (
	"context"
	"fmt"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	api "go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/otelbreaker/otelbreaker/breaker"
	"github.com/otelbreaker/otelbreaker/logs"
	"github.com/otelbreaker/otelbreaker/otelcb"
)

var collected = []int{1, 100, 1_000, 10_000}

// BenchmarkCollection is one collection of the metrics of so many breakers: what observing them costs instead of
// making the calls dearer.
func BenchmarkCollection(b *testing.B) {
	for _, n := range collected {
		b.Run(fmt.Sprintf("n=%d", n), func(b *testing.B) {
			p, reader := new(pipeline), metric.NewManualReader()
			p.start(b, reader)
			p.observe(b, newGroup(b, n))
			measureCollection(b, reader)
		})
	}
}

// BenchmarkCollectionSDK is what the SDK alone takes for the same: a bare callback that observes as many values, all of
// them known beforehand, under the same names and labels.
func BenchmarkCollectionSDK(b *testing.B) {
	for _, n := range collected {
		b.Run(fmt.Sprintf("n=%d", n), func(b *testing.B) {
			p, reader := new(pipeline), metric.NewManualReader()
			p.start(b, reader)
			p.observe(b, newGroup(b, n))
			known := collect(b, reader)

			p, reader = new(pipeline), metric.NewManualReader()
			p.start(b, reader)
			observeAll(b, p.metrics.Meter("bare"), known)
			if got, want := points(collect(b, reader)), points(known); got != want || want < 17*n {
				b.Fatalf("%d values are observed, want %d", got, want)
			}
			measureCollection(b, reader)
		})
	}
}

func measureCollection(b *testing.B, reader *metric.ManualReader) {
	b.Helper()
	into := collect(b, reader) // which makes the series
	b.ReportAllocs()
	for b.Loop() {
		if err := reader.Collect(b.Context(), into); err != nil {
			b.Fatal(err)
		}
	}
}

func collect(tb testing.TB, reader *metric.ManualReader) *metricdata.ResourceMetrics {
	tb.Helper()
	into := new(metricdata.ResourceMetrics)
	if err := reader.Collect(context.Background(), into); err != nil {
		tb.Fatal(err)
	}
	return into
}

// observeAll registers a callback that observes what was collected once.
func observeAll(tb testing.TB, meter api.Meter, known *metricdata.ResourceMetrics) {
	tb.Helper()
	var instruments []api.Observable
	var observe []func(api.Observer)
	with := func(set attribute.Set) []api.ObserveOption { return []api.ObserveOption{api.WithAttributeSet(set)} }
	int64s := func(i api.Int64Observable, err error, all []metricdata.DataPoint[int64]) {
		if err != nil {
			tb.Fatal(err)
		}
		instruments = append(instruments, i)
		for _, p := range all {
			value, options := p.Value, with(p.Attributes)
			observe = append(observe, func(o api.Observer) { o.ObserveInt64(i, value, options...) })
		}
	}
	float64s := func(i api.Float64Observable, err error, all []metricdata.DataPoint[float64]) {
		if err != nil {
			tb.Fatal(err)
		}
		instruments = append(instruments, i)
		for _, p := range all {
			value, options := p.Value, with(p.Attributes)
			observe = append(observe, func(o api.Observer) { o.ObserveFloat64(i, value, options...) })
		}
	}
	for _, m := range known.ScopeMetrics[0].Metrics {
		switch d := m.Data.(type) {
		case metricdata.Sum[int64]:
			i, err := meter.Int64ObservableCounter(m.Name)
			int64s(i, err, d.DataPoints)
		case metricdata.Gauge[int64]:
			i, err := meter.Int64ObservableGauge(m.Name)
			int64s(i, err, d.DataPoints)
		case metricdata.Sum[float64]:
			i, err := meter.Float64ObservableCounter(m.Name)
			float64s(i, err, d.DataPoints)
		case metricdata.Gauge[float64]:
			i, err := meter.Float64ObservableGauge(m.Name)
			float64s(i, err, d.DataPoints)
		default:
			tb.Fatalf("%s has data of type %T", m.Name, d)
		}
	}
	_, err := meter.RegisterCallback(func(_ context.Context, o api.Observer) error {
		for _, one := range observe {
			one(o)
		}
		return nil
	}, instruments...)
	if err != nil {
		tb.Fatal(err)
	}
}

func points(all *metricdata.ResourceMetrics) (n int) {
	for _, m := range all.ScopeMetrics[0].Metrics {
		switch d := m.Data.(type) {
		case metricdata.Sum[int64]:
			n += len(d.DataPoints)
		case metricdata.Gauge[int64]:
			n += len(d.DataPoints)
		case metricdata.Sum[float64]:
			n += len(d.DataPoints)
		case metricdata.Gauge[float64]:
			n += len(d.DataPoints)
		}
	}
	return n
}

// BenchmarkOutage is an outage from beginning to end, until all who listen have been told: a call that opens the
// breaker, and one that finds the delay over, is the probe, and closes it. That is three transitions. The spans in which
// the calls are made are in the figure.
func BenchmarkOutage(b *testing.B) {
	for _, c := range []struct {
		name     string
		watch    func(testing.TB, *pipeline, *breaker.Breaker)
		recorded bool
	}{
		{"nothing", func(testing.TB, *pipeline, *breaker.Breaker) {}, false},
		{"metrics", observeMetrics, false},
		{"records", func(_ testing.TB, p *pipeline, cb *breaker.Breaker) {
			cb.Subscribe(logs.NewListener(logs.WithLoggerProvider(p.logs)))
		}, false},
		{"spans-nothing", func(testing.TB, *pipeline, *breaker.Breaker) {}, true},
		{"spans-all", func(tb testing.TB, p *pipeline, cb *breaker.Breaker) { p.observe(tb, cb) }, true},
	} {
		b.Run(c.name, func(b *testing.B) {
			p := newPipeline(b)
			cb := newBreaker(b, breaker.Config{FailureThreshold: 1, RecoveryTimeout: 1})
			c.watch(b, p, cb)
			var tracer trace.Tracer = noop.Tracer{}
			if c.recorded {
				tracer = p.spans.Tracer("benchmark")
			}
			within := func(fn func(context.Context) error) error {
				ctx, span := tracer.Start(context.Background(), "call")
				defer span.End()
				return cb.Do(ctx, fn)
			}
			n := uint64(0)
			b.ReportAllocs()
			for b.Loop() {
				_ = within(failCtx)
				if err := within(succeedCtx); err != nil {
					b.Fatal(err)
				}
				if err := cb.Flush(context.Background()); err != nil {
					b.Fatal(err)
				}
				n++
			}
			if s := cb.Snapshot(); s.Transitions != 3*n || s.EventsDropped != 0 {
				b.Fatalf("%d transitions in %d outages, %d events dropped", s.Transitions, n, s.EventsDropped)
			}
		})
	}
}

// observeMetrics has the metrics of a breaker alone.
func observeMetrics(tb testing.TB, p *pipeline, cb *breaker.Breaker) {
	tb.Helper()
	registration, err := otelcb.Observe(cb, otelcb.WithMeterProvider(p.metrics),
		otelcb.WithTracerProvider(noop.NewTracerProvider()))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = registration.Unregister() })
}

// BenchmarkSpan is a call within a span that is recorded: the bare span, one with a successful call in it, and one with
// a refused call, which leaves an event and a link to the call that opened the breaker.
func BenchmarkSpan(b *testing.B) {
	for _, c := range []struct {
		name string
		call func(testing.TB, *pipeline) func(context.Context) error
	}{
		{"empty", func(testing.TB, *pipeline) func(context.Context) error { return succeedCtx }},
		{"success", func(tb testing.TB, p *pipeline) func(context.Context) error {
			return spanned(tb, p, breaker.Config{}, succeedCtx)
		}},
		{"rejected", func(tb testing.TB, p *pipeline) func(context.Context) error {
			return spanned(tb, p, openConfig, failCtx)
		}},
	} {
		b.Run(c.name, func(b *testing.B) {
			p := newPipeline(b)
			once := c.call(b, p)
			tracer := p.spans.Tracer("benchmark")
			b.ReportAllocs()
			for b.Loop() {
				ctx, span := tracer.Start(context.Background(), "call")
				_ = once(ctx)
				span.End()
			}
		})
	}
}

// spanned gives a call whose breaker is observed; one whose calls fail is opened first, by a call in a span.
func spanned(tb testing.TB, p *pipeline, c breaker.Config, fn func(context.Context) error) func(context.Context) error {
	tb.Helper()
	b := newBreaker(tb, c)
	p.observe(tb, b)
	ctx, span := p.spans.Tracer("benchmark").Start(context.Background(), "opening")
	defer span.End()
	for range failures {
		_ = b.Do(ctx, fn)
	}
	return func(ctx context.Context) error { return b.Do(ctx, fn) }
}
