package gobreaker_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	peer "github.com/sony/gobreaker/v2"

	"github.com/otelbreaker/otelbreaker/internal/signals"
)

var (
	errDown     = errors.New("down")
	errExcluded = errors.New("excluded")
)

// subject is a breaker, bare or adapted, with what its settings' functions were told.
type subject struct {
	execute func(func() (int, error)) (int, error)
	allow   func() (func(error), error)
	state   func() peer.State
	counts  func() peer.Counts
	told    []string
}

// settings are random ones whose functions take down what they are told.
func (s *subject) settings(r *rand.Rand) peer.Settings {
	st := peer.Settings{Name: "payments", MaxRequests: r.Uint32N(4)}
	if r.IntN(2) == 0 {
		st.Interval = time.Duration(r.IntN(20)) * time.Second
		st.BucketPeriod = time.Duration(r.IntN(5)) * time.Second
	}
	if r.IntN(2) == 0 {
		st.Timeout = time.Duration(1+r.IntN(10)) * time.Second
	}
	tell := func(format string, args ...any) { s.told = append(s.told, fmt.Sprintf(format, args...)) }
	if r.IntN(2) == 0 {
		st.ReadyToTrip = func(c peer.Counts) bool {
			tell("trip? %+v", c)
			return c.TotalFailures >= 3
		}
	}
	if r.IntN(2) == 0 {
		st.IsSuccessful = func(err error) bool {
			tell("successful? %v", err)
			if err != nil && err.Error() == "poison" {
				panic("IsSuccessful")
			}
			return err == nil || err.Error() == "fine"
		}
	}
	if r.IntN(2) == 0 {
		st.IsExcluded = func(err error) bool {
			tell("excluded? %v", err)
			return errors.Is(err, errExcluded)
		}
	}
	st.OnStateChange = func(name string, from, to peer.State) { tell("%s: %v to %v", name, from, to) }
	return st
}

// play makes random calls, one after the other, and tells what came of each.
func (s *subject) play(r *rand.Rand) (log []string) {
	errs := []error{nil, nil, errDown, errDown, errDown, errExcluded, errors.New("fine"), errors.New("poison")}
	attempt := func(f func() (int, error)) {
		var result int
		var err error
		var panicked any
		func() {
			defer func() { panicked = recover() }()
			result, err = f()
		}()
		log = append(log, fmt.Sprint("call ", result, err, panicked))
	}
	for range 120 {
		err := errs[r.IntN(len(errs))]
		switch r.IntN(6) {
		case 0:
			time.Sleep(time.Duration(r.IntN(4000)) * time.Millisecond)
		case 1:
			time.Sleep(time.Second)
		case 2:
			attempt(func() (int, error) { return s.execute(func() (int, error) { panic(fmt.Sprint("oh ", err)) }) })
		default:
			attempt(func() (int, error) { return s.execute(func() (int, error) { return 7, err }) })
		}
		// The bare one is open until it is asked.
		log = append(log, fmt.Sprint(s.state(), s.counts()))
	}
	return log
}

// Calls of all kinds go through gobreaker and through the adapter, with the same settings: results, panics, states,
// counts and what the settings' functions are told must be the same.
func TestItDecidesAsGobreakerDoes(t *testing.T) {
	signals.SameDecisions(t, 60, func(t *testing.T, r *rand.Rand, adapted bool) (log, told []string) {
		s := &subject{}
		st := s.settings(r)
		if adapted {
			cb := mustNew(t, st)
			s.execute, s.state, s.counts = cb.Execute, cb.State, cb.Counts
		} else {
			cb := peer.NewCircuitBreaker[int](st)
			s.execute, s.state, s.counts = cb.Execute, cb.State, cb.Counts
		}
		return s.play(r), s.told
	})
}

// overlap is play for calls in two steps, which end in any order, late ones and doubled ones among them.
func (s *subject) overlap(r *rand.Rand) (log []string) {
	var pending []func(error)
	for range 150 {
		switch n := r.IntN(8); {
		case n == 0:
			time.Sleep(time.Duration(r.IntN(4000)) * time.Millisecond)
		case n < 4:
			done, err := s.allow()
			log = append(log, fmt.Sprint("allow ", err))
			if err == nil {
				pending = append(pending, done)
			}
		case len(pending) > 0:
			i := r.IntN(len(pending))
			pending[i]([]error{nil, errDown, errDown, errExcluded}[r.IntN(4)])
			if r.IntN(5) > 0 { // otherwise it may be done once more
				pending = slices.Delete(pending, i, i+1)
			}
		}
		log = append(log, fmt.Sprint(s.state(), s.counts()))
	}
	return log
}

// What the settings' functions are told of late results differs, as the documentation has it, and is left out.
func TestInTwoStepsItDecidesAsGobreakerDoes(t *testing.T) {
	signals.SameDecisions(t, 60, func(t *testing.T, r *rand.Rand, adapted bool) (log, told []string) {
		s := &subject{}
		st := s.settings(r)
		if adapted {
			cb := mustTwoStep(t, st)
			s.allow, s.state, s.counts = cb.Allow, cb.State, cb.Counts
			told = append(told, cb.Name())
		} else {
			cb := peer.NewTwoStepCircuitBreaker[int](st)
			s.allow, s.state, s.counts = cb.Allow, cb.State, cb.Counts
			told = append(told, cb.Name())
		}
		return s.overlap(r), told
	})
}

func TestItsDefaultsAreGobreakers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bare, cb := peer.NewCircuitBreaker[int](peer.Settings{}), mustNew(t, peer.Settings{})
		fail := func() (int, error) { return 0, errDown }
		for n := 1; ; n++ {
			_, _ = bare.Execute(fail)
			_, _ = cb.Execute(fail)
			if bare.State() != cb.State() {
				t.Fatalf("after %d failures: %v, gobreaker %v", n, cb.State(), bare.State())
			}
			if c := cb.Breaker().Snapshot().Config; bare.State() == peer.StateOpen {
				if c.FailureThreshold != n {
					t.Errorf("it shows a threshold of %d, and gobreaker opened after %d", c.FailureThreshold, n)
				}
				time.Sleep(c.RecoveryTimeout + 1)
				synctest.Wait()
				if bare.State() != peer.StateHalfOpen || cb.State() != peer.StateHalfOpen || c.MaxProbes != 1 || c.SuccessThreshold != 1 {
					t.Errorf("after the delay that it shows: %v, gobreaker %v; %+v", cb.State(), bare.State(), c)
				}
				return
			}
		}
	})
}
