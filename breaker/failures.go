package breaker

import (
	"context"
	"math"
	"time"
)

// Failed calls on their way to those who want to know of them. There may be any number of these, so every listener has
// a limit, which is looked at before anything is made, and only so many wait.

const maxFailuresWaiting = 128

// tap lets through to one listener what its limit allows of one breaker's failed calls.
type tap struct {
	to       []*subscription // that one
	spent    int64           // up to when calls have used up the time; a minute of it can be saved
	heldBack uint64
}

// tapped are the taps of a breaker, none where nobody wants to know of failed calls.
func (m *mail) tapped() []*tap {
	if m == nil {
		return nil
	}
	return m.taps
}

// takes tells whether there is room for a call that fails now, and the tap's limit lets it through.
func (m *mail) takes(t *tap, now int64) bool {
	t.spent = max(t.spent, now-int64(time.Minute))
	return m.failures < maxFailuresWaiting && t.spent+t.to[0].everyFailure <= now
}

// setTaps gives a tap to each of those who want one, that which it has already if so.
func (b *Breaker) setTaps(all []*subscription) {
	before := b.mail.tapped()
	var taps []*tap
	for _, s := range all {
		if s.onFailure == nil {
			continue
		}
		t := &tap{to: []*subscription{s}, spent: math.MinInt64}
		for _, had := range before {
			if had.to[0] == s {
				t = had
			}
		}
		taps = append(taps, t)
	}
	if taps != nil || before != nil {
		b.mailbox().taps = taps
	}
}

// wantsFailure tells that somebody is to be told of a call that fails now.
func (b *Breaker) wantsFailure(now int64) bool {
	for _, t := range b.mail.tapped() {
		if b.mail.takes(t, now) {
			return true
		}
	}
	return false
}

// tellFailure queues a failed call, before what it brings about. The caller holds the lock.
func (b *Breaker) tellFailure(ctx context.Context, errorType string, now instant) {
	for _, t := range b.mail.tapped() {
		if !b.mail.takes(t, now.mono) {
			t.heldBack++
			continue
		}
		if now.wall.IsZero() {
			now = b.now()
		}
		t.spent += t.to[0].everyFailure
		c := b.rules.Load()
		f := &FailedCall{Service: c.Service, Endpoint: c.Endpoint, State: b.publicState(), At: now.wall,
			ErrorType: errorType, HeldBack: t.heldBack, Context: context.WithoutCancel(ctx)}
		if b.outage != nil && b.override != Disabled {
			f.OutageID = b.outage.id
		}
		t.heldBack = 0
		b.mail.failures++
		b.queue(message{failed: f, tap: t, to: t.to})
	}
}
