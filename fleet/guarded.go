package fleet

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/otelbreaker/otelbreaker/breaker"
)

// guarded is a breaker that takes part, as the loop knows it.
type guarded struct {
	id     string
	b      *breaker.Breaker
	ungate func()

	vote     string            // the token of the opening that its own calls brought about; empty: there is none
	void     map[string]string // votes, by replica, that were there when it closed, and say nothing of now
	openedAt time.Time
	blocked  uint64 // calls, when it was last closed

	newest   atomic.Pointer[breaker.Hold] // also before the loop knows of it
	hold     *breaker.Hold                // its delay has elapsed, and it waits for its turn
	busy     int                          // operations on its key that are under way
	notUntil time.Time                    // no attempt before that
	asked    []byte                       // the turn that it may be given soon
	turn     []byte                       // what stands in the store while it is this replica's turn
	takenAt  time.Time
	renewAt  time.Time
	activity uint64 // calls that had ended at the last renewal

	announce int         // so many attempts are left to tell of a recovery
	told     string      // the token of the recovery that was seen last
	release  *time.Timer // closes it; nil: no
}

// attach has a breaker take part.
func (m *Member) attach(b *breaker.Breaker) error {
	s := b.Snapshot()
	g := &guarded{id: breakerID(s.Service, s.Endpoint), b: b, openedAt: time.Now(), blocked: s.Blocked}
	if m.guarded[g.id] != nil {
		return fmt.Errorf("fleet: two breakers of the source are named %q (%s): allowed is one", s.Service, s.Endpoint)
	}
	var err error
	g.ungate, err = b.Gate(func(h breaker.Hold) {
		g.newest.Store(&h)
		if !m.post(func(now time.Time) { m.wait(g, h, now) }) {
			h.Release()
		}
	}, m.config.bound)
	if err != nil {
		return fmt.Errorf("fleet: breaker %q (%s) cannot join: %w", s.Service, s.Endpoint, err)
	}
	// One that is open already may have been opened by a fleet, and does not vote until its own calls say so again.
	if t := m.turns[g.id]; t != nil && t.State == recovered {
		g.told = t.Token
	}
	m.guarded[g.id], m.known[b] = g, g
	return nil
}

// forget leaves a breaker to itself.
func (m *Member) forget(g *guarded) {
	g.ungate()
	g.advise(1)
	g.cancelRelease()
	if h := g.newest.Load(); h != nil {
		h.Release()
	}
	g.hold = nil
	delete(m.guarded, g.id)
	delete(m.known, g.b)
}

// rescan looks for breakers that have come or gone.
func (m *Member) rescan() {
	present := map[*breaker.Breaker]bool{}
	for b := range m.source.All() {
		present[b] = true
	}
	for b, g := range m.known {
		switch {
		case present[b]:
		case g == nil:
			delete(m.known, b)
		default:
			m.forget(g)
		}
	}
	for b := range present {
		if _, known := m.known[b]; known {
			continue
		}
		if err := m.attach(b); err != nil {
			m.known[b] = nil // and is not tried again
			m.telemetry.refused(err)
			continue
		}
		m.judge(m.known[b])
	}
}

// advise lowers the thresholds. There is nothing that could be wrong with the share.
func (g *guarded) advise(share float64) { _ = g.b.Advise(share) }

// letGo has the breaker go half-open if it waits for its turn.
func (g *guarded) letGo() {
	if g.hold != nil {
		g.hold.Release()
		g.hold = nil
	}
}

func (g *guarded) cancelRelease() {
	if g.release != nil {
		g.release.Stop()
		g.release = nil
	}
}

// listener puts what the breakers tell into the mailbox.
type listener struct{ m *Member }

func (l listener) OnTransition(e breaker.Event) { l.m.post(func(now time.Time) { l.m.on(&e, now) }) }
func (l listener) OnNotice(e breaker.Event) {
	if !e.Shadow {
		l.OnTransition(e)
	}
}

// on takes in what a breaker has done.
func (m *Member) on(e *breaker.Event, now time.Time) {
	id := breakerID(e.Service, e.Endpoint)
	if m.guarded[id] == nil {
		m.rescan()
	}
	g := m.guarded[id]
	if g == nil {
		return
	}
	before := g.vote
	moved := e.From != e.To
	switch {
	case moved && e.To == breaker.Open:
		m.opened(g, e, now)
	case moved && e.To == breaker.HalfOpen:
		g.dropHold()
	case e.Reason.Rule == breaker.RuleProbesSucceeded:
		m.closed(g)
		if g.b.State() != breaker.Open { // or else the event comes late, and the recovery is no news
			m.recoveredHere(g)
		}
	default: // closed otherwise, or an operator has put an override on or lifted one
		m.closed(g)
		m.giveBack(g)
	}
	if g.vote != before {
		m.publish(now)
	}
}

// closed voids what was known until now: the breaker opens again on news alone.
func (m *Member) closed(g *guarded) {
	g.cancelRelease()
	g.dropHold()
	g.vote, g.blocked = "", g.b.Snapshot().Blocked
	m.void(g)
	m.judge(g)
}

