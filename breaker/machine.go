package breaker

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"time"
)

// word is what a call has to know, in one atomic load: the state of the machine in the two lowest bits, flags, and the
// generation, which numbers the periods between transitions. It is a copy of what the lock guards, made by publish.
type word uint64

const (
	stateMask = 1<<2 - 1

	// look tells a call to take the lock although the state alone would not ask for it: closed, there are failures
	// that a success bears on; open, the delay is about to end; half-open, a probe's place is free.
	look       = 1 << (iota + 1)
	timed      // the call's duration matters
	aged       // there is a window of time
	ringed     // there is a window of calls: every result goes into it
	classified // there is a Classify of the user's
	shadow     // disabled: nothing is blocked

	genShift = 8
)

func (w word) state() State { return State(w & stateMask) }

func (w word) public() State {
	if w&shadow != 0 {
		return Closed
	}
	return w.state()
}

// rules is a configuration in force.
type rules struct {
	Config
	flags word
}

// machine is everything that moves, guarded by the breaker's lock.
type machine struct {
	state    State
	override Override
	gen      uint64
	noted    string // the operator's reason for the override

	failures     uint64 // totals of calls that were counted here rather than in a stripe
	successes    uint64
	ignored      uint64
	slow         uint64
	wouldOpen    uint64 // while disabled
	wouldBlock   uint64
	edges        [states][states]uint64
	openTime     int64 // in open periods that are over
	lastFailure  time.Time
	consecutive  int
	window       *window
	outage       *outage // nil while closed
	openSince    int64
	due          int64 // open: when the delay ends
	near         bool  // open: due is so near that calls read the clock
	probes       []*lease
	spare        []*lease // of ended probes, to be used again
	probesPassed int
	timer        *time.Timer
	wake         int64 // when the timer fires; 0: it does not

	delivery
}

// outage is what happened from an opening to its closing.
type outage struct {
	id         string
	since      int64
	openedAt   time.Time
	openedBy   context.Context
	blocked    uint64 // in all, before it
	successes  uint64
	failures   uint64
	reopenings int
	delay      time.Duration
}

// lease is a probe in flight. It is used again for later probes: round tells them apart, so that the late or second
// result of an earlier one is seen to be void.
type lease struct {
	round uint32
	at    int // index in machine.probes
	due   int64
	ctx   context.Context
}

// lead is how long before the end of the open delay calls begin to read the clock themselves, so that a probe goes
// through on time even when the timer's goroutine has to wait for a core.
const lead = int64(time.Millisecond)

// instant is a reading of both clocks: the wall's, to be told, and the breaker's own, which alone decides anything.
type instant struct {
	wall time.Time
	mono int64
}

func (b *Breaker) now() instant {
	t := time.Now()
	return instant{t, int64(t.Sub(b.base))}
}

// clock is the breaker's own clock alone, which costs about half of now.
func (b *Breaker) clock() int64 { return int64(time.Since(b.base)) }

// admit decides whether a call may be made. It is kept small enough for the compiler to put it into its callers.
func (b *Breaker) admit(ctx context.Context) (token, error) {
	if w := word(b.word.Load()); ctx != nil && w&(stateMask|timed) == 0 {
		return token{gen: uint64(w >> genShift)}, nil
	}
	return b.admitOtherwise(ctx)
}

func (b *Breaker) admitOtherwise(ctx context.Context) (token, error) {
	if ctx == nil {
		return token{}, errNilContext
	}
	w := word(b.word.Load())
	if w.state() == Closed {
		return token{gen: uint64(w >> genShift), start: b.clock()}, nil
	}
	if w&(look|shadow) != 0 {
		if t, admitted := b.admitLocked(ctx); admitted {
			return t, nil
		}
	}
	return token{}, b.reject(ctx)
}

// reject counts a blocked call. The caller holds no lock.
func (b *Breaker) reject(ctx context.Context) error {
	b.stripe().blocked.Add(1)
	rejection := b.rejection.Load()
	if l := b.onCall.Load(); l != nil {
		l.blocked(ctx, rejection)
	}
	return rejection
}

func (b *Breaker) admitLocked(ctx context.Context) (t token, admitted bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	b.advance(now)
	switch {
	case b.state == Closed:
		return token{gen: b.gen, start: now.mono}, true
	case b.state == HalfOpen && len(b.probes) < b.rules.Load().MaxProbes:
		l := b.lend(ctx, now)
		return token{gen: b.gen, start: now.mono, lease: l, round: l.round}, true
	case b.override == Disabled:
		b.wouldBlock++
		return token{start: now.mono}, true
	}
	return token{}, false
}

