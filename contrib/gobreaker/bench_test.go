package gobreaker_test

import (
	"context"
	"testing"

	peer "github.com/sony/gobreaker/v2"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"

	"github.com/otelbreaker/otelbreaker/otelcb"
)

// BenchmarkCall shows what the adapter costs beside the bare peer: calls that succeed, fail, and are refused.
func BenchmarkCall(b *testing.B) {
	never := func(peer.Counts) bool { return false }
	bare, adapted := peer.NewCircuitBreaker[int](peer.Settings{ReadyToTrip: never}), mustNew(b, peer.Settings{ReadyToTrip: never})
	r, err := otelcb.Observe(adapted, otelcb.WithMeterProvider(sdkmetric.NewMeterProvider(sdkmetric.WithReader(sdkmetric.NewManualReader()))))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = r.Unregister() })
	open, adaptedOpen := peer.NewCircuitBreaker[int](peer.Settings{ReadyToTrip: atOnce}), mustNew(b, peer.Settings{ReadyToTrip: atOnce})
	_, _ = open.Execute(bad)
	_, _ = adaptedOpen.Execute(bad)
	withContext := func(f func() (int, error)) (int, error) {
		return adapted.ExecuteContext(b.Context(), func(context.Context) (int, error) { return f() })
	}
	for _, c := range []struct {
		name string
		call func(func() (int, error)) (int, error)
		f    func() (int, error)
	}{
		{"succeeds/bare", bare.Execute, good}, {"succeeds/adapted", adapted.Execute, good}, {"succeeds/adapted, context", withContext, good},
		{"fails/bare", bare.Execute, bad}, {"fails/adapted", adapted.Execute, bad},
		{"refused/bare", open.Execute, good}, {"refused/adapted", adaptedOpen.Execute, good},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, _ = c.call(c.f)
			}
		})
		b.Run(c.name+", parallel", func(b *testing.B) {
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					_, _ = c.call(c.f)
				}
			})
		})
	}
}
