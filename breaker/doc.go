// Package breaker is a circuit breaker: it stops calls to a dependency that fails, lets a few through after a while to
// see whether it has recovered, and carries on when it has.
//
// A [Breaker] is closed at first: calls go through, and their outcomes are judged by the rules in its [Config]. When
// one is met it trips: it opens, and calls are blocked with an error that matches [ErrOpen]. When the recovery timeout
// has passed it becomes half-open, on time and without traffic, and lets a limited number of calls through as probes.
// Enough successful ones close it; a failed one opens it again.
//
//	b, err := breaker.New(breaker.Config{Service: "payments"})
//	...
//	err = b.Do(ctx, func(ctx context.Context) error { return charge(ctx, order) })
//	if errors.Is(err, breaker.ErrOpen) {
//		// not sent: payments is down
//	}
//
// [Breaker.Do] and [Do] are for functions, [Breaker.Acquire] for calls that do not fit into one. A [Group] keeps one
// breaker an endpoint. A [Listener] is told of every transition; [Breaker.Snapshot] gives the counts of a moment. That
// is all the telemetry there is here: package otelcb makes metrics and spans of it, package logs log records, and
// package transport puts it under an http.Client. A [Mirror] shows a breaker of another make as one of these, for adapters.
// A [Set] is many of all these as one.
// This package imports the standard library only.
//
// # What holds
//
// A result counts for the period that admitted it: a call let through while closed that ends while half-open moves
// nothing. Every call that has ended is in exactly one total. No probe can hold the breaker half-open beyond its lease,
// whether it hangs, panics, calls runtime.Goexit or is forgotten. Only elapsed time on the monotonic clock matters, so
// a step of the wall clock moves nothing. What a caller cancelled is ignored, what ran into a deadline is a failure.
//
// Calls already in flight when the breaker trips are not recalled, so failures may exceed a threshold. By themselves,
// breakers share nothing across processes; module fleet has replicas share. A guarded call that calls the same breaker again needs a place of its own: with one probe
// at a time, a nested call is blocked while half-open.
//
// # Sources
//
// The pattern is Michael Nygard's, "Release It!" (2007, 2018), and was retold by Martin Fowler ("CircuitBreaker",
// 2014). The lease of a probe is that of Gray and Cheriton ("Leases", 1989). Spreading hot counters over cache lines
// is Doug Lea's LongAdder.
package breaker
