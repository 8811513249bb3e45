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
// Only endpoints that opened and recovered have it.
//
// # How many series
//
// A breaker has 17 series, at most six of one instrument (circuit_breaker.transitions), slow_calls and
// last_failure_time included 19, and the histogram's buckets once it has recovered. An SDK adds up in one series
// without a word what is beyond its cardinality limit: 2,000 attribute sets of one instrument, which is room for 333
// breakers, unless it is set; package collector sets 10,000. A group of the default size stays below; several may not.
// The first time that there are more, it is reported to the OpenTelemetry error handler; see [WithCardinalityLimit].
//
// # Breakers that come and go
//
// A breaker that its source no longer yields has no series from the next collection on. Where one of the same name has
// taken its place by then, the counters go on from the old one's last values, for to a reader it is one series. A
// reader that collected in between has seen the series end, and sees another begin at 0; a reader that did not sees it
// go on. So each gets every call at most once, also under delta temporality, whatever the others do. (A breaker's last
// counts, after a reader's last collection of it, are lost to that reader. What tells readers apart is what the SDK for
// Go hands to a callback; under an SDK where that tells nothing, all readers count as one. A thousand ended series are
// remembered for readers that are late, and none once all registrations under a meter provider have ended.)
//
// Two breakers of the same name at the same time, in one source or in several, share their series, since an SDK would
// otherwise add them up in counters, take either for gauges, and reset the counters when one goes. Counters are their
// sum and stay monotone when either goes; gauges show the worst: the highest state, override and number of consecutive
// failures, the newest failure. As this is seldom meant, it is reported once to the OpenTelemetry error handler.
//
// A breaker is counted once, by however many sources it comes. Observing a source twice under one meter provider, or
// one of whose breakers is already observed, is refused by [Observe].
//
// A source whose All panics has no series meanwhile, and harms no other. That is reported too, once until it is well
// again, and is no error of the collection, for an SDK's periodic reader would then export nothing at all.
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
//
// # Log records
//
// None, unless they are asked for: [WithLogs] has package logs write them through OpenTelemetry, [WithSlog] to a logger
// of log/slog as well.
//
//	registration, err := otelcb.Observe(b, otelcb.WithSlog(slog.Default()))
package otelcb
