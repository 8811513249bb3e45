package breaker

import (
	"context"
	"math"
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
	mirrored   // no calls go through it

	genShift = 9

	// plain is what a success must not meet to be no more than counted.
	plain = stateMask | look | timed | aged | ringed
)

func (w word) state() State { return State(w & stateMask) }

// blocks tells that a call is blocked without a look at anything else.
func (w word) blocks() bool { return w.state() != Closed && w&(look|shadow) == 0 }

func (w word) public() State {
	if w&shadow != 0 {
		return Closed
	}
	return w.state()
}

// rules is a configuration in force.
type rules struct {
	Config
	lowered *thresholds // by advice; nil: those of the configuration are in force
	given   *Config     // what it was made of, defaults not filled in; a group's breakers share it, so it never changes
	flags   word
	engine  string // of a mirror; empty where the breaker decides for itself
}

// machine is everything that moves, guarded by the breaker's lock.
type machine struct {
	state    State
	override Override
	gen      uint64

	failures    uint64 // totals of calls that were counted here rather than in a stripe
	successes   uint64
	slow        uint64
	edges       [states][states]uint64
	openTime    int64 // in open periods that are over
	lastFailure moment
	consecutive int
	window      *window
	outage      *outage // nil while closed
	gate        *gated  // nil: open periods end by themselves
	timer       *time.Timer
	wake        int64 // when the timer fires; 0: it does not
}

// overrides is what operators left behind.
type overrides struct {
	note                  string // the reason for the newest one
	wouldOpen, wouldBlock uint64 // while disabled
}

// outage is what happened from an opening to its closing, and all that the machine needs only meanwhile.
type outage struct {
	id         string
	since      int64
	openedAt   time.Time
	openedBy   context.Context
	blocked    uint64 // in all, before it
	successes  uint64
	failures   uint64
	reopenings int

	// The open period, the newest or the one that is running.
	openSince int64
	delay     time.Duration
	due       int64 // when the delay ends
	near      bool  // which is so soon that calls read the clock
	held      bool  // the delay has elapsed, and a gate holds; due is when that ends by itself

	// The half-open period, if one is running.
	probes []*lease
	spare  []*lease // of ended probes, to be used again
	passed int      // successful probes
}

// lease is a probe in flight. It is used again for later probes: round tells them apart, so that the late or second
// result of an earlier one is seen to be void.
type lease struct {
	round uint32
	at    int // index in outage.probes
	due   int64
	term  time.Duration // from lending to due
	ctx   context.Context
}

// instant is a reading of both clocks: the wall's, to be told, and the breaker's own, which alone decides anything.
type instant struct {
	wall time.Time
	mono int64
}

// moment is a time on the breaker's own clock, which becomes one of the wall's when it is told for the first time and
// then stays that, however the wall clock is set.
type moment struct {
	mono int64 // 0: never
	wall int64 // Unix nanoseconds; 0: not told yet
}

func (m *moment) tell(now instant) time.Time {
	if m.mono == 0 {
		return time.Time{}
	}
	if m.wall == 0 {
		m.wall = now.wall.UnixNano() - (now.mono - m.mono)
	}
	return time.Unix(0, m.wall)
}

func (b *Breaker) now() instant {
	t := time.Now()
	return instant{t, int64(t.Sub(b.base))}
}

// clock is the breaker's own clock alone, which costs about half of now.
func (b *Breaker) clock() int64 { return int64(time.Since(b.base)) }

func (b *Breaker) publicState() State {
	if b.override == Disabled {
		return Closed
	}
	return b.state
}

// setRules puts a checked configuration in force.
func (b *Breaker) setRules(c Config, given *Config, engine string) {
	before := b.rules.Load()
	r := &rules{Config: c, given: given, engine: engine}
	if before != nil && before.lowered != nil {
		r.lowered = lowered(&c, before.lowered.share)
	}
	if engine != "" {
		r.flags = mirrored // it judges nothing, so it wants no window
		b.rules.Store(r)
		return
	}
	if before == nil || before.WindowCalls != c.WindowCalls || before.WindowDuration != c.WindowDuration {
		b.window = newWindow(c.WindowCalls, c.WindowDuration)
		b.window.reset(b.plain())
		b.windowEnd.Store(math.MaxInt64)
		if c.WindowDuration > 0 {
			b.windowEnd.Store(0)
		}
	}
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
	switch b.state {
	case Closed:
		_, _, met := b.met() // by rules that were changed: the next result will tell
		if met || b.bears() {
			w |= look
		}
	case HalfOpen:
		if len(b.outage.probes) < b.rules.Load().MaxProbes {
			w |= look
		}
	case Open:
		if b.outage.near {
			w |= look
		}
	}
	b.word.Store(uint64(w))
}
