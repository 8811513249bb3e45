package benchmarks

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/afex/hystrix-go/hystrix"
	resiliency "github.com/eapache/go-resiliency/breaker"
	"github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/circuitbreaker"
	aegis "github.com/go-kratos/aegis/circuitbreaker"
	"github.com/go-kratos/aegis/circuitbreaker/sre"
	"github.com/sony/gobreaker/v2"
	gozero "github.com/zeromicro/go-zero/core/breaker"
	"github.com/zeromicro/go-zero/core/stat"

	"github.com/otelbreaker/otelbreaker/breaker"
)

// call makes one call through a breaker and gives what the caller gets.
type call func() error

// setting makes a breaker, brings it into the state that a case is about, and gives a call through it.
type setting func(testing.TB) call

// subject is one library. A setting that it has no counterpart of is nil.
type subject struct {
	name     string
	closed   setting // five consecutive failures would open it, or what is nearest to that; calls succeed
	window   setting // a failure rate of one half over the last ten seconds would; calls succeed
	mixed    setting // the same; one call in 128 fails
	rejected setting // open for a day; calls are refused
	failing  setting // calls fail, and yet the breaker stays closed
}

const (
	failures = 5 // consecutive, that open
	rate     = 0.5
	minCalls = 10
	period   = 10 * time.Second
	bucket   = period / 10
	day      = 24 * time.Hour
	never    = 1 << 30 // so many failures in a row do not come
)

var errDown = errors.New("down")

// The guarded functions, in the shapes that the libraries want.
func succeed() error                   { return nil }
func fail() error                      { return errDown }
func succeedCtx(context.Context) error { return nil }
func failCtx(context.Context) error    { return errDown }
func mostlyCtx(context.Context) error  { return mostly() }
func succeedValue() (struct{}, error)  { return struct{}{}, nil }
func failValue() (struct{}, error)     { return struct{}{}, errDown }
func mostlyValue() (struct{}, error)   { return struct{}{}, mostly() }

func mostly() error {
	if rand.Uint32()%128 == 0 {
		return errDown
	}
	return nil
}

func until(tb testing.TB, done func() bool) {
	tb.Helper()
	for deadline := time.Now().Add(10 * time.Second); !done(); runtime.Gosched() {
		if time.Now().After(deadline) {
			tb.Fatal("the breaker does not come into the state that is to be measured")
		}
	}
}

// tripped makes the call fail until the breaker refuses it for good.
func tripped(tb testing.TB, failing, refused call) call {
	tb.Helper()
	until(tb, func() bool { return !errors.Is(failing(), errDown) })
	return refused
}

const observedName = "otelbreaker" // ours, with all its telemetry wired