// dropHold forgets a hold that is over. The event that says so may come late, behind listeners that are slow, when there is
// another one already.
func (g *guarded) dropHold() {
	if !g.b.Snapshot().Held {
		g.hold = nil
	}
}

// void has the votes that are known say nothing any more. While the watch has not told all, those stay void that were.
func (m *Member) void(g *guarded) {
	if m.link.synced || len(g.void) > m.config.maxReplicas {
		g.void = nil
	}
	if g.void == nil {
		g.void = map[string]string{}
	}
	maps.Copy(g.void, m.votes[g.id])
}

// reconcile ends a vote for a breaker that is not open: what tells of a closing may come late, or never where another
// listener hangs.
func (m *Member) reconcile(g *guarded, now time.Time) {
	if g.vote == "" {
		return
	}
	if s := g.b.Snapshot(); s.State == breaker.Closed || s.Override != breaker.Automatic {
		g.vote = ""
		m.publish(now)
	}
}

func (m *Member) opened(g *guarded, e *breaker.Event, now time.Time) {
	g.cancelRelease() // what has been seen since is newer
	g.announce = 0
	if e.From == breaker.Closed {
		g.openedAt = now
	}
	switch e.Reason.Rule {
	case breaker.RuleForced:
		g.vote = ""
		m.giveBack(g)
	case breaker.RuleFleetLeader, breaker.RuleFleetQuorum:
		g.vote = ""
	default:
		s := g.b.Snapshot()
		if s.OutageID != e.OutageID {
			return // it is over: the event comes late
		}
		g.vote = newToken()
		if e.From == breaker.HalfOpen && s.State == breaker.Open {
			m.failedHere(g, s.RetryAfter, now)
		}
	}
}

// sibling is another replica that lives.
type sibling struct {
	votes map[string]string // by breakerID
	until time.Time         // it counts as gone then, whatever the engine says
}

// takeBeat takes in what another replica says of itself.
func (m *Member) takeBeat(replica string, c Change, now time.Time) {
	before := m.siblings[replica]
	if c.Kind == Gone {
		if before != nil {
			m.leave(replica)
		}
		return
	}
	var b beat
	if parse(c.Value, &b) != nil || before == nil && len(m.siblings) >= m.config.maxReplicas {
		m.telemetry.failed(opValue)
		return
	}
	s := &sibling{votes: b.Votes, until: now.Add(b.Life.duration() + slack)}
	m.siblings[replica] = s
	changed := map[string]bool{}
	if before != nil {
		for id, token := range before.votes {
			if b.Votes[id] != token {
				delete(m.votes[id], replica)
				changed[id] = true
			}
		}
	}
	for id, token := range b.Votes {
		if m.votes[id][replica] != token {
			if m.votes[id] == nil {
				m.votes[id] = map[string]string{}
			}
			m.votes[id][replica] = token
			changed[id] = true
		}
	}
	m.tidy(changed)
	if before == nil {
		m.countLive()
	}
}

// leave takes a replica's part out.
func (m *Member) leave(replica string) {
	changed := map[string]bool{}
	for id := range m.siblings[replica].votes {
		delete(m.votes[id], replica)
		changed[id] = true
	}
	delete(m.siblings, replica)
	m.tidy(changed)
	m.countLive() // a quorum may be met by those who are left
	for id := range m.votes {
		if g := m.guarded[id]; g != nil {
			m.judge(g)
		}
	}
}

// tidy judges the breakers whose votes have changed.
func (m *Member) tidy(changed map[string]bool) {
	for id := range changed {
		if len(m.votes[id]) == 0 {
			delete(m.votes, id)
		}
		if g := m.guarded[id]; g != nil {
			m.judge(g)
		}
	}
}

func (m *Member) countLive() {
	if m.link.whole {
		m.telemetry.live(1 + len(m.siblings))
	}
}

// judge has the policy decide on a breaker.
func (m *Member) judge(g *guarded) {
	if !m.link.whole {
		return
	}
	votes, by := 0, ""
	for replica, token := range m.votes[g.id] {
		if g.void[replica] == token {
			continue
		}
		votes++
		if by == "" || replica < by {
			by = replica
		}
	}
	p := m.config.policy
	g.advise(p.advises(votes))
	if why, opens := p.opens(votes, 1+len(m.siblings), by); opens && g.b.State() == breaker.Closed {
		g.b.Trip(why)
	}
}

// expire drops what has outlived itself, should the engine not say so.
func (m *Member) expire(now time.Time) {
	for replica, s := range m.siblings {
		if now.After(s.until) {
			m.leave(replica)
		}
	}
	for id, t := range m.turns {
		if now.After(t.until.Add(slack)) {
			delete(m.turns, id)
		}
	}
}

// jittered is a random time up to d.
func jittered(d time.Duration) time.Duration { return rand.N(d + 1) }
