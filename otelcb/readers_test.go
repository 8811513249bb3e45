package otelcb_test

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/otelbreaker/otelbreaker/breaker"
	"github.com/otelbreaker/otelbreaker/otelcb"
)

// A breaker goes and comes back, and some readers collect in between while others do not. Each gets every call once:
// who saw the series end sees another begin, for the others it goes on.
func TestG13_EachReaderSeesTheSeriesThatItCollected(t *testing.T) {
	delta := sdkmetric.WithTemporalitySelector(deltaTemporality)
	prompt, late := sdkmetric.NewManualReader(), sdkmetric.NewManualReader()
	promptDelta, lateDelta := sdkmetric.NewManualReader(delta), sdkmetric.NewManualReader(delta)
	first := sdkmetric.NewManualReader() // collects but once, at the end
	var options []sdkmetric.Option
	for _, r := range []*sdkmetric.ManualReader{prompt, late, promptDelta, lateDelta, first} {
		options = append(options, sdkmetric.WithReader(r))
	}
	provider := sdkmetric.NewMeterProvider(options...)
	g := newGroup(t, breaker.Config{Service: service}, breaker.WithMaxEndpoints(1))
	observe(t, g, provider)

	var allInAll float64 // of cumulative readers that saw no end
	for round := range 5 {
		call(g.Get("a"), 7, succeed)
		allInAll += 7
		for _, r := range []*sdkmetric.ManualReader{prompt, promptDelta, lateDelta} {
			want := 7.0
			if round > 0 {
				want += 3
			}
			if r == lateDelta && round > 0 {
				want += 2 // which it has not been told of yet
			}
			expect(t, collect(t, r), success(service, "a"), want)
		}
		expect(t, collect(t, late), success(service, "a"), allInAll)

		call(g.Get("a"), 2, succeed) // of these, who collects only after the breaker has gone never hears
		call(g.Get("b"), 1, succeed)
		for _, r := range []*sdkmetric.ManualReader{prompt, promptDelta} {
			values := collect(t, r)
			expect(t, values, success(service, "b"), 1)
			expectNone(t, values, "endpoint=a")
			runtime.GC() // so that there is nothing left of it
		}
		call(g.Get("a"), 3, succeed) // anew
		allInAll += 2 + 3
	}
	expect(t, collect(t, prompt), success(service, "a"), 3)
	expect(t, collect(t, promptDelta), success(service, "a"), 3)
	expect(t, collect(t, late), success(service, "a"), allInAll)
	expect(t, collect(t, lateDelta), success(service, "a"), 2+3)
	expect(t, collect(t, first), success(service, "a"), allInAll)
}

// The same breaker, observed again after its series had ended.
func TestG13_ObservedAgainCountsNothingTwice(t *testing.T) {
	for _, temporality := range []metricdata.Temporality{metricdata.CumulativeTemporality, metricdata.DeltaTemporality} {
		t.Run(temporality.String(), func(t *testing.T) {
			reader, provider := newReader(sdkmetric.WithTemporalitySelector(
				func(sdkmetric.InstrumentKind) metricdata.Temporality { return temporality }))
			b, other := newBreaker(t, config()), newBreaker(t, breaker.Config{Service: "other"})
			observe(t, other, provider)
			r := observe(t, b, provider)
			call(b, 3, succeed)
			expect(t, collect(t, reader), success(service, endpoint), 3)
			if err := r.Unregister(); err != nil {
				t.Fatal(err)
			}
			expectNone(t, collect(t, reader), "service="+service)
			observe(t, b, provider)
			call(b, 2, succeed)
			expect(t, collect(t, reader), success(service, endpoint), 2)
		})
	}
}

// What a program says of its own of a metric by views holds for these as for any.
func TestViewsWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		view := func(name string, s sdkmetric.Stream) sdkmetric.Option {
			return sdkmetric.WithView(sdkmetric.NewView(sdkmetric.Instrument{Name: "circuit_breaker." + name}, s))
		}
		reader := sdkmetric.NewManualReader()
		provider := sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader),
			view("state", sdkmetric.Stream{Name: "cb.state"}),
			view("requests", sdkmetric.Stream{AttributeFilter: attribute.NewDenyKeysFilter("endpoint")}),
			view("recovery.duration", sdkmetric.Stream{
				Aggregation: sdkmetric.AggregationBase2ExponentialHistogram{MaxSize: 160, MaxScale: 20}}),
			view("transitions", sdkmetric.Stream{Aggregation: sdkmetric.AggregationDrop{}}),
			view("would_*", sdkmetric.Stream{Aggregation: sdkmetric.AggregationDrop{}}),
		)
		errs := handleErrors(t)
		c := breaker.Config{Service: service, FailureThreshold: 2, RecoveryTimeout: config().RecoveryTimeout}
		g := newGroup(t, c)
		observe(t, g, provider)
		for _, name := range []string{"a", "b"} {
			outage(g.Get(name), c)
			flush(t, g.Get(name))
		}
		var data metricdata.ResourceMetrics
		if err := reader.Collect(context.Background(), &data); err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, m := range data.ScopeMetrics[0].Metrics {
			names = append(names, m.Name)
			switch d := m.Data.(type) {
			case metricdata.ExponentialHistogram[float64]:
				if len(d.DataPoints) != 2 || d.DataPoints[0].Count != 1 || d.DataPoints[0].Sum != 10 {
					t.Errorf("the recoveries are %+v", d.DataPoints)
				}
			case metricdata.Sum[int64]:
				if m.Name != "circuit_breaker.requests" {
					continue
				}
				for _, p := range d.DataPoints { // of both endpoints
					want := map[string]int64{
						"outcome=success,service=payments": 2, "outcome=failure,service=payments": 4,
						"outcome=blocked,service=payments": 0, "outcome=ignored,service=payments": 0,
					}
					if v, found := want[labels(p.Attributes)]; !found || p.Value != v {
						t.Errorf("requests{%s} is %d, want %d", labels(p.Attributes), p.Value, v)
					}
				}
			}
		}
		slices.Sort(names)
		want := []string{"cb.state", "circuit_breaker.events_dropped", "circuit_breaker.failures.current",
			"circuit_breaker.last_failure_time", "circuit_breaker.open", "circuit_breaker.override",
			"circuit_breaker.recovery.duration", "circuit_breaker.requests"}
		if !slices.Equal(names, want) {
			t.Errorf("there are %v, want %v", names, want)
		}
		synctest.Wait()
		if all := errs.take(); len(all) != 0 {
			t.Errorf("reported %v", all)
		}
	})
}

