package failsafe_test

import (
	"context"
	"strings"
	"testing"

	peer "github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/circuitbreaker"

	"github.com/otelbreaker/otelbreaker/breaker"
	"github.com/otelbreaker/otelbreaker/contrib/failsafe"
	"github.com/otelbreaker/otelbreaker/internal/signals"
	"github.com/otelbreaker/otelbreaker/otelcb"
)

const (
	service  = "payments"
	endpoint = "https://payments.example"
)

// outage gives what leaves of a breaker in an outage that is the same for all.
func outage(t *testing.T, make func(*testing.T) (otelcb.Source, signals.Call)) []string {
	t.Helper()
	return signals.Of(t, false, make)
}

func native(t *testing.T) (otelcb.Source, signals.Call) {
	b, err := breaker.New(breaker.Config{Service: service, Endpoint: endpoint, FailureThreshold: signals.FailureThreshold,
		RecoveryTimeout: signals.RecoveryTimeout})
	if err != nil {
		t.Fatal(err)
	}
	return b, b.Do
}

func newBuilder() *failsafe.Builder[int] {
	return failsafe.NewBuilder[int](failsafe.WithService(service), failsafe.WithEndpoint(endpoint)).
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

// executed is the breaker as a policy.
func executed(t *testing.T) (otelcb.Source, signals.Call) {
	cb := mustBuild(t, newBuilder())
	return cb, func(ctx context.Context, f func(context.Context) error) error {
		return peer.With[int](cb).WithContext(ctx).RunWithExecution(func(exec peer.Execution[int]) error { return f(exec.Context()) })
	}
}

// alone is the breaker without an executor, and so without contexts.
func alone(t *testing.T) (otelcb.Source, signals.Call) {
	cb := mustBuild(t, newBuilder())
	return cb, func(ctx context.Context, f func(context.Context) error) error {
		if !cb.TryAcquirePermit() {
			return circuitbreaker.ErrOpen
		}
		err := f(ctx)
		cb.RecordError(err)
		return err
	}
}

func TestItsSignalsAreThoseOfOurOwnBreaker(t *testing.T) {
	want := outage(t, native)
	if len(want) < 60 {
		t.Fatalf("only %d lines:\n%s", len(want), strings.Join(want, "\n"))
	}
	if d := signals.Differences(want, outage(t, executed)); len(d) > 0 {
		t.Error(strings.Join(d, "\n"))
	}
}

// Without a context everything is the same but the traces.
func TestAloneOnlyTracesAreMissing(t *testing.T) {
	with, without := outage(t, executed), outage(t, alone)
	records := 0
	for _, d := range signals.Differences(with, without) {
		switch {
		case strings.HasPrefix(d, "+ record ") && strings.Contains(d, ` of "": `):
			records++
		case strings.HasPrefix(d, "- record "):
			records--
		case strings.HasPrefix(d, "- span ") && (strings.Contains(d, ", event circuit_breaker.") || strings.Contains(d, ", link to ")):
		default:
			t.Errorf("this differs as well: %s", d)
		}
	}
	if records != 0 {
		t.Errorf("%d records more", records)
	}
}
