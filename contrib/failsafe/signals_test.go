package failsafe_test

import (
	"context"
	"errors"
	"testing"

	peer "github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/circuitbreaker"

	"github.com/otelbreaker/otelbreaker/contrib/failsafe"
	"github.com/otelbreaker/otelbreaker/internal/signals"
	"github.com/otelbreaker/otelbreaker/otelcb"
)

// outage gives what leaves of a breaker in an outage that is the same for all.
func outage(t *testing.T, make func(*testing.T) (otelcb.Source, signals.Call)) []string {
	t.Helper()
	return signals.Of(t, false, make)
}

func newBuilder() *failsafe.Builder[int] {
	return failsafe.NewBuilder[int](failsafe.WithService(signals.Service), failsafe.WithEndpoint(signals.Endpoint)).
		WithFailureThreshold(signals.FailureThreshold).WithSuccessThreshold(1).WithDelay(signals.RecoveryTimeout)
}

func mustBuild(t testing.TB, b *failsafe.Builder[int]) *failsafe.CircuitBreaker[int] {
	t.Helper()
	cb, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	return cb
}

// through is calls by an executor of these policies.
func through(policies ...peer.Policy[int]) signals.Call {
	return func(ctx context.Context, f func(context.Context) error) error {
		return peer.With(policies...).WithContext(ctx).RunWithExecution(func(exec peer.Execution[int]) error { return f(exec.Context()) })
	}
}

// without is calls without an executor, and so without contexts. Each is recorded, whatever becomes of it.
func without(cb *failsafe.CircuitBreaker[int]) signals.Call {
	return func(ctx context.Context, f func(context.Context) error) error {
		if !cb.TryAcquirePermit() {
			return circuitbreaker.ErrOpen
		}
		ended := false
		defer func() {
			if !ended {
				cb.RecordFailure()
			}
		}()
		err := f(ctx)
		ended = true
		cb.RecordError(err)
		return err
	}
}

func refused(err error) bool { return errors.Is(err, circuitbreaker.ErrOpen) }

// executed is the breaker as a policy.
func executed(t *testing.T) (otelcb.Source, signals.Call) {
	cb := mustBuild(t, newBuilder())
	return cb, through(cb)
}

func TestItsSignalsAreThoseOfOurOwnBreaker(t *testing.T) {
	signals.AreTheSame(t, outage(t, signals.Own), map[string][]string{"executor": outage(t, executed)})
}

func TestAloneOnlyTracesAreMissing(t *testing.T) {
	signals.OnlyTracesDiffer(t, outage(t, executed), outage(t, func(t *testing.T) (otelcb.Source, signals.Call) {
		cb := mustBuild(t, newBuilder())
		return cb, without(cb)
	}))
}
