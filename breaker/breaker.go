package breaker

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"sync/atomic"
	"time"
)

// Breaker guards the calls to one dependency. Make it with [New]. Every method may be called concurrently, also from
// within a guarded call or a listener. A closed breaker holds no goroutine and no timer, an open one a single timer;
// there is nothing to close.
type Breaker struct {
	// Read by every call and written only when something changes, so these stay in every core's cache.
	word      atomic.Uint64                 // what a call needs to know of the state: see word
	rejection atomic.Pointer[OpenError]     // what a blocked call gets; set before word says so
	rules     atomic.Pointer[rules]         // the configuration in force
	onCall    atomic.Pointer[callListeners] // nil where nobody listens on the calls
	windowEnd atomic.Int64                  // when the newest bucket of a window of time is full
	stripes   []stripe                      // counters of the calls that move nothing
	base      time.Time                     // where the breaker's own clock starts

	// Guarded by mu. What is seldom written comes first, so that the lock's traffic starts on a cache line of its own.
	delivery
	overrides *overrides // nil before the first one
	mu        sync.Mutex
	machine
}

// New makes a closed breaker. Listeners are told of its transitions in the order given. All that is wrong with the
// configuration is reported at once, each thing as a [*ConfigError].
func New(c Config, listeners ...Listener) (*Breaker, error) {
	given := c
	c, err := c.withDefaults()
	subscribed, wrong := subscriptions(listeners)
	if err := errors.Join(err, wrong); err != nil {
		return nil, err
	}
	return newBreaker(c, &given, subscribed), nil
}

func newBreaker(c Config, given *Config, subscribed []*subscription) *Breaker {
	return makeBreaker(c, given, "", subscribed)
}

func makeBreaker(c Config, given *Config, engine string, subscribed []*subscription) *Breaker {
	b := &Breaker{
		stripes: newStripes(),
		base:    time.Now().Add(-time.Second), // so that no reading of the clock is 0, which stands for none
	}
	b.gen = 1
	b.setSubscribed(subscribed)
	b.setRules(c, given, engine)
	b.publish()
	return b
}

func subscriptions(listeners []Listener) ([]*subscription, error) {
	var subscribed []*subscription
	var errs []error
	for i, l := range listeners {
		if l == nil {
			errs = append(errs, fmt.Errorf("breaker: listener %d is nil", i))
		}
		subscribed = append(subscribed, newSubscription(l))
	}
	return subscribed, errors.Join(errs...)
}

// Do calls fn, unless the breaker blocks the call: then it returns an [*OpenError] at once. fn gets ctx as it is, and
// its error comes back untouched, as does a panic; both panic and Goexit count as failures. Config.Classify judges the
// error. A nil ctx or fn is an error, and no call. While the breaker is closed and the call succeeds, Do allocates
// nothing, and takes no lock except with Config.WindowCalls or where a failure has just been counted.
func (b *Breaker) Do(ctx context.Context, fn func(context.Context) error) error {
	if fn == nil {
		return errNilFunction
	}
	if w := word(b.word.Load()); ctx != nil && w&(stateMask|timed|aged|ringed|classified|mirrored) == 0 {
		return b.doPlain(ctx, uint64(w>>genShift), fn)
	}
	t, err := b.admit(ctx)
	if err != nil {
		return err
	}
	returned := false
	defer func() {
		if !returned {
			b.settle(ctx, t, &Result{Outcome: Failure, ErrorType: ErrorTypePanic})
		}
	}()
	err = fn(ctx)
	if err == nil && word(b.word.Load())&classified == 0 { // what judge and settle would do, without a Result to copy
		returned = true
		b.succeed(ctx, t, 0)
		return nil
	}
	r := b.judge(ctx, err) // may panic, in the user's Classify
	returned = true
	b.settle(ctx, t, &r)
	return err
}

// doPlain is Do where all that a success needs is to be counted. It is apart because the compiler copies what a deferred
// function uses, on every call, and this one uses less.
func (b *Breaker) doPlain(ctx context.Context, gen uint64, fn func(context.Context) error) error {
	returned := false
	defer func() {
		if !returned {
			b.settle(ctx, token{gen: gen}, &Result{Outcome: Failure, ErrorType: ErrorTypePanic})
		}
	}()
	err := fn(ctx)
	if err == nil && word(b.word.Load())&(plain|classified) == 0 { // also in a later period: a success moves neither
		returned = true
		b.stripe().success.Add(1)
		return nil
	}
	r := b.judge(ctx, err) // there may be a Classify by now
	returned = true
	b.settle(ctx, token{gen: gen}, &r)
	return err
}

// Do is [Breaker.Do] for a function that returns a value. A blocked call returns T's zero value.
func Do[T any](ctx context.Context, b *Breaker, fn func(context.Context) (T, error)) (T, error) {
	var value T
	if fn == nil {
		return value, errNilFunction
	}
	err := b.Do(ctx, func(ctx context.Context) (err error) {
		value, err = fn(ctx)
		return err
	})
	return value, err
}

