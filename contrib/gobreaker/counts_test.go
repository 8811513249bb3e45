package gobreaker_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	peer "github.com/sony/gobreaker/v2"

	"github.com/otelbreaker/otelbreaker/internal/signals"
)

// edge is a transition in gobreaker's words.
func edge(from, to fmt.Stringer) string {
	return strings.ReplaceAll(from.String()+" to "+to.String(), "half_open", "half-open")
}

func refused(err error) bool {
	return errors.Is(err, peer.ErrOpenState) || errors.Is(err, peer.ErrTooManyRequests)
}

// counted has a program count its calls, on a breaker of both kinds, and told give what gobreaker told the settings.
func counted(t *testing.T, st peer.Settings, steps int) (s signals.Subject, told func() []string) {
	var all []string
	st.Name, st.IsExcluded = signals.Service, ignores
	st.OnStateChange = func(_ string, from, to peer.State) { all = append(all, edge(from, to)) }
	s.Refused, s.Ignored = refused, 2
	if steps == 1 {
		cb := mustNew(t, st)
		s.Source, s.Ways = cb, []signals.Call{executes(cb), executesWithout(cb)}
		// gobreaker never hears of Goexit, and would wait for such a probe for good.
		s.Wedged = func() bool { return cb.State() != peer.StateClosed }
		told = func() []string { cb.State(); return all } // behind the lock under which it was told
	} else {
		cb := mustTwoStep(t, st)
		s.Source, s.Ways = cb, []signals.Call{twoSteps(cb)}
		told = func() []string { cb.State(); return all }
	}
	return s, told
}

// same has every transition told to those who observe that gobreaker told its own callback, in its order.
func same(t *testing.T, got signals.Told, told []string) {
	t.Helper()
	var edges []string
	for _, e := range got.Events {
		edges = append(edges, edge(e.From, e.To))
	}
	if !slices.Equal(edges, told[got.Dropped:]) {
		t.Errorf("gobreaker told of %q,\nwe of %q", told, edges)
	}
}

func TestG08_TheTotalsAreWhatTheProgramCounted(t *testing.T) {
	var runs []signals.Told
	for seed := range uint64(60) {
		synctest.Test(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 6))
			st := peer.Settings{MaxRequests: r.Uint32N(4), Timeout: time.Duration(1+r.IntN(30)) * time.Second}
			if r.IntN(2) == 0 {
				st.Interval, st.BucketPeriod = time.Duration(r.IntN(60))*time.Second, time.Duration(r.IntN(10))*time.Second
			}
			if r.IntN(2) == 0 {
				st.ReadyToTrip = func(c peer.Counts) bool { return c.TotalFailures >= 3 }
			}
			s, told := counted(t, st, 1+r.IntN(2))
			s.Callers, s.Each = 6, 40
			got := s.InVirtualTime(t, seed)
			same(t, got, told())
			runs = append(runs, got)
			if t.Failed() {
				t.Logf("seed %d", seed)
			}
		})
	}
	signals.Enough(t, runs)
}

func TestG08_TheTotalsAreWhatTheProgramCountedConcurrentSafe(t *testing.T) {
	for steps := 1; steps <= 2; steps++ {
		s, told := counted(t, peer.Settings{Timeout: 50 * time.Microsecond, MaxRequests: 2, Interval: time.Millisecond,
			ReadyToTrip: func(c peer.Counts) bool { return c.ConsecutiveFailures >= 2 }}, steps)
		s.Callers, s.Each = 8, 400
		got := s.AtOnce(t)
		same(t, got, told())
		signals.Enough(t, []signals.Told{got})
	}
}
