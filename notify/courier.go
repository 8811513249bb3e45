package notify

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/otelbreaker/otelbreaker/breaker"
)

const (
	maxQueue     = 1024
	maxHold      = time.Hour       // the longest that Retry-After can hold up
	closeTimeout = 5 * time.Second // of Close, where its context has no deadline
	maxNamed     = 5               // messages that the error of Close names
)

// letter is one message on its way.
type letter struct {
	about func() string               // what it is about, for the error of Close
	send  func(context.Context) error // one attempt, without the courier's lock
	sent  func()                      // under the lock, once it got through; may be nil
}

// outbox is what there is to send. The courier's lock guards it.
type outbox interface {
	// take notes what happened, and tells how many messages had to be dropped for it.
	take(e *breaker.Event, now time.Time) (dropped int)
	// wants tells that an event would make a message.
	wants(e *breaker.Event) bool
	len() int
	// next takes out the message that is due. Where none is due yet it tells when, and where there is none, zero.
	next(now time.Time) (l *letter, due time.Time)
	// hurry makes all due at once.
	hurry(now time.Time)
	// clear takes out what is left, and tells what it is about.
	clear() []string
}

// courier sends what is in an outbox: in order, one at a time, on a goroutine that lives only while there is something
// to send.
type courier struct {
	name      string
	timeout   time.Duration
	retryFor  time.Duration
	gap       time.Duration // between two messages, but not while closing
	tally     *tally
	complaint complaint
	release   func()

	ctx    context.Context // of the attempts
	cancel context.CancelFunc
	wake   chan struct{} // something may be due sooner

	mu      sync.Mutex
	box     outbox
	running bool
	idle    chan struct{} // closed when the goroutine ends
	sending *letter
	hold    time.Time // nothing is sent before, as Retry-After asked
	pace    time.Time // nor before this, unless closing
	closed  bool
	lost    []string // what failed since closed
}

func newCourier(s *settings, box outbox, gap time.Duration, release func()) (*courier, error) {
	t, err := tallyOf(s.meters, s.name)
	if err != nil {
		return nil, err
	}
	c := &courier{
		name: s.name, timeout: s.timeout, retryFor: s.retryFor, gap: gap, tally: t, release: release,
		box: box, wake: make(chan struct{}, 1),
		complaint: complaint{logger: s.logger, channel: s.name},
	}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	return c, nil
}

// take notes an event. It waits for nothing.
func (c *courier) take(e *breaker.Event) {
	c.mu.Lock()
	lost := 0
	if c.closed {
		if c.box.wants(e) {
			lost = 1
		}
	} else {
		lost = c.box.take(e, time.Now())
		c.start()
	}
	c.mu.Unlock()
	c.count(dropped, lost, "")
}

// start sees to it, under the lock, that the goroutine runs and looks again.
func (c *courier) start() {
	if !c.running {
		c.running, c.idle = true, make(chan struct{})
		go c.run()
		return
	}
	select {
	case c.wake <- struct{}{}:
	default: // it is about to look anyway
	}
}

func (c *courier) run() {
	ended := false
	defer func() {
		if ended {
			return
		}
		// A client that ends the goroutine (runtime.Goexit) ends its message and no other.
		c.settle(&failure{what: "the HTTP client ended the goroutine"})
		go c.run()
	}()
	for {
		c.mu.Lock()
		l, due := c.next(time.Now())
		if l == nil && due.IsZero() {
			c.running, ended = false, true
			close(c.idle)
			c.mu.Unlock()
			return
		}
		c.sending = l
		c.mu.Unlock()
		if l == nil {
			c.wait(time.Until(due))
			continue
		}
		c.settle(c.deliver(l))
	}
}

// next is the outbox's, but for the pauses that all messages keep.
func (c *courier) next(now time.Time) (*letter, time.Time) {
	from := c.hold
	if !c.closed && c.pace.After(from) {
		from = c.pace
	}
	if !now.Before(from) {
		return c.box.next(now)
	}
	if c.box.len() == 0 {
		return nil, time.Time{}
	}
	return nil, from
}

func (c *courier) wait(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-c.wake:
	case <-c.ctx.Done(): // the outbox is empty then
	}
}

