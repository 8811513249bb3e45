package breaker_test

import (
	"slices"
	"time"

	"github.com/otelbreaker/otelbreaker/breaker"
)

// model is a breaker in the plainest form there is, to compare the real one with. It is written from the
// documentation and not from the code: it keeps every call for ever and works each number out from that list whenever
// it is asked. Time is a duration since the breaker was made. It knows no lock, no timer and no jitter.
type model struct {
	config   breaker.Config // defaults filled in
	now      time.Duration
	state    breaker.State // as the rules have it, also while disabled
	override breaker.Override
	note     string

	period     int            // a new one begins with every transition and every Reset
	since      time.Duration  // when the state began
	reason     breaker.Reason // of the state
	delay      time.Duration  // open: for how long
	until      time.Duration  // open: when it ends by itself
	held       bool           // open: by the gate, the delay being over
	gate       time.Duration  // how long a gate holds; 0: there is none
	holds      []int          // the periods that it was asked about
	share      float64        // of the thresholds, by advice
	admitted   []*modelCall   // in the order of admission
	ended      []*modelCall   // in the order in which they ended
	windowFrom int            // so many of those are out of every window
	runFrom    int            // so many of those are out of the run of failures
	outage     *modelOutage   // the one that is going on
	outages    int
	openTime   time.Duration // of the open periods that are over
	blocked    int
	wouldOpen  int
	wouldBlock int

	events []modelEvent // transitions and notices
	onCall []modelEvent // those that the call that caused them is told of, too
	actual []modelEvent // what the real breaker told so far, looked at only where the documentation leaves a choice
}

// modelCall is a call that was let through.
type modelCall struct {
	period   int // 0: it would have been blocked, had the breaker not been disabled
	probe    bool
	ctx      int // the caller's context, by its number
	began    time.Duration
	untimed  bool          // slow calls were no matter when it began
	lease    time.Duration // when a probe's lease ends
	outage   *modelOutage  // a probe's
	reported bool          // Done was called
	void     bool          // the lease ran out before that

	ended   time.Duration
	outcome breaker.Outcome
	slow    bool
	applied bool // it ended in the period that admitted it
}

// modelOutage is the time from an opening to the closing.
type modelOutage struct {
	id         int
	began      time.Duration
	reopenings int
	blocked    []time.Duration // the calls, by when they came
	openedBy   int             // a context
}

// modelResult is what a caller reports.
type modelResult struct {
	ctx        int
	outcome    breaker.Outcome
	elapsed    time.Duration // 0: since it was admitted
	retryAfter time.Duration
	errorType  string
}

// modelEvent is a transition or a notice.
type modelEvent struct {
	From, To                     breaker.State
	At                           time.Duration
	Reason                       breaker.Reason
	ErrorType                    string
	Failures, Successes, Blocked int
	Outage                       int
	Recovery                     time.Duration
	Context, OpenedBy            int
	Shadow                       bool
}

// modelRejection is an OpenError.
type modelRejection struct {
	State      breaker.State
	RetryAfter time.Duration
	Outage     int
	Reason     breaker.Reason
	OpenedBy   int
}

const (
	background = -1                // the number of context.Background()
	never      = time.Duration(-1) // a time that did not come
)

func newModel(c breaker.Config) *model { return &model{config: modelDefaults(c), period: 1, share: 1} }

// advance lets time pass until now. Whatever is due on the way happens at its own moment.
func (m *model) advance(now time.Duration) {
	for {
		at, due := m.deadline()
		if !due || at > now {
			m.now = now
			return
		}
		m.now = at
		switch {
		case m.state != breaker.Open:
			m.expireLeases()
		case m.gate > 0 && !m.held && m.override == breaker.Automatic:
			m.holds = append(m.holds, m.period)
			m.hold(m.gate)
		default:
			m.halfOpen()
		}
	}
}

// deadline is the next moment at which something happens by itself.
func (m *model) deadline() (at time.Duration, due bool) {
	switch {
	case m.override == breaker.ForcedOpen:
	case m.state == breaker.Open:
		return m.until, true
	case m.state == breaker.HalfOpen:
		for _, c := range m.probes() {
			if !due || c.lease < at {
				at, due = c.lease, true
			}
		}
	}
	return at, due
}

func (m *model) halfOpen() {
	m.move(breaker.HalfOpen, modelEvent{
		Reason: breaker.Reason{Rule: breaker.RuleDelayElapsed,
			Observed: (m.now - m.since).Seconds(), Threshold: m.delay.Seconds()},
		Context: m.outage.openedBy,
	})
}

// probes are those in flight.
func (m *model) probes() []*modelCall {
	var probes []*modelCall
	for _, c := range m.admitted {
		if c.probe && c.period == m.period && !c.reported && !c.void {
			probes = append(probes, c)
		}
	}
	return probes
}

