package breaker_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/otelbreaker/otelbreaker/breaker"
)

func mustNew(tb testing.TB, c breaker.Config, listeners ...breaker.Listener) *breaker.Breaker {
	tb.Helper()
	b, err := breaker.New(c, listeners...)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

func succeed(context.Context) error { return nil }

// BenchmarkCall puts a call's price beside a bare atomic add in the same run: the ratio is what counts.
func BenchmarkCall(b *testing.B) {
	ctx := context.Background()
	failure := errors.New("failure")
	fail := func(context.Context) error { return failure }
	rates := breaker.Config{FailureRate: 0.5, SlowCallRate: 0.5, SlowCallDuration: time.Minute, WindowDuration: 10 * time.Second}

	b.Run("atomic add", func(b *testing.B) {
		var n atomic.Uint64
		for b.Loop() {
			n.Add(1)
		}
	})
	b.Run("two clock reads", func(b *testing.B) {
		for b.Loop() {
			_ = time.Since(time.Now())
		}
	})
	for _, c := range []struct {
		name   string
		config breaker.Config
		fn     func(context.Context) error
		open   bool
	}{
		{name: "closed", fn: succeed},
		{name: "closed, rates over time", config: rates, fn: succeed},
		{name: "closed, rate over calls", config: breaker.Config{FailureRate: 0.5}, fn: succeed},
		{name: "closed, failing", config: breaker.Config{FailureThreshold: 1 << 60}, fn: fail},
		{name: "blocked", fn: succeed, open: true},
	} {
		cb := mustNew(b, c.config)
		if c.open {
			cb.ForceOpen("benchmark")
		}
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_ = cb.Do(ctx, c.fn)
			}
		})
		b.Run(c.name+", 8 goroutines", func(b *testing.B) {
			b.ReportAllocs()
			b.SetParallelism(4) // of two cores
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					_ = cb.Do(ctx, c.fn)
				}
			})
		})
	}
	b.Run("closed, permit", func(b *testing.B) {
		cb := mustNew(b, breaker.Config{})
		b.ReportAllocs()
		for b.Loop() {
			p, _ := cb.Acquire(ctx)
			p.Done(ctx, breaker.Success)
		}
	})
	b.Run("closed, Do with a value", func(b *testing.B) {
		cb := mustNew(b, breaker.Config{})
		b.ReportAllocs()
		for b.Loop() {
			_, _ = breaker.Do(ctx, cb, func(context.Context) (int, error) { return 1, nil })
		}
	})
}

// BenchmarkManyBreakers shows that a call costs the same however many breakers there are.
func BenchmarkManyBreakers(b *testing.B) {
	for _, n := range []int{1, 100, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			g, err := breaker.NewGroup(breaker.Config{}, breaker.WithMaxEndpoints(n))
			if err != nil {
				b.Fatal(err)
			}
			for i := range n {
				g.Get(fmt.Sprint(i))
			}
			cb := g.Get("0")
			ctx := context.Background()
			b.ReportAllocs()
			for b.Loop() {
				_ = cb.Do(ctx, succeed)
			}
		})
	}
}

func BenchmarkGroupGet(b *testing.B) {
	g, err := breaker.NewGroup(breaker.Config{})
	if err != nil {
		b.Fatal(err)
	}
	g.Get("https://payments.example")
	b.ReportAllocs()
	for b.Loop() {
		g.Get("https://payments.example")
	}
}
