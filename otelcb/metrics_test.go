package otelcb_test

import (
	"context"
	"math"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/otelbreaker/otelbreaker/breaker"
	"github.com/otelbreaker/otelbreaker/otelcb"
)

const service, endpoint = "payments", "https://pay.example:8443"

func config() breaker.Config {
	return breaker.Config{
		Service: service, Endpoint: endpoint, FailureThreshold: 2, RecoveryTimeout: 10 * time.Second,
	}
}

// outage has b open by failures, and closed again by a probe the moment it is half-open.
func outage(b *breaker.Breaker, c breaker.Config) {
	call(b, c.FailureThreshold, fail)
	time.Sleep(c.RecoveryTimeout)
	call(b, 1, succeed)
}

// The instruments are an interface: rules, dashboards and other people's queries are written against them.
func TestInstruments(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reader, provider := newReader()
		c := config()
		c.SlowCallDuration = time.Second
		b := newBreaker(t, c)
		observe(t, b, provider)
		outage(b, c)
		flush(t, b)

		type instrument struct {
			kind, unit string
			series     int
		}
		want := map[string]instrument{
			"circuit_breaker.state":             {"gauge", "", 1},
			"circuit_breaker.transitions":       {"monotonic sum", "{transition}", 6},
			"circuit_breaker.requests":          {"monotonic sum", "{request}", 4},
			"circuit_breaker.recovery.duration": {"histogram", "s", 1},
			"circuit_breaker.failures.current":  {"gauge", "{failure}", 1},
			"circuit_breaker.last_failure_time": {"gauge", "", 1},
			"circuit_breaker.open":              {"monotonic sum", "s", 1},
			"circuit_breaker.slow_calls":        {"monotonic sum", "{request}", 1},
			"circuit_breaker.override":          {"gauge", "", 1},
			"circuit_breaker.would_open":        {"monotonic sum", "{transition}", 1},
			"circuit_breaker.would_block":       {"monotonic sum", "{request}", 1},
			"circuit_breaker.events_dropped":    {"monotonic sum", "{event}", 1},
		}
		var data metricdata.ResourceMetrics
		if err := reader.Collect(context.Background(), &data); err != nil {
			t.Fatal(err)
		}
		if len(data.ScopeMetrics) != 1 {
			t.Fatalf("%d scopes, want 1", len(data.ScopeMetrics))
		}
		scope := data.ScopeMetrics[0].Scope
		if scope.Name != otelcb.ScopeName || scope.Version != otelcb.Version {
			t.Errorf("scope is %s %s", scope.Name, scope.Version)
		}
		for _, m := range data.ScopeMetrics[0].Metrics {
			var got instrument
			got.unit = m.Unit
			sum := func(monotonic bool, n int) {
				got.kind, got.series = "sum", n
				if monotonic {
					got.kind = "monotonic sum"
				}
			}
			switch d := m.Data.(type) {
			case metricdata.Sum[int64]:
				sum(d.IsMonotonic, len(d.DataPoints))
			case metricdata.Sum[float64]:
				sum(d.IsMonotonic, len(d.DataPoints))
			case metricdata.Gauge[int64]:
				got.kind, got.series = "gauge", len(d.DataPoints)
			case metricdata.Gauge[float64]:
				got.kind, got.series = "gauge", len(d.DataPoints)
			case metricdata.Histogram[float64]:
				got.kind, got.series = "histogram", len(d.DataPoints)
			}
			if got != want[m.Name] {
				t.Errorf("%s is %+v, want %+v", m.Name, got, want[m.Name])
			}
			if m.Description == "" {
				t.Errorf("%s has no description", m.Name)
			}
			delete(want, m.Name)
		}
		for name := range want {
			t.Errorf("%s is missing", name)
		}
	})
}