// expireLeases makes failures of the probes whose lease ends now. The event has the context of one of them, and counts
// the calls blocked before this moment and any of those blocked at it.
func (m *model) expireLeases() {
	is := m.next()
	var contexts []int
	for _, c := range m.probes() {
		if c.lease == m.now {
			c.void = true
			m.count(c, breaker.Failure, m.isSlow(m.now-c.began))
			contexts = append(contexts, c.ctx)
		}
	}
	m.open(modelEvent{
		Reason:    breaker.Reason{Rule: breaker.RuleProbeTimeout, Observed: float64(len(contexts)), Threshold: 1},
		ErrorType: "timeout", Context: contexts[0],
	}, 0)
	if is == nil {
		return
	}
	e := &m.events[len(m.events)-1]
	if slices.Contains(contexts, is.Context) {
		e.Context = is.Context
	}
	for i, at := range m.outage.blocked {
		if at == m.now && is.Blocked == i {
			e.Blocked = i
		}
	}
}

// next is the event that the real breaker told where the model is about to tell one, or nil.
func (m *model) next() *modelEvent {
	if len(m.events) < len(m.actual) {
		return &m.actual[len(m.events)]
	}
	return nil
}

// acquire admits a call, or blocks it.
func (m *model) acquire(ctx int) (*modelCall, *modelRejection) {
	c := &modelCall{period: m.period, ctx: ctx, began: m.now,
		untimed: m.state == breaker.Closed && m.config.SlowCallDuration == 0}
	switch {
	case m.state == breaker.HalfOpen && len(m.probes()) < m.config.MaxProbes:
		c.probe, c.lease, c.outage = true, m.now+m.config.ProbeTimeout, m.outage
	case m.state == breaker.Closed:
	case m.override == breaker.Disabled:
		m.wouldBlock++
		c.period = 0
	default:
		m.blocked++
		m.outage.blocked = append(m.outage.blocked, m.now)
		return nil, m.rejection()
	}
	m.admitted = append(m.admitted, c)
	return c, nil
}

// rejection is what a blocked call is told now.
func (m *model) rejection() *modelRejection {
	r := &modelRejection{State: m.state, Outage: m.outage.id, Reason: m.reason, OpenedBy: m.outage.openedBy}
	if m.state == breaker.Open && m.override == breaker.Automatic {
		r.RetryAfter = m.until - m.now
	}
	return r
}

// done takes the result of a call.
func (m *model) done(c *modelCall, r modelResult) {
	if c.reported || c.void {
		c.reported = true
		return
	}
	c.reported = true
	elapsed := r.elapsed
	if elapsed == 0 && !c.untimed {
		elapsed = m.now - c.began
	}
	m.count(c, r.outcome, m.isSlow(elapsed) && r.outcome != breaker.Ignored)
	before := len(m.events)
	switch {
	case !c.applied || r.outcome == breaker.Ignored:
	case m.state == breaker.HalfOpen:
		m.judgeProbe(r)
	default:
		m.judgeCalls(r)
	}
	if m.override == breaker.Automatic {
		m.onCall = append(m.onCall, m.events[before:]...)
	}
}

func (m *model) isSlow(elapsed time.Duration) bool {
	return m.config.SlowCallDuration > 0 && elapsed > m.config.SlowCallDuration
}

// count puts a call that has ended into the totals.
func (m *model) count(c *modelCall, o breaker.Outcome, slow bool) {
	c.ended, c.outcome, c.slow = m.now, o, slow
	c.applied = c.period == m.period
	m.ended = append(m.ended, c)
}

// judgeProbe says what the result of a probe, counted already, brings about.
func (m *model) judgeProbe(r modelResult) {
	e := modelEvent{Context: r.ctx}
	if r.outcome == breaker.Failure {
		e.Reason = breaker.Reason{Rule: breaker.RuleProbeFailed, Observed: 1, Threshold: 1}
		e.ErrorType = r.errorType
		m.open(e, r.retryAfter)
		return
	}
	successes := 0
	for _, c := range m.ended {
		if c.applied && c.period == m.period && c.outcome == breaker.Success {
			successes++
		}
	}
	if successes >= m.config.SuccessThreshold {
		e.Reason = breaker.Reason{Rule: breaker.RuleProbesSucceeded,
			Observed: float64(successes), Threshold: float64(m.config.SuccessThreshold)}
		m.move(breaker.Closed, e)
	}
}

