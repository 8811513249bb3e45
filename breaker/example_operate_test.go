package breaker_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/otelbreaker/otelbreaker/breaker"
)

var errRefused = errors.New("connection refused")

func fails(context.Context) error { return errRefused }

func succeeds(context.Context) error { return nil }

// An operator takes a breaker over, and gives it back.
func ExampleBreaker_ForceOpen() {
	b, _ := breaker.New(breaker.Config{Service: "payments", FailureThreshold: 1})
	b.ForceOpen("migration of their database")
	fmt.Println(b.State(), b.Do(context.Background(), succeeds) != nil)

	b.Disable("false alarm") // lets all through, and tells what it would have done
	_ = b.Do(context.Background(), fails)
	fmt.Println(b.State(), b.Snapshot().WouldOpen)

	b.Reset()
	fmt.Println(b.State(), b.Snapshot().Override)
	// Output:
	// open true
	// closed 1
	// closed automatic
}

// The configuration of a live breaker changes as a whole, or what a function makes of it.
func ExampleBreaker_Reconfigure() {
	b, _ := breaker.New(breaker.Config{Service: "search", FailureThreshold: 3})
	err := b.Reconfigure(breaker.Config{FailureRate: 0.5, WindowDuration: 10 * time.Second})
	fmt.Println(err, b.Snapshot().Config.FailureRate)

	err = b.Adjust(func(c *breaker.Config) error {
		c.RecoveryTimeout = time.Minute
		return nil
	})
	fmt.Println(err, b.Snapshot().Config.RecoveryTimeout, b.Snapshot().Config.FailureRate)

	fmt.Println(b.Reconfigure(breaker.Config{FailureRate: 50})) // and nothing has changed
	// Output:
	// <nil> 0.5
	// <nil> 1m0s 0.5
	// breaker: Config.FailureRate is 50: allowed is a share from 0 to 1
}

// A rejection tells when to come again, and which call opened the breaker.
func ExampleOpenError() {
	b, _ := breaker.New(breaker.Config{Service: "payments", FailureThreshold: 1, RecoveryTimeout: time.Hour})
	type request struct{}
	_ = b.Do(context.WithValue(context.Background(), request{}, "order 17"), fails)

	err := b.Do(context.Background(), succeeds)
	if rejection, blocked := errors.AsType[*breaker.OpenError](err); blocked {
		fmt.Println(rejection.Service, rejection.State, rejection.RetryAfter().Round(time.Minute))
		fmt.Println("opened by", rejection.OpenedBy().Value(request{})) // its span, where there are traces
	}
	// Output:
	// payments open 1h0m0s
	// opened by order 17
}

// The error judges the call as Do would.
func ExamplePermit_DoneErr() {
	b, _ := breaker.New(breaker.Config{Service: "queue"})
	ctx := context.Background()
	permit, err := b.Acquire(ctx)
	if err != nil {
		fmt.Println("blocked:", err)
		return
	}
	permit.DoneErr(ctx, errRefused)
	permit.DoneErr(ctx, errRefused) // does nothing: a call counts once
	fmt.Println(b.Snapshot().Failure)
	// Output: 1
}

// What a protocol says of a failure goes into events, and into the delay.
func ExamplePermit_DoneWith() {
	b, _ := breaker.New(breaker.Config{Service: "geocoder", FailureThreshold: 1, RecoveryTimeout: time.Second})
	ctx := context.Background()
	permit, err := b.Acquire(ctx)
	if err != nil {
		fmt.Println("blocked:", err)
		return
	}
	// ... the answer is "429, come again in a minute" ...
	permit.DoneWith(ctx, breaker.Result{
		Outcome:    breaker.Failure,
		ErrorType:  "429",
		Elapsed:    permit.Elapsed(), // to here, and not to the end of a body that is read later
		RetryAfter: time.Minute,
	})
	fmt.Println(b.State(), b.Snapshot().RetryAfter.Round(time.Second))
	// Output: open 1m0s
}

// A stream that outlives a probe's lease is judged before that is over.
func ExamplePermit_Lease() {
	b, _ := breaker.New(breaker.Config{Service: "feed", ProbeTimeout: 10 * time.Second})
	permit, err := b.Acquire(context.Background())
	if err != nil {
		fmt.Println("blocked:", err)
		return
	}
	defer permit.Done(context.Background(), breaker.Success)
	if left, probe := permit.Lease(); probe {
		fmt.Println("decide within", left)
	} else {
		fmt.Println("not a probe: there is no hurry")
	}
	// Output: not a probe: there is no hurry
}

func ExampleNewGroup() {
	shards, err := breaker.NewGroup(breaker.Config{Service: "shards", FailureThreshold: 1},
		breaker.WithMaxEndpoints(64),
		breaker.WithDisabled("trial of thresholds"), // each breaker, from its first call on
		breaker.WithListeners(breaker.ListenerFunc(func(breaker.Event) { /* tell somebody */ })))
	if err != nil {
		fmt.Println(err)
		return
	}
	_ = shards.Get("shard-17").Do(context.Background(), fails)
	fmt.Println(shards.Get("shard-17").Snapshot().WouldOpen)
	// Output: 1
}

// The two steps of a group's breaker, which stays in the group meanwhile.
func ExampleGroup_Acquire() {
	shards, _ := breaker.NewGroup(breaker.Config{Service: "shards"})
	ctx := context.Background()
	permit, err := shards.Acquire(ctx, "shard-17")
	if err != nil {
		fmt.Println("blocked:", err)
		return
	}
	permit.Done(ctx, breaker.Success)
	fmt.Println(shards.Get("shard-17").Snapshot().Success)
	// Output: 1
}

// A listener of a group hears of all of its breakers, also of those to come.
func ExampleGroup_Subscribe() {
	shards, _ := breaker.NewGroup(breaker.Config{Service: "shards", FailureThreshold: 1})
	cancel := shards.Subscribe(breaker.ListenerFunc(func(e breaker.Event) { fmt.Println(e.Endpoint, "is", e.To) }))
	defer cancel()
	_ = shards.Get("shard-17").Do(context.Background(), fails)
	_ = shards.Flush(context.Background())
	// Output: shard-17 is open
}

// A breaker of another make, here a list of hosts to stay away from, reports to a mirror and is then observed like any
// other: otelcb.Observe, health.Handler and control.Handler take the mirror.
func ExampleMirror() {
	mirror, err := breaker.NewMirror("hostlist", breaker.Config{Service: "payments", Endpoint: "https://payments.example"})
	if err != nil {
		fmt.Println(err)
		return
	}
	cancel := mirror.Subscribe(breaker.ListenerFunc(func(e breaker.Event) { fmt.Println(e.Service, "is", e.To, "by", e.Reason.Rule) }))
	defer cancel()

	ctx := context.Background()
	mirror.Count(ctx, breaker.Result{Outcome: breaker.Failure, ErrorType: breaker.ErrorTypeOf(errRefused)})
	onCall := mirror.Move(ctx, breaker.Move{To: breaker.Open, Reason: breaker.Reason{Rule: "listed"}, Failures: 1})
	onCall() // outside the other breaker's lock
	mirror.Blocked(ctx)
	mirror.Late(ctx, breaker.Result{Outcome: breaker.Success}) // of a call from before: counted, and moves nothing
	_ = mirror.Breaker().Flush(ctx)

	for b := range mirror.All() {
		s := b.Snapshot()
		fmt.Println(s.Engine, s.State, s.Failure, s.Blocked, s.Success)
	}
	// Output:
	// payments is open by listed
	// hostlist open 1 1 1
}
