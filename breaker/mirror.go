package breaker

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"
)

var errMirrored = errors.New("breaker: this one mirrors a breaker of another make: calls go through that one")

// Mirror shows a circuit breaker of another make as a [Breaker], so that whatever observes those (metrics, log records,
// spans, the health page, notifications) observes it as well. Whoever knows the other breaker reports to the mirror what
// that does; the mirror counts and tells, and decides nothing: no result and no time moves it, only Move does.
//
// All methods may be called concurrently, also from within a callback that the other breaker makes under its lock, for
// none of them calls back or waits. Reports of one breaker that come in the wrong order are shown in that order.
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

// Breaker is the mirror as others see it. No calls go through it: its Do and Acquire return an error, Reconfigure too,
// and ForceOpen, Disable and Reset do nothing.
func (m *Mirror) Breaker() *Breaker { return m.b }

// All yields the mirror's breaker, so that a mirror can stand where a [Group] can.
func (m *Mirror) All() iter.Seq[*Breaker] { return m.b.All() }

// Subscribe is [Breaker.Subscribe] of the mirror's breaker.
func (m *Mirror) Subscribe(l Listener) (cancel func()) { return m.b.Subscribe(l) }

// Count reports a call that was let through and has ended, on the terms of [Permit.DoneWith]. It comes before the Move
// that it causes. Without Elapsed the call counts as none that was slow.
func (m *Mirror) Count(ctx context.Context, r Result) {
	if r.Outcome > Ignored {
		r.Outcome = Failure
	}
	if r.Outcome == Failure && r.Err != nil {
		r.describe()
	}
	if ctx == nil {
		ctx = context.Background()
	}
	b := m.b
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	b.count(token{}, &r, now)
	switch r.Outcome {
	case Success:
		b.consecutive = 0
		if b.outage != nil {
			b.outage.successes++
		}
	case Failure:
		b.consecutive++
		b.tellFailure(ctx, r.ErrorType, now)
		if b.outage != nil {
			b.outage.failures++
		}
	case Ignored:
	}
}

// Blocked reports a call that the other breaker refused. ctx is the call's; what listens on the call is told.
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
	To        State
	Reason    Reason // Rule is one of those of this package where it is the same, or the other make's own word
	ErrorType string // of the failure that caused it, as in [Event]

	// OpenFor is how long it will stay open, where To is Open; 0: not known.
	OpenFor time.Duration

	// The calls that were judged, on the terms of [Event], where it opens from closed.
	Failures, Successes uint64
}

// Move reports a transition. ctx is of the call that caused it, nil where none did. Where the mirror is in that state
// already it does nothing.
func (m *Mirror) Move(ctx context.Context, v Move) {
	if v.To > Open {
		return
	}
	b := m.b
	e := func() *Event {
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.state == v.To {
			return nil
		}
		now := b.now()
		judged := tally{calls: int(v.Failures + v.Successes), failures: int(v.Failures)}
		e := b.transition(v.To, v.Reason, judged, cause{ctx: ctx, errorType: v.ErrorType, asked: v.OpenFor}, now)
		b.publish()
		return e
	}()
	if ctx != nil && e != nil {
		b.onCall.Load().transition(ctx, e)
	}
}

// String names the mirror for logs.
func (m *Mirror) String() string {
	c := m.b.rules.Load()
	return fmt.Sprintf("%s %s (%s)", c.engine, c.Service, c.Endpoint)
}
