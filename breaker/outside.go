package breaker

import (
	"errors"
	"fmt"
	"math"
	"time"
)

// What others may have to say in what a breaker does: those who know more of the dependency than its own calls tell,
// such as the other replicas of the service. None of it overrides an operator, and none of it is seen by a call.

// Trip opens a closed breaker on evidence that is not its own calls', for an open period like any other: it ends when
// its delay has elapsed. why names the rule in events; a Rule of "" is refused. It does nothing, and tells so, where the
// breaker is not closed, is forced open or disabled, or is a mirror's.
func (b *Breaker) Trip(why Reason) (tripped bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now, ok := b.movable(why)
	if !ok || b.state != Closed {
		return false
	}
	b.transition(Open, why, tally{}, cause{}, now)
	b.publish()
	return true
}

// Recover closes a breaker that is open or half-open, on evidence that is not its own probes'. outage is the one that
// is over, as in [Event.OutageID]; one that has begun since stays as it is. why names the rule in events; a Rule of "" is
// refused. It does nothing, and tells so, where that outage is not going on, or where the breaker is forced open or
// disabled, or is a mirror's. Probes in flight are counted and move nothing.
func (b *Breaker) Recover(outage string, why Reason) (recovered bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now, ok := b.movable(why)
	if !ok || b.state == Closed || b.outage.id != outage {
		return false
	}
	b.transition(Closed, why, tally{}, cause{}, now)
	b.publish()
	return true
}

// movable brings the machine up to date, and tells whether others than its calls may move it.
func (b *Breaker) movable(why Reason) (now instant, ok bool) {
	if why.Rule == "" || b.rules.Load().engine != "" {
		return instant{}, false
	}
	now = b.now()
	b.advance(now)
	return now, b.override == Automatic
}

// Advise lowers the thresholds that open to a share of what the configuration says, until it is called again: for when
// there is reason to expect the worst. FailureThreshold, FailureRate and SlowCallRate are lowered, a number of failures
// rounded up; MinCalls and the windows stay, and so does the configuration as Snapshot and Adjust have it. The share is in
// (0, 1], and 1 ends it. Events tell the threshold that was in force. The next result is judged by it.
func (b *Breaker) Advise(share float64) error {
	if !(share > 0 && share <= 1) { // the form that NaN fails
		return fmt.Errorf("breaker: the share of Advise is %v: allowed is a number above 0 and up to 1", share)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	have := b.rules.Load()
	if have.engine != "" {
		return errMirrored
	}
	if have.limits().share == share {
		return nil
	}
	b.advance(b.now())
	advised := *have
	advised.lowered = nil
	if share < 1 {
		advised.lowered = lowered(&have.Config, share)
	}
	b.rules.Store(&advised)
	b.publish()
	return nil
}

// thresholds are what results are judged by: those of the configuration, or what Advise has made of them.
type thresholds struct {
	share       float64
	consecutive int
	failures    float64
	slow        float64
}

func (r *rules) limits() thresholds {
	if r.lowered != nil {
		return *r.lowered
	}
	return thresholds{1, r.FailureThreshold, r.FailureRate, r.SlowCallRate}
}

func lowered(c *Config, share float64) *thresholds {
	return &thresholds{share, int(math.Ceil(float64(c.FailureThreshold) * share)), c.FailureRate * share, c.SlowCallRate * share}
}

// Gate has gate asked whenever an open delay has elapsed, before the breaker goes half-open. It is asked on a goroutine
// of its own and not waited for: meanwhile the breaker stays open, and blocks. It goes half-open when the gate releases
// the [Hold], and by itself when the hold has lasted as long as bound, or as the gate has last asked for. So nothing that
// befalls a gate keeps a breaker open for good. gate should return soon; a panic in it is logged.
//
// A breaker has one gate at a time. remove takes it away; a hold that is going on ends by itself. The bound is positive.
// A disabled breaker asks no gate, and a mirror takes none.
func (b *Breaker) Gate(gate func(Hold), bound time.Duration) (remove func(), err error) {
	switch {
	case gate == nil:
		return nil, errNilFunction
	case bound <= 0:
		return nil, fmt.Errorf("breaker: the bound of Gate is %v: allowed is a positive duration", bound)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.rules.Load().engine != "" {
		return nil, errMirrored
	}
	if b.gate != nil {
		return nil, errGated
	}
	b.advance(b.now()) // what is over by now was over without it
	mine := &gated{ask: gate, bound: bound}
	b.gate = mine
	return func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.advance(b.now())
		if b.gate == mine {
			b.gate = nil
		}
	}, nil
}

var errGated = errors.New("breaker: it has a gate already: remove that one first")

// gated is a gate, and how long it may hold.
type gated struct {
	ask   func(Hold)
	bound time.Duration
}

// Hold is an open period whose delay has elapsed, and which a [Breaker.Gate] keeps from ending. Its methods do nothing,
// and tell so, once the period is over or an operator has taken the breaker over. They may be called concurrently.
type Hold struct {
	b   *Breaker
	gen uint64
}

// Release lets the breaker go half-open, now.
func (h Hold) Release() bool { return h.until(0) }

// Keep has the hold end by itself when so much time has passed from now, which may be earlier or later than it would
// have, and is MaxRecoveryTimeout at most.
func (h Hold) Keep(d time.Duration) bool { return h.until(max(d, 1)) }

func (h Hold) until(d time.Duration) bool {
	b := h.b
	if b == nil {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	b.advance(now)
	if b.gen != h.gen || b.override != Automatic {
		return false
	}
	if d > 0 {
		b.hold(min(d, b.rules.Load().MaxRecoveryTimeout), now)
	} else {
		b.halfOpen(now)
	}
	b.publish()
	return true
}

// hold has the open period go on until d has passed, and tells those who are blocked.
func (b *Breaker) hold(d time.Duration, now instant) {
	o := b.outage
	o.held, o.due = true, after(now.mono, d)
	refusal := *b.rejection.Load()
	refusal.RetryAt = now.wall.Add(d)
	b.rejection.Store(&refusal)
	b.watch(now.mono)
}

// ask begins a hold, if there is a gate. It is called where the delay has elapsed.
func (b *Breaker) ask(now instant) bool {
	g := b.gate
	if g == nil || b.outage.held || b.override != Automatic {
		return false
	}
	b.hold(min(g.bound, b.rules.Load().MaxRecoveryTimeout), now)
	h := Hold{b, b.gen}
	go func() {
		defer func() {
			if r := recover(); r != nil {
				complain("circuit breaker gate panicked", g.ask, r)
			}
		}()
		g.ask(h)
	}()
	return true
}
