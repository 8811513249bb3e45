package breaker

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"time"
)

// The ways in which the machine moves: by a result, by time, by an operator.

// lead is how long before the end of the open delay calls begin to read the clock themselves, so that a probe goes
// through on time even when the timer's goroutine has to wait for a core.
const lead = int64(time.Millisecond)

// advance does what time alone brings about: the end of the open delay, and of the leases of probes.
func (b *Breaker) advance(now instant) {
	if b.rules.Load().engine != "" {
		return
	}
	switch {
	case b.state == Open && b.override != ForcedOpen && now.mono >= b.outage.due:
		if !b.ask(now) {
			b.halfOpen(now)
		}
	case b.state == HalfOpen:
		expired, ctx := 0, context.Context(nil)
		for i := len(b.outage.probes) - 1; i >= 0; i-- {
			if l := b.outage.probes[i]; now.mono >= l.due {
				expired, ctx = expired+1, l.ctx
				b.tellFailure(ctx, ErrorTypeTimeout, now)
				if limit := b.rules.Load().SlowCallDuration; limit > 0 && l.term > limit {
					b.slow++
				}
				b.giveBack(l, true)
			}
		}
		if expired == 0 {
			return
		}
		b.failures += uint64(expired)
		b.consecutive += expired
		b.outage.failures += uint64(expired)
		b.failedAt(now)
		b.transition(Open, Reason{Rule: RuleProbeTimeout, Observed: float64(expired), Threshold: 1}, tally{},
			cause{ctx: ctx, errorType: ErrorTypeTimeout}, now)
	default:
		return
	}
	b.publish()
}

// halfOpen ends an open period. The caller publishes.
func (b *Breaker) halfOpen(now instant) {
	b.transition(HalfOpen, Reason{Rule: RuleDelayElapsed,
		Observed: time.Duration(now.mono - b.outage.openSince).Seconds(), Threshold: b.outage.delay.Seconds()},
		tally{}, cause{}, now)
}

// cause is the call that brought about a transition; none where time or an operator did.
type cause struct {
	ctx       context.Context
	errorType string
	asked     time.Duration // Retry-After
}

func causedBy(ctx context.Context, r *Result) cause {
	if r.Outcome != Failure {
		return cause{ctx: ctx}
	}
	return cause{ctx: ctx, errorType: r.ErrorType, asked: r.RetryAfter}
}

func (c cause) context(otherwise context.Context) context.Context {
	if c.ctx == nil {
		return otherwise
	}
	return context.WithoutCancel(c.ctx)
}

// transition moves the machine and tells of it. The caller publishes. What would only have happened gives no event.
func (b *Breaker) transition(to State, why Reason, judged tally, by cause, now instant) *Event {
	c := b.rules.Load()
	from := b.state
	_, _, blocked := b.striped()
	if from == Closed {
		b.outage = &outage{
			id: fmt.Sprintf("%016x", rand.Uint64()), since: now.mono, openedAt: now.wall, blocked: blocked,
			openedBy: by.context(context.Background()),
		}
	} else if to == Open {
		b.outage.reopenings++
	}
	o := b.outage
	e := Event{
		Service: c.Service, Endpoint: c.Endpoint, From: from, To: to, At: now.wall, Reason: why,
		ErrorType: by.errorType, FailureCount: o.failures, SuccessCount: o.successes,
		BlockedCount: blocked - o.blocked, OutageID: o.id, Context: by.context(o.openedBy), OpenedBy: o.openedBy,
	}
	if from == Closed {
		e.FailureCount, e.SuccessCount = uint64(judged.failures), uint64(judged.calls-judged.failures)
	}
	if from == Open && b.override != Disabled {
		b.openTime += now.mono - o.openSince
	}

	b.gen++
	b.state = to
	o.probes, o.spare, o.passed, o.near, o.held = nil, nil, 0, false, false
	b.wakeAt(0, now.mono)
	var retryAt time.Time
	switch to {
	case Open:
		o.openSince = now.mono
		switch {
		case c.engine != "":
			if o.delay, o.due = by.asked, 0; by.asked > 0 {
				o.due = after(now.mono, by.asked)
				retryAt = now.wall.Add(by.asked)
			}
		case b.override != ForcedOpen:
			o.delay = c.delay(o.reopenings, rand.Float64(), by.asked)
			o.due = after(now.mono, o.delay)
			retryAt = now.wall.Add(o.delay)
			b.watch(now.mono)
		}
	case HalfOpen:
		retryAt = now.wall
		if c.engine != "" {
			break // its probes are not ours
		}
		leases := make([]lease, c.MaxProbes)
		o.probes = make([]*lease, 0, c.MaxProbes)
		o.spare = make([]*lease, 0, c.MaxProbes)
		for i := range leases {
			o.spare = append(o.spare, &leases[i])
		}
	case Closed:
		b.consecutive = 0
		b.window.reset(b.plain())
		e.RecoveryDuration = time.Duration(now.mono - o.since)
		b.outage = nil
	}
	rejection := &OpenError{Service: c.Service, Endpoint: c.Endpoint, State: to, RetryAt: retryAt, OutageID: o.id,
		Reason: why, openedBy: o.openedBy}
	if to == Closed {
		// Lets go of the call's values. A rejection that is under way may still see this one.
		rejection.State, rejection.openedBy = from, context.Background()
	}
	b.rejection.Store(rejection)

	if b.override == Disabled {
		if from == Closed && to == Open { // once an outage, whatever its probes would have done
			b.overrides.wouldOpen++
		}
		e.Shadow = true
		b.tell(e)
		return nil
	}
	b.edges[from][to]++
	b.tell(e)
	return &e
}

