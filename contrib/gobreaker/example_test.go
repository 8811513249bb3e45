package gobreaker_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	peer "github.com/sony/gobreaker/v2"

	"github.com/otelbreaker/otelbreaker/contrib/gobreaker"
	"github.com/otelbreaker/otelbreaker/health"
	"github.com/otelbreaker/otelbreaker/otelcb"
)

func Example() {
	cb, err := gobreaker.New[string](peer.Settings{ // was: peer.NewCircuitBreaker[string](peer.Settings{
		Name:        "payments",
		ReadyToTrip: func(c peer.Counts) bool { return c.ConsecutiveFailures >= 2 },
	}, gobreaker.WithEndpoint("https://payments.example"))
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

	for range 3 { // calls stay as they were
		_, err := cb.Execute(func() (string, error) { return "", errors.New("down") })
		fmt.Println(err)
	}
	fmt.Println(cb.Breaker().Snapshot().Blocked, "blocked")
	// Output:
	// down
	// down
	// circuit breaker is open
	// 1 blocked
}

// A call's context has what the call causes noted on its trace.
func ExampleCircuitBreaker_ExecuteContext() {
	cb, err := gobreaker.New[int](peer.Settings{Name: "payments"})
	if err != nil {
		fmt.Println(err)
		return
	}
	status, err := cb.ExecuteContext(context.Background(), func(ctx context.Context) (int, error) {
		return http.StatusOK, ctx.Err()
	})
	fmt.Println(status, err)
	// Output: 200 <nil>
}

func ExampleTwoStepCircuitBreaker_Allow() {
	cb, err := gobreaker.NewTwoStep[any](peer.Settings{Name: "payments"})
	if err != nil {
		fmt.Println(err)
		return
	}
	done, err := cb.Allow()
	if err != nil {
		fmt.Println("refused:", err)
		return
	}
	done(errors.New("down"))
	fmt.Println(cb.Breaker().Snapshot().Failure, "failed")
	// Output: 1 failed
}
