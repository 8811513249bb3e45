package benchmarks

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/afex/hystrix-go/hystrix"
	"go.opentelemetry.io/otel/sdk/metric"

	"github.com/otelbreaker/otelbreaker/breaker"
)

// BenchmarkMemory is what one breaker holds, heap and stacks, once a call has gone through it: the share of one among
// many. Some 50 bytes of it are the harness's. The time means nothing here.
func BenchmarkMemory(b *testing.B) {
	const count = 10_000
	for _, s := range subjects {
		if s.name == observedName || s.name == "failsafe-go-executor" { // measured below; the same breaker
			continue
		}
		for _, c := range cases[:2] {
			setting, count := c.of(s), count
			if s.name == "hystrix-go" { // a goroutine and a channel of 2,000 each
				count, setting = 1_000, hystrixOf(hystrix.CommandConfig{MaxConcurrentRequests: hystrix.DefaultMaxConcurrent}, succeed)
			}
			if setting == nil {
				continue
			}
			b.Run(c.name+"/"+s.name, func(b *testing.B) {
				memory(b, count, func() any {
					calls := make([]call, count)
					for i := range calls {
						calls[i] = setting(b)
						_ = calls[i]()
					}
					return calls
				})
			})
		}
	}
	for _, alone := range []struct {
		name   string
		config breaker.Config
	}{{"consecutive", breaker.Config{}}, {"window", windowConfig}} {
		b.Run("Alone/"+alone.name, func(b *testing.B) { // without the harness
			memory(b, count, func() any {
				breakers := make([]*breaker.Breaker, count)
				for i := range breakers {
					breakers[i] = newBreaker(b, alone.config)
					if err := breakers[i].Do(context.Background(), succeedCtx); err != nil {
						b.Fatal(err)
					}
				}
				return breakers
			})
		})
	}
	b.Run("Group/otelbreaker-bare", func(b *testing.B) {
		const count = 100_000
		memory(b, count, func() any { return newGroup(b, count) })
	})
	b.Run("Group/"+observedName, func(b *testing.B) {
		memory(b, count, func() any {
			g, p, reader := newGroup(b, count), new(pipeline), metric.NewManualReader()
			p.start(b, reader)
			p.observe(b, g)
			collect(b, reader) // the SDK now holds its series
			return g
		})
	})
}

// memory reports what is held by the many things that build makes, divided by their number.
func memory(b *testing.B, count int, build func() any) {
	b.Helper()
	var held int64
	for b.Loop() {
		before := inUse()
		things := build()
		held = inUse() - before
		runtime.KeepAlive(things)
	}
	b.ReportMetric(float64(held)/float64(count), "B/breaker")
	b.ReportMetric(0, "ns/op")
}

func inUse() int64 {
	runtime.GC()
	runtime.GC() // what finalizers and pools held on to
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}

func endpoint(i int) string { return fmt.Sprintf("https://host-%d.example", i) }

// newGroup makes a group of count breakers, each of which has had a call.
func newGroup(tb testing.TB, count int) *breaker.Group {
	tb.Helper()
	g, err := breaker.NewGroup(breaker.Config{}, breaker.WithMaxEndpoints(count))
	if err != nil {
		tb.Fatal(err)
	}
	for i := range count {
		if err := g.Get(endpoint(i)).Do(context.Background(), succeedCtx); err != nil {
			tb.Fatal(err)
		}
	}
	return g
}

var scales = []int{1, 100, 10_000}

// BenchmarkMany is a call where there are many breakers: by a breaker that is at hand, by one that is looked up in its
// group, and by another one each time, where the processor's caches have their say.
func BenchmarkMany(b *testing.B) {
	ctx := context.Background()
	for _, n := range scales {
		g := newGroup(b, n)
		names := make([]string, n)
		for i := range names {
			names[i] = endpoint(i)
		}
		cb := g.Get(names[0])
		for _, way := range []struct {
			name string
			once call
		}{
			{"at-hand", func() error { return cb.Do(ctx, succeedCtx) }},
			{"looked-up", func() error { return g.Get(names[0]).Do(ctx, succeedCtx) }},
			{"random", func() error { return g.Get(names[rand.IntN(n)]).Do(ctx, succeedCtx) }},
		} {
			measure(b, fmt.Sprintf("%s/n=%d", way.name, n), func(testing.TB) call { return way.once }, serially)
		}
	}
}
