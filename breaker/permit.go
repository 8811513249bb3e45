package breaker

import (
	"context"
	"errors"
	"sync/atomic"
	"time"
)

// Permit is the right to make one call, given by [Breaker.Acquire] and [Group.Acquire]. Do not copy it;
// [Permit.Move] hands it on. Its methods may be called from any goroutine. The zero Permit does nothing.
type Permit struct {
	b     *Breaker
	token token
	pin   *member     // keeps a group from dropping the breaker meanwhile
	done  atomic.Bool // also keeps vet from letting a Permit be copied
}

// token is what a breaker has to remember of a call that it let through.
type token struct {
	gen   uint64 // the period that admitted it; 0: none did, the breaker being disabled
	start int64  // on the breaker's clock; 0: not timed
	lease *lease // a probe's
	round uint32 // the lease's, when it was taken
}

// Result is what a call came to, in full.
type Result struct {
	Outcome Outcome // Success by default

	// Err is what failed. It gives ErrorType where that is left out, and the pause asked for where it asks for a longer
	// one than RetryAfter. It is not kept.
	Err error

	// ErrorType names the failure in events: an HTTP status, "timeout", a type's name. Never a text from outside.
	ErrorType string

	// Elapsed is what the call took, for the slow-call rules. 0: the time from Acquire until now.
	Elapsed time.Duration

	// RetryAfter is the pause that the dependency asked for. If this failure opens the breaker, it stays open at least
	// that long, but no longer than MaxRecoveryTimeout.
	RetryAfter time.Duration
}

// Done reports what the call came to; ctx is the call's, for the trace of a transition that it causes. A second Done
// does nothing, also when it comes at the same time.
func (p *Permit) Done(ctx context.Context, o Outcome) { p.DoneWith(ctx, Result{Outcome: o}) }

// DoneErr reports the error that the call returned, nil included, judged as [Breaker.Do] judges it.
func (p *Permit) DoneErr(ctx context.Context, err error) {
	if p.b == nil || p.done.Load() {
		return
	}
	if ctx == nil {
		ctx = context.Background()
	}
	r := Result{Outcome: Failure, ErrorType: ErrorTypePanic}
	defer func() { p.DoneWith(ctx, r) }() // also when the user's Classify panics
	r = p.b.judge(ctx, err)
}

// DoneWith reports what the call came to, in full, on the terms of Done.
func (p *Permit) DoneWith(ctx context.Context, r Result) {
	if p.b == nil {
		return
	}
	if r.Outcome > Ignored {
		r.Outcome = Failure
	}
	if !p.done.CompareAndSwap(false, true) {
		return
	}
	if p.pin != nil {
		p.pin.release()
	}
	if ctx == nil {
		ctx = context.Background() // a result is worth more than the complaint
	}
	p.b.settle(ctx, p.token, &r)
}

// Move hands the permit on, to live on elsewhere than where Acquire put it: what it returns is the permit, and p does
// nothing any more. The zero Permit comes back where p was done already.
func (p *Permit) Move() Permit {
	if p.b == nil || !p.done.CompareAndSwap(false, true) {
		return Permit{}
	}
	return Permit{b: p.b, token: p.token, pin: p.pin}
}

// Lease tells whether the permit is a probe's and how much of its lease is left, 0 where it has run out. It is for
// those whose call may well outlast the lease, as a stream does, and who can tell its outcome before.
func (p *Permit) Lease() (left time.Duration, probe bool) {
	l := p.token.lease
	if l == nil {
		return 0, false
	}
	p.b.mu.Lock()
	defer p.b.mu.Unlock()
	if l.round != p.token.round {
		return 0, true
	}
	return max(0, time.Duration(l.due-p.b.clock())), true
}

// Elapsed is the time since Acquire, at least 1 ns: for those who report what the call took before it has ended
// ([Result].Elapsed). It is 0, and spares a look at the clock, where no rule asks how long this call takes.
func (p *Permit) Elapsed() time.Duration {
	if p.b == nil || p.token.start == 0 {
		return 0
	}
	return max(1, time.Duration(p.b.clock()-p.token.start))
}

// judge says what an error means. It calls the user's Classify, which may panic.
func (b *Breaker) judge(ctx context.Context, err error) Result {
	if err == nil && b.word.Load()&classified == 0 {
		return Result{}
	}
	r := Result{Err: err}
	switch classify := b.rules.Load().Classify; {
	case classify != nil:
		r.Outcome = classify(err)
	case err != nil:
		r.Outcome = Failure
	}
	if r.Outcome > Ignored {
		r.Outcome = Failure
	}
	// What a caller has given up says nothing of the dependency; a deadline that passed does.
	if r.Outcome == Failure && err != nil && errors.Is(ctx.Err(), context.Canceled) {
		r.Outcome = Ignored
	}
	return r
}
