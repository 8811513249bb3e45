package gobreaker_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	peer "github.com/sony/gobreaker/v2"

	"github.com/otelbreaker/otelbreaker/breaker"
	"github.com/otelbreaker/otelbreaker/contrib/gobreaker"
	"github.com/otelbreaker/otelbreaker/internal/signals"
	"github.com/otelbreaker/otelbreaker/otelcb"
)

const (
	service  = "payments"
	endpoint = "https://payments.example"
)

func ignores(err error) bool { return errors.Is(err, signals.ErrIgnored) }

// outage gives what leaves of a breaker in an outage that is the same for all.
func outage(t *testing.T, make func(*testing.T) (otelcb.Source, signals.Call)) []string {
	t.Helper()
	return signals.Of(t, true, make)
}

func native(t *testing.T) (otelcb.Source, signals.Call) {
	b, err := breaker.New(breaker.Config{Service: service, Endpoint: endpoint, FailureThreshold: signals.FailureThreshold,
		RecoveryTimeout: signals.RecoveryTimeout, Classify: func(err error) breaker.Outcome {
			switch {
			case ignores(err):
				return breaker.Ignored
			case err != nil:
				return breaker.Failure
			}
			return breaker.Success
		}})
	if err != nil {
		t.Fatal(err)
	}
	return b, b.Do
}

func adapted(t *testing.T) (otelcb.Source, signals.Call) {
	cb := mustNew(t, peer.Settings{Name: service, IsExcluded: ignores}, gobreaker.WithEndpoint(endpoint))
	return cb, func(ctx context.Context, f func(context.Context) error) error {
		_, err := cb.ExecuteContext(ctx, func(ctx context.Context) (int, error) { return 0, f(ctx) })
		return err
	}
}

func inTwoSteps(t *testing.T) (otelcb.Source, signals.Call) {
	cb := mustTwoStep(t, peer.Settings{Name: service, IsExcluded: ignores}, gobreaker.WithEndpoint(endpoint))
	return cb, func(ctx context.Context, f func(context.Context) error) error {
		done, err := cb.AllowContext(ctx)
		if err != nil {
			return err
		}
		err = f(ctx)
		done(err)
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
	want := outage(t, native)
	if len(want) < 60 {
		t.Fatalf("only %d lines:\n%s", len(want), strings.Join(want, "\n"))
	}
	for name, make := range map[string]func(*testing.T) (otelcb.Source, signals.Call){
		"Execute": adapted, "two steps": inTwoSteps,
	} {
		if d := signals.Differences(want, outage(t, make)); len(d) > 0 {
			t.Errorf("%s:\n%s", name, strings.Join(d, "\n"))
		}
	}
}
