package otelcb_test

import (
	"context"
	"iter"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/attribute"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/otelbreaker/otelbreaker/breaker"
)

// A source that panics harms neither the process nor the other sources, and keeps no exporter from exporting. It is told
// once, until it is well again.
func TestG07_PanicInASourceHarmsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		errs := handleErrors(t)
		exporter := &exported{t: t}
		provider := sdkmetric.NewMeterProvider(sdkmetric.WithReader(sdkmetric.NewPeriodicReader(exporter)))
		defer func() { _ = provider.Shutdown(context.Background()) }()
		good := newBreaker(t, config())
		var bad atomic.Bool
		observe(t, sourceFunc(func() iter.Seq[*breaker.Breaker] {
			return func(yield func(*breaker.Breaker) bool) {
				if bad.Load() {
					panic("secret")
				}
				yield(nil)
			}
		}), provider)
		observe(t, good, provider)
		for round, reports := range []int{0, 1, 0, 0, 1} {
			bad.Store(round != 0 && round != 3)
			time.Sleep(time.Minute)
			synctest.Wait()
			if len(exporter.all) != round+1 {
				t.Fatalf("round %d: exported %d times", round, len(exporter.all))
			}
			expect(t, exporter.all[round], success(service, endpoint), 0)
			all := errs.take()
			if len(all) != reports {
				t.Errorf("round %d: reported %v, want %d", round, all, reports)
			}
			for _, err := range all {
				if !strings.Contains(err.Error(), "panicked with a string") || strings.Contains(err.Error(), "secret") {
					t.Errorf("reported %v; want that there was a panic, not what it said", err)
				}
			}
		}
	})
}

// exported keeps what a periodic reader exports.
type exported struct {
	sdkmetric.Exporter // for the methods that are not called
	t                  testing.TB
	all                []map[string]float64
}

func (*exported) Temporality(k sdkmetric.InstrumentKind) metricdata.Temporality {
	return sdkmetric.DefaultTemporalitySelector(k)
}

func (*exported) Aggregation(k sdkmetric.InstrumentKind) sdkmetric.Aggregation {
	return sdkmetric.DefaultAggregationSelector(k)
}

func (e *exported) Export(_ context.Context, data *metricdata.ResourceMetrics) error {
	e.all = append(e.all, flatten(e.t, *data))
	return nil
}

func (*exported) Shutdown(context.Context) error { return nil }

// A breaker that was not made by New is foreign as well.
func TestG07_BreakerNotMadeByNewHarmsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		errs := handleErrors(t)
		reader, provider := newReader()
		observe(t, newBreaker(t, config()), provider)
		observe(t, sourceFunc(func() iter.Seq[*breaker.Breaker] {
			return func(yield func(*breaker.Breaker) bool) { yield(&breaker.Breaker{}) }
		}), provider)
		expect(t, collect(t, reader), success(service, endpoint), 0)
		errs.expect(t, "panicked")
	})
}

// A view's filter is foreign code that runs within an observation.
func TestG07_PanicInAViewHarmsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		errs := handleErrors(t)
		bad := true
		reader := sdkmetric.NewManualReader()
		provider := sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader), sdkmetric.WithView(sdkmetric.NewView(
			sdkmetric.Instrument{Name: "circuit_breaker.requests"},
			sdkmetric.Stream{AttributeFilter: func(attribute.KeyValue) bool {
				if bad {
					panic("secret")
				}
				return true
			}},
		)))
		b := newBreaker(t, config())
		observe(t, b, provider)
		call(b, 3, succeed)
		for range 2 { // as often as it was well in between
			bad = true
			collect(t, reader)
			collect(t, reader)
			errs.expect(t, "observing panicked with a string")
			bad = false
			expect(t, collect(t, reader), success(service, endpoint), 3)
		}
	})
}