// deliver tries until the message got through or there is no point in going on.
func (c *courier) deliver(l *letter) *failure {
	var newest *failure
	once := func() (struct{}, error) {
		newest = c.attempt(l)
		switch {
		case newest == nil:
			return struct{}{}, nil
		case !newest.again:
			return struct{}{}, backoff.Permanent(newest)
		case newest.after > 0:
			return struct{}{}, &backoff.RetryAfterError{Duration: newest.after}
		}
		return struct{}{}, newest
	}
	pauses := backoff.NewExponentialBackOff() // from half a second on, each off by up to a half
	pauses.Multiplier = 2
	pauses.MaxInterval = 30 * time.Second
	limits := []backoff.RetryOption{backoff.WithBackOff(pauses), backoff.WithMaxElapsedTime(c.retryFor)}
	if c.retryFor == 0 {
		limits = append(limits, backoff.WithMaxTries(1)) // for no time means without end there
	}
	if _, err := backoff.Retry(c.ctx, once, limits...); err == nil {
		return nil
	}
	return newest
}

// attempt makes one. The client is foreign code, and what it panics with may hold the address.
func (c *courier) attempt(l *letter) (f *failure) {
	defer func() {
		if recover() != nil {
			f = &failure{what: "panic of the HTTP client"}
		}
	}()
	ctx, cancel := context.WithTimeout(c.ctx, c.timeout)
	defer cancel()
	if err := l.send(ctx); err != nil {
		return judge(err)
	}
	return nil
}

// settle is the end of the message on its way.
func (c *courier) settle(f *failure) {
	c.mu.Lock()
	l := c.sending
	c.sending = nil
	abandoned := l == nil // Close has counted it
	now := time.Now()
	switch {
	case abandoned:
	case f == nil:
		c.pace = now.Add(c.gap)
		if l.sent != nil {
			l.sent()
		}
	default:
		c.hold = now.Add(min(f.after, maxHold))
		if c.closed {
			c.lost = append(c.lost, l.about())
		}
	}
	c.mu.Unlock()
	switch {
	case abandoned:
	case f == nil:
		c.count(sent, 1, "")
	default:
		c.count(failed, 1, f.what)
	}
}

func (c *courier) count(o outcome, n int, why string) {
	if n == 0 {
		return
	}
	c.tally.counts[o].Add(int64(n))
	if o != sent {
		c.complaint.add(o, n, why)
	}
}

// close ends it: what waits is sent at once, until ctx ends.
func (c *courier) close(ctx context.Context) error {
	if ctx == nil {
		return errors.New("notify: the context is nil: pass one that ends when Close should, or context.Background()")
	}
	if _, has := ctx.Deadline(); !has {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, closeTimeout)
		defer cancel()
	}
	c.mu.Lock()
	if c.ctx.Err() != nil { // it is closed, and whatever its last attempt does
		c.mu.Unlock()
		return nil
	}
	c.closed = true
	c.box.hurry(time.Now())
	idle := c.idle
	running := c.running
	if running {
		c.start()
	}
	c.mu.Unlock()

	var because error
	if running {
		select {
		case <-idle:
		case <-ctx.Done():
			because = ctx.Err()
		}
	}
	c.mu.Lock()
	left := c.box.clear()
	inFlight := 0
	if l := c.sending; l != nil && because != nil {
		c.sending, inFlight = nil, 1
		c.lost = append(c.lost, l.about())
	}
	lost := append(c.lost, left...)
	c.lost = nil
	c.mu.Unlock()
	c.count(failed, inFlight, "closed before it was sent")
	c.count(dropped, len(left), "closed before it was sent")
	c.cancel()
	c.release()
	if len(lost) == 0 {
		return nil
	}
	text := strings.Join(lost[:min(len(lost), maxNamed)], "; ")
	if more := len(lost) - maxNamed; more > 0 {
		text += fmt.Sprintf("; and %d more", more)
	}
	if because == nil {
		return fmt.Errorf("notify: %s: %d not sent: %s", c.name, len(lost), text)
	}
	return fmt.Errorf("notify: %s: %d not sent: %s: %w", c.name, len(lost), text, because)
}
