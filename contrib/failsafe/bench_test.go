package failsafe_test

import (
	"testing"

	peer "github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/circuitbreaker"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"

	"github.com/otelbreaker/otelbreaker/contrib/failsafe"
	"github.com/otelbreaker/otelbreaker/otelcb"
)

// BenchmarkCall shows what the adapter costs beside the bare peer: calls that succeed, fail, and are refused, alone and
// through an executor.
func BenchmarkCall(b *testing.B) {
	const never = 1 << 16
	adapted := mustBuild(b, failsafe.NewBuilder[int]().WithFailureThreshold(never))
	r, err := otelcb.Observe(adapted, otelcb.WithMeterProvider(sdkmetric.NewMeterProvider(sdkmetric.WithReader(sdkmetric.NewManualReader()))))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = r.Unregister() })
	bare := circuitbreaker.NewBuilder[int]().WithFailureThreshold(never).Build()
	bareOpen, adaptedOpen := circuitbreaker.NewBuilder[int]().Build(), mustBuild(b, failsafe.NewBuilder[int]())
	bareOpen.Open()
	adaptedOpen.Open()
	for _, c := range []struct {
		name string
		cb   circuitbreaker.CircuitBreaker[int]
		err  error
	}{
		{"succeeds/bare", bare, nil}, {"succeeds/adapted", adapted, nil}, {"fails/bare", bare, errDown}, {"fails/adapted", adapted, errDown},
		{"refused/bare", bareOpen, nil}, {"refused/adapted", adaptedOpen, nil},
	} {
		b.Run(c.name+", alone", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if c.cb.TryAcquirePermit() {
					c.cb.RecordError(c.err)
				}
			}
		})
		b.Run(c.name+", executor", func(b *testing.B) {
			executor := peer.With[int](c.cb)
			b.ReportAllocs()
			for b.Loop() {
				_, _ = executor.Get(func() (int, error) { return 1, c.err })
			}
		})
	}
}
