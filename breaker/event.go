package breaker

import (
	"context"
	"time"
)

// The rules that a [Reason] can name.
const (
	RuleConsecutiveFailures = "consecutive_failures" // observed and threshold: consecutive failures
	RuleFailureRate         = "failure_rate"         // observed and threshold: share of the window's calls
	RuleSlowCallRate        = "slow_call_rate"       // observed and threshold: share of the window's calls
	RuleProbeFailed         = "probe_failed"         // observed and threshold: failed probes
	RuleProbeTimeout        = "probe_timeout"        // observed: probes that ran out of their lease; threshold: 1
	RuleProbesSucceeded     = "probes_succeeded"     // observed and threshold: successful probes
	RuleDelayElapsed        = "delay_elapsed"        // observed: seconds open; threshold: the delay in seconds
	RuleForced              = "forced"               // an operator forced the breaker open
	RuleDisabled            = "disabled"             // an operator disabled the breaker
	RuleReset               = "reset"                // an operator reset the breaker

	// Those by which a fleet of replicas moves a breaker: see [Breaker.Trip] and [Breaker.Recover].
	RuleFleetQuorum    = "fleet_quorum"    // observed and threshold: share of the live replicas that have opened
	RuleFleetLeader    = "fleet_leader"    // observed: replicas that have opened; threshold: 1
	RuleFleetRecovered = "fleet_recovered" // observed and threshold: replicas whose probes have succeeded
)

// Reason tells which rule moved the breaker, with the numbers it saw.
type Reason struct {
	Rule                string  // one of the Rule constants, or a word of the make that a [Mirror] shows
	Observed, Threshold float64 // in what unit, the constant says; 0 where an operator acted
	Note                string  // what the operator gave as the reason, or who among a fleet gave it
}

// Event is one transition. It is a plain value and does not change.
type Event struct {
	Service, Endpoint string    // as in [Config]
	From, To          State     // the same where an override moved no state: see [NoticeListener]
	At                time.Time // when it happened, not when it was delivered
	Reason            Reason    // which rule it was

	// ErrorType names the failure of the call that caused the transition: what its error's ErrorType method says (an
	// HTTP status, say), "timeout", "panic" (also for Goexit), "connection_refused" or another of the network's (see
	// [ErrorTypeOf]), or the error's Go type; never its text. Empty where no failure caused it, or where it was reported
	// without an error.
	ErrorType string

	// The calls that were judged: when opening, those of the window (of the run of failures, for
	// consecutive_failures); otherwise the probes of this outage so far. BlockedCount is the calls blocked in this
	// outage so far.
	FailureCount, SuccessCount, BlockedCount uint64

	OutageID         string        // the same from an opening to its closing
	RecoveryDuration time.Duration // on closing: since the first opening of the outage, reopenings included

	// Context has the values of the call that caused the transition, or of the call that opened the outage where none
	// did. OpenedBy is of the call that opened the outage. Neither is ever cancelled or nil; both are
	// context.Background() where an operator opened.
	Context, OpenedBy context.Context

	// Shadow marks, in OnNotice alone, a transition that would have happened had the breaker not been disabled.
	Shadow bool
}

// Listener is told of transitions. OnTransition is called in order and one event at a time for a breaker, outside
// every lock and never on the goroutine of a call; a listener of several breakers is called by them concurrently. It
// may call the breaker, except that Flush would wait for itself. A panic in it is logged by slog and harms nobody.
// One that blocks delays the breaker's other listeners and slows no call; up to 1,024 events wait, then the oldest
// are dropped and counted in the Snapshot.
type Listener interface {
	OnTransition(Event)
}

// NoticeListener is a [Listener] that also wants to know what moved no state: an override that was put on or lifted
// (From and To are the same then), and, while the breaker is disabled, the transitions that would have happened
// (Shadow is set then). OnNotice keeps to the same terms and the same order as OnTransition.
type NoticeListener interface {
	Listener
	OnNotice(Event)
}

// FailureListener is a [Listener] that also wants to know of the calls that failed: those that the breaker let through,
// and counted as failures, among them probes that ran out of their lease; not those it blocked. OnFailure keeps to the
// same terms and the same order as OnTransition: the call that moves the breaker comes before the transition.
//
// FailuresPerMinute, asked once, when the listener is subscribed, bounds the calls told of one breaker: so many at
// once, and so many a minute in the long run; 0 is no limit. What is beyond it costs a call next to nothing. Nor do
// more than 128 failed calls of a breaker wait, and they never take the place of a transition. Those left out are
// counted in the next one's HeldBack.
type FailureListener interface {
	Listener
	OnFailure(FailedCall)
	FailuresPerMinute() uint
}

// FailedCall is a call that failed. It is a plain value and does not change.
type FailedCall struct {
	Service, Endpoint string          // as in [Config]
	State             State           // when the call ended, before what that brought about; Closed while disabled
	At                time.Time       // when it ended
	ErrorType         string          // as in [Event]
	OutageID          string          // of the outage that is going on; empty where there is none
	HeldBack          uint64          // failed calls of this breaker before this one that the listener was not told of
	Context           context.Context // has the values of the call; never cancelled or nil
}

// CallListener is a [Listener] that is also called on the goroutine of the call itself, so that what it notes can go
// on the call's own trace span while that is open: by OnCallTransition right after the call caused a transition, by
// OnBlocked when the call was blocked. ctx is the call's. Both are called outside every lock and concurrently, and
// must be quick, for the call waits; a panic in them is logged and harms nobody.
type CallListener interface {
	Listener
	OnCallTransition(ctx context.Context, e Event)
	OnBlocked(ctx context.Context, rejection *OpenError)
}

// ListenerFunc makes a function a [Listener].
type ListenerFunc func(Event)

// OnTransition calls f.
func (f ListenerFunc) OnTransition(e Event) { f(e) }
