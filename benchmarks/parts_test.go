package benchmarks

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"unsafe"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// BenchmarkPart is what a call through ours is made of, and what it could have been made of instead: docs/design.md
// argues from these figures. Each is measured through the function value of the other benchmarks.
func BenchmarkPart(b *testing.B) {
	for _, p := range parts {
		measure(b, p.name, p.setting, serially)
	}
}

// BenchmarkPart8 is the same from eight goroutines at once.
func BenchmarkPart8(b *testing.B) {
	for _, p := range parts {
		measure(b, p.name, p.setting, byEight)
	}
}

var parts = []struct {
	name    string
	setting setting
}{
	// The state.
	{"load-word", func(testing.TB) call {
		var word atomic.Uint64
		return func() error { return closed(word.Load() == 0) }
	}},
	{"load-word-beside-a-counter", func(testing.TB) call {
		var line struct{ word, count atomic.Uint64 }
		return func() error {
			line.count.Add(1)
			return closed(line.word.Load() == 0)
		}
	}},
	{"rwmutex", func(testing.TB) call {
		var mu sync.RWMutex
		var state int
		return func() error {
			mu.RLock()
			defer mu.RUnlock()
			return closed(state == 0)
		}
	}},

	// The count.
	{"stripe-by-stack", func(testing.TB) call {
		stripes := make([]stripe, 4)
		return func() error {
			var here byte
			at := uint64(uintptr(unsafe.Pointer(&here))) >> 11
			at ^= at >> 7
			stripes[at&3].count.Add(1)
			return nil
		}
	}},
	{"stripe-by-random-number", func(testing.TB) call {
		stripes := make([]stripe, 4)
		return func() error {
			stripes[rand.Uint64()&3].count.Add(1)
			return nil
		}
	}},
	{"count-admissions-too", func(testing.TB) call {
		var admitted, ended atomic.Uint64
		return func() error {
			admitted.Add(1)
			ended.Add(1)
			return nil
		}
	}},
	{"otel-add", func(tb testing.TB) call {
		p := newPipeline(tb)
		counter, err := p.metrics.Meter("benchmark").Int64Counter("requests")
		if err != nil {
			tb.Fatal(err)
		}
		ctx := context.Background()
		options := []metric.AddOption{metric.WithAttributeSet(attribute.NewSet(
			attribute.String("service", "payments"), attribute.String("endpoint", "https://pay.example"),
			attribute.String("outcome", "success")))}
		return func() error {
			counter.Add(ctx, 1, options...)
			return nil
		}
	}},

	// The way to the user's function, and back on every exit.
	{"call-by-interface", func(testing.TB) call {
		var f interface{ call() error } = callee{}
		if rand.Uint64() == 0 { // or the compiler would know what is in it
			f = otherCallee{}
		}
		return func() error { return f.call() }
	}},
	{"defer", func(testing.TB) call {
		var missed int
		return func() error {
			returned := false
			defer func() {
				if !returned {
					missed++
				}
			}()
			err := succeed()
			returned = true
			return err
		}
	}},
	{"defer-with-recover", func(testing.TB) call {
		var panicked int
		return func() error {
			defer func() {
				if e := recover(); e != nil {
					panicked++
					panic(e)
				}
			}()
			return succeed()
		}
	}},
}

type stripe struct {
	count atomic.Uint64
	_     [56]byte
}

func closed(is bool) error {
	if !is {
		return context.Canceled
	}
	return nil
}

type callee struct{}

//go:noinline
func (callee) call() error { return nil }

type otherCallee struct{}

//go:noinline
func (otherCallee) call() error { return context.Canceled }
