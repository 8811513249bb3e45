package logs

import (
	"strings"

	"go.opentelemetry.io/otel/attribute"

	"github.com/otelbreaker/otelbreaker/breaker"
)

// kind is what a record is, in a word, and how it is put.
type kind struct {
	eventType, body string
	warn            bool
}

type edge struct{ from, to breaker.State }

var (
	stateChange = kind{"circuit_state_change", "Circuit breaker state changed", false}
	closed      = kind{"circuit_closed", "Circuit breaker closed", false}
	callFailed  = kind{"call_failed", "Circuit breaker counted a failed call", true}

	transitions = map[edge]kind{
		{breaker.Closed, breaker.Open}:     {"circuit_opened", "Circuit breaker opened", true},
		{breaker.Open, breaker.HalfOpen}:   {"circuit_half_open", "Circuit breaker testing recovery", false},
		{breaker.HalfOpen, breaker.Closed}: closed,
		{breaker.HalfOpen, breaker.Open}:   {"circuit_reopened", "Circuit breaker reopened", true},
	}
	shadows = map[edge]kind{
		{breaker.Closed, breaker.Open}:     {"circuit_would_open", "Circuit breaker would have opened", false},
		{breaker.Open, breaker.HalfOpen}:   {"circuit_would_half_open", "Circuit breaker would have tested recovery", false},
		{breaker.HalfOpen, breaker.Closed}: {"circuit_would_close", "Circuit breaker would have closed", false},
		{breaker.HalfOpen, breaker.Open}:   {"circuit_would_reopen", "Circuit breaker would have reopened", false},
	}

	// overrides are those that an operator's rules put in force.
	overrides = map[string]breaker.Override{
		breaker.RuleForced:   breaker.ForcedOpen,
		breaker.RuleDisabled: breaker.Disabled,
		breaker.RuleReset:    breaker.Automatic,
	}
)

func kindOf(e *breaker.Event) kind {
	if operated(e) {
		return stateChange
	}
	if e.To == breaker.Closed && e.Reason.Rule == breaker.RuleFleetRecovered {
		return closed // by a probe as any other, though a sibling's: the outage is over
	}
	known := transitions
	if e.Shadow {
		known = shadows
	}
	if k, found := known[edge{e.From, e.To}]; found {
		return k
	}
	return stateChange
}

// operated tells that an operator did it.
func operated(e *breaker.Event) bool {
	_, found := overrides[e.Reason.Rule]
	return found
}

// Attributes gives the attributes that a record of e carries, in a fixed order, for listeners that write elsewhere
// under the same names. The package documentation lists them. The slice is the caller's.
func Attributes(e breaker.Event) []attribute.KeyValue {
	a := make([]attribute.KeyValue, 0, 19)
	a = append(a,
		attribute.String("component", "circuit_breaker"),
		attribute.String("event_type", kindOf(&e).eventType),
		text("service", e.Service),
		text("endpoint", e.Endpoint),
		attribute.String("old_state", e.From.String()),
		attribute.String("new_state", e.To.String()),
		attribute.Int64("failure_count", int64(e.FailureCount)),
		attribute.Int64("success_count", int64(e.SuccessCount)),
		text("reason", e.Reason.Rule),
	)
	if override, operated := overrides[e.Reason.Rule]; operated {
		a = append(a, attribute.String("override", override.String()))
	} else {
		a = append(a,
			attribute.Float64("observed", e.Reason.Observed),
			attribute.Float64("threshold", e.Reason.Threshold))
	}
	if e.Reason.Note != "" {
		a = append(a, text("note", e.Reason.Note))
	}
	a = appendCause(a, e.OutageID, e.ErrorType)
	if e.Shadow {
		// Nobody was blocked and nothing recovered, so the numbers of a closing would only spoil an average.
		return append(a, attribute.Bool("shadow", true))
	}
	if e.To == breaker.Closed && e.From != breaker.Closed {
		a = append(a,
			attribute.Float64("recovery_duration_seconds", e.RecoveryDuration.Seconds()),
			attribute.Int64("blocked_count", int64(e.BlockedCount)))
	}
	return a
}

func failureAttributes(f *breaker.FailedCall) []attribute.KeyValue {
	a := make([]attribute.KeyValue, 0, 8)
	a = append(a,
		attribute.String("component", "circuit_breaker"),
		attribute.String("event_type", callFailed.eventType),
		text("service", f.Service),
		text("endpoint", f.Endpoint),
		attribute.String("state", f.State.String()),
	)
	return appendCause(a, f.OutageID, f.ErrorType)
}

func appendCause(a []attribute.KeyValue, outageID, errorType string) []attribute.KeyValue {
	if outageID != "" {
		a = append(a, text("outage_id", outageID))
	}
	if errorType != "" {
		a = append(a, text("error.type", errorType))
	}
	return a
}

// withHeldBack adds how many records were held back before this one.
func withHeldBack(a []attribute.KeyValue, n uint64) []attribute.KeyValue {
	if n == 0 {
		return a
	}
	return append(a, attribute.Int64("held_back", int64(n)))
}

func text(key, value string) attribute.KeyValue {
	return attribute.String(key, strings.ToValidUTF8(value, "\uFFFD"))
}
