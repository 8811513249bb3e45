package failsafe_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	peer "github.com/failsafe-go/failsafe-go"

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
