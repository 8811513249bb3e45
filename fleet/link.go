package fleet

import (
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"

	"github.com/otelbreaker/otelbreaker/breaker"
)

// link is what a member knows of its way to the engine. It is whole when a watch has told all that is there, and then
// this replica's own newest beat has come back by it: so writing works, and watching, and the way between.
type link struct {
	whole   bool
	synced  bool // the watch that is going on has told all
	told    bool // it was logged that the link is lost
	lostAt  time.Time
	rewatch context.CancelFunc // ends the watch that is going on
	begunAt time.Time          // of that

	value    []byte // of the newest beat that was sent
	number   uint64 // its number
	first    uint64 // of this member: what is not above it is of an earlier life of the same name
	sentAt   time.Time
	sending  bool
	changed  bool      // there is something newer to send
	failures int       // in a row
	notUntil time.Time // no attempt before that
	unheard  time.Time // since when nothing has come back of what was sent; zero: all has
}

func (l *link) init(now time.Time) {
	l.first = rand.Uint64() >> 12 // which JSON holds exactly, and leaves room to count
	l.number, l.lostAt = l.first, now
}

const (
	firstPause = 100 * time.Millisecond
	patience   = 2 // heartbeats, with a watch that does not tell what it should
)

// pause is how long to wait after so many failures in a row: some random time, so that replicas do not come all at once.
func pause(failures int, most time.Duration) time.Duration {
	d := min(firstPause<<min(failures, 16), most)
	return d/2 + rand.N(d/2+1)
}

// watch watches the fleet's keys for as long as the member lives.
func (m *Member) watch() {
	failures := 0
	var synced atomic.Bool // the engine may call from a goroutine of its own
	for m.ctx.Err() == nil {
		ctx, cancel := context.WithCancel(m.ctx)
		m.post(func(now time.Time) { m.link.begin(m, now, cancel) })
		begun := time.Now()
		err := contained(func() error {
			return m.engine.Watch(ctx, m.config.prefix(), func(c Change) {
				if c.Kind == Synced {
					synced.Store(true)
				}
				if len(c.Key) > MaxKeySize || len(c.Value) > MaxValueSize {
					m.telemetry.failed(opValue)
					return
				}
				m.post(func(now time.Time) { m.take(c, now) })
			})
		})
		cancel()
		if m.ctx.Err() != nil {
			return
		}
		m.telemetry.failed(opWatch)
		m.post(func(now time.Time) {
			m.link.synced = false
			m.lose(err, now)
		})
		// One that ends as soon as it has begun is as costly as none: it lists all, and will again.
		if synced.Swap(false) && time.Since(begun) >= m.config.heartbeat {
			failures = 0
		}
		failures++
		select {
		case <-m.ctx.Done():
		case <-time.After(pause(failures, m.config.heartbeat)):
		}
	}
}

// begin makes ready for a watch that tells all anew.
func (l *link) begin(m *Member, now time.Time, rewatch context.CancelFunc) {
	l.rewatch, l.begunAt, l.synced = rewatch, now, false
	for _, g := range m.guarded {
		if g.b.State() != breaker.Closed {
			m.void(g) // they shall not open it again that are as they were when it closes meanwhile
		}
	}
	clear(m.siblings)
	clear(m.votes)
	clear(m.turns)
}

// take takes a change in.
func (m *Member) take(c Change, now time.Time) {
	if c.Kind == Synced {
		m.link.synced = true
		// Those that the same trouble has hit are here at the same time; siblings can wait a moment for what is not new.
		m.later(rand.N(m.config.heartbeat/10+1), func(now time.Time) { m.publish(now) })
		return
	}
	part, name := m.config.split(c.Key)
	switch {
	case part == replicaPart && name == m.config.replica:
		m.link.hear(m, c, now)
	case part == replicaPart && names.MatchString(name):
		m.takeBeat(name, c, now)
	case part == breakerPart && breakerIDs.MatchString(name):
		m.takeTurn(name, c, now)
	default:
		m.telemetry.failed(opValue)
	}
}

