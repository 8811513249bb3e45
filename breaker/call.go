package breaker

import (
	"context"
	"time"
)

// The way of a call: admitted or blocked, and then settled.

// admit decides whether a call may be made.
func (b *Breaker) admit(ctx context.Context) (token, error) {
	if w := word(b.word.Load()); ctx != nil && w&(stateMask|timed|mirrored) == 0 {
		return token{gen: uint64(w >> genShift)}, nil
	}
	return b.admitOtherwise(ctx)
}

func (b *Breaker) admitOtherwise(ctx context.Context) (token, error) {
	if ctx == nil {
		return token{}, errNilContext
	}
	w := word(b.word.Load())
	if w&mirrored != 0 {
		return token{}, errMirrored
	}
	if w.state() == Closed {
		return token{gen: uint64(w >> genShift), start: b.clock()}, nil
	}
	if !w.blocks() {
		if t, admitted := b.admitLocked(ctx); admitted {
			return t, nil
		}
	}
	return token{}, b.block(ctx)
}

// block counts a blocked call, tells of it, and gives its rejection. The caller holds no lock.
func (b *Breaker) block(ctx context.Context) error {
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
	case b.state == HalfOpen && len(b.outage.probes) < b.rules.Load().MaxProbes:
		l := b.lend(ctx, now)
		return token{gen: b.gen, start: now.mono, lease: l, round: l.round}, true
	case b.override == Disabled:
		b.overrides.wouldBlock++
		return token{start: now.mono}, true
	}
	return token{}, false
}

// succeed takes a success. While the breaker is closed and nothing bears on it, that is one addition to a stripe.
func (b *Breaker) succeed(ctx context.Context, t token, elapsed time.Duration) {
	w := word(b.word.Load())
	if w&(stateMask|look|ringed) == 0 && uint64(w>>genShift) == t.gen &&
		(w&(timed|aged) == 0 || b.isPlain(t, elapsed)) {
		b.stripe().success.Add(1)
		return
	}
	b.settleLocked(ctx, t, &Result{Elapsed: elapsed})
}

// isPlain tells that a success needs no more than to be counted: it was not slow, and the newest bucket of the window
// is not yet full.
func (b *Breaker) isPlain(t token, elapsed time.Duration) bool {
	now, limit := b.clock(), b.rules.Load().SlowCallDuration
	if elapsed == 0 && t.start != 0 {
		elapsed = time.Duration(now - t.start)
	}
	return now < b.windowEnd.Load() && (limit == 0 || elapsed <= limit)
}

// settle takes the result of a call that was let through, exactly once, and lets it move the period that admitted it.
func (b *Breaker) settle(ctx context.Context, t token, r *Result) {
	switch {
	case r.Outcome == Success:
		b.succeed(ctx, t, r.Elapsed)
	case r.Outcome == Ignored && t.lease == nil:
		b.stripe().ignored.Add(1)
	default:
		b.settleLocked(ctx, t, r)
	}
}

func (b *Breaker) settleLocked(ctx context.Context, t token, r *Result) {
	e, undescribed := b.apply(ctx, t, r)
	if undescribed {
		e = b.applyDescribed(ctx, t, r)
	}
	if e != nil {
		b.onCall.Load().transition(ctx, e)
	}
}

// applyDescribed asks the error first what it is. That is done outside the lock, for its methods are somebody else's;
// should they even end the goroutine, the call counts all the same.
func (b *Breaker) applyDescribed(ctx context.Context, t token, r *Result) (caused *Event) {
	defer func() {
		r.Err = nil
		caused, _ = b.apply(ctx, t, r)
	}()
	r.describe()
	return nil
}