// The SDK lumps together without a word what is beyond its limit: that is reported, when it happens and not before.
func TestG12_PassingTheSDKsLimitIsReported(t *testing.T) {
	for _, c := range []struct {
		name     string
		groups   int // of 111 endpoints
		one      int // endpoints of one more
		options  []sdkmetric.Option
		told     []otelcb.Option
		says     *int
		overflow bool
		reports  int
	}{
		{"just below", 3, 0, nil, nil, nil, false, 0},
		{"just beyond", 3, 1, nil, nil, nil, true, 1},
		{"raised, which Observe does not know", 3, 1,
			[]sdkmetric.Option{sdkmetric.WithCardinalityLimit(10_000)}, nil, nil, false, 1},
		{"raised", 3, 1, []sdkmetric.Option{sdkmetric.WithCardinalityLimit(10_000)},
			[]otelcb.Option{otelcb.WithCardinalityLimit(10_000)}, nil, false, 0},
		{"raised, and the provider says so", 3, 1, []sdkmetric.Option{sdkmetric.WithCardinalityLimit(10_000)},
			nil, new(10_000), false, 0},
		{"raised too little", 3, 1, []sdkmetric.Option{sdkmetric.WithCardinalityLimit(2004)},
			[]otelcb.Option{otelcb.WithCardinalityLimit(2004)}, nil, true, 1},
		{"without limit", 4, 0, []sdkmetric.Option{sdkmetric.WithCardinalityLimit(0)},
			[]otelcb.Option{otelcb.WithCardinalityLimit(0)}, nil, false, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				errs := handleErrors(t)
				reader := sdkmetric.NewManualReader()
				provider := sdkmetric.NewMeterProvider(append(c.options, sdkmetric.WithReader(reader))...)
				by := metric.MeterProvider(provider)
				if c.says != nil {
					by = saying{provider, *c.says}
				}
				for i := range c.groups + 1 {
					endpoints := 111
					if i == c.groups {
						endpoints = c.one
					}
					g := newGroup(t, breaker.Config{Service: fmt.Sprintf("service-%d", i)})
					r, err := otelcb.Observe(g, append(c.told, otelcb.WithMeterProvider(by))...)
					if err != nil {
						t.Fatal(err)
					}
					defer func() { _ = r.Unregister() }()
					for k := range endpoints {
						g.Get(fmt.Sprintf("host-%d", k))
					}
				}
				for range 2 {
					overflow := false
					for k := range collect(t, reader) {
						overflow = overflow || strings.Contains(k, "otel.metric.overflow")
					}
					if overflow != c.overflow {
						t.Errorf("overflow: %t, want %t", overflow, c.overflow)
					}
				}
				synctest.Wait()
				all := errs.take()
				if len(all) != c.reports {
					t.Fatalf("reported %v, want %d", all, c.reports)
				}
				for _, err := range all {
					if !strings.HasPrefix(err.Error(), "otelcb: circuit_breaker.transitions has 2004 series, ") {
						t.Errorf("reported %v", err)
					}
				}
			})
		})
	}
}

// saying is a provider that tells its limit.
type saying struct {
	*sdkmetric.MeterProvider
	limit int
}

func (p saying) CardinalityLimit() int { return p.limit }

// The recovery histogram stays when its breaker goes, so hosts that come, fail, recover and go add up in it.
func TestG12_PassingTheLimitByRecoveriesIsReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit = 50
		errs := handleErrors(t)
		reader := sdkmetric.NewManualReader()
		provider := sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader), sdkmetric.WithCardinalityLimit(limit))
		g := newGroup(t, breaker.Config{Service: service}, breaker.WithMaxEndpoints(4))
		observe(t, g, provider, otelcb.WithCardinalityLimit(limit))
		for i := range limit + 5 {
			b := g.Get(fmt.Sprintf("host-%d", i))
			for range 2 { // each once, however often it recovers
				b.ForceOpen("drill")
				b.Reset()
			}
			flush(t, b)
			synctest.Wait()
			overflow := false
			for k := range collect(t, reader) {
				overflow = overflow || strings.HasPrefix(k, "circuit_breaker.recovery.duration{otel.metric.overflow")
			}
			synctest.Wait()
			if all := errs.take(); overflow != (i+1 >= limit) || len(all) != 0 != (i+1 == limit) {
				t.Fatalf("after %d: overflow %t, reported %v", i+1, overflow, all)
			}
		}
	})
}

func TestObserveRefusesANegativeLimit(t *testing.T) {
	_, provider := newReader()
	_, err := otelcb.Observe(newBreaker(t, config()), otelcb.WithMeterProvider(provider), otelcb.WithCardinalityLimit(-1))
	if err == nil || err.Error() != "otelcb: WithCardinalityLimit is -1: allowed is 0, for none, or more" {
		t.Errorf("gave %v", err)
	}
}
