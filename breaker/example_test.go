package breaker_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/otelbreaker/otelbreaker/breaker"
)

func Example() {
	b, err := breaker.New(breaker.Config{
		Service:          "payments",
		FailureThreshold: 2,
		RecoveryTimeout:  time.Minute,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	charge := func(context.Context) error { return errors.New("connection refused") }
	for range 3 {
		err := b.Do(context.Background(), charge)
		fmt.Println(b.State(), errors.Is(err, breaker.ErrOpen))
	}
	// Output:
	// closed false
	// open false
	// open true
}

func ExampleDo() {
	b, _ := breaker.New(breaker.Config{Service: "stock"})
	count, err := breaker.Do(context.Background(), b, func(context.Context) (int, error) { return 42, nil })
	fmt.Println(count, err)
	// Output: 42 <nil>
}

func ExampleBreaker_Acquire() {
	b, _ := breaker.New(breaker.Config{Service: "queue"})
	permit, err := b.Acquire(context.Background())
	if err != nil {
		fmt.Println("blocked:", err)
		return
	}
	// ... the call, across callbacks or goroutines ...
	permit.Done(context.Background(), breaker.Success)
	fmt.Println(b.Snapshot().Success)
	// Output: 1
}

func ExampleBreaker_Subscribe() {
	b, _ := breaker.New(breaker.Config{Service: "search", FailureThreshold: 1})
	cancel := b.Subscribe(breaker.ListenerFunc(func(e breaker.Event) {
		fmt.Printf("%s: %v to %v by %s\n", e.Service, e.From, e.To, e.Reason.Rule)
	}))
	defer cancel()
	_ = b.Do(context.Background(), func(context.Context) error { return errors.New("timed out") })
	_ = b.Flush(context.Background())
	// Output: search: closed to open by consecutive_failures
}

func ExampleGroup() {
	g, _ := breaker.NewGroup(breaker.Config{FailureThreshold: 1})
	_ = g.Get("https://a.example").Do(context.Background(), func(context.Context) error { return errors.New("down") })
	_ = g.Get("https://b.example").Do(context.Background(), func(context.Context) error { return nil })
	for b := range g.All() {
		fmt.Println(b.Snapshot().Endpoint, b.State())
	}
	// Output:
	// https://a.example open
	// https://b.example closed
}

// A name that comes from outside, of an operator say, is looked up: a mistyped one makes no breaker.
func ExampleGroup_Lookup() {
	g, _ := breaker.NewGroup(breaker.Config{Service: "payments"})
	_ = g.Get("https://a.example").Do(context.Background(), func(context.Context) error { return nil })
	for _, name := range []string{"https://a.example", "https://a.exmaple"} {
		if b, found := g.Lookup(name); found {
			b.ForceOpen("maintenance")
			fmt.Println(name, b.State())
		} else {
			fmt.Println(name, "has no breaker")
		}
	}
	// Output:
	// https://a.example open
	// https://a.exmaple has no breaker
}

func ExampleConfigFrom() {
	c, err := breaker.ConfigFrom(map[string]any{"failure_rate": 0.5, "window_duration": "10s"})
	fmt.Println(c.FailureRate, c.WindowDuration, err)
	_, err = breaker.ConfigFrom(map[string]any{"recovery_timeout": 30})
	fmt.Println(err)
	// Output:
	// 0.5 10s <nil>
	// breaker: Config.recovery_timeout is 30: allowed is a duration with its unit, such as "30s" or "1m30s"
}