func TestG13_SeriesStandAtZeroFromCreation(t *testing.T) {
	reader, provider := newReader()
	b := newBreaker(t, config())
	observe(t, b, provider)
	values := collect(t, reader)
	for _, from := range []string{"closed", "half_open", "open"} {
		for _, to := range []string{"closed", "half_open", "open"} {
			k := key("transitions", service, endpoint, "from_state="+from, "to_state="+to)
			if from != to {
				expect(t, values, k, 0)
			} else {
				expectNone(t, values, k)
			}
		}
	}
	for _, outcome := range []string{"success", "failure", "blocked", "ignored"} {
		expect(t, values, key("requests", service, endpoint, "outcome="+outcome), 0)
	}
	for _, name := range []string{
		"state", "failures.current", "open", "override", "would_open", "would_block", "events_dropped",
	} {
		expect(t, values, key(name, service, endpoint), 0)
	}
	expectNone(t, values, "last_failure_time")
	expectNone(t, values, "slow_calls")
	expectNone(t, values, "recovery")
}

// Nothing but time passes between the collections: no call, no event.
func TestG13_StateAndOpenSecondsAreTrueWithoutTraffic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reader, provider := newReader()
		c := config()
		b := newBreaker(t, c)
		observe(t, b, provider)
		time.Sleep(time.Minute)
		failed := time.Now()
		call(b, 2, fail)
		for _, step := range []struct {
			after       time.Duration
			state, open float64
		}{
			{0, 2, 0}, {4 * time.Second, 2, 4}, {5999 * time.Millisecond, 2, 9.999}, {time.Millisecond, 1, 10}, {time.Hour, 1, 10},
		} {
			time.Sleep(step.after)
			synctest.Wait()
			values := collect(t, reader)
			expect(t, values, key("state", service, endpoint), step.state)
			expect(t, values, key("open", service, endpoint), step.open)
			expect(t, values, key("last_failure_time", service, endpoint), float64(failed.UnixMilli())/1000)
			expect(t, values, key("failures.current", service, endpoint), 2)
		}
		call(b, 1, fail)
		time.Sleep(3 * time.Second)
		values := collect(t, reader)
		expect(t, values, key("open", service, endpoint), 13)
		expect(t, values, key("transitions", service, endpoint, "from_state=half_open", "to_state=open"), 1)
	})
}

func TestG13_EveryOutcomeAndEdgeIsCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reader, provider := newReader()
		c := config()
		c.SlowCallDuration = time.Second
		b := newBreaker(t, c)
		observe(t, b, provider)
		call(b, 3, succeed)
		call(b, 1, func(context.Context) error { time.Sleep(2 * time.Second); return nil })
		cancelled, cancel := context.WithCancel(context.Background())
		cancel()
		_ = b.Do(cancelled, func(ctx context.Context) error { return ctx.Err() })
		outage(b, c)
		call(b, 2, fail)
		call(b, 5, succeed) // blocked
		b.ForceOpen("drill")
		values := collect(t, reader)
		expect(t, values, key("override", service, endpoint), 1)
		b.Reset()

		values = collect(t, reader)
		for outcome, want := range map[string]float64{"success": 5, "failure": 4, "blocked": 5, "ignored": 1} {
			expect(t, values, key("requests", service, endpoint, "outcome="+outcome), want)
		}
		for edge, want := range map[[2]string]float64{
			{"closed", "open"}: 2, {"open", "half_open"}: 1, {"half_open", "closed"}: 1, {"open", "closed"}: 1,
			{"half_open", "open"}: 0, {"closed", "half_open"}: 0,
		} {
			expect(t, values, key("transitions", service, endpoint, "from_state="+edge[0], "to_state="+edge[1]), want)
		}
		expect(t, values, key("slow_calls", service, endpoint), 1)
		expect(t, values, key("override", service, endpoint), 0)
	})
}

func TestG13_ShadowModeIsCountedApart(t *testing.T) {
	reader, provider := newReader()
	c := config()
	b := newBreaker(t, c)
	observe(t, b, provider)
	b.Disable("trying thresholds")
	call(b, 2, fail)
	call(b, 3, succeed)
	values := collect(t, reader)
	expect(t, values, key("override", service, endpoint), 2)
	expect(t, values, key("state", service, endpoint), 0)
	expect(t, values, key("would_open", service, endpoint), 1)
	expect(t, values, key("would_block", service, endpoint), 3)
	expect(t, values, key("requests", service, endpoint, "outcome=blocked"), 0)
	expect(t, values, key("transitions", service, endpoint, "from_state=closed", "to_state=open"), 0)
	expect(t, values, key("open", service, endpoint), 0)
}

