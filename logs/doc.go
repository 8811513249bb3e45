// Package logs writes one record for each transition of a circuit breaker: through the OpenTelemetry log API, as lines
// of log/slog, or both.
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
// # Attributes
//
// The keys are the same in both forms of log and on the span events of package otelcb; see [Attributes].
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
//
// Invalid UTF-8 in a name or a note is replaced by U+FFFD, since one such text would make an exporter refuse a whole
// batch. No error's text is ever written.
//
// # Time and trace
//
// The record's time is that of the transition. It carries the trace and span id of the call that caused it; where none
// did (the open delay ran out, an operator closed it), those of the call that opened the breaker, so that one trace id
// finds the whole outage. In log/slog they are the fields trace_id and span_id, left out where there is no trace.
//
// # Delivery
//
// Records are written on the breaker's delivery goroutine, in order, never on a call. A logger that blocks delays
// other listeners of that breaker and slows no call; see [breaker.Listener] for what happens when it falls behind.
package logs
