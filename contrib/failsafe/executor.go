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
		defer e.unless(&result, exec)
		return inner(exec)
	})
}

// unless counts a failure where there is no result.
func (e *executor[R]) unless(result **common.PolicyResult[R], exec failsafe.Execution[R]) {
	if *result == nil {
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

// OnSuccess tells the builder's listener, and then records.
func (e *executor[R]) OnSuccess(exec policy.ExecutionInternal[R], result *common.PolicyResult[R]) {
	var told *common.PolicyResult[R]
	func() {
		defer e.unless(&told, exec)
		if tell := e.cb.known.onSuccess; tell != nil {
			tell(failsafe.ExecutionEvent[R]{ExecutionAttempt: exec.CopyWithResult(result)})
		}
		told = result
	}()
	e.cb.count(cause{ctx: contextOf(exec)}, breaker.Success, func() { e.peer.OnSuccess(exec, result) })
}

// OnFailure tells the builder's listener, and then records.
func (e *executor[R]) OnFailure(exec policy.ExecutionInternal[R], result *common.PolicyResult[R]) *common.PolicyResult[R] {
	var told *common.PolicyResult[R]
	func() {
		defer e.unless(&told, exec)
		if tell := e.cb.known.onFailure; tell != nil {
			tell(failsafe.ExecutionEvent[R]{ExecutionAttempt: exec.CopyWithResult(result)})
		}
		told = result
	}()
	by := cause{ctx: contextOf(exec), errorType: breaker.ErrorTypeOf(result.Error)}
	e.cb.count(by, breaker.Failure, func() { result = e.peer.OnFailure(exec, result) })
	return result
}

// contextOf gives nil where nobody has given the execution a context.
func contextOf[R any](exec failsafe.Execution[R]) context.Context {
	if ctx := exec.Context(); ctx != context.Background() {
		return ctx
	}
	return nil
}