func TestG13_DroppedEventsAreCounted(t *testing.T) {
	reader, provider := newReader()
	b := newBreaker(t, config())
	observe(t, b, provider)
	release := make(chan struct{})
	defer b.Subscribe(breaker.ListenerFunc(func(breaker.Event) { <-release }))()
	defer close(release)
	for range 2000 {
		b.ForceOpen("")
		b.Reset()
	}
	dropped := collect(t, reader)[key("events_dropped", service, endpoint)]
	if want := float64(b.Snapshot().EventsDropped); dropped == 0 || dropped != want {
		t.Errorf("%v events dropped, want %v, which is not 0", dropped, want)
	}
}

// A counter that is there once stays, whatever becomes of the configuration.
func TestG13_SlowCallsStayAfterReconfigure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reader, provider := newReader()
		c := config()
		c.SlowCallDuration = time.Second
		b := newBreaker(t, c)
		observe(t, b, provider)
		call(b, 1, func(context.Context) error { time.Sleep(2 * time.Second); return nil })
		c.SlowCallDuration = 0
		if err := b.Reconfigure(c); err != nil {
			t.Fatal(err)
		}
		expect(t, collect(t, reader), key("slow_calls", service, endpoint), 1)
	})
}

func TestRecoveryDuration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reader, provider := newReader()
		c := config()
		b := newBreaker(t, c)
		observe(t, b, provider)
		call(b, 2, fail)
		time.Sleep(c.RecoveryTimeout)
		call(b, 1, fail) // reopened
		time.Sleep(c.RecoveryTimeout + time.Second)
		call(b, 1, succeed)
		flush(t, b)

		var data metricdata.ResourceMetrics
		if err := reader.Collect(context.Background(), &data); err != nil {
			t.Fatal(err)
		}
		h := histogram(t, data)
		want := []float64{0.1, 0.25, 0.5, 1.5, 2.5, 7.5, 15.5, 30.5, 60.5, 120.5, 300.5, 600.5, 1800.5}
		if !slices.Equal(h.Bounds, want) {
			t.Errorf("bounds are %v, want %v", h.Bounds, want)
		}
		for _, bound := range h.Bounds {
			if bound == math.Trunc(bound) {
				t.Errorf("the bound %v is a whole number", bound)
			}
		}
		if h.Count != 1 || h.Sum != 21 || h.BucketCounts[7] != 1 {
			t.Errorf("count %d, sum %v, buckets %v; want one of 21 s", h.Count, h.Sum, h.BucketCounts)
		}
		if got := labels(h.Attributes); got != "endpoint="+endpoint+",service="+service {
			t.Errorf("labels are %s", got)
		}
	})
}

func histogram(t *testing.T, data metricdata.ResourceMetrics) metricdata.HistogramDataPoint[float64] {
	t.Helper()
	for _, scope := range data.ScopeMetrics {
		for _, m := range scope.Metrics {
			if h, ok := m.Data.(metricdata.Histogram[float64]); ok && len(h.DataPoints) == 1 {
				return h.DataPoints[0]
			}
		}
	}
	t.Fatal("there is no histogram with one series")
	return metricdata.HistogramDataPoint[float64]{}
}

func TestG13_DeltaReaderGetsEveryCallOnce(t *testing.T) {
	reader, provider := newReader(sdkmetric.WithTemporalitySelector(deltaTemporality))
	g := newGroup(t, breaker.Config{Service: service}, breaker.WithMaxEndpoints(1))
	observe(t, g, provider)
	success := func(name string) string { return key("requests", service, name, "outcome=success") }

	call(g.Get("a"), 7, succeed)
	expect(t, collect(t, reader), success("a"), 7)
	call(g.Get("a"), 2, succeed)
	expect(t, collect(t, reader), success("a"), 2)

	call(g.Get("b"), 1, succeed) // there is room for one, so a goes
	values := collect(t, reader)
	expect(t, values, success("b"), 1)
	expectNone(t, values, "endpoint=a")
	call(g.Get("a"), 3, succeed) // a comes back, anew
	expect(t, collect(t, reader), success("a"), 3)
}
