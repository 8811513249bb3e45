package breaker

import "time"

// Snapshot is one coherent moment of a breaker: every number in it was true at the same time. Totals are since
// creation and only grow.
type Snapshot struct {
	Service, Endpoint string   // as in [Config]
	Engine            string   // of a [Mirror]: the make of the breaker behind it; empty otherwise
	State             State    // Closed while disabled
	Override          Override // what an operator has put on
	OverrideNote      string   // the operator's reason

	// Every call is in exactly one of these once it has ended.
	Success, Failure, Blocked, Ignored uint64

	Slow                  uint64 // calls slower than Config.SlowCallDuration, failed ones too; where that is set
	WouldOpen, WouldBlock uint64 // outages that would have opened it, and calls it would have blocked, had it not been disabled

	ConsecutiveFailures int                    // failures one after the other, up to now
	Transitions         uint64                 // of all kinds
	Edges               [states][states]uint64 // transitions by [from][to]
	Generation          uint64                 // the number of the period; a result moves only the one that admitted it
	ProbesInFlight      int                    // while half-open

	OutageID    string        // of the outage that is going on; empty while closed
	OpenedAt    time.Time     // when that outage began; zero while closed
	OpenTime    time.Duration // spent open in all, up to this moment
	LastFailure time.Time     // zero before the first one
	RetryAt     time.Time     // when the open delay ends; zero if not open, or forced open
	RetryAfter  time.Duration // from this moment until then; never negative
	Held        bool          // that delay has elapsed, and a [Breaker.Gate] holds: RetryAt is when this ends at the latest

	Advice float64 // the share of the thresholds that is in force by [Breaker.Advise]; 1 where there is none

	EventsDropped uint64 // listeners were too slow for these
	Config        Config // in force, defaults filled in
}

// Snapshot gives the state, the totals and what else there is to know, all of one moment. It holds the lock for that
// long, and costs calls nothing else.
func (b *Breaker) Snapshot() Snapshot {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	b.advance(now)
	r := b.rules.Load()
	c := r.Config
	s := Snapshot{
		Service: c.Service, Endpoint: c.Endpoint, Engine: r.engine, State: b.publicState(), Override: b.override,
		Failure: b.failures, Slow: b.slow, ConsecutiveFailures: b.consecutive, Edges: b.edges, Generation: b.gen,
		OpenTime: time.Duration(b.openTime), LastFailure: b.lastFailure.tell(now), Advice: r.limits().share, Config: c,
	}
	if b.mail != nil {
		s.EventsDropped = b.mail.dropped
	}
	if o := b.overrides; o != nil {
		s.OverrideNote, s.WouldOpen, s.WouldBlock = o.note, o.wouldOpen, o.wouldBlock
	}
	if b.outage != nil {
		s.ProbesInFlight = len(b.outage.probes)
	}
	// The striped counts move while the lock is held. Each grows by one at a time, so a sum taken in passing is a
	// value that the count had at some moment of the hold.
	s.Success, s.Ignored, s.Blocked = b.striped()
	s.Success += b.successes
	for _, to := range b.edges {
		for _, n := range to {
			s.Transitions += n
		}
	}
	if s.State == Closed {
		return s
	}
	s.OutageID, s.OpenedAt = b.outage.id, b.outage.openedAt
	if s.State == Open {
		s.OpenTime += time.Duration(now.mono - b.outage.openSince)
		if b.override != ForcedOpen && b.outage.due != 0 {
			s.RetryAfter = max(0, time.Duration(b.outage.due-now.mono))
			s.RetryAt = now.wall.Add(s.RetryAfter)
			s.Held = b.outage.held
		}
	}
	return s
}
