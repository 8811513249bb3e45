package gobreaker_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	peer "github.com/sony/gobreaker/v2"

	"github.com/otelbreaker/otelbreaker/breaker"
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

// What gobreaker tells is told as before, and listeners of otelbreaker hear of transitions, off the call.
func ExampleWithListeners() {
	cb, err := gobreaker.New[int](peer.Settings{
		Name:        "cb-17",
		ReadyToTrip: func(c peer.Counts) bool { return c.TotalFailures >= 1 },
	},
		gobreaker.WithService("payments"), // the name in signals, where the settings have another
		gobreaker.WithListeners(breaker.ListenerFunc(func(e breaker.Event) { fmt.Println(e.Service, "is", e.To) })))
	if err != nil {
		fmt.Println(err)
		return
	}
	cancel := cb.Subscribe(breaker.ListenerFunc(func(breaker.Event) {})) // also later
	defer cancel()
	_, _ = cb.Execute(func() (int, error) { return 0, errors.New("down") })
	_ = cb.Breaker().Flush(context.Background())
	fmt.Println(cb.Name(), cb.State(), cb.Counts().Requests)
	// Output:
	// payments is open
	// cb-17 open 0
}

// In two steps, with a trace.
func ExampleTwoStepCircuitBreaker_AllowContext() {
	cb, err := gobreaker.NewTwoStep[any](peer.Settings{Name: "payments"})
	if err != nil {
		fmt.Println(err)
		return
	}
	cancel := cb.Subscribe(breaker.ListenerFunc(func(breaker.Event) {}))
	defer cancel()
	done, err := cb.AllowContext(context.Background())
	if err != nil {
		fmt.Println("refused:", err)
		return
	}
	done(nil)
	fmt.Println(cb.Name(), cb.State(), cb.Counts().TotalSuccesses)
	// Output: payments closed 1
}