// hear takes what the watch tells of this replica's own key.
func (l *link) hear(m *Member, c Change, now time.Time) {
	if c.Kind == Gone { // it has expired while the engine was away, or somebody has removed it
		m.publish(now)
		return
	}
	var b beat
	if parse(c.Value, &b) != nil || b.Number <= l.first || b.Number > l.number {
		return
	}
	if b.Number < l.number { // a newer one is under way
		l.unheard = now
		return
	}
	if !l.unheard.IsZero() {
		m.telemetry.propagated(now.Sub(l.sentAt))
	}
	l.unheard = time.Time{}
	if l.synced && !l.whole {
		m.join(now)
	}
}

// publish writes the newest beat, unless one is on its way: then it follows. What is newest wins.
func (m *Member) publish(now time.Time) {
	l := &m.link
	l.changed = true
	if l.sending || now.Before(l.notUntil) {
		return
	}
	b := beat{Number: l.number + 1, Life: millisecondsOf(3 * m.config.heartbeat), Votes: map[string]string{}}
	for id, g := range m.guarded {
		if g.vote != "" {
			b.Votes[id] = g.vote
		}
	}
	if len(b.Votes) > maxVotes { // the same ones each time: one that comes and goes would count as new
		for _, id := range slices.Sorted(maps.Keys(b.Votes))[maxVotes:] {
			delete(b.Votes, id)
		}
	}
	l.number, l.value, l.sentAt, l.sending, l.changed = b.Number, written(b), now, true, false
	if l.unheard.IsZero() {
		l.unheard = now
	}
	value := l.value
	m.do(true, opPut, func(ctx context.Context) error {
		return m.engine.Put(ctx, m.config.replicaKey(), value, 3*m.config.heartbeat)
	}, m.published)
}

func (m *Member) published(err error, now time.Time) {
	l := &m.link
	l.sending = false
	if err != nil {
		l.failures++
		l.changed, l.unheard = true, time.Time{}
		d := pause(l.failures, m.config.heartbeat)
		l.notUntil = now.Add(d)
		m.later(d, m.publish) // at its own moment, for the ticks of replicas that began together are the same
		if l.failures > 1 {
			m.lose(err, now)
		}
		return
	}
	l.failures = 0
	if l.changed {
		m.publish(now)
	}
}

// check sees that the link is alive.
func (l *link) check(m *Member, now time.Time) {
	if l.changed || now.Sub(l.sentAt) >= m.config.heartbeat {
		m.publish(now)
	}
	deaf := !l.synced && now.Sub(l.begunAt) > patience*m.config.heartbeat ||
		l.synced && !l.sending && !l.unheard.IsZero() && now.Sub(l.unheard) > patience*m.config.heartbeat
	if deaf && l.rewatch != nil {
		l.unheard = time.Time{}
		m.lose(errDeaf, now)
		l.rewatch()
		l.rewatch = nil
	}
}

var errDeaf = errors.New("fleet: what was written does not come back")

// join begins, or goes on, to share.
func (m *Member) join(now time.Time) {
	l := &m.link
	l.whole = true
	m.telemetry.joined(l.told, now.Sub(l.lostAt))
	l.told = false
	for _, g := range m.guarded {
		m.judge(g)
		m.attempt(g, now)
	}
	m.telemetry.live(1 + len(m.siblings))
}

// lose has every breaker carry on by itself.
func (m *Member) lose(err error, now time.Time) {
	l := &m.link
	if !l.told {
		l.told = true
		m.telemetry.lost(err)
	}
	if !l.whole {
		return
	}
	l.whole, l.lostAt = false, now
	m.telemetry.live(1)
	for _, g := range m.guarded {
		g.advise(1)
		g.turn = nil // its half-open period goes on; the lease runs out
		if g.hold != nil {
			m.later(rand.N(m.config.jitter+1), func(time.Time) {
				if !m.link.whole {
					g.letGo()
				}
			})
		}
	}
}

func errorType(err error) string {
	if errors.Is(err, errDeaf) {
		return "no_echo"
	}
	return breaker.ErrorTypeOf(err)
}
