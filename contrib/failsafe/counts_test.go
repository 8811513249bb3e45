package failsafe_test

import (
	"context"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	peer "github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/hedgepolicy"
	"github.com/failsafe-go/failsafe-go/retrypolicy"
	"github.com/failsafe-go/failsafe-go/timeout"

	"github.com/otelbreaker/otelbreaker/breaker"
	"github.com/otelbreaker/otelbreaker/contrib/failsafe"
	"github.com/otelbreaker/otelbreaker/internal/signals"
)

// counted has a program count its calls: through executors, with retries about the breaker and without, and alone.
func counted(t *testing.T, b *failsafe.Builder[int]) signals.Subject {
	cb := mustBuild(t, b.HandleErrors(signals.ErrDown))
	retries := retrypolicy.NewBuilder[int]().HandleErrors(signals.ErrDown).WithMaxRetries(2).Build()
	return signals.Subject{
		Source: cb, Refused: refused, Ignored: breaker.Success, // what no condition handles
		Ways: []signals.Call{through(cb), through(retries, cb), without(cb)},
		Calm: []signals.Call{asynchronously(cb)},
		// failsafe-go never hears of what panics or ends by Goexit, and would wait for such a probe for good.
		Wedged: func() bool { return !cb.IsClosed() },
	}
}

// asynchronously is calls on goroutines of failsafe-go's, where a panic would end the process, and Goexit leave the caller waiting.
func asynchronously(cb *failsafe.CircuitBreaker[int]) signals.Call {
	return func(ctx context.Context, f func(context.Context) error) error {
		return peer.With[int](cb).WithContext(ctx).RunAsync(func() error { return f(ctx) }).Error()
	}
}

func TestG08_TheTotalsAreWhatTheProgramCounted(t *testing.T) {
	var runs []signals.Told
	for seed := range uint64(60) {
		synctest.Test(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 6))
			few := func() uint { return 1 + r.UintN(3) }
			b := failsafe.NewBuilder[int]().WithDelay(time.Duration(1+r.IntN(30)) * time.Second)
			switch r.IntN(4) {
			case 0:
				b.WithFailureThreshold(few())
			case 1:
				b.WithFailureThresholdRatio(few(), 3+few())
			case 2:
				b.WithFailureThresholdPeriod(few(), time.Minute)
			case 3:
				b.WithFailureRateThreshold(0.3, 3+few(), time.Minute)
			}
			if r.IntN(2) == 0 {
				b.WithSuccessThreshold(few())
			}
			s := counted(t, b)
			s.Callers, s.Each = 6, 40
			runs = append(runs, s.InVirtualTime(t, seed))
			if t.Failed() {
				t.Logf("seed %d", seed)
			}
		})
	}
	signals.Enough(t, runs)
}

func TestG08_TheTotalsAreWhatTheProgramCountedConcurrentSafe(t *testing.T) {
	s := counted(t, failsafe.NewBuilder[int]().WithFailureThreshold(2).WithSuccessThreshold(2).WithDelay(20*time.Microsecond))
	s.Callers, s.Each = 8, 400
	signals.Enough(t, []signals.Told{s.AtOnce(t)})
}

// Each attempt of a hedge is a call; what a timeout has given up is one when it ends, or when its timeout is beneath the breaker.
func TestG08_HedgesAndTimeoutsAreCountedOnce(t *testing.T) {
	slow := func(context.Context) error { time.Sleep(10 * time.Second); return nil }
	hedge := hedgepolicy.NewBuilderWithDelay[int](time.Second).Build()
	limit := timeout.New[int](time.Second)
	for name, c := range map[string]struct {
		call             func(*failsafe.CircuitBreaker[int]) signals.Call
		success, failure uint64
	}{
		"a hedge about it":     {func(cb *failsafe.CircuitBreaker[int]) signals.Call { return through(hedge, cb) }, 2, 0},
		"a hedge beneath it":   {func(cb *failsafe.CircuitBreaker[int]) signals.Call { return through(cb, hedge) }, 1, 0},
		"a timeout about it":   {func(cb *failsafe.CircuitBreaker[int]) signals.Call { return through(limit, cb) }, 1, 0},
		"a timeout beneath it": {func(cb *failsafe.CircuitBreaker[int]) signals.Call { return through(cb, limit) }, 0, 1},
	} {
		synctest.Test(t, func(t *testing.T) {
			cb := mustBuild(t, failsafe.NewBuilder[int]())
			_ = c.call(cb)(t.Context(), slow)
			time.Sleep(time.Minute)
			synctest.Wait()
			if s := cb.Breaker().Snapshot(); s.Success != c.success || s.Failure != c.failure || s.Blocked+s.Ignored != 0 {
				t.Errorf("%s: %+v", name, s)
			}
		})
	}
}
