package fleet

import (
	"context"
	"time"

	"github.com/otelbreaker/otelbreaker/breaker"
)

// Whose turn it is to probe. A breaker's key stands in the store while a replica probes (a lease, which it renews), while
// all wait because a probe has failed, and for a while after one has succeeded. Who finds none, or one that is over, may
// swap it for a turn of his own, and one of them succeeds. Nothing here depends on the engine's removing a key on time:
// what stands is over when its life has passed since this replica was told of it, and a swap wants the value that was
// there then.

// standing is a turn that stands in the store.
type standing struct {
	turn
	value []byte
	until time.Time // on this replica's clock
}

const (
	// leaseGrace is how much longer others respect a lease than whoever holds it.
	leaseGrace = time.Second

	// recoveredLife is how long it is told that a breaker has recovered, for those who watch anew meanwhile.
	recoveredLife = 30 * time.Second

	spread   = 200 * time.Millisecond // over which replicas come for a turn that is free
	attempts = 3                      // to tell of a recovery
)

// takeTurn takes in what stands under a breaker's key.
func (m *Member) takeTurn(id string, c Change, now time.Time) {
	g := m.guarded[id]
	if c.Kind == Gone {
		delete(m.turns, id)
		if g != nil && g.hold != nil {
			m.comeSoon(g, now)
		}
		return
	}
	t := &standing{value: c.Value}
	if parse(c.Value, &t.turn) != nil || m.turns[id] == nil && len(m.turns) >= maxEntries {
		m.telemetry.failed(opValue)
		return
	}
	t.until = now.Add(t.Life.duration())
	if t.State == probing {
		t.until = t.until.Add(leaseGrace)
	}
	m.turns[id] = t
	if g == nil {
		return
	}
	if t.State == recovered {
		m.recoveredThere(g, t)
	} else {
		g.notUntil = time.Time{}
		m.attempt(g, now)
	}
}

// wait begins the wait of a breaker whose delay has elapsed.
func (m *Member) wait(g *guarded, h breaker.Hold, now time.Time) {
	if m.guarded[g.id] != g { // it has been left to itself
		h.Release()
		return
	}
	g.hold = &h
	if !m.link.whole {
		g.letGo()
		return
	}
	m.attempt(g, now)
}

// comeSoon tries in a moment, a random one, so that not all come at the same time.
func (m *Member) comeSoon(g *guarded, now time.Time) {
	d := jittered(spread)
	g.notUntil = now.Add(d)
	m.later(d, func(now time.Time) { m.attempt(g, now) })
}

// mind does for a breaker what time brings about.
func (m *Member) mind(g *guarded, now time.Time) {
	m.reconcile(g, now)
	m.attempt(g, now)
	m.renew(g, now)
	if g.announce > 0 && g.busy == 0 {
		m.recoveredHere(g)
	}
}

// attempt tries to make it this replica's turn, if its breaker waits for one.
func (m *Member) attempt(g *guarded, now time.Time) {
	if g.hold == nil || g.busy > 0 || g.release != nil || !m.link.whole || now.Before(g.notUntil) {
		return
	}
	var old []byte
	if t := m.turns[g.id]; t != nil {
		if at := m.free(t); now.Before(at) {
			if !g.hold.Keep(at.Sub(now) + m.config.bound) { // it knows what to do if nothing more is heard
				g.hold = nil
				return
			}
			g.notUntil = at.Add(jittered(spread))
			m.later(g.notUntil.Sub(now), func(now time.Time) { m.attempt(g, now) })
			return
		}
		old = t.value
	}
	if g.b.Snapshot().Blocked == g.blocked {
		return // no call wants to be a probe; that is looked at again soon
	}
	mine := written(turn{State: probing, Replica: m.config.replica, Token: newToken(), Life: millisecondsOf(m.config.lease)})
	g.asked = mine
	m.swap(g, old, mine, m.config.lease, func(swapped bool, now time.Time) {
		g.asked = nil
		switch {
		case !swapped:
			if old != nil && m.turns[g.id] != nil && string(m.turns[g.id].value) == string(old) {
				delete(m.turns, g.id) // it has gone without a word
			}
			g.notUntil = now.Add(jittered(time.Second)) // unless the watch tells of it first
		case g.hold == nil || !g.hold.Release():
			g.hold, g.turn = nil, mine
			m.giveBack(g)
		default:
			g.hold, g.turn, g.takenAt, g.renewAt = nil, mine, now, now.Add(m.config.lease/3)
			g.activity = ended(g.b.Snapshot())
		}
	})
}

// free is when this replica may follow a turn with one of its own.
func (m *Member) free(t *standing) time.Time {
	switch mine := t.Replica == m.config.replica; {
	case t.State == recovered, t.State == probing && mine: // a turn of its own that it does not know of: an error hid it
		return time.Time{}
	case mine && len(m.siblings) > 0:
		// Others come first, or a replica that alone cannot reach the dependency would keep all of them waiting.
		return t.until.Add(2 * spread)
	}
	return t.until
}

// swap has a worker swap the value of a breaker's key. An error counts as no.
func (m *Member) swap(g *guarded, old, value []byte, ttl time.Duration, then func(swapped bool, now time.Time)) {
	var swapped bool
	g.busy++
	m.do(false, opSwap, func(ctx context.Context) (err error) {
		swapped, err = m.engine.CompareAndSwap(ctx, m.config.breakerKey(g.id), old, value, max(ttl, MinTTL))
		return err
	}, func(err error, now time.Time) {
		g.busy--
		then(swapped && err == nil, now)
	})
}

