package otelcb_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/prometheus/client_golang/prometheus"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/otelbreaker/otelbreaker/breaker"
	"github.com/otelbreaker/otelbreaker/otelcb"
)

// Calls, evictions, and observations that come and go, while a scraped page, two cumulative and two delta readers
// collect, each at its own pace. For none of them may a counter fall from one collection to its next, as long as its
// series is there in both, nor a delta be negative; and what one is shown all in all is never more than there was, and
// all of it where the breaker stays.
func TestG13_CountersAreMonotoneConcurrentSafe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		handleErrors(t)
		exporter, registry := newExporter(t)
		options := []sdkmetric.Option{sdkmetric.WithReader(exporter)}
		shown := []*ledger{{name: "page", read: func() map[string]float64 { return gather(t, registry) }}}
		for i := range 4 {
			var selector []sdkmetric.ManualReaderOption
			if i >= 2 {
				selector = append(selector, sdkmetric.WithTemporalitySelector(deltaTemporality))
			}
			reader := sdkmetric.NewManualReader(selector...)
			options = append(options, sdkmetric.WithReader(reader))
			shown = append(shown, &ledger{name: fmt.Sprintf("reader %d", i), delta: i >= 2, read: func() map[string]float64 {
				var data metricdata.ResourceMetrics
				if err := reader.Collect(context.Background(), &data); err != nil {
					t.Error(err)
				}
				return flatten(t, data)
			}})
		}
		provider := sdkmetric.NewMeterProvider(options...)
		g := newGroup(t, breaker.Config{Service: "hosts", FailureThreshold: 3, RecoveryTimeout: 1}, breaker.WithMaxEndpoints(2))
		observe(t, g, provider)
		constant := newBreaker(t, config()) // has the name of those that come and go
		observe(t, constant, provider)

		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		var working, reading sync.WaitGroup
		made := make([]float64, 4)
		for i := range made {
			working.Go(func() {
				for n := 0; ctx.Err() == nil; n++ {
					b := g.Get(fmt.Sprintf("host-%d", (n/10+i)%5))
					_ = b.Do(context.Background(), func(context.Context) error {
						if n%7 < 3 {
							return errDown
						}
						return nil
					})
					made[i]++
				}
			})
		}
		var twins float64
		working.Go(func() {
			for ctx.Err() == nil {
				twin := newBreaker(t, config())
				r, err := otelcb.Observe(twin, otelcb.WithMeterProvider(provider))
				if err != nil {
					t.Error(err)
					return
				}
				call(twin, 5, succeed)
				twins += 5
				if err := r.Unregister(); err != nil {
					t.Error(err)
				}
			}
		})
		working.Go(func() {
			for ctx.Err() == nil {
				call(constant, 1, succeed)
			}
		})
		for i, l := range shown {
			reading.Go(func() {
				for range 15 - 2*i { // some end early
					l.collect(t)
				}
			})
		}
		reading.Wait()
		stop()
		working.Wait()
		var calls float64
		for _, n := range made {
			calls += n
		}
		for _, l := range shown {
			l.collect(t)
			if got := l.sum("circuit_breaker.requests", "service=hosts"); got > calls || got == 0 {
				t.Errorf("%s was shown %v calls of %v", l.name, got, calls)
			}
			own := float64(constant.Snapshot().Success)
			if got := l.sum("circuit_breaker.requests", "service="+service); got < own || got > own+twins {
				t.Errorf("%s was shown %v calls, want %v, and %v at most of those that came and went", l.name, got, own, twins)
			}
		}
	})
}

// ledger adds up what one reader is shown of counters.
type ledger struct {
	name     string
	delta    bool
	read     func() map[string]float64
	previous map[string]float64
	total    map[string]float64
}

func (l *ledger) collect(t *testing.T) {
	values := l.read()
	if l.total == nil {
		l.total = map[string]float64{}
	}
	for k, v := range values {
		if !strings.HasPrefix(k, "circuit_breaker.requests") && !strings.HasPrefix(k, "circuit_breaker.transitions") &&
			!strings.HasPrefix(k, "circuit_breaker.open{") {
			continue
		}
		if !l.delta {
			v -= l.previous[k] // 0 where its series was not there
		}
		// The SDK's own arithmetic of seconds is that of floating point.
		if v < 0 && !(strings.HasPrefix(k, "circuit_breaker.open{") && v > -1e-9) {
			t.Errorf("%s: %s fell by %v", l.name, k, -v)
		}
		l.total[k] += v
	}
	l.previous = values
}

func (l *ledger) sum(metric, label string) (sum float64) {
	for k, v := range l.total {
		if strings.HasPrefix(k, metric) && strings.Contains(k, label) {
			sum += v
		}
	}
	return sum
}

// gather is collect for what Prometheus scrapes, under the names of the instruments.
func gather(t *testing.T, registry *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Error(err)
	}
	values := map[string]float64{}
	for _, f := range families {
		name := strings.NewReplacer("circuit_breaker_", "circuit_breaker.", "_total", "", "_seconds", "").Replace(f.GetName())
		for _, m := range f.GetMetric() {
			var pairs []string
			for _, l := range m.GetLabel() {
				pairs = append(pairs, l.GetName()+"="+l.GetValue())
			}
			if m.GetCounter() != nil {
				values[name+"{"+strings.Join(pairs, ",")+"}"] = m.GetCounter().GetValue()
			}
		}
	}
	return values
}
