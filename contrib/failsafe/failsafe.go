package failsafe

import (
	"context"
	"iter"
	"sync"
	"time"

	"github.com/failsafe-go/failsafe-go/circuitbreaker"

	"github.com/otelbreaker/otelbreaker/breaker"
)

// Engine names the make of these breakers in a [breaker.Snapshot] and on the health page.
const Engine = "failsafe-go"

// Reasons in failsafe-go's own words.
const (
	RuleFailureThresholdRatio  = "failure_threshold_ratio"  // observed and threshold: failures among the last calls
	RuleFailureThresholdPeriod = "failure_threshold_period" // observed and threshold: failures in the period
	RuleManual                 = "manual"                   // the program called Open, HalfOpen or Close
)

// CircuitBreaker is one of failsafe-go that can be observed: a [circuitbreaker.CircuitBreaker], for use alone or as a
// policy of an executor. Make it with [NewBuilder]. All methods may be called concurrently.
type CircuitBreaker[R any] struct {
	peer[R]
	judge  func(result R, err error) (failed bool)
	mirror *breaker.Mirror
	known  *known[R]

	// One at a time, whatever may move the peer: it lets go of its own lock before it tells of a transition, so that two
	// could be told in the wrong order.
	mu     sync.Mutex
	cause  cause                              // of what is being done
	moved  []circuitbreaker.StateChangedEvent // by it
	onCall []func()
	timer  *time.Timer // for the end of the open period; nil before the first one
	opened uint64      // open periods so far
}

// peer is failsafe-go's own, under a name that keeps others from going past the lock.
type peer[R any] interface {
	circuitbreaker.CircuitBreaker[R]
}

// cause is what may move the peer.
type cause struct {
	ctx       context.Context // nil: not known
	errorType string
	manual    bool
}

// Breaker shows this breaker to whatever observes one: otelcb.Observe, health.Handler. It shows, and decides nothing;
// see [breaker.Mirror].
func (cb *CircuitBreaker[R]) Breaker() *breaker.Breaker { return cb.mirror.Breaker() }

// All yields Breaker, so that this one can be observed as it is.
func (cb *CircuitBreaker[R]) All() iter.Seq[*breaker.Breaker] { return cb.mirror.All() }

// Subscribe adds a listener for the transitions to come. It may call this breaker, and a panic in it harms nobody.
func (cb *CircuitBreaker[R]) Subscribe(l breaker.Listener) (cancel func()) {
	return cb.mirror.Subscribe(l)
}

// TryAcquirePermit is failsafe-go's, and counts a blocked call.
func (cb *CircuitBreaker[R]) TryAcquirePermit() (acquired bool) {
	cb.do(cause{}, func() { acquired = cb.peer.TryAcquirePermit() })
	if !acquired {
		cb.mirror.Blocked(nil) //nolint:staticcheck // there is none, and none is made up
	}
	return acquired
}

// RecordResult is failsafe-go's, and counts the call.
func (cb *CircuitBreaker[R]) RecordResult(result R) { cb.record(result, nil) }

// RecordError is failsafe-go's, and counts the call.
func (cb *CircuitBreaker[R]) RecordError(err error) {
	var none R
	cb.record(none, err)
}

func (cb *CircuitBreaker[R]) record(result R, err error) {
	judged := false
	defer func() {
		if !judged { // a condition panicked, and the peer records nothing
			cb.mirror.Late(nil, breaker.Result{Outcome: breaker.Failure, ErrorType: breaker.ErrorTypePanic}) //nolint:staticcheck // there is none
		}
	}()
	failed := cb.judge(result, err)
	judged = true
	if failed {
		cb.count(cause{errorType: breaker.ErrorTypeOf(err)}, breaker.Failure, cb.peer.RecordFailure)
	} else {
		cb.RecordSuccess()
	}
}

// RecordSuccess is failsafe-go's, and counts the call.
func (cb *CircuitBreaker[R]) RecordSuccess() {
	cb.count(cause{}, breaker.Success, cb.peer.RecordSuccess)
}

// RecordFailure is failsafe-go's, and counts the call.
func (cb *CircuitBreaker[R]) RecordFailure() {
	cb.count(cause{}, breaker.Failure, cb.peer.RecordFailure)
}

// Open is failsafe-go's.
func (cb *CircuitBreaker[R]) Open() { cb.do(cause{manual: true}, cb.peer.Open) }

// HalfOpen is failsafe-go's.
func (cb *CircuitBreaker[R]) HalfOpen() { cb.do(cause{manual: true}, cb.peer.HalfOpen) }

// Close is failsafe-go's.
func (cb *CircuitBreaker[R]) Close() { cb.do(cause{manual: true}, cb.peer.Close) }

// count counts a call and then has the peer record it.
func (cb *CircuitBreaker[R]) count(by cause, o breaker.Outcome, record func()) {
	cb.do(by, func() {
		count := cb.mirror.Count
		if cb.IsOpen() {
			count = cb.mirror.Late // the peer records it, and it bears on nothing
		}
		count(by.ctx, breaker.Result{Outcome: o, ErrorType: by.errorType})
		record()
	})
}

// do does what may move the peer, and then tells of it, outside every lock: what notes things on the call, and the
// listeners of the builder, on this goroutine as failsafe-go itself has it.
func (cb *CircuitBreaker[R]) do(by cause, what func()) {
	moved, onCall := cb.locked(by, what)
	for _, f := range onCall {
		f()
	}
	for _, e := range moved {
		cb.known.tell(e)
	}
}

func (cb *CircuitBreaker[R]) locked(by cause, what func()) (moved []circuitbreaker.StateChangedEvent, onCall []func()) {
	cb.mu.Lock()
	defer func() {
		cb.cause, cb.moved, cb.onCall = cause{}, nil, nil
		cb.mu.Unlock()
	}()
	cb.cause = by
	what()
	return cb.moved, cb.onCall
}

// changed is the peer's only listener. It is called within do, so it must not wait for anything.
func (cb *CircuitBreaker[R]) changed(e circuitbreaker.StateChangedEvent) {
	m := cb.move(e)
	ctx := cb.cause.ctx
	if m.Reason.Rule == breaker.RuleDelayElapsed {
		ctx = nil // the call only noticed it
	}
	cb.onCall = append(cb.onCall, cb.mirror.Move(ctx, m))
	cb.moved = append(cb.moved, e)
	if m.To == breaker.Open {
		cb.opened++
		cb.wake(m.OpenFor)
	}
}

// wake has the mirror half-open when the open period is over: the next call will be let through. The peer itself is open
// until that call comes, and stays so, for results that come meanwhile bear on nothing.
func (cb *CircuitBreaker[R]) wake(after time.Duration) {
	if cb.timer != nil {
		cb.timer.Stop()
	}
	if after > 0 {
		period := cb.opened
		cb.timer = time.AfterFunc(after, func() { cb.look(period) })
	}
}

// look is the timer's.
func (cb *CircuitBreaker[R]) look(period uint64) {
	cb.mu.Lock()
	defer cb.mu.Unlock()
	if cb.opened != period || !cb.IsOpen() {
		return
	}
	if left := cb.RemainingDelay(); left > 0 {
		cb.wake(left)
		return
	}
	cb.mirror.Move(nil, breaker.Move{To: breaker.HalfOpen, Reason: breaker.Reason{Rule: breaker.RuleDelayElapsed}}) //nolint:staticcheck // no call caused it
}
