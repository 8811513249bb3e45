package breaker_test

import (
	"context"
	"fmt"

	"github.com/otelbreaker/otelbreaker/breaker"
)

// All that guards this program's calls, as one source for otelcb.Observe, health.Handler and control.Handler.
func ExampleSet() {
	upstreams, err := breaker.NewGroup(breaker.Config{Service: "payments"})
	if err != nil {
		fmt.Println(err)
		return
	}
	database, err := breaker.New(breaker.Config{Service: "orders", Endpoint: "postgres"})
	if err != nil {
		fmt.Println(err)
		return
	}
	var all breaker.Set
	if err := all.Add(upstreams, database); err != nil {
		fmt.Println(err)
		return
	}
	defer all.Subscribe(breaker.ListenerFunc(func(e breaker.Event) {
		fmt.Println(e.Service, e.Endpoint, "is", e.To)
	}))()

	upstreams.Get("https://eu.payments.example").ForceOpen("a drill")
	database.ForceOpen("a drill")
	for b := range all.All() {
		s := b.Snapshot()
		fmt.Println(s.Service, s.Endpoint, s.State)
	}
	_ = all.Flush(context.Background())

	fmt.Println("removed:", all.Remove(database))
	// Unordered output:
	// payments https://eu.payments.example open
	// orders postgres open
	// payments https://eu.payments.example is open
	// orders postgres is open
	// removed: true
}