var subjects = []subject{
	ours(observedName, observed),
	ours("otelbreaker-bare", unobserved),
	{
		name:   "gobreaker",
		closed: gobreakerOf(gobreaker.Settings{}, succeedValue), // the default: more than five consecutive failures
		window: gobreakerOf(gobreakerWindow, succeedValue),
		mixed:  gobreakerOf(gobreakerWindow, mostlyValue),
		rejected: func(tb testing.TB) call {
			cb := gobreaker.NewCircuitBreaker[struct{}](gobreaker.Settings{Timeout: day})
			return tripped(tb, throughGobreaker(cb, failValue), throughGobreaker(cb, succeedValue))
		},
		failing: gobreakerOf(gobreaker.Settings{ReadyToTrip: func(c gobreaker.Counts) bool {
			return c.ConsecutiveFailures > never
		}}, failValue),
	},
	{
		name:     "failsafe-go",
		closed:   func(testing.TB) call { return throughFailsafe(failsafeConsecutive(), succeed) },
		window:   func(testing.TB) call { return throughFailsafe(failsafeWindow(), succeed) },
		mixed:    func(testing.TB) call { return throughFailsafe(failsafeWindow(), mostly) },
		rejected: func(tb testing.TB) call { return throughFailsafe(failsafeOpen(tb), succeed) },
		failing:  func(testing.TB) call { return failsafeFailing(throughFailsafe) },
	},
	{
		name:     "failsafe-go-executor",
		closed:   func(testing.TB) call { return throughExecutor(failsafeConsecutive(), succeed) },
		window:   func(testing.TB) call { return throughExecutor(failsafeWindow(), succeed) },
		mixed:    func(testing.TB) call { return throughExecutor(failsafeWindow(), mostly) },
		rejected: func(tb testing.TB) call { return throughExecutor(failsafeOpen(tb), succeed) },
		failing:  func(testing.TB) call { return failsafeFailing(throughExecutor) },
	},
	{
		name:   "go-resiliency", // it has no window
		closed: resiliencyOf(failures, succeed),
		rejected: func(tb testing.TB) call {
			b := resiliency.New(failures, 1, day)
			return tripped(tb, func() error { return b.Run(fail) }, func() error { return b.Run(succeed) })
		},
		failing: resiliencyOf(never, fail),
	},
	{
		// It adapts: it always has a window of ten seconds and no other rule, refuses a share of the calls that grows
		// with the share that failed, and cannot stay closed while calls fail.
		name:   "go-zero",
		closed: goZeroOf(succeed),
		window: goZeroOf(succeed),
		mixed:  goZeroOf(mostly),
		rejected: func(tb testing.TB) call {
			stat.SetReporter(nil) // which only prints an alert into the results
			b := gozero.NewBreaker()
			for range 100_000 { // few, and it would still let some through
				_ = b.Do(fail)
			}
			return func() error { return b.Do(fail) } // one call a second goes through all the same
		},
	},
	{
		// As go-zero's. Its documentation asks for the refused calls to be marked as failed, too.
		name:   "aegis",
		closed: func(testing.TB) call { return throughAegis(sre.NewBreaker(), succeed) },
		window: func(testing.TB) call { return throughAegis(aegisWindow(), succeed) },
		mixed:  func(testing.TB) call { return throughAegis(aegisWindow(), mostly) },
		rejected: func(testing.TB) call {
			b := sre.NewBreaker()
			for range 100_000 {
				b.MarkFailed()
			}
			return throughAegis(b, fail)
		},
		failing: func(testing.TB) call { return throughAegis(sre.NewBreaker(sre.WithRequest(1<<60)), fail) },
	},
	{
		// It always has a window of ten seconds; each call runs on a goroutine of its own beside one for its timeout.
		name:   "hystrix-go",
		closed: hystrixOf(hystrix.CommandConfig{}, succeed),
		window: hystrixOf(hystrix.CommandConfig{}, succeed),
		mixed:  hystrixOf(hystrix.CommandConfig{}, mostly),
		rejected: func(tb testing.TB) call {
			c := hystrix.CommandConfig{RequestVolumeThreshold: 1, ErrorPercentThreshold: 1, SleepWindow: int(day.Milliseconds())}
			failing, name := hystrixCommand(c, fail)
			circuit, _, err := hystrix.GetCircuit(name)
			if err != nil {
				tb.Fatal(err)
			}
			until(tb, func() bool { _ = failing(); return circuit.IsOpen() }) // it counts asynchronously
			return failing
		},
		failing: hystrixOf(hystrix.CommandConfig{ErrorPercentThreshold: never}, fail), // its percentage can exceed 100
	},
}

