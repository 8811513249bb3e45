package fleet_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/otelbreaker/otelbreaker/breaker"
	"github.com/otelbreaker/otelbreaker/fleet"
	"github.com/otelbreaker/otelbreaker/fleet/enginetest"
)

// Two replicas, here in one process and on an engine for tests; in production each has one of package fleet/nats.
func ExampleJoin() {
	engine := enginetest.NewMemory()
	ctx := context.Background()
	replica := func() (*breaker.Breaker, *fleet.Member) {
		b, err := breaker.New(breaker.Config{Service: "payments", FailureThreshold: 1})
		if err != nil {
			panic(err)
		}
		member, err := fleet.Join(b, engine, fleet.WithName("shop"), fleet.WithPolicy(fleet.LeaderOfOne()))
		if err != nil {
			panic(err)
		}
		return b, member
	}
	one, first := replica()
	defer func() { _ = first.Close(ctx) }()
	other, second := replica()
	defer func() { _ = second.Close(ctx) }()
	for first.Replicas() < 2 || second.Replicas() < 2 {
		time.Sleep(time.Millisecond)
	}

	_ = one.Do(ctx, func(context.Context) error { return errors.New("refused") })
	for other.State() != breaker.Open {
		time.Sleep(time.Millisecond)
	}
	err := other.Do(ctx, func(context.Context) error { return nil })
	var open *breaker.OpenError
	if errors.As(err, &open) {
		fmt.Println(open.Reason.Rule)
	}
	// Output: fleet_leader
}
