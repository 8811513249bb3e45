package failsafe_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	peer "github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/circuitbreaker"

	"github.com/otelbreaker/otelbreaker/breaker"
	"github.com/otelbreaker/otelbreaker/contrib/failsafe"
	"github.com/otelbreaker/otelbreaker/health"
	"github.com/otelbreaker/otelbreaker/otelcb"
)

func Example() {
	cb, err := failsafe.NewBuilder[string]( // was: circuitbreaker.NewBuilder[string]()
		failsafe.WithService("payments"), failsafe.WithEndpoint("https://payments.example")).
		WithFailureThreshold(2).
		WithDelay(time.Minute).
		Build()
	if err != nil {
		fmt.Println(err)
		return
	}
	observed, err := otelcb.Observe(cb, otelcb.WithLogs())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = observed.Unregister() }()
	http.NewServeMux().Handle("GET /health/circuit-breakers", health.Handler(cb))

	executor := peer.With[string](cb) // as before
	for range 3 {
		// The context gives traces to what the call causes.
		_, err := executor.WithContext(context.Background()).Get(func() (string, error) { return "", errors.New("down") })
		fmt.Println(err)
	}
	fmt.Println(cb.Breaker().Snapshot().Blocked, "blocked")
	// Output:
	// down
	// down
	// circuit breaker open
	// 1 blocked
}

func ExampleCircuitBreaker_TryAcquirePermit() {
	cb, err := failsafe.NewBuilder[any](failsafe.WithService("payments")).Build()
	if err != nil {
		fmt.Println(err)
		return
	}
	if cb.TryAcquirePermit() {
		cb.RecordError(errors.New("down"))
	}
	fmt.Println(cb.TryAcquirePermit(), cb.Breaker().Snapshot().Blocked)
	// Output: false 1
}

// The builder has what failsafe-go's has.
func ExampleBuilder() {
	cb, err := failsafe.NewBuilder[int](failsafe.WithService("payments"),
		failsafe.WithListeners(breaker.ListenerFunc(func(breaker.Event) { /* tell somebody, off the call */ }))).
		HandleErrors(io.ErrUnexpectedEOF).
		HandleErrorTypes(&net.OpError{}).
		HandleResult(http.StatusTooManyRequests).
		HandleIf(func(status int, _ error) bool { return status >= 500 }).
		WithFailureThresholdRatio(5, 10).
		WithSuccessThresholdRatio(3, 4).
		WithDelay(30 * time.Second).
		WithJitterFactor(0.1).
		OnStateChanged(func(e circuitbreaker.StateChangedEvent) { fmt.Println(e.OldState, "to", e.NewState) }).
		OnOpen(func(circuitbreaker.StateChangedEvent) {}).
		OnHalfOpen(func(circuitbreaker.StateChangedEvent) {}).
		OnClose(func(circuitbreaker.StateChangedEvent) {}).
		OnSuccess(func(peer.ExecutionEvent[int]) {}).
		OnFailure(func(e peer.ExecutionEvent[int]) { fmt.Println("failed:", e.LastResult()) }).
		Build()
	if err != nil {
		fmt.Println(err)
		return
	}
	_, _ = peer.With[int](cb).Get(func() (int, error) { return http.StatusBadGateway, nil })
	cb.Open()
	cb.HalfOpen()
	cb.Close()
	// Output:
	// failed: 502
	// closed to open
	// open to half-open
	// half-open to closed
}

// Other ways to say when it opens, for how long, and when it closes; the last of a kind counts.
func ExampleBuilder_WithFailureRateThreshold() {
	cb, err := failsafe.NewBuilder[string](failsafe.WithService("search")).
		WithFailureThresholdPeriod(5, time.Minute).
		WithFailureRateThreshold(0.5, 20, 10*time.Second).
		WithSuccessThreshold(3).
		WithRandomDelay(20*time.Second, 40*time.Second).
		WithDelayFunc(func(peer.ExecutionAttempt[string]) time.Duration { return 30 * time.Second }).
		WithJitter(time.Second).
		Build()
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(cb.Breaker().Snapshot().Config.FailureRate)
	// Output: 0.5
}

// Alone, without an executor. Whoever opens it by hand does so as in failsafe-go.
func ExampleCircuitBreaker_RecordResult() {
	cb, err := failsafe.NewBuilder[int](failsafe.WithService("payments")).
		HandleResult(http.StatusBadGateway).
		WithFailureThreshold(3).
		Build()
	if err != nil {
		fmt.Println(err)
		return
	}
	cancel := cb.Subscribe(breaker.ListenerFunc(func(e breaker.Event) { fmt.Println(e.To, "by", e.Reason.Rule) }))
	defer cancel()
	cb.RecordSuccess()
	cb.RecordFailure()
	cb.RecordFailure()
	cb.RecordResult(http.StatusBadGateway)
	_ = cb.Breaker().Flush(context.Background())
	// Output: open by consecutive_failures
}
