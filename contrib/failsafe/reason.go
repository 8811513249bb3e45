package failsafe

import (
	"cmp"
	"time"

	"github.com/failsafe-go/failsafe-go/circuitbreaker"

	"github.com/otelbreaker/otelbreaker/breaker"
)

const (
	maxProbes = 10_000           // of a breaker.Config
	minPeriod = time.Millisecond // likewise
)

// opens names the rule that opens a closed breaker.
func (k *known[R]) opens() string {
	switch {
	case k.rate > 0:
		return breaker.RuleFailureRate
	case k.period > 0:
		return RuleFailureThresholdPeriod
	case k.failures != k.among:
		return RuleFailureThresholdRatio
	default:
		return breaker.RuleConsecutiveFailures
	}
}

// probes gives the calls that are let through while half-open, and how many of them have to succeed; 0 where a rate decides.
func (k *known[R]) probes() (most, succeed uint) {
	most = cmp.Or(k.successesOf, k.calls, k.among)
	switch {
	case k.successes > 0:
		return most, k.successes
	case k.rate > 0:
		return most, 0
	default:
		return most, k.among - min(k.among, k.failures) + 1
	}
}

// config is what there are words for.
func (k *known[R]) config(s settings) breaker.Config {
	c := breaker.Config{Service: s.service, Endpoint: s.endpoint, RecoveryTimeout: max(0, k.delay)}
	switch k.opens() {
	case breaker.RuleFailureRate:
		if k.period >= minPeriod {
			c.FailureRate, c.WindowDuration, c.MinCalls = k.rate, k.period, int(min(k.calls, 1<<31-1))
		}
	case breaker.RuleConsecutiveFailures:
		c.FailureThreshold = int(min(k.failures, 1<<31-1))
	}
	if most, succeed := k.probes(); most <= maxProbes {
		c.MaxProbes, c.SuccessThreshold = int(most), int(succeed)
	}
	return c
}

// move says what a transition of the peer is, and why it was made.
func (cb *CircuitBreaker[R]) move(e circuitbreaker.StateChangedEvent) breaker.Move {
	m := breaker.Move{ErrorType: cb.cause.errorType}
	switch e.NewState {
	case circuitbreaker.ClosedState:
		m.To = breaker.Closed
	case circuitbreaker.HalfOpenState:
		m.To = breaker.HalfOpen
	case circuitbreaker.OpenState:
		m.To, m.OpenFor = breaker.Open, cb.RemainingDelay()
	}
	k := cb.known
	switch {
	case cb.cause.manual:
		m.Reason = breaker.Reason{Rule: RuleManual}
	case m.To == breaker.HalfOpen:
		m.Reason = breaker.Reason{Rule: breaker.RuleDelayElapsed}
	case m.To == breaker.Closed:
		_, succeed := k.probes()
		m.Reason = breaker.Reason{Rule: breaker.RuleProbesSucceeded, Observed: float64(e.Metrics().Successes()), Threshold: float64(succeed)}
	case e.OldState == circuitbreaker.HalfOpenState:
		m.Reason = breaker.Reason{Rule: breaker.RuleProbeFailed, Observed: float64(cb.Metrics().Failures()), Threshold: k.probesFailed()}
	default:
		m.Reason, m.Failures, m.Successes = cb.opening()
	}
	return m
}

// probesFailed is how many probes have to fail; 0 where no number says so.
func (k *known[R]) probesFailed() float64 {
	switch {
	case k.successes > 0:
		return float64(k.successesOf - min(k.successesOf, k.successes) + 1)
	case k.rate > 0:
		return 0
	default:
		return float64(k.failures)
	}
}

// opening tells which calls have opened a closed breaker. It asks the breaker, which is open by now, rather than the event,
// for the peer guards the former.
func (cb *CircuitBreaker[R]) opening() (why breaker.Reason, failures, successes uint64) {
	k, seen := cb.known, cb.Metrics()
	failures, successes = uint64(seen.Failures()), uint64(seen.Successes())
	why = breaker.Reason{Rule: k.opens(), Observed: float64(failures), Threshold: float64(k.failures)}
	if why.Rule == breaker.RuleFailureRate {
		why.Observed, why.Threshold = float64(failures)/float64(max(1, failures+successes)), k.rate
	}
	return why, failures, successes
}
