package breaker_test

import (
	"math"
	"time"

	"github.com/otelbreaker/otelbreaker/breaker"
)

// What the model works out from its list of calls: what the rules say, and what can be seen of it.

// modelDefaults fills in what the documentation of Config says.
func modelDefaults(c breaker.Config) breaker.Config {
	if c.Service == "" {
		c.Service = "default"
	}
	if c.Endpoint == "" {
		c.Endpoint = "default"
	}
	rated := c.FailureRate > 0 || c.SlowCallRate > 0
	if c.FailureThreshold == 0 && !rated {
		c.FailureThreshold = 5
	}
	if rated && c.WindowCalls == 0 && c.WindowDuration == 0 {
		c.WindowCalls = 100
	}
	if rated && c.MinCalls == 0 {
		c.MinCalls = 10
		if c.WindowCalls > 0 && c.WindowCalls < 10 {
			c.MinCalls = c.WindowCalls
		}
	}
	if c.RecoveryTimeout == 0 {
		c.RecoveryTimeout = 30 * time.Second
	}
	if c.BackoffFactor == 0 {
		c.BackoffFactor = 1
	}
	if c.MaxRecoveryTimeout == 0 {
		c.MaxRecoveryTimeout = time.Duration(math.MaxInt64)
		if c.RecoveryTimeout <= math.MaxInt64/10 {
			c.MaxRecoveryTimeout = max(time.Hour, 10*c.RecoveryTimeout)
		}
	}
	if c.SuccessThreshold == 0 {
		c.SuccessThreshold = 1
	}
	if c.MaxProbes == 0 {
		c.MaxProbes = 1
	}
	if c.ProbeTimeout == 0 {
		c.ProbeTimeout = 60 * time.Second
	}
	return c
}

// verdict is what the rules say to the calls so far; without a rule, that all is well.
type verdict struct {
	reason              breaker.Reason
	failures, successes int
}

// verdicts are all that the rules allow, at least one.
func (m *model) verdicts() []verdict {
	enough := int(math.Ceil(float64(m.config.FailureThreshold) * m.share))
	if run := m.consecutive(); enough > 0 && run >= enough {
		return []verdict{{breaker.Reason{Rule: breaker.RuleConsecutiveFailures,
			Observed: float64(run), Threshold: float64(enough)}, run, 0}}
	}
	var all []verdict
	for _, w := range m.windows() {
		all = append(all, m.judgeRates(w))
	}
	return all
}

// consecutive is the number of failures since the last success.
func (m *model) consecutive() int {
	run := 0
	for _, c := range m.ended[m.runFrom:] {
		switch {
		case !c.applied || c.outcome == breaker.Ignored:
		case c.outcome == breaker.Success:
			run = 0
		default:
			run++
		}
	}
	return run
}

// windows are the calls that a rate may be judged on. A window of time is exact to a tenth of it: it holds every call
// that ended in the last nine tenths and none that is older than the whole. Between them it is free, but it drops no
// call before an older one, and those of one moment together.
func (m *model) windows() [][]*modelCall {
	var calls []*modelCall
	for _, c := range m.ended[m.windowFrom:] {
		if c.applied && c.outcome != breaker.Ignored {
			calls = append(calls, c)
		}
	}
	size := m.config.WindowDuration
	if size == 0 {
		return [][]*modelCall{calls[max(0, len(calls)-m.config.WindowCalls):]}
	}
	var all [][]*modelCall
	for i := 0; i <= len(calls); i++ {
		parts := i > 0 && i < len(calls) && calls[i-1].ended == calls[i].ended
		holdsOld := i < len(calls) && m.now-calls[i].ended > size
		lacksYoung := i > 0 && m.now-calls[i-1].ended < size/10*9
		if !parts && !holdsOld && !lacksYoung {
			all = append(all, calls[i:])
		}
	}
	return all
}

// judgeRates holds a window against the rates.
func (m *model) judgeRates(window []*modelCall) verdict {
	failures, slow := 0, 0
	for _, c := range window {
		if c.outcome == breaker.Failure {
			failures++
		}
		if c.slow {
			slow++
		}
	}
	if len(window) == 0 || len(window) < m.config.MinCalls {
		return verdict{}
	}
	v := verdict{failures: failures, successes: len(window) - failures}
	v.reason = breaker.Reason{Rule: breaker.RuleFailureRate,
		Observed: float64(failures) / float64(len(window)), Threshold: m.config.FailureRate * m.share}
	if m.config.FailureRate > 0 && v.reason.Observed >= v.reason.Threshold {
		return v
	}
	v.reason = breaker.Reason{Rule: breaker.RuleSlowCallRate,
		Observed: float64(slow) / float64(len(window)), Threshold: m.config.SlowCallRate * m.share}
	if m.config.SlowCallRate > 0 && v.reason.Observed >= v.reason.Threshold {
		return v
	}
	return verdict{}
}

// modelSnapshot is what can be seen of a breaker at one moment.
type modelSnapshot struct {
	State                              breaker.State
	Override                           breaker.Override
	Note                               string
	Success, Failure, Ignored, Blocked int
	Slow, WouldOpen, WouldBlock        int
	Consecutive, Transitions           int
	Edges                              [3][3]int
	Probes                             int
	Outage                             int
	OpenedAt, OpenTime                 time.Duration
	LastFailure                        time.Duration // never where there was none
	RetryAt, RetryAfter                time.Duration // never where no retry is due
	Held                               bool
	Advice                             float64
	Dropped                            int
}

// snapshot is all that can be seen of the model.
func (m *model) snapshot() modelSnapshot {
	s := modelSnapshot{State: m.state, Override: m.override, Note: m.note, Blocked: m.blocked, WouldOpen: m.wouldOpen,
		WouldBlock: m.wouldBlock, Consecutive: m.consecutive(), Probes: len(m.probes()), OpenedAt: never,
		OpenTime: m.openTime, LastFailure: never, RetryAt: never, Advice: m.share}
	if m.override == breaker.Disabled {
		s.State = breaker.Closed
	}
	for _, c := range m.ended {
		switch c.outcome {
		case breaker.Success:
			s.Success++
		case breaker.Failure:
			s.Failure++
			s.LastFailure = c.ended
		default:
			s.Ignored++
		}
		if c.slow {
			s.Slow++
		}
	}
	for _, e := range m.events {
		if e.From != e.To && !e.Shadow {
			s.Edges[e.From][e.To]++
			s.Transitions++
		}
	}
	if s.State != breaker.Closed {
		s.Outage, s.OpenedAt = m.outage.id, m.outage.began
	}
	if s.State == breaker.Open {
		s.OpenTime += m.now - m.since
		if m.override == breaker.Automatic {
			s.RetryAt, s.RetryAfter, s.Held = m.until, m.until-m.now, m.held
		}
	}
	return s
}