// judgeCalls says what the result of a call in the closed state, counted already, brings about.
func (m *model) judgeCalls(r modelResult) {
	all := m.verdicts()
	v := all[0]
	for _, other := range all { // all the same, unless a call's age lies within the grain of the window
		a := m.next()
		if a == nil && other.reason.Rule == "" ||
			a != nil && a.Reason == other.reason && a.Failures == other.failures && a.Successes == other.successes {
			v = other
		}
	}
	if v.reason.Rule == "" {
		return
	}
	e := modelEvent{Reason: v.reason, Failures: v.failures, Successes: v.successes, Context: r.ctx}
	if r.outcome == breaker.Success {
		m.open(e, 0)
		return
	}
	e.ErrorType = r.errorType
	m.open(e, r.retryAfter)
}

// open begins an open period, and an outage if none is going on. asked is what the dependency asked for.
func (m *model) open(e modelEvent, asked time.Duration) {
	if m.outage == nil {
		m.outages++
		m.outage = &modelOutage{id: m.outages, began: m.now, openedBy: e.Context}
	} else {
		m.outage.reopenings++
	}
	most := float64(m.config.MaxRecoveryTimeout)
	delay := min(float64(m.config.RecoveryTimeout), most)
	for range m.outage.reopenings {
		delay = min(delay*m.config.BackoffFactor, most)
	}
	m.move(breaker.Open, e)
	m.delay = min(max(time.Duration(delay), asked), m.config.MaxRecoveryTimeout)
	m.until = modelLater(m.since, m.delay)
	if m.override == breaker.Disabled && m.outage.reopenings == 0 {
		m.wouldOpen++
	}
}

// move makes the transition that e has begun to describe.
func (m *model) move(to breaker.State, e modelEvent) {
	e.From, e.To, e.At, e.Shadow = m.state, to, m.now, m.override == breaker.Disabled
	e.Outage, e.OpenedBy, e.Blocked = m.outage.id, m.outage.openedBy, len(m.outage.blocked)
	if m.state != breaker.Closed {
		e.Failures, e.Successes = m.outage.probes(m.ended)
	}
	if m.state == breaker.Open && !e.Shadow {
		m.openTime += m.now - m.since
	}
	m.state, m.since, m.reason, m.held = to, m.now, e.Reason, false
	m.period++
	m.windowFrom = len(m.ended)
	if to == breaker.Closed {
		m.runFrom = len(m.ended)
		e.Recovery = m.now - m.outage.began
		m.outage = nil
	}
	m.events = append(m.events, e)
}

// probes counts the probes of the outage that have ended so far.
func (o *modelOutage) probes(ended []*modelCall) (failures, successes int) {
	for _, c := range ended {
		switch {
		case c.outage != o || !c.applied:
		case c.outcome == breaker.Failure:
			failures++
		case c.outcome == breaker.Success:
			successes++
		}
	}
	return failures, successes
}

func (m *model) forceOpen(note string) {
	m.operate(breaker.ForcedOpen, breaker.Open, breaker.Reason{Rule: breaker.RuleForced, Note: note})
}

func (m *model) disable(note string) {
	if m.override == breaker.Disabled {
		m.note = note
		return
	}
	m.operate(breaker.Disabled, breaker.Closed, breaker.Reason{Rule: breaker.RuleDisabled, Note: note})
}

func (m *model) reset() {
	m.operate(breaker.Automatic, breaker.Closed, breaker.Reason{Rule: breaker.RuleReset})
	m.period++
	m.windowFrom, m.runFrom = len(m.ended), len(m.ended)
}

func (m *model) operate(o breaker.Override, to breaker.State, why breaker.Reason) {
	if m.override == breaker.Disabled && m.state != breaker.Closed { // it did not happen, and is over
		m.state, m.outage = breaker.Closed, nil
		m.period++
		m.runFrom = len(m.ended)
	}
	changed := o != m.override
	m.override, m.note = breaker.Automatic, why.Note // the act itself is no shadow
	switch {
	case m.state != to && to == breaker.Open:
		m.open(modelEvent{Reason: why, Context: m.openedBy()}, 0)
	case m.state != to:
		m.move(to, modelEvent{Reason: why, Context: m.openedBy()})
	case changed:
		e := modelEvent{From: to, To: to, At: m.now, Reason: why, Context: m.openedBy(), OpenedBy: m.openedBy()}
		if m.outage != nil {
			e.Outage = m.outage.id
			m.reason = why
		}
		m.events = append(m.events, e)
	}
	m.override = o
}

// openedBy is the context of the call that opened the outage.
func (m *model) openedBy() int {
	if m.outage == nil {
		return background
	}
	return m.outage.openedBy
}

// reconfigure puts a valid configuration in force.
func (m *model) reconfigure(c breaker.Config) {
	c = modelDefaults(c)
	if c.WindowCalls != m.config.WindowCalls || c.WindowDuration != m.config.WindowDuration {
		m.windowFrom = len(m.ended)
	}
	m.config = c
}