// operate puts an operator's decision in force: the override, and the state that belongs to it.
func (b *Breaker) operate(o Override, to State, why Reason) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.rules.Load().engine != "" {
		return
	}
	now := b.now()
	b.advance(now)
	if b.overrides == nil {
		b.overrides = new(overrides)
	}
	b.overrides.note = why.Note
	changed := o != b.override
	if !changed && o != Automatic {
		return
	}
	was := b.publicState()
	if b.override == Disabled && b.state != Closed {
		b.shadowEnds(now) // what would have happened is over, and happened to nobody
	}
	if o == Automatic {
		b.gen++ // results of the time before move nothing
		b.consecutive = 0
		b.window.reset(b.plain())
	}
	// While the transition is made, the override is one under which it counts as real.
	b.override = Automatic
	if to == Open {
		b.override = ForcedOpen
	}
	switch {
	case b.state != to:
		b.transition(to, why, tally{}, cause{}, now)
	case changed:
		b.noticeOverride(was, why, now)
	}
	b.override = o
	b.publish()
}

// beginDisabled is for a breaker that nobody has yet. There is nothing to tell: it was never anything else.
func (b *Breaker) beginDisabled(reason string) {
	b.override, b.overrides = Disabled, &overrides{note: reason}
	b.publish()
}

// noticeOverride tells of an override that moved no state.
func (b *Breaker) noticeOverride(at State, why Reason, now instant) {
	c := b.rules.Load()
	e := Event{Service: c.Service, Endpoint: c.Endpoint, From: at, To: at, At: now.wall, Reason: why,
		Context: context.Background(), OpenedBy: context.Background()}
	if b.outage != nil { // open already, and now forced to stay so
		b.outage.near = false
		b.wakeAt(0, now.mono)
		e.OutageID, e.Context, e.OpenedBy = b.outage.id, b.outage.openedBy, b.outage.openedBy
		b.rejection.Store(&OpenError{Service: c.Service, Endpoint: c.Endpoint, State: Open, OutageID: e.OutageID,
			Reason: why, openedBy: e.OpenedBy})
	}
	b.tell(e)
}

// shadowEnds puts the machine back to closed without a word.
func (b *Breaker) shadowEnds(now instant) {
	b.state, b.outage, b.consecutive = Closed, nil, 0
	b.wakeAt(0, now.mono)
}

// watch sets the timer for the end of the open delay, with a stop shortly before it.
func (b *Breaker) watch(now int64) {
	o := b.outage
	o.near = o.due-now <= lead
	if o.near {
		b.wakeAt(o.due, now)
	} else {
		b.wakeAt(o.due-lead, now)
	}
}

// wakeAt makes sure that the timer fires no later than at. 0 stops it.
func (b *Breaker) wakeAt(at, now int64) {
	switch {
	case at == 0:
		if b.timer != nil {
			b.timer.Stop()
		}
		b.wake = 0
		return
	case b.wake != 0 && b.wake <= at:
		return
	case b.timer == nil:
		b.timer = time.AfterFunc(time.Duration(at-now), b.tick)
	default:
		b.timer.Reset(time.Duration(at - now))
	}
	b.wake = at
}

// tick is the timer's. One that comes late or too often finds nothing to do.
func (b *Breaker) tick() {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	b.wake = 0
	b.advance(now)
	switch {
	case b.state == Open && b.override != ForcedOpen:
		b.watch(now.mono)
		b.publish()
	case b.state == HalfOpen:
		for _, l := range b.outage.probes {
			b.wakeAt(l.due, now.mono)
		}
	}
}

// after adds and saturates.
func after(now int64, d time.Duration) int64 {
	if int64(d) > math.MaxInt64-now {
		return math.MaxInt64
	}
	return now + int64(d)
}