func newBreaker(tb testing.TB, c breaker.Config) *breaker.Breaker {
	tb.Helper()
	b, err := breaker.New(c)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// ours is this project's breaker, with watch what observes it.
func ours(name string, watch func(testing.TB, *breaker.Breaker)) subject {
	through := func(tb testing.TB, c breaker.Config, fn func(context.Context) error) call {
		b := newBreaker(tb, c)
		watch(tb, b)
		ctx := context.Background()
		return func() error { return b.Do(ctx, fn) }
	}
	return subject{
		name: name,
		closed: func(tb testing.TB) call {
			return through(tb, breaker.Config{FailureThreshold: failures}, succeedCtx)
		},
		window: func(tb testing.TB) call { return through(tb, windowConfig, succeedCtx) },
		mixed:  func(tb testing.TB) call { return through(tb, windowConfig, mostlyCtx) },
		rejected: func(tb testing.TB) call {
			once := through(tb, openConfig, failCtx)
			return tripped(tb, once, once)
		},
		failing: func(tb testing.TB) call {
			return through(tb, breaker.Config{FailureThreshold: never}, failCtx)
		},
	}
}

var (
	// windowConfig judges failures and slow calls over time.
	windowConfig = breaker.Config{
		FailureRate: rate, SlowCallRate: rate, SlowCallDuration: time.Second, WindowDuration: period, MinCalls: minCalls,
	}
	// openConfig, once open, stays so for a day.
	openConfig = breaker.Config{FailureThreshold: failures, RecoveryTimeout: day, MaxRecoveryTimeout: day}
)

var gobreakerWindow = gobreaker.Settings{Interval: period, BucketPeriod: bucket, ReadyToTrip: func(c gobreaker.Counts) bool {
	return c.Requests >= minCalls && float64(c.TotalFailures) >= rate*float64(c.Requests)
}}

func gobreakerOf(s gobreaker.Settings, fn func() (struct{}, error)) setting {
	return func(testing.TB) call { return throughGobreaker(gobreaker.NewCircuitBreaker[struct{}](s), fn) }
}

func throughGobreaker(cb *gobreaker.CircuitBreaker[struct{}], fn func() (struct{}, error)) call {
	return func() error { _, err := cb.Execute(fn); return err }
}

func failsafeConsecutive() circuitbreaker.CircuitBreaker[any] {
	return circuitbreaker.NewBuilder[any]().WithFailureThreshold(failures).Build()
}

func failsafeWindow() circuitbreaker.CircuitBreaker[any] {
	return circuitbreaker.NewBuilder[any]().WithFailureRateThreshold(rate, minCalls, period).Build()
}

func failsafeOpen(tb testing.TB) circuitbreaker.CircuitBreaker[any] {
	tb.Helper()
	cb := circuitbreaker.NewBuilder[any]().WithFailureThreshold(failures).WithDelay(day).Build()
	tripped(tb, throughFailsafe(cb, fail), nil)
	return cb
}

// failsafeFailing fails without end: its threshold is also the size of its window, which a reset now and then keeps
// from filling up. A call in 32,768 resets.
func failsafeFailing(through func(circuitbreaker.CircuitBreaker[any], func() error) call) call {
	const size = 1 << 16
	cb := circuitbreaker.NewBuilder[any]().WithFailureThreshold(size).Build()
	once := through(cb, fail)
	var n atomic.Uint32
	return func() error {
		if n.Add(1)%(size/2) == 0 {
			cb.(interface{ Reset() }).Reset()
		}
		return once()
	}
}

// throughFailsafe uses the breaker on its own, as its documentation says for code that does not fit into a function.
func throughFailsafe(cb circuitbreaker.CircuitBreaker[any], fn func() error) call {
	return func() error {
		if !cb.TryAcquirePermit() {
			return circuitbreaker.ErrOpen
		}
		err := fn()
		if err != nil {
			cb.RecordError(err)
		} else {
			cb.RecordSuccess()
		}
		return err
	}
}

func throughExecutor(cb circuitbreaker.CircuitBreaker[any], fn func() error) call {
	e := failsafe.With(cb)
	return func() error { return e.Run(fn) }
}

func resiliencyOf(threshold int, fn func() error) setting {
	return func(testing.TB) call {
		b := resiliency.New(threshold, 1, day)
		return func() error { return b.Run(fn) }
	}
}

func goZeroOf(fn func() error) setting {
	return func(testing.TB) call {
		b := gozero.NewBreaker()
		return func() error { return b.Do(fn) }
	}
}

func aegisWindow() aegis.CircuitBreaker {
	return sre.NewBreaker(sre.WithWindow(period), sre.WithBucket(10), sre.WithRequest(minCalls))
}

func throughAegis(b aegis.CircuitBreaker, fn func() error) call {
	return func() error {
		if err := b.Allow(); err != nil {
			b.MarkFailed()
			return err
		}
		err := fn()
		if err != nil {
			b.MarkFailed()
		} else {
			b.MarkSuccess()
		}
		return err
	}
}

var hystrixCommands atomic.Int64 // hystrix-go knows its breakers by name

func hystrixCommand(c hystrix.CommandConfig, fn func() error) (call, string) {
	name := fmt.Sprint("command", hystrixCommands.Add(1))
	if c.MaxConcurrentRequests == 0 { // it gives places back after a call has returned, and would refuse some for its 10
		c.MaxConcurrentRequests = 1 << 17
	}
	hystrix.ConfigureCommand(name, c)
	return func() error { return hystrix.Do(name, fn, nil) }, name
}

func hystrixOf(c hystrix.CommandConfig, fn func() error) setting {
	return func(testing.TB) call { once, _ := hystrixCommand(c, fn); return once }
}
