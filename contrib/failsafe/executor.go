package failsafe

import (
	"context"

	"github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/common"
	"github.com/failsafe-go/failsafe-go/policy"

	"github.com/otelbreaker/otelbreaker/breaker"
)

// executor is what runs one execution through the breaker. The peer's own is beneath.
type executor[R any] struct {
	policy.BaseExecutor[R]
	peer policy.Executor[R]
	cb   *CircuitBreaker[R]
}

var _ policy.Executor[any] = (*executor[any])(nil)

// ToExecutor is for failsafe-go, which composes policies by it.
func (cb *CircuitBreaker[R]) ToExecutor(typeToken R) any {
	e := &executor[R]{peer: cb.peer.ToExecutor(typeToken).(policy.Executor[R]), cb: cb}
	e.Executor = e
	return e
}

// Apply counts what panics or ends the goroutine, of which failsafe-go itself never hears.
func (e *executor[R]) Apply(inner func(failsafe.Execution[R]) *common.PolicyResult[R]) func(failsafe.Execution[R]) *common.PolicyResult[R] {
	return e.BaseExecutor.Apply(func(exec failsafe.Execution[R]) (result *common.PolicyResult[R]) {
		defer func() { e.unless(result != nil, exec) }()
		return inner(exec)
	})
}

// unless counts a failure of a call that was let through and will not be counted otherwise.
func (e *executor[R]) unless(counted bool, exec failsafe.Execution[R]) {
	if !counted {
		e.cb.mirror.Late(contextOf(exec), breaker.Result{Outcome: breaker.Failure, ErrorType: breaker.ErrorTypePanic})
	}
}

// PreExecute asks for a permit.
func (e *executor[R]) PreExecute(exec policy.ExecutionInternal[R]) (refused *common.PolicyResult[R]) {
	e.cb.do(cause{ctx: contextOf(exec)}, func() { refused = e.peer.PreExecute(exec) })
	if refused != nil {
		e.cb.mirror.Blocked(contextOf(exec))
	}
	return refused
}

// IsFailure is the peer's.
func (e *executor[R]) IsFailure(result R, err error) bool { return e.cb.judge(result, err) }

// PostExecute judges the call, tells the builder's listener, and then records. Conditions and listeners are the user's: where
// one panics, the peer does not record, and the call is counted all the same.
func (e *executor[R]) PostExecute(exec policy.ExecutionInternal[R], result *common.PolicyResult[R]) *common.PolicyResult[R] {
	judged := false
	defer func() { e.unless(judged, exec) }()
	by, o := cause{ctx: contextOf(exec)}, breaker.Success
	record, tell := e.peer.OnSuccess, e.cb.known.onSuccess
	if e.IsFailure(result.Result, result.Error) {
		by.errorType, o = breaker.ErrorTypeOf(result.Error), breaker.Failure
		result, tell = result.WithFailure(), e.cb.known.onFailure
		record = func(exec policy.ExecutionInternal[R], r *common.PolicyResult[R]) { result = e.peer.OnFailure(exec, r) }
	} else {
		result = result.WithDone(true, true)
	}
	if tell != nil {
		tell(failsafe.ExecutionEvent[R]{ExecutionAttempt: exec.CopyWithResult(result)})
	}
	judged = true
	e.cb.count(by, o, func() { record(exec, result) })
	return result
}

// contextOf gives nil where nobody has given the execution a context.
func contextOf[R any](exec failsafe.Execution[R]) context.Context {
	if ctx := exec.Context(); ctx != context.Background() {
		return ctx
	}
	return nil
}
