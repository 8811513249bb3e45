package failsafe_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	peer "github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/circuitbreaker"

	"github.com/otelbreaker/otelbreaker/contrib/failsafe"
	"github.com/otelbreaker/otelbreaker/internal/signals"
)

var (
	errDown = errors.New("down")
	errFine = errors.New("fine")
)

// subject is a breaker, bare or adapted, with what its listeners were told.
type subject struct {
	cb   circuitbreaker.CircuitBreaker[int]
	told []string
}

func (s *subject) tell(format string, args ...any) {
	s.told = append(s.told, fmt.Sprintf(format, args...))
}

func (s *subject) changed(as string) func(circuitbreaker.StateChangedEvent) {
	return func(e circuitbreaker.StateChangedEvent) {
		s.tell("%s: %v to %v, %d failures, %d successes", as, e.OldState, e.NewState, e.Metrics().Failures(), e.Metrics().Successes())
	}
}

func (s *subject) ended(as string) func(peer.ExecutionEvent[int]) {
	return func(e peer.ExecutionEvent[int]) { s.tell("%s: %v %v", as, e.LastResult(), e.LastError()) }
}

// rules is what both builders have of what a random breaker is set to.
type rules[B any] interface {
	HandleIf(func(int, error) bool) B
	HandleErrors(...error) B
	HandleErrorTypes(...any) B
	HandleResult(int) B
	OnSuccess(func(peer.ExecutionEvent[int])) B
	OnFailure(func(peer.ExecutionEvent[int])) B
	OnStateChanged(func(circuitbreaker.StateChangedEvent)) B
	OnClose(func(circuitbreaker.StateChangedEvent)) B
	OnOpen(func(circuitbreaker.StateChangedEvent)) B
	OnHalfOpen(func(circuitbreaker.StateChangedEvent)) B
	WithFailureThreshold(uint) B
	WithFailureThresholdRatio(uint, uint) B
	WithFailureThresholdPeriod(uint, time.Duration) B
	WithFailureRateThreshold(float64, uint, time.Duration) B
	WithSuccessThreshold(uint) B
	WithSuccessThresholdRatio(uint, uint) B
	WithDelay(time.Duration) B
	WithDelayFunc(peer.DelayFunc[int]) B
}

// set gives a builder random settings, and listeners that take down what they are told.
func set[B rules[B]](b B, s *subject, r *rand.Rand) B {
	b = b.OnStateChanged(s.changed("changed")).OnOpen(s.changed("open")).OnClose(s.changed("close")).OnHalfOpen(s.changed("half-open")).
		OnSuccess(s.ended("success")).OnFailure(s.ended("failure"))
	few := func() uint { return 1 + r.UintN(3) }
	switch r.IntN(5) {
	case 0:
		b = b.WithFailureThreshold(few())
	case 1:
		b = b.WithFailureThresholdRatio(few(), 3+few())
	case 2:
		b = b.WithFailureThresholdPeriod(few(), 10*time.Second)
	case 3:
		b = b.WithFailureRateThreshold(0.5, few(), 10*time.Second)
	}
	switch r.IntN(3) {
	case 0:
		b = b.WithSuccessThreshold(few())
	case 1:
		b = b.WithSuccessThresholdRatio(few(), 3+few())
	}
	switch r.IntN(5) {
	case 0:
		b = b.HandleErrors(errDown)
	case 1:
		b = b.HandleResult(3)
	case 2:
		b = b.HandleIf(func(n int, err error) bool { return n == 3 || err != nil && !errors.Is(err, errFine) })
	case 3:
		b = b.HandleErrorTypes(errDown)
	}
	switch r.IntN(3) {
	case 0:
		b = b.WithDelay(time.Duration(r.IntN(5)) * time.Second)
	case 1:
		b = b.WithDelayFunc(func(e peer.ExecutionAttempt[int]) time.Duration { return time.Duration(1+e.LastResult()) * time.Second })
	}
	return b
}

// play makes random calls of all kinds, and tells what came of each.
func (s *subject) play(r *rand.Rand) (log []string) {
	executor := peer.With[int](s.cb)
	for range 150 {
		n, err := r.IntN(5), []error{nil, errDown, errDown, errFine}[r.IntN(4)]
		switch r.IntN(12) {
		case 0, 1:
			time.Sleep(time.Duration(r.IntN(4000)) * time.Millisecond)
		case 2:
			log = append(log, fmt.Sprint("permit ", s.cb.TryAcquirePermit()))
		case 3:
			s.cb.RecordError(err)
		case 4:
			s.cb.RecordResult(n)
		case 5:
			s.cb.RecordSuccess()
		case 6:
			s.cb.RecordFailure()
		case 7:
			switch r.IntN(6) {
			case 0:
				s.cb.Open()
			case 1:
				s.cb.Close()
			case 2:
				s.cb.HalfOpen()
			}
		case 8:
			func() {
				defer func() { log = append(log, fmt.Sprint("panic ", recover())) }()
				_, err := executor.Get(func() (int, error) { panic(fmt.Sprint("oh ", n)) })
				log = append(log, fmt.Sprint(err))
			}()
		default:
			got, err := executor.Get(func() (int, error) { return n, err })
			log = append(log, fmt.Sprint("call ", got, err))
		}
		m := s.cb.Metrics()
		log = append(log, fmt.Sprint(s.cb.State(), s.cb.RemainingDelay(), m.Failures(), m.Successes(), m.FailureRate()))
	}
	return log
}

// Calls of all kinds go through failsafe-go's breaker and through the adapter, with the same settings: results, panics,
// states, metrics and what listeners are told must be the same.
func TestItDecidesAsFailsafeDoes(t *testing.T) {
	signals.SameDecisions(t, 80, func(t *testing.T, r *rand.Rand, adapted bool) (log, told []string) {
		s := &subject{}
		if adapted {
			s.cb = mustBuild(t, set(failsafe.NewBuilder[int](), s, r))
		} else {
			s.cb = set(circuitbreaker.NewBuilder[int](), s, r).Build()
		}
		return s.play(r), s.told
	})
}