// Acquire asks to make one call, for those who cannot put it into a function. On a nil error the call may be made, and
// the permit's Done must be called when it has ended. Otherwise the error is an [*OpenError] and the permit does
// nothing. A permit that is never done is not counted; a probe's ends with its lease.
func (b *Breaker) Acquire(ctx context.Context) (Permit, error) {
	t, err := b.admit(ctx)
	if err != nil {
		return Permit{}, err
	}
	return Permit{b: b, token: t}, nil
}

// State tells the state now, which needs no call to be true: an open breaker is half-open as soon as its delay is over. A
// disabled one is closed.
func (b *Breaker) State() State {
	w := word(b.word.Load())
	if s := w.state(); s == Closed || s == Open && w&look == 0 {
		return w.public()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.advance(b.now())
	return b.publicState()
}

// ForceOpen opens the breaker and blocks every call until Reset or Disable: there are no probes. The reason goes into
// the event's Note. Forcing a breaker that is open already keeps it open and tells [NoticeListener] only.
func (b *Breaker) ForceOpen(reason string) {
	b.operate(ForcedOpen, Open, Reason{Rule: RuleForced, Note: reason})
}

// Disable closes the breaker and lets every call through until Reset or ForceOpen. Calls are still counted, and the
// rules still judged: what would have happened goes to [NoticeListener] and into the Snapshot, so that thresholds can
// be tried before they are trusted. The reason goes into the event's Note.
func (b *Breaker) Disable(reason string) {
	b.operate(Disabled, Closed, Reason{Rule: RuleDisabled, Note: reason})
}

// Reset closes the breaker, lifts an override, and forgets the failures and the window that led here. Totals stay, and so
// does the configuration: what [Breaker.Reconfigure] has put in force is still in force. Calls in flight belong to the
// time before and move nothing.
func (b *Breaker) Reset() { b.operate(Automatic, Closed, Reason{Rule: RuleReset}) }

// Reconfigure puts another configuration in force, for a breaker that is in use. c is the whole of it: a field that is
// zero gets its default and does not keep its value. State, totals, listeners and waiting events stay; an open period
// that is running keeps its end, and the window its calls unless its size changes. Service and Endpoint cannot change:
// leave them empty or as they are. On an error nothing has changed. [Breaker.Adjust] changes some fields only.
func (b *Breaker) Reconfigure(c Config) error {
	return b.Adjust(func(whole *Config) error {
		*whole = c
		return nil
	})
}

// Adjust is [Breaker.Reconfigure] for some fields: change gets the configuration as New, NewGroup, Reconfigure or Adjust
// was last given it, and alters what it will. That one has zeros where defaults are in force, so that these follow what
// is changed (the window of a rate, say), which those of Snapshot do not. An error of change comes back as it is, and
// nothing has changed then. Where several adjust at once, none undoes the other's work: change is called again with
// what the other has left, so it must not reconfigure the breaker itself, or there would be no end to it. It is called
// outside every lock.
func (b *Breaker) Adjust(change func(*Config) error) error {
	if change == nil {
		return errNilFunction
	}
	for {
		have := b.rules.Load()
		if have.engine != "" {
			return errMirrored
		}
		given := *have.given
		if err := change(&given); err != nil {
			return err
		}
		c := given
		errs := []error{
			sameName("Service", c.Service, have.Service),
			sameName("Endpoint", c.Endpoint, have.Endpoint),
		}
		c.Service, c.Endpoint = have.Service, have.Endpoint
		c, err := c.withDefaults()
		if err := errors.Join(append(errs, err)...); err != nil {
			return err
		}
		if b.replaceRules(have, c, &given) {
			return nil
		}
	}
}

// replaceRules puts a checked configuration in force, unless another one has come meanwhile.
func (b *Breaker) replaceRules(have *rules, c Config, given *Config) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.rules.Load() != have {
		return false
	}
	b.advance(b.now())
	b.setRules(c, given, "")
	b.publish()
	return true
}

func sameName(field, value, have string) error {
	if value == "" || value == have {
		return nil
	}
	return &ConfigError{Field: field, Value: fmt.Sprintf("%q", withoutSecrets(value)),
		Allowed: fmt.Sprintf("%q or empty: a live breaker keeps its name", have)}
}

// Subscribe adds a listener for the transitions to come, behind those it has. No event is begun for it once cancel
// has returned. A nil listener is never told anything.
func (b *Breaker) Subscribe(l Listener) (cancel func()) {
	if l == nil {
		return func() {}
	}
	s := newSubscription(l)
	b.subscribe(s)
	return func() { b.unsubscribe(s) }
}

// Flush waits until every event so far has been delivered, or ctx ends, whose error it then returns.
func (b *Breaker) Flush(ctx context.Context) error {
	if ctx == nil {
		return errNilContext
	}
	done := b.delivered()
	if done == nil {
		return nil
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// All yields the breaker itself, so that one breaker can stand where a [Group] can.
func (b *Breaker) All() iter.Seq[*Breaker] {
	return func(yield func(*Breaker) bool) { yield(b) }
}
