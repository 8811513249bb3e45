package logs

import (
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/otelbreaker/otelbreaker/breaker"
)

// maxAccounts bounds the breakers that a limiter keeps an account of at a time.
const maxAccounts = 1024

// limiter bounds the records of each breaker. What is too much is held back and counted, but the newest is written as
// soon as the limit allows, also if nothing follows it: the log never ends on a state that is past.
type limiter struct {
	every time.Duration // what one record takes of a minute; 0: there is no limit
	base  time.Time     // a minute before the first record, so that an account of zeros is a full one
	write func(e *breaker.Event, heldBack uint64)

	mu       sync.Mutex
	accounts map[name]*account
}

type name struct{ service, endpoint string }

func newLimiter(perMinute uint, write func(*breaker.Event, uint64)) *limiter {
	l := &limiter{base: time.Now().Add(-time.Minute), write: write, accounts: map[name]*account{}}
	if perMinute > 0 {
		l.every = time.Duration(uint64(time.Minute) / uint64(perMinute))
	}
	return l
}

// pass writes e now, later or never.
func (l *limiter) pass(e breaker.Event) {
	a := l.account(name{e.Service, e.Endpoint})
	if a == nil {
		l.write(&e, 0)
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.hold(e)
	a.release(l)
}

// account gives the breaker's account; nil where there is no limit, or no place. Then as many breakers as there are
// places move at a time, and to limit another one without remembering what it said last might leave a wrong state told.
func (l *limiter) account(of name) *account {
	if l.every == 0 {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	a := l.accounts[of]
	if a == nil {
		if len(l.accounts) >= maxAccounts {
			l.sweep()
		}
		if len(l.accounts) >= maxAccounts {
			return nil
		}
		a = &account{}
		l.accounts[of] = a
	}
	return a
}

// sweep forgets the accounts that are as good as new.
func (l *limiter) sweep() {
	now := l.now()
	for of, a := range l.accounts {
		if !a.mu.TryLock() {
			continue // in use, perhaps by a logger that blocks
		}
		if len(a.held) == 0 && a.spent <= now-time.Minute {
			delete(l.accounts, of)
		}
		a.mu.Unlock()
	}
}

func (l *limiter) now() time.Duration { return time.Since(l.base) }

// account is what a breaker may write yet. Its lock is held while a record is written, for their order.
type account struct {
	mu    sync.Mutex
	spent time.Duration // the time up to which records have used it up; a minute of it can be saved
	held  []held        // what is to be written next: a record, and before it an operator's last one if that is another
	timed bool          // a timer will release them
}

type held struct {
	event  breaker.Event
	before uint64 // records held back for good between the one before and this one
}

// hold puts an event in the place of those that it makes pointless. An operator's goes on to hold after transitions,
// which say nothing of overrides, so it stays until the next of its kind.
func (a *account) hold(e breaker.Event) {
	last := held{event: e}
	for n := len(a.held) - 1; n >= 0 && (operated(&e) || !operated(&a.held[n].event)); n-- {
		last.before += a.held[n].before + 1
		a.held = a.held[:n]
	}
	a.held = append(a.held, last)
}

// release writes what is held, or sees to it that this is done as soon as it may be.
func (a *account) release(l *limiter) {
	now := l.now()
	a.spent = max(a.spent, now-time.Minute)
	if wait := a.spent + l.every - now; wait > 0 {
		if !a.timed {
			a.timed = true
			time.AfterFunc(wait, func() { a.releaseLate(l) })
		}
		return
	}
	all := a.held
	a.held = nil
	for _, h := range all {
		a.spent += l.every
		l.write(&h.event, h.before)
	}
}

// releaseLate is the timer's. There is no breaker here to catch the panic of a logger.
func (a *account) releaseLate(l *limiter) {
	defer func() {
		if r := recover(); r != nil {
			complain(r)
		}
	}()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.timed = false
	if len(a.held) > 0 {
		a.release(l)
	}
}

// complain logs a panic by its type alone: its text may hold anything. A logger that panics in turn is left be.
func complain(panicked any) {
	defer func() { _ = recover() }()
	slog.Default().Error("circuit breaker log panicked", "panic_type", fmt.Sprintf("%T", panicked))
}
