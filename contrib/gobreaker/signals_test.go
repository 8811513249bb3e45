package gobreaker_test

import (
	"context"
	"errors"
	"testing"

	peer "github.com/sony/gobreaker/v2"

	"github.com/otelbreaker/otelbreaker/contrib/gobreaker"
	"github.com/otelbreaker/otelbreaker/internal/signals"
	"github.com/otelbreaker/otelbreaker/otelcb"
)

func ignores(err error) bool { return errors.Is(err, signals.ErrIgnored) }

// outage gives what leaves of a breaker in an outage that is the same for all.
func outage(t *testing.T, make func(*testing.T) (otelcb.Source, signals.Call)) []string {
	t.Helper()
	return signals.Of(t, true, make)
}

func adapted(t *testing.T) (otelcb.Source, signals.Call) {
	cb := mustNew(t, peer.Settings{Name: signals.Service, IsExcluded: ignores}, gobreaker.WithEndpoint(signals.Endpoint))
	return cb, executes(cb)
}

func inTwoSteps(t *testing.T) (otelcb.Source, signals.Call) {
	cb := mustTwoStep(t, peer.Settings{Name: signals.Service, IsExcluded: ignores}, gobreaker.WithEndpoint(signals.Endpoint))
	return cb, twoSteps(cb)
}

func executes(cb *gobreaker.CircuitBreaker[int]) signals.Call {
	return func(ctx context.Context, f func(context.Context) error) error {
		_, err := cb.ExecuteContext(ctx, func(ctx context.Context) (int, error) { return 0, f(ctx) })
		return err
	}
}

func executesWithout(cb *gobreaker.CircuitBreaker[int]) signals.Call {
	return func(ctx context.Context, f func(context.Context) error) error {
		_, err := cb.Execute(func() (int, error) { return 0, f(ctx) })
		return err
	}
}

// twoSteps is done whatever becomes of the call.
func twoSteps(cb *gobreaker.TwoStepCircuitBreaker[int]) signals.Call {
	return func(ctx context.Context, f func(context.Context) error) error {
		done, err := cb.AllowContext(ctx)
		if err != nil {
			return err
		}
		err = errDown
		defer func() { done(err) }()
		err = f(ctx)
		return err
	}
}

func mustNew(t testing.TB, st peer.Settings, options ...gobreaker.Option) *gobreaker.CircuitBreaker[int] {
	t.Helper()
	cb, err := gobreaker.New[int](st, options...)
	if err != nil {
		t.Fatal(err)
	}
	return cb
}

func mustTwoStep(t testing.TB, st peer.Settings, options ...gobreaker.Option) *gobreaker.TwoStepCircuitBreaker[int] {
	t.Helper()
	cb, err := gobreaker.NewTwoStep[int](st, options...)
	if err != nil {
		t.Fatal(err)
	}
	return cb
}

func TestItsSignalsAreThoseOfOurOwnBreaker(t *testing.T) {
	signals.AreTheSame(t, outage(t, signals.Own), map[string][]string{
		"Execute": outage(t, adapted), "two steps": outage(t, inTwoSteps),
	})
}

func TestWithoutAContextOnlyTracesAreMissing(t *testing.T) {
	signals.OnlyTracesDiffer(t, outage(t, adapted), outage(t, func(t *testing.T) (otelcb.Source, signals.Call) {
		cb := mustNew(t, peer.Settings{Name: signals.Service, IsExcluded: ignores}, gobreaker.WithEndpoint(signals.Endpoint))
		return cb, executesWithout(cb)
	}))
}
