// Package otelcb makes circuit breakers observable: their metrics, and what they have to say on trace spans. It uses
// the OpenTelemetry API alone, so it reports to whatever SDK the program has installed, and costs next to nothing
// where there is none.
//
//	registration, err := otelcb.Observe(b) // a *breaker.Breaker, a *breaker.Group, or anything that has All
//
// # Metrics
//
// Every series carries service and endpoint, the breaker's names. Names are those of the instruments; Prometheus has
// circuit_breaker_state, circuit_breaker_transitions_total, circuit_breaker_recovery_duration_seconds, and so on.
//
//	Instrument                           Kind                Unit          Meaning
//	circuit_breaker.state                observable gauge                  0 closed, 1 half_open, 2 open
//	circuit_breaker.transitions          observable counter  {transition}  by from_state and to_state
//	circuit_breaker.requests             observable counter  {request}     by outcome: success, failure, blocked, ignored
//	circuit_breaker.recovery.duration    histogram           s             first opening of an outage to closing
//	circuit_breaker.failures.current     observable gauge    {failure}     consecutive failures now
//	circuit_breaker.last_failure_time    observable gauge                  Unix seconds of the newest failure
//	circuit_breaker.open                 observable counter  s             time spent open, growing while open
//	circuit_breaker.slow_calls           observable counter  {request}     calls slower than the slow-call duration
//	circuit_breaker.override             observable gauge                  0 automatic, 1 forced open, 2 disabled
//	circuit_breaker.would_open           observable counter  {transition}  openings there would have been, had the
//	                                                                       breaker not been disabled
//	circuit_breaker.would_block          observable counter  {request}     likewise, calls blocked
//	circuit_breaker.events_dropped       observable counter  {event}       events that listeners were too slow for
//
// Series are there from a breaker's first collection on, before any call: the state, all six ordered pairs of different
// states and all four outcomes at 0, so that increase() sees the first of each. Exceptions are last_failure_time, which
// has no series before the first failure, slow_calls, which has none unless a slow-call duration is configured, and the
// recovery histogram.
//
// The breaker counts in its own memory and collection reads it, so calls pay nothing for these. The exception is the
// recovery histogram, recorded as it happens in the context of the call that closed the breaker, so that its exemplars
// lead to that call's trace. Its first recovery is its first sample, which increase() and rate() therefore cannot see;
// no honest API call makes an empty histogram. Alert on circuit_breaker.transitions with to_state="closed", which
// stands at 0 before, or on circuit_breaker.open, and use the histogram for how long.
//
// It is also the one metric that outlives its breaker: an SDK keeps what was recorded for as long as the process runs.
// Only endpoints that opened and recovered have it. Where hosts come from strangers, keep their number below the SDK's
// cardinality limit (2,000 unless set; package collector sets 10,000).
//
// # Breakers that come and go
//
// A breaker that its source no longer yields has no series from the next collection on. Where one of the same name has
// taken its place by then, the counters go on from the old one's last values, for to a reader it is one series. Where
// there was a collection without it, the series had ended, and a later one starts at 0. (With several readers, one of
// which has not collected in the meantime, that one sees the counter reset.)
//
// Two breakers of the same name at the same time, in one source or in several, share their series, since an SDK would
// otherwise add them up in counters, take either for gauges, and reset the counters when one goes. Counters are their
// sum and stay monotone when either goes; gauges show the worst: the highest state, override and number of consecutive
// failures, the newest failure. As this is seldom meant, it is reported once to the OpenTelemetry error handler.
//
// A breaker is counted once, by however many sources it comes. Observing a source twice under one meter provider, or
// one of whose breakers is already observed, is refused by [Observe].
//
// # Spans
//
// On the caller's span, the one in the context of the call, and only if that is recording:
//
//	Span event                    When                                  Attributes
//	circuit_breaker.state_change  the call caused a transition          those of package logs, see logs.Attributes
//	circuit_breaker.blocked       the call was blocked                  service, endpoint, state, reason, outage_id
//
// The span of a call that was blocked, or that reopened or closed the breaker, also gets a link to the call that opened
// it, with the attribute outage_id.
//
// When a breaker closes, one span circuit_breaker.outage is made, from the opening to the closing, with the attributes
// component, service, endpoint, reason (of the closing), outage_id, failure_count and success_count (of probes),
// blocked_count and recovery_duration_seconds. It links to the call that opened the breaker and to the one that closed
// it. It is a child of the opening call's span and so in that call's trace, as are the log records of transitions that
// no call caused: one trace id finds the whole outage. With a parent-based sampler, the default, it is sampled if and
// only if that call was. From the closing call it is found by the link on that call's span. Where an operator opened
// the breaker there was no call, and the outage is a root span.
//
// Each [Registration] writes these, so a source observed under two meter providers has them twice.
package otelcb
