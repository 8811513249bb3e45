package otelcb_test

import (
	"context"
	"fmt"
	"math"
	"sync/atomic"
	"testing"
	"time"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/otelbreaker/otelbreaker/breaker"
	"github.com/otelbreaker/otelbreaker/otelcb"
)

// unrecorded is a context whose span is there, but not sampled.
func unrecorded() context.Context {
	p := sdktrace.NewTracerProvider(sdktrace.WithSampler(sdktrace.NeverSample()))
	ctx, span := p.Tracer("test").Start(context.Background(), "call")
	span.End() // it records nothing before that either
	return ctx
}

func TestObservationAllocatesNothingOnCalls(t *testing.T) {
	_, provider := newReader()
	closed, open := newBreaker(t, config()), newBreaker(t, breaker.Config{Service: "open"})
	open.ForceOpen("")
	observe(t, closed, provider)
	observe(t, open, provider)
	for name, ctx := range map[string]context.Context{"no span": context.Background(), "not sampled": unrecorded()} {
		for state, b := range map[string]*breaker.Breaker{"closed": closed, "blocked": open} {
			if n := testing.AllocsPerRun(100, func() { _ = b.Do(ctx, succeed) }); n != 0 {
				t.Errorf("%s, %s: %v allocations a call", state, name, n)
			}
		}
	}
}

// BenchmarkDo shows what observation costs a call: the breaker with and without it, and the least that counting a call
// can cost.
func BenchmarkDo(b *testing.B) {
	ctx := context.Background()
	var count atomic.Uint64
	b.Run("atomic-add", func(b *testing.B) {
		for b.Loop() {
			count.Add(1)
		}
	})
	b.Run("bare", func(b *testing.B) {
		br := newBreaker(b, config())
		b.ReportAllocs()
		for b.Loop() {
			_ = br.Do(ctx, succeed)
		}
	})
	b.Run("observed", func(b *testing.B) {
		_, provider := newReader()
		br := newBreaker(b, config())
		observe(b, br, provider)
		b.ReportAllocs()
		for b.Loop() {
			_ = br.Do(ctx, succeed)
		}
	})
	b.Run("observed-and-collected", func(b *testing.B) {
		reader, provider := newReader()
		br := newBreaker(b, config())
		observe(b, br, provider)
		stop, stopped := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(stopped)
			var data metricdata.ResourceMetrics
			for {
				select {
				case <-stop:
					return
				case <-time.After(10 * time.Millisecond):
					_ = reader.Collect(ctx, &data)
				}
			}
		}()
		b.ReportAllocs()
		for b.Loop() {
			_ = br.Do(ctx, succeed)
		}
		close(stop)
		<-stopped
	})
}

// BenchmarkBlocked is a blocked call, which a trace wants to know of, where there is no trace that is recorded.
func BenchmarkBlocked(b *testing.B) {
	for _, c := range []struct {
		name     string
		ctx      context.Context
		observed bool
	}{
		{"bare", context.Background(), false},
		{"observed-no-span", context.Background(), true},
		{"observed-span-not-sampled", unrecorded(), true},
	} {
		b.Run(c.name, func(b *testing.B) {
			_, provider := newReader()
			br := newBreaker(b, config())
			if c.observed {
				observe(b, br, provider)
			}
			br.ForceOpen("")
			b.ReportAllocs()
			for b.Loop() {
				_ = br.Do(c.ctx, succeed)
			}
		})
	}
}

// Our part of a collection is a small one of the SDK's, which it may not be more than a quarter of. The fastest of some
// rounds counts, for whatever disturbs a round makes it slower.
func TestACollectionIsTheSDKsWork(t *testing.T) {
	const breakers, rounds, times = 100, 6, 3
	sdk, ours := collections(t, breakers)
	fastest := func(collect func()) time.Duration {
		least := time.Duration(math.MaxInt64)
		for range rounds {
			start := time.Now()
			for range times {
				collect()
			}
			least = min(least, time.Since(start))
		}
		return least
	}
	sdk() // takes down what is observed
	if theirs, own := fastest(sdk), fastest(ours); 4*own > theirs {
		t.Errorf("a collection takes %v of our time, beside %v of the SDK's for the same observations", own/times, theirs/times)
	}
}

