// Package failsafe gives circuit breakers of github.com/failsafe-go/failsafe-go the metrics, log records, span events,
// health page, dashboards and alerts of otelbreaker. failsafe-go goes on to decide; only the construction changes:
//
//	cb, err := failsafe.NewBuilder[*http.Response](failsafe.WithEndpoint("https://payments.example")).
//		WithFailureThreshold(5). // every method of failsafe-go's builder
//		Build()
//	...
//	observed, err := otelcb.Observe(cb, otelcb.WithLogs())
//	...
//	client := &http.Client{Transport: failsafehttp.NewRoundTripper(nil, cb)} // as before
//
// What Build gives is a [circuitbreaker.CircuitBreaker], for use alone or as a policy among others. Results, errors and
// panics come back as they are: a blocked call has failsafe-go's own ErrOpen.
//
// # What stays
//
// Conditions, delays and listeners of the builder are called when, with what, and on the goroutine on which failsafe-go calls
// them. A panic of a listener of state changes reaches the caller; in failsafe-go it ends the process. What observes the
// breaker is called outside every lock, may call the breaker, and a panic in it harms nobody. Transitions are told in the
// order in which they happened, which failsafe-go, letting go of its lock before it tells, does not promise.
//
// Each attempt that reaches the breaker is a call: inside a retry policy every attempt, outside one the whole.
//
// # What is different
//
// When the open period ends, the breaker is shown half-open, for the next call will be let through. failsafe-go's own State
// is open until that call comes. With WithDelay(0) it is shown so, too.
//
// # What failsafe-go cannot tell
//
// An execution's context is there where the executor has one (WithContext); TryAcquirePermit and the Record methods have
// none, so what they cause has no trace. Nothing is ignored: what no condition handles is a success, and what the caller
// cancelled is a failure unless a condition says otherwise. A result that is a failure by itself, such as an HTTP status,
// has no error.type. An attempt that panics, or ends by runtime.Goexit, is counted as a failure; failsafe-go never hears of
// it, and waits for it for good if it was a probe. A late result moves failsafe-go's half-open breaker, and is counted as a
// probe's. There are no slow calls and no overrides: Open, HalfOpen and Close are transitions by reason [RuleManual].
package failsafe
