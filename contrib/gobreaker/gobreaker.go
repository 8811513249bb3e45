package gobreaker

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/sony/gobreaker/v2"
)

// CircuitBreaker is a gobreaker that can be observed. It has the methods of a [gobreaker.CircuitBreaker], which do the
// same. Make it with [New]. All methods may be called concurrently.
type CircuitBreaker[T any] struct{ core[T] }

// New makes what [gobreaker.NewCircuitBreaker] makes of the same settings, whose functions are called as they are
// there. The service that metrics, records and pages show is the settings' Name, unless an option says otherwise. All
// that is wrong with names and options is reported at once.
func New[T any](st gobreaker.Settings, options ...Option) (*CircuitBreaker[T], error) {
	cb := &CircuitBreaker[T]{}
	if err := cb.init(st, options); err != nil {
		return nil, err
	}
	return cb, nil
}

// Execute runs req if the breaker lets it, as gobreaker's own does. Of its context nothing is known, so records of what
// it causes have no trace, and no span hears of them: [CircuitBreaker.ExecuteContext] has that.
func (cb *CircuitBreaker[T]) Execute(req func() (T, error)) (T, error) {
	return cb.execute(nil, req) //nolint:staticcheck // there is none, and none is made up
}

// ExecuteContext is Execute for a function with a context, whose trace goes with what the call causes. The context
// decides nothing: gobreaker takes what its caller cancels for a failure, unless the settings exclude it.
func (cb *CircuitBreaker[T]) ExecuteContext(ctx context.Context, req func(context.Context) (T, error)) (T, error) {
	return cb.execute(ctx, func() (T, error) { return req(ctx) })
}

func (cb *CircuitBreaker[T]) execute(ctx context.Context, req func() (T, error)) (T, error) {
	tell, err := cb.peer.Allow()
	if err != nil {
		cb.mirror.Blocked(ctx)
		var none T
		return none, err
	}
	k := call{ctx: ctx}
	defer cb.finish(&k)
	defer func() {
		if p := recover(); p != nil {
			k.panicked = true
			cb.settle(&k, fmt.Errorf("%v", p), tell) // as gobreaker itself has it
			panic(p)
		}
	}()
	result, err := req()
	cb.settle(&k, err, tell)
	return result, err
}

// TwoStepCircuitBreaker is a gobreaker in two steps that can be observed. It has the methods of a
// [gobreaker.TwoStepCircuitBreaker], which do the same. Make it with [NewTwoStep]. All methods may be called
// concurrently.
type TwoStepCircuitBreaker[T any] struct{ core[T] }

// NewTwoStep is [New] for a breaker in two steps.
func NewTwoStep[T any](st gobreaker.Settings, options ...Option) (*TwoStepCircuitBreaker[T], error) {
	cb := &TwoStepCircuitBreaker[T]{}
	if err := cb.init(st, options); err != nil {
		return nil, err
	}
	return cb, nil
}

// Allow asks to make one call, as gobreaker's own does: done is to be called with the call's error when that has ended.
// gobreaker judges every call of done, so it should be called once; the totals count the first. What is never done is
// not counted, and if it was a probe, gobreaker waits for it for good.
func (cb *TwoStepCircuitBreaker[T]) Allow() (done func(err error), err error) {
	return cb.AllowContext(nil) //nolint:staticcheck // there is none, and none is made up
}

// AllowContext is Allow for a call with a context, whose trace goes with what the call causes.
func (cb *TwoStepCircuitBreaker[T]) AllowContext(ctx context.Context) (done func(err error), err error) {
	tell, err := cb.peer.Allow()
	if err != nil {
		cb.mirror.Blocked(ctx)
		return nil, err
	}
	var reported atomic.Bool
	return func(err error) {
		k := call{ctx: ctx, counted: reported.Swap(true)}
		defer cb.finish(&k)
		cb.settle(&k, err, tell)
	}, nil
}