// BenchmarkCollect shows what a collection of so many breakers takes: in all, what the SDK takes for the same
// observations, and our part alone, where observations go nowhere.
func BenchmarkCollect(b *testing.B) {
	for _, breakers := range []int{1, 100, 1000} {
		b.Run(fmt.Sprintf("breakers=%d/all", breakers), func(b *testing.B) {
			reader, provider := newUnlimitedReader()
			observe(b, groupOf(b, breakers), provider, otelcb.WithCardinalityLimit(0))
			benchmarkCollect(b, breakers, collecting(b, reader))
		})
		sdk, ours := collections(b, breakers)
		b.Run(fmt.Sprintf("breakers=%d/sdk", breakers), func(b *testing.B) { benchmarkCollect(b, breakers, sdk) })
		b.Run(fmt.Sprintf("breakers=%d/ours", breakers), func(b *testing.B) { benchmarkCollect(b, breakers, ours) })
	}
}

func groupOf(tb testing.TB, breakers int) *breaker.Group {
	g := newGroup(tb, breaker.Config{Service: service}, breaker.WithMaxEndpoints(breakers))
	for i := range breakers {
		g.Get(fmt.Sprintf("host-%d", i))
	}
	return g
}

// collections gives the two parts of a collection: the SDK's, and ours.
func collections(tb testing.TB, breakers int) (sdk, ours func()) {
	g := groupOf(tb, breakers)
	reader, provider := newUnlimitedReader()
	var meter callbackMeter
	for _, p := range []metric.MeterProvider{replayProvider{provider}, callbackProvider{meter: &meter}} {
		r, err := otelcb.Observe(g, otelcb.WithMeterProvider(p), otelcb.WithCardinalityLimit(0))
		if err != nil {
			tb.Fatal(err)
		}
		tb.Cleanup(func() { _ = r.Unregister() })
	}
	return collecting(tb, reader), func() {
		if err := meter.callback(context.Background(), noop.Observer{}); err != nil {
			tb.Fatal(err)
		}
	}
}

func collecting(tb testing.TB, reader *sdkmetric.ManualReader) func() {
	var data metricdata.ResourceMetrics
	return func() {
		if err := reader.Collect(context.Background(), &data); err != nil {
			tb.Fatal(err)
		}
	}
}

func benchmarkCollect(b *testing.B, breakers int, collect func()) {
	b.ReportAllocs()
	for b.Loop() {
		collect()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(breakers), "ns/breaker")
}

// callbackProvider takes the callback and nothing else.
type callbackProvider struct {
	noop.MeterProvider
	meter *callbackMeter
}

func (p callbackProvider) Meter(string, ...metric.MeterOption) metric.Meter { return p.meter }

type callbackMeter struct {
	noop.Meter
	callback metric.Callback
}

func (m *callbackMeter) RegisterCallback(f metric.Callback, _ ...metric.Observable) (metric.Registration, error) {
	m.callback = f
	return noop.Registration{}, nil
}

// replayProvider takes down what a callback observes the first time, and observes just that from then on.
type replayProvider struct{ metric.MeterProvider }

func (p replayProvider) Meter(name string, options ...metric.MeterOption) metric.Meter {
	return replayMeter{p.MeterProvider.Meter(name, options...)}
}

type replayMeter struct{ metric.Meter }

func (m replayMeter) RegisterCallback(f metric.Callback, all ...metric.Observable) (metric.Registration, error) {
	var taken []func(metric.Observer)
	return m.Meter.RegisterCallback(func(ctx context.Context, o metric.Observer) error {
		if taken == nil {
			if err := f(ctx, observerFunc{add: func(one func(metric.Observer)) { taken = append(taken, one) }}); err != nil {
				return err
			}
		}
		for _, one := range taken {
			one(o)
		}
		return nil
	}, all...)
}

type observerFunc struct {
	noop.Observer
	add func(func(metric.Observer))
}

func (f observerFunc) ObserveInt64(i metric.Int64Observable, v int64, options ...metric.ObserveOption) {
	f.add(func(o metric.Observer) { o.ObserveInt64(i, v, options...) })
}

func (f observerFunc) ObserveFloat64(i metric.Float64Observable, v float64, options ...metric.ObserveOption) {
	f.add(func(o metric.Observer) { o.ObserveFloat64(i, v, options...) })
}
