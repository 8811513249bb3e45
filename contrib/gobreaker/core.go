package gobreaker

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"time"

	"github.com/sony/gobreaker/v2"

	"github.com/otelbreaker/otelbreaker/breaker"
)

const (
	// Engine names the make of these breakers in a [breaker.Snapshot] and on the health page.
	Engine = "gobreaker"

	// RuleReadyToTrip is the reason of an opening that the settings' ReadyToTrip decided: observed are the failures in
	// gobreaker's counts; what they were measured by only that function knows, so the threshold is 0.
	RuleReadyToTrip = "ready_to_trip"

	defaultConsecutiveFailures = 5 // more of them open where there is no ReadyToTrip
	defaultTimeout             = 60 * time.Second

	maxProbes = 10_000 // of a breaker.Config
)

// core is what both kinds of breakers are: gobreaker's, what shows it, and what has to be known between its callbacks.
type core[T any] struct {
	peer     *gobreaker.TwoStepCircuitBreaker[T]
	mirror   *breaker.Mirror
	settings gobreaker.Settings // the user's, defaults filled in

	// Guarded by the lock of the peer, under which it makes all of its callbacks.
	judging *call            // the newest one that was judged
	counts  gobreaker.Counts // with which ReadyToTrip opened
	timer   *time.Timer      // for the end of the open period; nil before the first one
}

// call is a call that was let through. It goes through the peer as the call's error, and is known again by the callbacks.
type call struct {
	ctx       context.Context // nil: not known
	err       error
	errorType string
	panicked  bool
	asked     bool // the peer wanted to know what the error means
	counted   bool
	onCall    func() // to be done outside the peer's lock
}

func (*call) Error() string { return "a call's result on its way through gobreaker" }

func (c *core[T]) init(st gobreaker.Settings, options []Option) error {
	s, wrong := newSettings(st, options)
	c.settings = st
	if st.MaxRequests == 0 {
		c.settings.MaxRequests = 1
	}
	if st.Timeout <= 0 {
		c.settings.Timeout = defaultTimeout
	}
	mirror, err := breaker.NewMirror(Engine, c.known(s), s.listeners...)
	if err := errors.Join(wrong, err); err != nil {
		return err
	}
	c.mirror = mirror
	st.IsExcluded, st.IsSuccessful = c.isExcluded, c.isSuccessful
	st.ReadyToTrip, st.OnStateChange = c.readyToTrip, c.onStateChange
	c.peer = gobreaker.NewTwoStepCircuitBreaker[T](st)
	return nil
}

// known is the configuration as far as there are words for it.
func (c *core[T]) known(s *settings) breaker.Config {
	known := breaker.Config{Service: s.service, Endpoint: s.endpoint, RecoveryTimeout: c.settings.Timeout}
	if c.settings.ReadyToTrip == nil {
		known.FailureThreshold = defaultConsecutiveFailures + 1
	}
	if n := c.settings.MaxRequests; n <= maxProbes {
		known.SuccessThreshold, known.MaxProbes = int(n), int(n)
	}
	return known
}

// Name is gobreaker's.
func (c *core[T]) Name() string { return c.peer.Name() }

// State is gobreaker's.
func (c *core[T]) State() gobreaker.State { return c.peer.State() }

// Counts is gobreaker's.
func (c *core[T]) Counts() gobreaker.Counts { return c.peer.Counts() }

// Breaker shows this breaker to whatever observes one: otelcb.Observe, health.Handler. It shows, and decides nothing;
// see [breaker.Mirror].
func (c *core[T]) Breaker() *breaker.Breaker { return c.mirror.Breaker() }

// All yields Breaker, so that this one can be observed as it is.
func (c *core[T]) All() iter.Seq[*breaker.Breaker] { return c.mirror.All() }

// Subscribe adds a listener for the transitions to come. It may call this breaker.
func (c *core[T]) Subscribe(l breaker.Listener) (cancel func()) { return c.mirror.Subscribe(l) }

// settle reports to the peer what a call came to, and counts it where the peer does not ask what that means, since the
// period that let it through is over.
func (c *core[T]) settle(k *call, err error, tell func(error)) {
	k.err, k.asked = err, false
	switch {
	case k.panicked:
		k.errorType = breaker.ErrorTypePanic
	case err != nil:
		k.errorType = breaker.ErrorTypeOf(err) // now, since its methods must not be called under the peer's lock
	}
	tell(k)
	if !k.asked && !k.counted {
		o := c.lateOutcome(err)
		k.counted = true
		c.mirror.Late(k.ctx, breaker.Result{Outcome: o, ErrorType: k.errorType})
	}
}

// finish is deferred behind settle. What has not been counted ended by runtime.Goexit, of which the peer never hears, or
// by a panic of the settings' functions.
func (c *core[T]) finish(k *call) {
	if !k.counted {
		c.mirror.Late(k.ctx, breaker.Result{Outcome: breaker.Failure, ErrorType: breaker.ErrorTypePanic})
	}
	if k.onCall != nil {
		k.onCall()
	}
	*k = call{} // it stays within reach of the peer's callbacks, the context need not
}

