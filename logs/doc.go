// Package logs writes one record for each transition of a circuit breaker, and on request for each failed call: through
// the OpenTelemetry log API, as lines of log/slog, or both.
//
//	b, err := breaker.New(config, logs.NewListener())                              // OpenTelemetry, global provider
//	b, err := breaker.New(config, logs.NewListener(logs.WithSlog(slog.Default()))) // log/slog alone
//
// # Records
//
// A record is an event in the sense of OpenTelemetry: its event name is also the attribute event_type, for backends
// that search attributes only.
//
//	Transition                      event_type            Severity  Body
//	closed to open                  circuit_opened        WARN      Circuit breaker opened
//	open to half_open               circuit_half_open     INFO      Circuit breaker testing recovery
//	half_open to closed             circuit_closed        INFO      Circuit breaker closed
//	half_open to open               circuit_reopened      WARN      Circuit breaker reopened
//	by a sibling's probe, to closed circuit_closed        INFO      Circuit breaker closed
//	by an operator, any states      circuit_state_change  INFO      Circuit breaker state changed
//
// What an operator does ([breaker.Breaker.ForceOpen], Disable, Reset) is always a circuit_state_change, also where it
// moved no state and only put an override on or lifted it: old_state and new_state are the same then.
//
// While a breaker is disabled, what its rules would have done is told apart from what happened, by event types of its
// own and the attribute shadow:
//
//	Would have been                 event_type               Severity  Body
//	closed to open                  circuit_would_open       INFO      Circuit breaker would have opened
//	open to half_open               circuit_would_half_open  INFO      Circuit breaker would have tested recovery
//	half_open to closed             circuit_would_close      INFO      Circuit breaker would have closed
//	half_open to open               circuit_would_reopen     INFO      Circuit breaker would have reopened
//
// With [WithFailures], each call that the breaker counts as a failure, a probe that ran out of its lease included:
//
//	Call                            event_type            Severity  Body
//	failed                          call_failed           WARN      Circuit breaker counted a failed call
//
// The record of a call that moves the breaker comes before that of the transition.
//
// # Attributes
//
// The keys are the same in both forms of log and on the span events of package otelcb; see [Attributes]. Of a
// transition:
//
//	Key                        Type    Meaning
//	component                  string  circuit_breaker
//	event_type                 string  see above
//	service, endpoint          string  the breaker's names
//	old_state, new_state       string  closed, half_open or open
//	failure_count              int     failed calls: of those judged when opening, else probes of this outage
//	success_count              int     successful calls, likewise
//	reason                     string  the rule that moved the breaker, one of the breaker.Rule constants
//	observed, threshold        double  the numbers the rule saw; left out where an operator moved the breaker
//	note                       string  what the operator gave as the reason; left out if empty
//	override                   string  in force from now on: forced_open, disabled or automatic; only where an operator acted
//	outage_id                  string  the same from an opening to its closing; left out where there is no outage
//	error.type                 string  of the failure that caused it; left out where none did
//	recovery_duration_seconds  double  on closing: since the first opening of the outage, reopenings included
//	blocked_count              int     on closing: calls blocked in this outage
//	shadow                     bool    true where it only would have happened; otherwise left out
//	held_back                  int     records that a limit held back before this one, see below; left out if none
//
// Of a failed call:
//
//	Key                        Type    Meaning
//	component                  string  circuit_breaker
//	event_type                 string  call_failed
//	service, endpoint          string  the breaker's names
//	state                      string  the breaker's when the call ended, before what that brought about
//	outage_id                  string  of the outage that is going on; left out where there is none
//	error.type                 string  what failed; left out where the failure was reported without saying
//	held_back                  int     failed calls before this one that have no record; left out if none
//
// Invalid UTF-8 in a name or a note is replaced by U+FFFD, since one such text would make an exporter refuse a whole
// batch. No error's text is ever written.
//
// # Time and trace
//
// The record's time is that of the transition, or of the end of the failed call. It carries the trace and span id of the
// call, be it sampled or not; where no call caused a transition (the open delay ran out, an operator closed it), those of
// the call that opened the breaker, so that one trace id finds the whole outage. In log/slog they are the fields trace_id
// and span_id, left out where there is no trace.
//
// # Limits
//
// A breaker that flaps must not fill the log. Of each breaker (those of one name count as one, and of their records held
// back the newest is kept), [DefaultLimit] records of transitions are
// written at once, and as many a minute in the long run: no outage comes near that, however often it reopens, short of
// five times a second. [WithLimit] sets another limit, or none.
//
// Beyond it, records are held back. As soon as the limit allows the next one, a tenth of a second later by default and
// also if nothing more happens, the newest is written, with the time, the trace and the attributes that it has, and
// held_back counts those that were given up before it. So the log never rests on a state that is past, and records and
// their held_back add up to the transitions. The newest record of an operator's doing is written as well, for those of
// transitions do not tell of overrides. What is held counts as delivered: Flush does not wait for it, ending the
// subscription does not take it back, and a program that ends before its time does not tell it.
//
// A listener that writes to two logs limits each by what it wants of it. 1,024 breakers are limited at a time, which
// bounds the memory. Breakers that are quiet make room for others at once; where none is, those beyond are not limited.
//
// Failed calls have a limit of their own, [DefaultFailureLimit] unless [WithFailureLimit] sets another. The breaker
// looks at it before anything is made of a failed call, so those beyond it cost next to nothing; see
// [breaker.FailureListener]. held_back counts them in the next record; the total is the metric
// circuit_breaker.requests.
//
// # Delivery
//
// Records are written on the breaker's delivery goroutine (those that were held back on a timer's), in order and one at a
// time for a breaker, never on a call. A logger that blocks delays other listeners of that breaker and slows no call;
// see [breaker.Listener] for what happens when it falls behind. A logger is asked whether it is enabled before a record
// is made, and a transition that it does not want uses up nothing of its limit.
package logs
