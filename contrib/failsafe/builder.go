package failsafe

import (
	"errors"
	"fmt"
	"time"

	"github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/circuitbreaker"
	"github.com/failsafe-go/failsafe-go/policy"

	"github.com/otelbreaker/otelbreaker/breaker"
)

// Builder has the methods of a [circuitbreaker.Builder], which mean the same, and takes note of what it is told. It is not
// for concurrent use.
type Builder[R any] struct {
	peer  circuitbreaker.Builder[R]
	known known[R]
	names settings
	wrong error
}

// known is what was said to a Builder, as far as it is needed.
type known[R any] struct {
	failures    uint
	among       uint // the last calls
	rate        float64
	calls       uint // without which no rate is judged
	period      time.Duration
	successes   uint // 0: not set
	successesOf uint
	delay       time.Duration // 0: not known beforehand

	onSuccess, onFailure                 func(failsafe.ExecutionEvent[R])
	onChange, onOpen, onHalfOpen, onShut func(circuitbreaker.StateChangedEvent)
}

// NewBuilder makes what [circuitbreaker.NewBuilder] makes. The options name the breaker in every signal.
func NewBuilder[R any](options ...Option) *Builder[R] {
	b := &Builder[R]{peer: circuitbreaker.NewBuilder[R]()}
	b.known = known[R]{failures: 1, among: 1, delay: time.Minute}
	var errs []error
	for i, o := range options {
		if o == nil {
			errs = append(errs, fmt.Errorf("failsafe: option %d is nil", i))
			continue
		}
		o.apply(&b.names)
	}
	b.wrong = errors.Join(errs...)
	return b
}

// Build makes the breaker. The error is all that is wrong with names and options.
func (b *Builder[R]) Build() (*CircuitBreaker[R], error) {
	known := b.known // the builder may go on
	m, err := breaker.NewMirror(Engine, known.config(b.names), b.names.listeners...)
	if err := errors.Join(b.wrong, err); err != nil {
		return nil, err
	}
	cb := &CircuitBreaker[R]{mirror: m, known: &known}
	cb.peer = b.peer.OnStateChanged(cb.changed).Build()
	var none R
	cb.judge = cb.peer.ToExecutor(none).(policy.Executor[R]).IsFailure
	return cb, nil
}

// HandleErrors is failsafe-go's.
func (b *Builder[R]) HandleErrors(errs ...error) *Builder[R] {
	b.peer.HandleErrors(errs...)
	return b
}

// HandleErrorTypes is failsafe-go's.
func (b *Builder[R]) HandleErrorTypes(errs ...any) *Builder[R] {
	b.peer.HandleErrorTypes(errs...)
	return b
}

// HandleResult is failsafe-go's.
func (b *Builder[R]) HandleResult(result R) *Builder[R] {
	b.peer.HandleResult(result)
	return b
}

// HandleIf is failsafe-go's.
func (b *Builder[R]) HandleIf(predicate func(R, error) bool) *Builder[R] {
	b.peer.HandleIf(predicate)
	return b
}

// OnSuccess is failsafe-go's.
func (b *Builder[R]) OnSuccess(listener func(failsafe.ExecutionEvent[R])) *Builder[R] {
	b.known.onSuccess = listener
	return b
}

// OnFailure is failsafe-go's.
func (b *Builder[R]) OnFailure(listener func(failsafe.ExecutionEvent[R])) *Builder[R] {
	b.known.onFailure = listener
	return b
}

// OnStateChanged is failsafe-go's.
func (b *Builder[R]) OnStateChanged(listener func(circuitbreaker.StateChangedEvent)) *Builder[R] {
	b.known.onChange = listener
	return b
}

// OnClose is failsafe-go's.
func (b *Builder[R]) OnClose(listener func(circuitbreaker.StateChangedEvent)) *Builder[R] {
	b.known.onShut = listener
	return b
}

// OnOpen is failsafe-go's.
func (b *Builder[R]) OnOpen(listener func(circuitbreaker.StateChangedEvent)) *Builder[R] {
	b.known.onOpen = listener
	return b
}

// OnHalfOpen is failsafe-go's.
func (b *Builder[R]) OnHalfOpen(listener func(circuitbreaker.StateChangedEvent)) *Builder[R] {
	b.known.onHalfOpen = listener
	return b
}

// WithFailureThreshold is failsafe-go's.
func (b *Builder[R]) WithFailureThreshold(failures uint) *Builder[R] {
	return b.WithFailureThresholdRatio(failures, failures)
}

// WithFailureThresholdRatio is failsafe-go's.
func (b *Builder[R]) WithFailureThresholdRatio(failures, calls uint) *Builder[R] {
	b.peer.WithFailureThresholdRatio(failures, calls)
	b.known.failures, b.known.among = failures, calls
	return b
}

// WithFailureThresholdPeriod is failsafe-go's.
func (b *Builder[R]) WithFailureThresholdPeriod(failures uint, period time.Duration) *Builder[R] {
	b.peer.WithFailureThresholdPeriod(failures, period)
	b.known.failures, b.known.among, b.known.calls, b.known.period = failures, failures, failures, period
	return b
}

// WithFailureRateThreshold is failsafe-go's. It panics where that does, if the rate is not from 0 to 1.
func (b *Builder[R]) WithFailureRateThreshold(rate float64, calls uint, period time.Duration) *Builder[R] {
	b.peer.WithFailureRateThreshold(rate, calls, period)
	b.known.rate, b.known.calls, b.known.period = rate, calls, period
	return b
}

// WithDelay is failsafe-go's.
func (b *Builder[R]) WithDelay(delay time.Duration) *Builder[R] {
	b.peer.WithDelay(delay)
	b.known.delay = delay
	return b
}

// WithDelayFunc is failsafe-go's.
func (b *Builder[R]) WithDelayFunc(delay failsafe.DelayFunc[R]) *Builder[R] {
	b.peer.WithDelayFunc(delay)
	b.known.delay = 0
	return b
}

// WithRandomDelay is failsafe-go's.
func (b *Builder[R]) WithRandomDelay(least, most time.Duration) *Builder[R] {
	b.peer.WithRandomDelay(least, most)
	b.known.delay = 0
	return b
}

// WithJitter is failsafe-go's.
func (b *Builder[R]) WithJitter(jitter time.Duration) *Builder[R] {
	b.peer.WithJitter(jitter)
	return b
}

// WithJitterFactor is failsafe-go's.
func (b *Builder[R]) WithJitterFactor(factor float64) *Builder[R] {
	b.peer.WithJitterFactor(factor)
	return b
}

// WithSuccessThreshold is failsafe-go's.
func (b *Builder[R]) WithSuccessThreshold(successes uint) *Builder[R] {
	return b.WithSuccessThresholdRatio(successes, successes)
}

// WithSuccessThresholdRatio is failsafe-go's.
func (b *Builder[R]) WithSuccessThresholdRatio(successes, calls uint) *Builder[R] {
	b.peer.WithSuccessThresholdRatio(successes, calls)
	b.known.successes, b.known.successesOf = successes, calls
	return b
}

// tell calls the builder's listeners, in failsafe-go's order.
func (k *known[R]) tell(e circuitbreaker.StateChangedEvent) {
	own := k.onShut
	switch e.NewState {
	case circuitbreaker.OpenState:
		own = k.onOpen
	case circuitbreaker.HalfOpenState:
		own = k.onHalfOpen
	case circuitbreaker.ClosedState:
	}
	if own != nil {
		own(e)
	}
	if k.onChange != nil {
		k.onChange(e)
	}
}