// lateOutcome asks the settings' functions what an error means that the peer did not ask them about. A panic would be
// one that the user of the peer alone does not have.
func (c *core[T]) lateOutcome(err error) (o breaker.Outcome) {
	defer func() {
		if recover() != nil {
			o = breaker.Failure
		}
	}()
	return c.outcome(err)
}

// outcome asks the settings' functions what an error means.
func (c *core[T]) outcome(err error) breaker.Outcome {
	switch {
	case c.settings.IsExcluded != nil && c.settings.IsExcluded(err):
		return breaker.Ignored
	case c.succeeded(err):
		return breaker.Success
	default:
		return breaker.Failure
	}
}

func (c *core[T]) succeeded(err error) bool {
	if is := c.settings.IsSuccessful; is != nil {
		return is(err)
	}
	return err == nil
}

// What follows the peer calls under its lock: it may not call the peer, nor block, nor call what might.

func (c *core[T]) isExcluded(result error) bool {
	k := result.(*call) //nolint:errorlint // the very value that settle gave
	k.asked = true
	if c.settings.IsExcluded == nil || !c.settings.IsExcluded(k.err) {
		return false
	}
	c.judge(k, breaker.Ignored)
	return true
}

func (c *core[T]) isSuccessful(result error) bool {
	k := result.(*call) //nolint:errorlint // the very value that settle gave
	if !c.succeeded(k.err) {
		c.judge(k, breaker.Failure)
		return false
	}
	c.judge(k, breaker.Success)
	return true
}

func (c *core[T]) judge(k *call, o breaker.Outcome) {
	c.judging = k
	if !k.counted {
		k.counted = true
		c.mirror.Count(k.ctx, breaker.Result{Outcome: o, ErrorType: k.errorType})
	}
}

func (c *core[T]) readyToTrip(counts gobreaker.Counts) bool {
	trips := counts.ConsecutiveFailures > defaultConsecutiveFailures
	if decide := c.settings.ReadyToTrip; decide != nil {
		trips = decide(counts)
	}
	if trips {
		c.counts = counts
	}
	return trips
}

func (c *core[T]) onStateChange(name string, from, to gobreaker.State) {
	if from == gobreaker.StateOpen { // time alone does this, whoever has noticed it
		c.mirror.Move(nil, breaker.Move{To: breaker.HalfOpen, Reason: breaker.Reason{Rule: breaker.RuleDelayElapsed}}) //nolint:staticcheck // no call caused it
	} else {
		k := c.judging // it has just been judged, and that caused this
		k.onCall = c.mirror.Move(k.ctx, c.moved(from, to, k))
	}
	if to == gobreaker.StateOpen {
		c.wake()
	}
	if tell := c.settings.OnStateChange; tell != nil {
		tell(name, from, to)
	}
}

// moved says why a call's result moved the peer.
func (c *core[T]) moved(from, to gobreaker.State, k *call) breaker.Move {
	switch {
	case to == gobreaker.StateClosed:
		n := float64(c.settings.MaxRequests)
		return breaker.Move{To: breaker.Closed, Reason: breaker.Reason{Rule: breaker.RuleProbesSucceeded, Observed: n, Threshold: n}}
	case from == gobreaker.StateHalfOpen:
		return breaker.Move{To: breaker.Open, Reason: breaker.Reason{Rule: breaker.RuleProbeFailed, Observed: 1, Threshold: 1},
			ErrorType: k.errorType, OpenFor: c.settings.Timeout}
	}
	m := breaker.Move{To: breaker.Open, ErrorType: k.errorType, OpenFor: c.settings.Timeout}
	n := c.counts
	if c.settings.ReadyToTrip == nil {
		m.Reason = breaker.Reason{Rule: breaker.RuleConsecutiveFailures, Observed: float64(n.ConsecutiveFailures),
			Threshold: defaultConsecutiveFailures + 1}
		m.Failures = uint64(n.ConsecutiveFailures)
		return m
	}
	m.Reason = breaker.Reason{Rule: RuleReadyToTrip, Observed: float64(n.TotalFailures)}
	m.Failures, m.Successes = uint64(n.TotalFailures), uint64(n.TotalSuccesses)
	return m
}

// wake has the peer asked for its state when the open period is over, for it becomes half-open only when it is asked.
func (c *core[T]) wake() {
	d := c.settings.Timeout
	if d < 1<<63-1 {
		d++ // the peer waits until more than that has passed
	}
	if c.timer == nil {
		c.timer = time.AfterFunc(d, c.look)
	} else {
		c.timer.Reset(d)
	}
}

// look is the timer's. The peer may call OnStateChange of the settings, a panic in which would end the process here.
func (c *core[T]) look() {
	defer func() {
		if p := recover(); p != nil {
			slog.Default().Error("gobreaker: OnStateChange panicked", "panic_type", fmt.Sprintf("%T", p))
		}
	}()
	c.peer.State()
}
