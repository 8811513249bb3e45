package breaker

import (
	"context"
	"errors"
	"iter"
	"time"
)

var errMirrored = errors.New("breaker: this one mirrors a breaker of another make: calls and changes go through that one")

// Mirror shows a circuit breaker of another make as a [Breaker], so that whatever observes those (metrics, log records,
// spans, the health page, notifications) observes it as well. Whoever knows the other breaker reports to the mirror what
// that does; the mirror counts and tells, and decides nothing: no result and no time moves it, only Move does.
//
// All methods may be called concurrently. Count, Late and Move hold a lock of the mirror for a moment, wait for nothing
// else and call nobody (but the methods of Result.Err, if that is set), so they may be called within a callback that the
// other breaker makes under its own lock. Blocked, and what Move returns, call listeners: call those outside.
// Transitions are told in the order in which they are reported.
type Mirror struct{ b *Breaker }

// NewMirror makes a closed mirror. engine names the make of the breaker behind it, as in [Snapshot.Engine]; it must not
// be empty. The configuration is what is known of the other breaker's: fields that are left at zero are unknown, and
// no default is filled in. Otherwise it is checked as [New] does.
func NewMirror(engine string, c Config, listeners ...Listener) (*Mirror, error) {
	var wrong error
	if engine == "" {
		wrong = errors.New(`breaker: the engine of a mirror is "": allowed is the name of what is mirrored`)
	}
	subscribed, err := subscriptions(listeners)
	if err := errors.Join(wrong, c.validate(), err); err != nil {
		return nil, err
	}
	c.Service, c.Endpoint = names(c.Service, c.Endpoint)
	return &Mirror{makeBreaker(c, &c, engine, subscribed)}, nil
}

// Breaker is the mirror as others see it. No calls go through it: its Do and Acquire return an error, Reconfigure and
// Adjust too, and ForceOpen, Disable and Reset do nothing.
func (m *Mirror) Breaker() *Breaker { return m.b }

// All yields the mirror's breaker, so that a mirror can stand where a [Group] can.
func (m *Mirror) All() iter.Seq[*Breaker] { return m.b.All() }

// Subscribe is [Breaker.Subscribe] of the mirror's breaker.
func (m *Mirror) Subscribe(l Listener) (cancel func()) { return m.b.Subscribe(l) }

// Count reports a call that was let through and has ended, on the terms of [Permit.DoneWith]. It comes before the Move
// that it causes. Without Elapsed the call counts as none that was slow. ctx is the call's, nil where it is not known.
func (m *Mirror) Count(ctx context.Context, r Result) { m.count(ctx, &r, true) }

// Late is Count for a call that the other breaker no longer judges, since it is not of the period that let it through:
// it is in the totals and bears on nothing else.
func (m *Mirror) Late(ctx context.Context, r Result) { m.count(ctx, &r, false) }

func (m *Mirror) count(ctx context.Context, r *Result, judged bool) {
	if r.Outcome > Ignored {
		r.Outcome = Failure
	}
	if r.Outcome == Failure && r.Err != nil {
		r.describe()
	}
	b := m.b
	w := word(b.word.Load())
	limit := b.rules.Load().SlowCallDuration
	slow := limit > 0 && r.Elapsed > limit
	switch {
	case r.Outcome == Ignored:
		b.stripe().ignored.Add(1)
		return
	case r.Outcome == Success && !slow && (!judged || w&(stateMask|look) == 0):
		b.stripe().success.Add(1) // nothing else changes
		return
	}
	if ctx == nil {
		ctx = context.Background()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	now := instant{mono: b.clock()}
	b.count(token{}, r, now)
	failed := r.Outcome == Failure
	if failed {
		b.tellFailure(ctx, r.ErrorType, now)
	}
	if !judged {
		return
	}
	before := b.consecutive
	b.consecutive = 0
	if failed {
		b.consecutive = before + 1
	}
	switch o := b.outage; {
	case o == nil:
	case failed:
		o.failures++
	default:
		o.successes++
	}
	if before == 0 || b.consecutive == 0 { // the next success matters now, or no longer
		b.publish()
	}
}

// Blocked reports a call that the other breaker blocked. ctx is the call's; what listens on the call is told at once.
func (m *Mirror) Blocked(ctx context.Context) {
	if ctx == nil {
		ctx = context.Background()
	}
	b := m.b
	b.stripe().blocked.Add(1)
	// Of a breaker that was never seen to open there is nothing to tell but the count.
	if l, why := b.onCall.Load(), b.rejection.Load(); l != nil && why != nil {
		l.blocked(ctx, why)
	}
}

// Move is a transition of the breaker that is mirrored.
type Move struct {
	To State // the state that it is in from now on

	// Rule is one of those of this package where it is the same, or the other make's own word. RuleDelayElapsed without
	// Observed and Threshold gets the seconds that it was open, and OpenFor.
	Reason Reason

	ErrorType string // of the failure that caused it, as in [Event]

	// OpenFor is how long it will stay open, where To is Open; 0: not known.
	OpenFor time.Duration

	// The calls that were judged, on the terms of [Event], where it opens from closed.
	Failures, Successes uint64
}

// Move reports a transition. ctx is of the call that caused it, nil where none did or it is not known. Where the mirror
// is in that state already it does nothing.
//
// onCall, never nil, is to be called on the goroutine of that call, outside the other breaker's lock: it tells the
// listeners that note things on the call itself ([CallListener]).
func (m *Mirror) Move(ctx context.Context, v Move) (onCall func()) {
	e := m.move(ctx, v)
	if ctx == nil || e == nil || m.b.onCall.Load() == nil {
		return func() {}
	}
	return func() { m.b.onCall.Load().transition(ctx, e) }
}

func (m *Mirror) move(ctx context.Context, v Move) *Event {
	b := m.b
	b.mu.Lock()
	defer b.mu.Unlock()
	if v.To > Open || b.state == v.To {
		return nil
	}
	now := b.now()
	if why := &v.Reason; why.Rule == RuleDelayElapsed && why.Observed == 0 && why.Threshold == 0 && b.state == Open {
		why.Observed = time.Duration(now.mono - b.outage.openSince).Seconds()
		why.Threshold = b.outage.delay.Seconds()
	}
	judged := tally{calls: int(v.Failures + v.Successes), failures: int(v.Failures)}
	e := b.transition(v.To, v.Reason, judged, cause{ctx: ctx, errorType: v.ErrorType, asked: v.OpenFor}, now)
	b.publish()
	return e
}
