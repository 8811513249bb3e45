package breaker_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/otelbreaker/otelbreaker/breaker"
)

// Somebody else knows that the dependency is down, and later that it is well again.
func ExampleBreaker_Trip() {
	b, err := breaker.New(breaker.Config{Service: "payments"})
	if err != nil {
		fmt.Println(err)
		return
	}
	b.Trip(breaker.Reason{Rule: "status_page", Note: "planned work"})
	fmt.Println(b.State())
	b.Recover(b.Snapshot().OutageID, breaker.Reason{Rule: "status_page"})
	fmt.Println(b.State())
	// Output:
	// open
	// closed
}

// There is reason to expect the worst, so half of the failures are enough.
func ExampleBreaker_Advise() {
	b, err := breaker.New(breaker.Config{FailureThreshold: 4})
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := b.Advise(0.5); err != nil {
		fmt.Println(err)
		return
	}
	for range 2 {
		_ = b.Do(context.Background(), func(context.Context) error { return errors.New("connection refused") })
	}
	fmt.Println(b.State())
	// Output: open
}

// A gate lets the breaker probe when it sees fit, but holds it no longer than a minute.
func ExampleBreaker_Gate() {
	b, err := breaker.New(breaker.Config{RecoveryTimeout: time.Millisecond})
	if err != nil {
		fmt.Println(err)
		return
	}
	asked := make(chan breaker.Hold, 1)
	remove, err := b.Gate(func(h breaker.Hold) { asked <- h }, time.Minute)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer remove()
	b.Trip(breaker.Reason{Rule: "status_page"})
	hold := <-asked
	fmt.Println(b.State())
	hold.Keep(time.Hour) // not yet
	hold.Release()
	fmt.Println(b.State())
	// Output:
	// open
	// half_open
}