// ended counts the calls that have ended: while that grows, a half-open breaker is at work.
func ended(s breaker.Snapshot) uint64 { return s.Success + s.Failure + s.Ignored }

// renew keeps the lease for as long as this replica is at it.
func (m *Member) renew(g *guarded, now time.Time) {
	if g.turn == nil || g.busy > 0 || now.Before(g.renewAt) {
		return
	}
	s := g.b.Snapshot()
	if s.State != breaker.HalfOpen || s.ProbesInFlight == 0 && ended(s) == g.activity {
		return // no call has come: others may have more of them
	}
	if now.Sub(g.takenAt)/s.Config.ProbeTimeout > time.Duration(s.Config.SuccessThreshold) {
		return // its calls decide nothing, as those whose results are ignored: others shall not wait for ever
	}
	g.activity, g.renewAt = ended(s), now.Add(m.config.lease/3)
	mine := g.turn
	m.swap(g, mine, mine, m.config.lease, func(swapped bool, now time.Time) {
		if !swapped && g.turn != nil && string(g.turn) == string(mine) {
			g.renewAt = now // at once again; should it have been lost, another's is told
			if t := m.turns[g.id]; t == nil || t.Replica != m.config.replica {
				g.turn = nil
			}
		}
	})
}

// giveBack ends this replica's turn without a result.
func (m *Member) giveBack(g *guarded) {
	mine := g.turn
	if mine == nil {
		return
	}
	g.turn = nil
	m.do(false, opDelete, func(ctx context.Context) error {
		return m.engine.CompareAndDelete(ctx, m.config.breakerKey(g.id), mine)
	}, func(error, time.Time) {})
}

// failedHere tells that a probe has failed: all wait as long as this breaker does.
func (m *Member) failedHere(g *guarded, wait time.Duration, now time.Time) {
	mine := g.turn
	g.turn = nil
	if !m.link.whole || mine == nil && m.others(g, now) {
		return // it was not its turn, and it is another's
	}
	if mine == nil {
		mine = m.stands(g)
	}
	wait = min(wait, longest)
	value := written(turn{State: failed, Replica: m.config.replica, Token: newToken(), Life: millisecondsOf(wait)})
	m.tellFailed(g, mine, value, wait+slack, attempts)
}

// tellFailed writes that a probe has failed in place of what stands. Its lease may have run out meanwhile, or have been
// renewed at the same moment: so it is tried again with what the watch has told, and then as if there were none.
func (m *Member) tellFailed(g *guarded, old, value []byte, ttl time.Duration, left int) {
	m.swap(g, old, value, ttl, func(swapped bool, now time.Time) {
		left--
		if swapped || left == 0 || !m.link.whole || m.others(g, now) || g.b.State() != breaker.Open {
			return
		}
		next := m.stands(g)
		if left == 1 {
			next = nil
		}
		m.tellFailed(g, next, value, ttl, left)
	})
}

// others tells that it is another replica's turn, or wait.
func (m *Member) others(g *guarded, now time.Time) bool {
	t := m.turns[g.id]
	return t != nil && t.State != recovered && now.Before(t.until) && (t.Replica != m.config.replica || t.State == failed)
}

// stands is the value of the breaker's key, as far as the watch has told.
func (m *Member) stands(g *guarded) []byte {
	if t := m.turns[g.id]; t != nil {
		return t.value
	}
	return nil
}

// recoveredHere tells that a probe has succeeded, whoever's turn it was.
func (m *Member) recoveredHere(g *guarded) {
	if g.announce == 0 {
		g.announce = attempts
	}
	g.announce--
	g.turn = nil
	if !m.link.whole {
		g.announce = 0
		return
	}
	t := turn{State: recovered, Replica: m.config.replica, Token: newToken(), Life: millisecondsOf(recoveredLife)}
	g.told = t.Token
	g.busy++
	m.do(false, opPut, func(ctx context.Context) error {
		if g.b.State() == breaker.Open {
			return nil // it has opened again while this waited for the engine
		}
		return m.engine.Put(ctx, m.config.breakerKey(g.id), written(t), recoveredLife)
	}, func(err error, _ time.Time) {
		g.busy--
		if err == nil {
			g.announce = 0
		}
	})
}

// recoveredThere closes the breaker in a while, for a sibling's probe has succeeded. One that was told before this
// replica lost the store for a while is as good as new, if the breaker was open already then.
func (m *Member) recoveredThere(g *guarded, t *standing) {
	if t.Token == g.told {
		return
	}
	g.told = t.Token
	if !m.link.whole && !g.openedAt.Before(m.link.lostAt) {
		return
	}
	m.void(g)
	s := g.b.Snapshot()
	if s.State == breaker.Closed || s.Override != breaker.Automatic || g.release != nil {
		return
	}
	why := breaker.Reason{Rule: breaker.RuleFleetRecovered, Observed: 1, Threshold: 1, Note: "replica " + t.Replica}
	var release *time.Timer
	release = m.later(jittered(m.config.jitter), func(time.Time) {
		if g.release == release { // and not another one since
			g.release = nil
			g.b.Recover(s.OutageID, why)
		}
	})
	g.release = release
}