// apply gives the transition that the result caused, if it did. Where it would have to be told of an error that was not
// asked yet what it is, apply does nothing: most failures move no state, and are spared the price.
func (b *Breaker) apply(ctx context.Context, t token, r *Result) (caused *Event, undescribed bool) {
	var now instant
	if t.lease != nil {
		now = b.now()
	} else if r.Outcome == Failure || t.start != 0 || word(b.word.Load())&aged != 0 {
		now.mono = b.clock()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if r.Outcome == Failure && r.Err != nil && (t.gen == b.gen && b.onEdge() || b.wantsFailure(now.mono)) {
		return nil, true
	}
	if t.lease != nil {
		b.advance(now)
		if t.lease.round != t.round {
			return nil, false // it ran out of its lease, and was counted then
		}
		b.giveBack(t.lease, t.gen == b.gen)
	}
	slow := b.count(t, r, now)
	if r.Outcome == Failure {
		b.tellFailure(ctx, r.ErrorType, now)
	}
	switch {
	case t.gen != b.gen:
		return nil, false
	case b.state == HalfOpen:
		return b.judgeProbe(ctx, r, now), false
	default:
		return b.judgeClosed(ctx, r, slow, now), false
	}
}

// onEdge tells that a failure may move the machine.
func (b *Breaker) onEdge() bool {
	return b.state != Closed || b.window != nil || b.consecutive+1 >= b.rules.Load().limits().consecutive
}

// count adds a call to the totals, whatever period it belongs to.
func (b *Breaker) count(t token, r *Result, now instant) (slow bool) {
	switch r.Outcome {
	case Success:
		b.successes++
	case Ignored:
		b.stripe().ignored.Add(1)
		return false
	default:
		b.failures++
		b.failedAt(now)
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

// failedAt keeps the time of the newest failure: two may come here in the other order than they read the clock.
func (b *Breaker) failedAt(now instant) {
	if now.mono > b.lastFailure.mono {
		b.lastFailure = moment{mono: now.mono}
	}
}

func (b *Breaker) judgeClosed(ctx context.Context, r *Result, slow bool, now instant) (caused *Event) {
	failed := r.Outcome == Failure
	looked := word(b.word.Load())&look != 0
	if failed {
		b.consecutive++
	} else {
		b.consecutive = 0
	}
	switch w := b.window; {
	case w == nil:
	case w.marks != nil:
		w.mark(failed, slow)
	default:
		w.record(now.mono, failed, slow, b.plain())
		b.windowEnd.Store(w.end)
	}
	if why, seen, met := b.met(); met {
		if now.wall.IsZero() {
			now = b.now() // what moves nothing reads the cheaper clock alone
		}
		caused = b.transition(Open, why, seen, causedBy(ctx, r), now)
		b.publish()
	} else if b.bears() != looked {
		b.publish()
	}
	return caused
}

// bears tells that the next success may change something: it ends a run of failures, or it completes the calls without
// which no rate is judged. Other successes only lower the rates.
func (b *Breaker) bears() bool {
	return b.consecutive > 0 || !b.window.clean() && b.window.sum.calls < b.rules.Load().MinCalls
}

// plain is the total of the successes that only a stripe knows of.
func (b *Breaker) plain() uint64 {
	success, _, _ := b.striped()
	return success
}

// met looks for a rule that the results so far have met.
func (b *Breaker) met() (Reason, tally, bool) {
	r := b.rules.Load()
	limit := r.limits()
	if limit.consecutive > 0 && b.consecutive >= limit.consecutive {
		return Reason{Rule: RuleConsecutiveFailures, Observed: float64(b.consecutive),
			Threshold: float64(limit.consecutive)}, tally{calls: b.consecutive, failures: b.consecutive}, true
	}
	if b.window == nil || b.window.sum.calls < r.MinCalls {
		return Reason{}, tally{}, false
	}
	sum := b.window.sum
	if rate := float64(sum.failures) / float64(sum.calls); limit.failures > 0 && rate >= limit.failures {
		return Reason{Rule: RuleFailureRate, Observed: rate, Threshold: limit.failures}, sum, true
	}
	if rate := float64(sum.slow) / float64(sum.calls); limit.slow > 0 && rate >= limit.slow {
		return Reason{Rule: RuleSlowCallRate, Observed: rate, Threshold: limit.slow}, sum, true
	}
	return Reason{}, tally{}, false
}

func (b *Breaker) judgeProbe(ctx context.Context, r *Result, now instant) (caused *Event) {
	switch r.Outcome {
	case Success:
		b.consecutive = 0
		b.outage.passed++
		b.outage.successes++
		if enough := b.rules.Load().SuccessThreshold; b.outage.passed >= enough {
			caused = b.transition(Closed, Reason{Rule: RuleProbesSucceeded, Observed: float64(b.outage.passed),
				Threshold: float64(enough)}, tally{}, causedBy(ctx, r), now)
		}
	case Failure:
		b.consecutive++
		b.outage.failures++
		caused = b.transition(Open, Reason{Rule: RuleProbeFailed, Observed: 1, Threshold: 1}, tally{}, causedBy(ctx, r), now)
	case Ignored:
	}
	b.publish() // a place is free, if nothing else
	return caused
}

// lend gives a probe its place.
func (b *Breaker) lend(ctx context.Context, now instant) *lease {
	o := b.outage
	var l *lease
	if n := len(o.spare); n > 0 {
		l, o.spare = o.spare[n-1], o.spare[:n-1]
	} else {
		l = new(lease)
	}
	l.at, l.ctx = len(o.probes), ctx
	l.term = b.rules.Load().ProbeTimeout
	l.due = after(now.mono, l.term)
	o.probes = append(o.probes, l)
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
	o := b.outage
	last := len(o.probes) - 1
	o.probes[l.at] = o.probes[last]
	o.probes[l.at].at = l.at
	o.probes = o.probes[:last]
	o.spare = append(o.spare, l)
}
