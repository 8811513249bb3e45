// Package gobreaker gives circuit breakers of github.com/sony/gobreaker/v2 the metrics, log records, span events, health
// page, dashboards and alerts of otelbreaker. gobreaker goes on to decide; only the construction changes:
//
//	cb, err := gobreaker.New[[]byte](peer.Settings{Name: "payments"}, gobreaker.WithEndpoint("https://payments.example"))
//	...
//	observed, err := otelcb.Observe(cb, otelcb.WithLogs())
//	...
//	body, err := cb.Execute(fetch) // as before
//
// where peer is gobreaker itself. Errors, results and panics come back as they are: a blocked call has gobreaker's own
// ErrOpenState or ErrTooManyRequests.
//
// # What stays
//
// IsSuccessful, IsExcluded, ReadyToTrip and OnStateChange are called when, with what, and in the order in which gobreaker
// calls them, under its lock. What observes the breaker is called outside that lock and may call the breaker, which
// OnStateChange may not. Excluded errors are ignored calls.
//
// # What is different
//
// An open period ends on time, without traffic: gobreaker alone is open until somebody asks. So OnStateChange is told of it
// then, on a goroutine of its own; a panic in it there is logged. Calls see no difference.
//
// IsSuccessful and IsExcluded are asked about a result that comes after its period is over as well, outside the lock: gobreaker
// drops it, the totals have it.
//
// # What gobreaker cannot tell
//
// Execute and Allow have no context: use [CircuitBreaker.ExecuteContext] and [TwoStepCircuitBreaker.AllowContext] for
// records with traces, events on spans, and links to the call that opened the breaker. What the caller cancelled is a
// failure, unless IsExcluded says otherwise. A ReadyToTrip of the user's has no name and no numbers: [RuleReadyToTrip].
// A probe that ends by runtime.Goexit, or whose done is never called, holds gobreaker half-open for good; that shows, and
// nothing mends it. There are no slow calls and no overrides. A DistributedCircuitBreaker, which other processes move, has
// no adapter.
package gobreaker
