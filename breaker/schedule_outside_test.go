package breaker_test

import (
	"math"
	"sync"
	"time"

	"github.com/otelbreaker/otelbreaker/breaker"
)

// What others have to say in it, in a schedule and in the model.

// ofSiblings are the steps that come from outside. Some schedules have them besides.
var ofSiblings = []func(r *run, a, b byte){
	(*run).trip, (*run).trip, (*run).recoverBy, (*run).recoverBy, (*run).advise, (*run).gate, (*run).gate,
	(*run).release, (*run).release, (*run).keep, (*run).keep,
}

// outside is the gate of a schedule.
type outside struct {
	remove func() // nil: there is none

	mu    sync.Mutex
	holds []breaker.Hold // in the order in which it was asked
}

func (o *outside) ask(h breaker.Hold) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.holds = append(o.holds, h)
}

func (r *run) trip(a, _ byte) {
	why := breaker.Reason{Rule: pick([]string{breaker.RuleFleetLeader, breaker.RuleFleetQuorum, ""}, a), Observed: 3, Threshold: 2, Note: "n"}
	got := r.b.Trip(why)
	r.say("Trip(%q): %v", why.Rule, got)
	r.settle()
	expect(r, "what Trip returns", got, r.m.trip(why))
}

func (r *run) recoverBy(a, _ byte) {
	r.settle()
	id := "another"
	if n := len(r.heard.outages); n > 0 && a%4 > 0 {
		id = r.heard.outages[max(0, n-1-int(a>>6)/3)] // the newest, at times the one before
	}
	why := breaker.Reason{Rule: pick([]string{breaker.RuleFleetRecovered, breaker.RuleFleetRecovered, ""}, a>>2), Observed: 1, Threshold: 1}
	got := r.b.Recover(id, why)
	r.say("Recover(%q, %q): %v", id, why.Rule, got)
	r.settle()
	expect(r, "what Recover returns", got, r.m.recoverBy(r.heard.outage(id), why))
}

func (r *run) advise(a, _ byte) {
	share := pick([]float64{0.5, 1, 0.3, 0.01, 0.75, 0, 1.1, math.NaN()}, a)
	err := r.b.Advise(share)
	r.say("Advise(%v): %v", share, err)
	r.settle()
	valid := share > 0 && share <= 1
	expect(r, "whether Advise refuses", err != nil, !valid)
	if valid {
		r.m.share = share
	}
}

// gate puts one on, or takes it away.
func (r *run) gate(a, _ byte) {
	if r.outside.remove != nil {
		r.say("the gate goes")
		r.outside.remove()
		r.outside.remove = nil
		r.settle()
		r.m.gate = 0
		return
	}
	bound := pick([]time.Duration{time.Second, time.Minute, time.Millisecond, 10 * time.Second, 1, 0, math.MaxInt64}, a)
	remove, err := r.b.Gate(r.outside.ask, bound)
	r.say("Gate(%v): %v", bound, err)
	r.settle()
	expect(r, "whether Gate refuses", err != nil, bound <= 0)
	if err == nil {
		r.outside.remove, r.m.gate = remove, bound
	}
}

func (r *run) release(a, _ byte) {
	r.onHold(a, "Release", breaker.Hold.Release, (*model).release)
}

func (r *run) keep(a, b byte) {
	d := pick([]time.Duration{time.Second, time.Minute, 3 * time.Second, time.Millisecond, 0, -1, 1000 * time.Hour}, b)
	r.onHold(a, "Keep "+d.String(), func(h breaker.Hold) bool { return h.Keep(d) }, func(m *model) { m.hold(max(d, 1)) })
}

// onHold does something to a hold, most often the newest.
func (r *run) onHold(a byte, what string, real func(breaker.Hold) bool, then func(*model)) {
	r.settle()
	r.outside.mu.Lock()
	holds := r.outside.holds
	r.outside.mu.Unlock()
	expect(r, "how often the gate was asked", len(holds), len(r.m.holds))
	n := len(holds) - 1 - int(a>>6)/3
	if r.wrong != nil || n < 0 {
		return
	}
	got := real(holds[n])
	r.say("%s of hold %d: %v", what, n+1, got)
	r.settle()
	stands := r.m.holds[n] == r.m.period && r.m.override == breaker.Automatic
	expect(r, "what it returns", got, stands)
	if stands {
		then(r.m)
	}
}

func (m *model) trip(why breaker.Reason) bool {
	if why.Rule == "" || m.override != breaker.Automatic || m.state != breaker.Closed {
		return false
	}
	m.open(modelEvent{Reason: why, Context: background}, 0)
	return true
}

func (m *model) recoverBy(outage int, why breaker.Reason) bool {
	if why.Rule == "" || m.override != breaker.Automatic || m.state == breaker.Closed || m.outage.id != outage {
		return false
	}
	m.move(breaker.Closed, modelEvent{Reason: why, Context: m.outage.openedBy})
	return true
}

func (m *model) hold(d time.Duration) {
	m.held, m.until = true, modelLater(m.now, min(d, m.config.MaxRecoveryTimeout))
}

func (m *model) release() { m.halfOpen() }

// modelLater adds and saturates.
func modelLater(at, d time.Duration) time.Duration {
	if d > math.MaxInt64-at {
		return math.MaxInt64
	}
	return at + d
}
