package breaker

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"
)

const maxQueue = 1024

// subscription is one listener, also where a group shares it among its breakers.
type subscription struct {
	listener     Listener
	onCall       CallListener    // the same, if it is one
	onFailure    FailureListener // likewise
	everyFailure int64           // what a failed call takes of a minute; 0: there is no limit
	cancelled    atomic.Bool
}

func newSubscription(l Listener) *subscription {
	s := &subscription{listener: l}
	s.onCall, _ = l.(CallListener)
	if f, ok := l.(FailureListener); ok {
		s.guard(func() { // one that panics is told of no failed call, rather than of all
			if most := f.FailuresPerMinute(); most > 0 {
				s.everyFailure = int64(uint64(time.Minute) / uint64(most))
			}
			s.onFailure = f
		})
	}
	return s
}

// callListeners are those of the subscriptions that are called on the call itself, nil where there are none.
type callListeners []*subscription

func callListenersOf(all []*subscription) *callListeners {
	var some callListeners
	for _, s := range all {
		if s.onCall != nil {
			some = append(some, s)
		}
	}
	if some == nil {
		return nil
	}
	return &some
}

func (some *callListeners) transition(ctx context.Context, e *Event) {
	if some == nil || e == nil {
		return
	}
	for _, s := range *some {
		s.guard(func() { s.onCall.OnCallTransition(ctx, *e) })
	}
}

func (some *callListeners) blocked(ctx context.Context, rejection *OpenError) {
	for _, s := range *some {
		s.blocked(ctx, rejection)
	}
}

// blocked does without guard, whose function value would cost every blocked call another 2 ns.
func (s *subscription) blocked(ctx context.Context, rejection *OpenError) {
	if s.cancelled.Load() {
		return
	}
	defer s.recovered()
	s.onCall.OnBlocked(ctx, rejection)
}

// guard runs f unless the subscription has ended, and keeps its panic from going further.
func (s *subscription) guard(f func()) {
	if s.cancelled.Load() {
		return
	}
	defer s.recovered()
	f()
}

// recovered is deferred, and ends a panic.
func (s *subscription) recovered() {
	if r := recover(); r != nil {
		complain("circuit breaker listener panicked", s.listener, r)
	}
}

// delivery takes events to the listeners, on a goroutine that lives only while there are any. It is guarded by the
// breaker's lock; only the listeners are called outside it.
type delivery struct {
	subscribed []*subscription // replaced, never changed, for events hold on to it
	mail       *mail           // nil before the first event, for most breakers never have one
}

type mail struct {
	queue   []message
	begun   bool   // the goroutine is there
	queued  uint64 // events so far
	handled uint64 // of those, the ones delivered or dropped
	dropped uint64
	waiters []waiter

	taps     []*tap
	failures int // in the queue
}

// message is an event, or a failed call.
type message struct {
	event  Event
	failed *FailedCall
	tap    *tap // that let it through
	to     []*subscription
}

type waiter struct {
	until uint64
	done  chan struct{}
}

// tell queues an event for those who listen now. The caller holds the lock, which makes the order.
func (b *Breaker) tell(e Event) {
	if len(b.subscribed) == 0 {
		return
	}
	m := b.mailbox()
	for len(m.queue)-m.failures >= maxQueue {
		m.drop()
	}
	b.queue(message{event: e, to: b.subscribed})
}

func (b *Breaker) mailbox() *mail {
	if b.mail == nil {
		b.mail = new(mail)
	}
	return b.mail
}

func (b *Breaker) queue(one message) {
	m := b.mail
	m.queue = append(m.queue, one)
	m.queued++
	if !m.begun {
		m.begun = true
		go b.deliver(message{}, 0)
	}
}

func (m *mail) next() message {
	next := m.queue[0]
	m.queue[0] = message{}
	m.queue = m.queue[1:]
	if next.failed != nil {
		m.failures--
	}
	return next
}

// drop gives up the oldest message. A failed call is counted by its listener's tap, with those that it was to tell of.
func (m *mail) drop() {
	m.handled++
	if oldest := m.next(); oldest.failed == nil {
		m.dropped++
	} else {
		oldest.tap.heldBack += 1 + oldest.failed.HeldBack
	}
}

// deliver calls the listeners of m from next on, and then those of all that is queued. A listener that ends the
// goroutine (runtime.Goexit) only makes another one go on behind it.
func (b *Breaker) deliver(m message, next int) {
	finished := false
	defer func() {
		if !finished {
			go b.deliver(m, next)
		}
	}()
	for {
		for next < len(m.to) {
			s := m.to[next]
			next++
			s.call(&m)
		}
		var more bool
		if m, more = b.following(m); !more {
			finished = true
			return
		}
		next = 0
	}
}

// following ends a message (the zero one counts for none) and takes the next.
func (b *Breaker) following(last message) (next message, more bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	m := b.mail
	if last.to != nil {
		m.handled++
	}
	kept := m.waiters[:0]
	for _, w := range m.waiters {
		if m.handled < w.until {
			kept = append(kept, w)
			continue
		}
		close(w.done)
	}
	m.waiters = kept
	if len(m.queue) == 0 {
		m.begun, m.queue, m.waiters = false, nil, nil
		return message{}, false
	}
	return m.next(), true
}

func (s *subscription) call(m *message) {
	s.guard(func() {
		e := &m.event
		switch {
		case m.failed != nil:
			s.onFailure.OnFailure(*m.failed)
		case e.Shadow || e.From == e.To:
			if l, ok := s.listener.(NoticeListener); ok {
				l.OnNotice(*e)
			}
		default:
			s.listener.OnTransition(*e)
		}
	})
}

// complain logs a panic by its type alone: its text may hold anything. A logger that panics in turn is left be.
func complain(what string, by, panicked any) {
	defer func() { _ = recover() }()
	slog.Default().Error(what, "listener", fmt.Sprintf("%T", by), "panic_type", fmt.Sprintf("%T", panicked))
}

// delivered gives a channel that closes when every event so far has been handled, or nil if that is so.
func (b *Breaker) delivered() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	m := b.mail
	if m == nil || m.handled == m.queued {
		return nil
	}
	w := waiter{m.queued, make(chan struct{})}
	m.waiters = append(m.waiters, w)
	return w.done
}

func (b *Breaker) subscribe(s *subscription) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.setSubscribed(with(b.subscribed, s))
}

func (b *Breaker) unsubscribe(s *subscription) {
	s.cancelled.Store(true)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.setSubscribed(without(b.subscribed, s))
}

func (b *Breaker) setSubscribed(all []*subscription) {
	b.subscribed = all
	b.onCall.Store(callListenersOf(all))
	b.setTaps(all)
}

func with(all []*subscription, s *subscription) []*subscription {
	return append(all[:len(all):len(all)], s)
}

func without(all []*subscription, s *subscription) []*subscription {
	var kept []*subscription
	for _, other := range all {
		if other != s {
			kept = append(kept, other)
		}
	}
	return kept
}