// succeed takes a success. While the breaker is closed and nothing bears on it, that is one addition to a stripe.
func (b *Breaker) succeed(ctx context.Context, t token) {
	w := word(b.word.Load())
	if t.lease == nil && w&(stateMask|look|ringed) == 0 && uint64(w>>genShift) == t.gen &&
		(w&(timed|aged) == 0 || b.isPlain(t)) {
		b.stripe().success.Add(1)
		return
	}
	b.settleLocked(ctx, t, &Result{})
}

// isPlain tells that a success needs no more than to be counted: it was not slow, and the newest bucket of the window
// is not yet full.
func (b *Breaker) isPlain(t token) bool {
	now, limit := b.clock(), b.rules.Load().SlowCallDuration
	return now < b.windowEnd.Load() && (t.start == 0 || limit == 0 || time.Duration(now-t.start) <= limit)
}

// settle takes the result of a call that was let through, exactly once, and lets it move the period that admitted it.
func (b *Breaker) settle(ctx context.Context, t token, r *Result) {
	switch {
	case r.Outcome == Success && r.Elapsed == 0:
		b.succeed(ctx, t)
	case r.Outcome == Ignored && t.lease == nil:
		b.stripe().ignored.Add(1)
	default:
		b.settleLocked(ctx, t, r)
	}
}

func (b *Breaker) settleLocked(ctx context.Context, t token, r *Result) {
	if e := b.apply(ctx, t, r); e != nil {
		b.onCall.Load().transition(ctx, e)
	}
}

