package otelcb_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/otelbreaker/otelbreaker/breaker"
	"github.com/otelbreaker/otelbreaker/otelcb"
)

// Calls, evictions, and observations that come and go, while two readers collect: no counter may fall from one
// collection of a reader to its next, as long as its series is there in both.
func TestG13_CountersAreMonotoneConcurrentSafe(t *testing.T) {
	handleErrors(t)
	readers := []*sdkmetric.ManualReader{sdkmetric.NewManualReader(), sdkmetric.NewManualReader()}
	provider := sdkmetric.NewMeterProvider(sdkmetric.WithReader(readers[0]), sdkmetric.WithReader(readers[1]))
	g := newGroup(t, breaker.Config{Service: service, FailureThreshold: 3, RecoveryTimeout: 1}, breaker.WithMaxEndpoints(2))
	observe(t, g, provider)
	constant := newBreaker(t, config()) // has the name of those that come and go
	observe(t, constant, provider)

	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var working, reading sync.WaitGroup
	for i := range 4 {
		working.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				b := g.Get(fmt.Sprintf("host-%d", (n/10+i)%3))
				_ = b.Do(ctx, func(context.Context) error {
					if n%7 < 3 {
						return errDown
					}
					return nil
				})
			}
		})
	}
	working.Go(func() {
		for ctx.Err() == nil {
			twin := newBreaker(t, config())
			r, err := otelcb.Observe(twin, otelcb.WithMeterProvider(provider))
			if err != nil {
				t.Error(err)
				return
			}
			call(twin, 5, succeed)
			if err := r.Unregister(); err != nil {
				t.Error(err)
			}
		}
	})
	for _, reader := range readers {
		reading.Go(func() {
			previous := map[string]float64{}
			for range 100 {
				var data metricdata.ResourceMetrics
				if err := reader.Collect(context.Background(), &data); err != nil {
					t.Error(err)
				}
				values := flatten(t, data)
				for k, v := range values {
					// Hosts may be absent in a collection of the other reader, which ends their series.
					counter := strings.HasPrefix(k, "circuit_breaker.requests") || strings.HasPrefix(k, "circuit_breaker.transitions")
					if counter && strings.Contains(k, "endpoint="+endpoint) && v < previous[k] {
						t.Errorf("%s fell from %v to %v", k, previous[k], v)
					}
				}
				previous = values
			}
		})
	}
	reading.Wait()
	stop()
	working.Wait()
}