// apply gives the transition that the result caused, if it did.
func (b *Breaker) apply(ctx context.Context, t token, r *Result) *Event {
	var now instant
	if r.Outcome == Failure || t.lease != nil {
		now = b.now()
	} else if t.start != 0 || word(b.word.Load())&aged != 0 {
		now.mono = b.clock()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if t.lease != nil {
		b.advance(now)
		if t.lease.round != t.round {
			return nil // it ran out of its lease, and was counted then
		}
		b.giveBack(t.lease, t.gen == b.gen)
	}
	slow := b.count(t, r, now)
	if t.gen != b.gen {
		return nil
	}
	if b.state == HalfOpen {
		return b.judgeProbe(ctx, r, now)
	}
	return b.judgeClosed(ctx, r, slow, now)
}

// count adds a call to the totals, whatever period it belongs to.
func (b *Breaker) count(t token, r *Result, now instant) (slow bool) {
	switch r.Outcome {
	case Success:
		b.successes++
	case Ignored:
		b.ignored++
		return false
	default:
		b.failures++
		b.lastFailure = now.wall
	}
	limit := b.rules.Load().SlowCallDuration
	if limit == 0 {
		return false
	}
	elapsed := r.Elapsed
	if elapsed == 0 && t.start != 0 {
		elapsed = time.Duration(now.mono - t.start)
	}
	if elapsed <= limit {
		return false
	}
	b.slow++
	return true
}

func (b *Breaker) judgeClosed(ctx context.Context, r *Result, slow bool, now instant) (caused *Event) {
	failed := r.Outcome == Failure
	looked := b.bears()
	if failed {
		b.consecutive++
	} else {
		b.consecutive = 0
	}
	if b.window != nil {
		b.window.record(now.mono, failed, slow, b.plain())
		b.windowEnd.Store(b.window.end)
	}
	if why, seen, met := b.met(); met {
		caused = b.transition(Open, why, seen, causedBy(ctx, r), now)
		b.publish()
	} else if b.bears() != looked {
		b.publish()
	}
	return caused
}

// bears tells that there are failures or slow calls on which the next success bears.
func (b *Breaker) bears() bool { return b.consecutive > 0 || !b.window.clean() }

// plain is the total of the successes that only a stripe knows of.
func (b *Breaker) plain() uint64 {
	success, _, _ := b.striped()
	return success
}

// met looks for a rule that the results so far have met.
func (b *Breaker) met() (Reason, tally, bool) {
	c := b.rules.Load()
	if c.FailureThreshold > 0 && b.consecutive >= c.FailureThreshold {
		return Reason{Rule: RuleConsecutiveFailures, Observed: float64(b.consecutive),
			Threshold: float64(c.FailureThreshold)}, tally{calls: b.consecutive, failures: b.consecutive}, true
	}
	if b.window == nil || b.window.sum.calls < c.MinCalls {
		return Reason{}, tally{}, false
	}
	sum := b.window.sum
	if rate := float64(sum.failures) / float64(sum.calls); c.FailureRate > 0 && rate >= c.FailureRate {
		return Reason{Rule: RuleFailureRate, Observed: rate, Threshold: c.FailureRate}, sum, true
	}
	if rate := float64(sum.slow) / float64(sum.calls); c.SlowCallRate > 0 && rate >= c.SlowCallRate {
		return Reason{Rule: RuleSlowCallRate, Observed: rate, Threshold: c.SlowCallRate}, sum, true
	}
	return Reason{}, tally{}, false
}

func (b *Breaker) judgeProbe(ctx context.Context, r *Result, now instant) (caused *Event) {
	switch r.Outcome {
	case Success:
		b.consecutive = 0
		b.probesPassed++
		b.outage.successes++
		if enough := b.rules.Load().SuccessThreshold; b.probesPassed >= enough {
			caused = b.transition(Closed, Reason{Rule: RuleProbesSucceeded, Observed: float64(b.probesPassed),
				Threshold: float64(enough)}, tally{}, causedBy(ctx, r), now)
		}
	case Failure:
		b.consecutive++
		b.outage.failures++
		caused = b.transition(Open, Reason{Rule: RuleProbeFailed, Observed: 1, Threshold: 1}, tally{}, causedBy(ctx, r), now)
	}
	b.publish() // a place is free, if nothing else
	return caused
}

// advance does what time alone brings about: the end of the open delay, and of the leases of probes.
func (b *Breaker) advance(now instant) {
	switch {
	case b.state == Open && b.override != ForcedOpen && now.mono >= b.due:
		b.transition(HalfOpen, Reason{Rule: RuleDelayElapsed,
			Observed: time.Duration(now.mono - b.openSince).Seconds(), Threshold: b.outage.delay.Seconds()},
			tally{}, cause{}, now)
	case b.state == HalfOpen:
		expired, ctx := 0, context.Context(nil)
		for i := len(b.probes) - 1; i >= 0; i-- {
			if l := b.probes[i]; now.mono >= l.due {
				expired, ctx = expired+1, l.ctx
				b.giveBack(l, true)
			}
		}
		if expired == 0 {
			return
		}
		b.failures += uint64(expired)
		b.consecutive += expired
		b.outage.failures += uint64(expired)
		b.lastFailure = now.wall
		b.transition(Open, Reason{Rule: RuleProbeTimeout, Observed: float64(expired), Threshold: 1}, tally{},
			cause{ctx: ctx, errorType: errorTypeTimeout}, now)
	default:
		return
	}
	b.publish()
}

// lend gives a probe its place.
func (b *Breaker) lend(ctx context.Context, now instant) *lease {
	var l *lease
	if n := len(b.spare); n > 0 {
		l, b.spare = b.spare[n-1], b.spare[:n-1]
	} else {
		l = new(lease)
	}
	l.at, l.ctx = len(b.probes), ctx
	l.due = after(now.mono, b.rules.Load().ProbeTimeout)
	b.probes = append(b.probes, l)
	b.wakeAt(l.due, now.mono)
	b.publish()
	return l
}

// giveBack ends a lease, once. current tells that it was lent in the period that is running.
func (b *Breaker) giveBack(l *lease, current bool) {
	l.round++
	l.ctx = nil
	if !current {
		return
	}
	last := len(b.probes) - 1
	b.probes[l.at] = b.probes[last]
	b.probes[l.at].at = l.at
	b.probes = b.probes[:last]
	b.spare = append(b.spare, l)
}

// cause is the call that brought about a transition; none where time or an operator did.
type cause struct {
	ctx       context.Context
	errorType string
	asked     time.Duration // Retry-After
}

func causedBy(ctx context.Context, r *Result) cause {
	c := cause{ctx: ctx}
	if r.Outcome == Failure {
		c.errorType, c.asked = r.ErrorType, max(r.RetryAfter, askedDelay(r.Err))
		if c.errorType == "" {
			c.errorType = errorType(r.Err)
		}
	}
	return c
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
		b.openTime += now.mono - b.openSince
	}

	b.gen++
	b.state = to
	b.probes, b.spare, b.probesPassed, b.near = nil, nil, 0, false
	b.wakeAt(0, now.mono)
	var retryAt time.Time
	switch to {
	case Open:
		b.window.reset(b.plain())
		b.openSince = now.mono
		if b.override != ForcedOpen {
			o.delay = c.delay(o.reopenings, rand.Float64(), by.asked)
			b.due = after(now.mono, o.delay)
			retryAt = now.wall.Add(o.delay)
			b.watch(now.mono)
		}
	case HalfOpen:
		retryAt = now.wall
		leases := make([]lease, c.MaxProbes)
		b.probes = make([]*lease, 0, c.MaxProbes)
		b.spare = make([]*lease, 0, c.MaxProbes)
		for i := range leases {
			b.spare = append(b.spare, &leases[i])
		}
	case Closed:
		b.consecutive = 0
		b.window.reset(b.plain())
		e.RecoveryDuration = time.Duration(now.mono - o.since)
		b.outage = nil
	}
	if to != Closed {
		b.rejection.Store(&OpenError{Service: c.Service, Endpoint: c.Endpoint, State: to, RetryAt: retryAt,
			OutageID: o.id, Reason: why, openedBy: o.openedBy})
	}

	if b.override == Disabled {
		if to == Open {
			b.wouldOpen++
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
	now := b.now()
	b.advance(now)
	b.noted = why.Note
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

// noticeOverride tells of an override that moved no state.
func (b *Breaker) noticeOverride(at State, why Reason, now instant) {
	c := b.rules.Load()
	e := Event{Service: c.Service, Endpoint: c.Endpoint, From: at, To: at, At: now.wall, Reason: why,
		Context: context.Background(), OpenedBy: context.Background()}
	if b.outage != nil { // open already, and now forced to stay so
		b.near = false
		b.wakeAt(0, now.mono)
		e.OutageID, e.Context, e.OpenedBy = b.outage.id, b.outage.openedBy, b.outage.openedBy
		b.rejection.Store(&OpenError{Service: c.Service, Endpoint: c.Endpoint, State: Open, OutageID: e.OutageID,
			Reason: why, openedBy: e.OpenedBy})
	}
	b.tell(e)
}

// shadowEnds puts the machine back to closed without a word.
func (b *Breaker) shadowEnds(now instant) {
	b.gen++
	b.state, b.outage, b.consecutive = Closed, nil, 0
	b.probes, b.spare, b.near = nil, nil, false
	b.wakeAt(0, now.mono)
}

func (b *Breaker) publicState() State {
	if b.override == Disabled {
		return Closed
	}
	return b.state
}

// setRules puts a checked configuration in force.
func (b *Breaker) setRules(c Config) {
	before := b.rules.Load()
	if before == nil || before.WindowCalls != c.WindowCalls || before.WindowDuration != c.WindowDuration {
		b.window = newWindow(c.WindowCalls, c.WindowDuration)
		b.window.reset(b.plain())
		b.windowEnd.Store(math.MaxInt64)
		if c.WindowDuration > 0 {
			b.windowEnd.Store(0)
		}
	}
	r := &rules{Config: c}
	if c.SlowCallDuration > 0 {
		r.flags |= timed
	}
	if c.WindowDuration > 0 {
		r.flags |= aged
	}
	if c.WindowCalls > 0 {
		r.flags |= ringed
	}
	if c.Classify != nil {
		r.flags |= classified
	}
	b.rules.Store(r)
}

// publish shows calls the state as it is now.
func (b *Breaker) publish() {
	w := word(b.state) | word(b.gen)<<genShift | b.rules.Load().flags
	if b.override == Disabled {
		w |= shadow
	}
	if b.state == Closed && b.bears() || b.state == Open && b.near ||
		b.state == HalfOpen && len(b.probes) < b.rules.Load().MaxProbes {
		w |= look
	}
	b.word.Store(uint64(w))
}

// watch sets the timer for the end of the open delay, with a stop shortly before it.
func (b *Breaker) watch(now int64) {
	b.near = b.due-now <= lead
	if b.near {
		b.wakeAt(b.due, now)
	} else {
		b.wakeAt(b.due-lead, now)
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
		for _, l := range b.probes {
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
