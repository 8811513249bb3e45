package breaker_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/otelbreaker/otelbreaker/breaker"
)

func TestForceOpenAndReset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := new(noticer)
		b := mustNew(t, breaker.Config{}, r)
		flight, err := b.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		b.ForceOpen("maintenance")
		wantState(t, b, breaker.Open)
		flight.Done(t.Context(), breaker.Success)
		time.Sleep(1000 * time.Hour)
		synctest.Wait()
		wantState(t, b, breaker.Open)
		s := b.Snapshot()
		if s.Override != breaker.ForcedOpen || s.OverrideNote != "maintenance" || s.RetryAfter != 0 || !s.RetryAt.IsZero() {
			t.Errorf("forced open: %+v", s)
		}
		var e *breaker.OpenError
		if err := b.Do(t.Context(), succeed); !errors.As(err, &e) || e.Reason.Note != "maintenance" || e.RetryAfter() != 0 {
			t.Errorf("forced open, a call gets %+v", e)
		}
		if want := "circuit breaker is open: default (default) was forced open"; e.Error() != want {
			t.Errorf("text is %q, want %q", e, want)
		}
		b.ForceOpen("still")
		b.Reset()
		wantState(t, b, breaker.Closed)
		if s := b.Snapshot(); s.Override != breaker.Automatic || s.OverrideNote != "" || s.OpenTime != 1000*time.Hour {
			t.Errorf("after Reset: %+v", s)
		}
		b.Reset()
		wantStory(t, b, &r.recorder, "closed>open forced", "open>closed reset")
		if len(r.notices) != 0 {
			t.Errorf("notices: %+v", r.notices)
		}
		wantCounts(t, b, 1, 0, 0, 1)
	})
}

// noticer also remembers notices.
type noticer struct {
	recorder
	notices []breaker.Event
}

func (n *noticer) OnNotice(e breaker.Event) { n.notices = append(n.notices, e) }

func TestForceOpenDuringAnOutageKeepsItOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := new(noticer)
		b := mustNew(t, breaker.Config{}, r)
		trip(t, b)
		b.ForceOpen("wait for the fix")
		time.Sleep(time.Hour)
		synctest.Wait()
		wantState(t, b, breaker.Open)
		wantStory(t, b, &r.recorder, "closed>open consecutive_failures")
		if len(r.notices) != 1 || r.notices[0].Reason.Note != "wait for the fix" || r.notices[0].From != breaker.Open ||
			r.notices[0].To != breaker.Open || r.notices[0].OutageID == "" {
			t.Errorf("notices: %+v", r.notices)
		}
		b.Reset()
		_ = b.Flush(t.Context())
		if e := r.all()[1]; e.To != breaker.Closed || e.RecoveryDuration != time.Hour || e.OutageID != r.all()[0].OutageID {
			t.Errorf("closed by %+v", e)
		}
	})
}

func TestForceOpenVoidsProbesInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := mustNew(t, breaker.Config{})
		halfOpen(t, b)
		p, err := b.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		b.ForceOpen("")
		p.Done(t.Context(), breaker.Success)
		wantState(t, b, breaker.Open)
		time.Sleep(time.Hour) // no lease of the probe's is left to fire
		synctest.Wait()
		wantCounts(t, b, 1, 5, 0, 0)
	})
}

func TestDisableLetsAllThroughAndTellsWhatWouldHaveHappened(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := new(noticer)
		b := mustNew(t, breaker.Config{RecoveryTimeout: 10 * time.Second}, r)
		b.Disable("trying thresholds")
		for range 8 { // it would have opened on the fifth
			if err := b.Do(t.Context(), fail); err != errDown {
				t.Fatalf("a disabled breaker gave %v", err)
			}
		}
		wantState(t, b, breaker.Closed)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if err := b.Do(t.Context(), succeed); err != nil { // it would have been the probe
			t.Fatal(err)
		}
		s := b.Snapshot()
		if s.WouldOpen != 1 || s.WouldBlock != 3 || s.Override != breaker.Disabled || s.Transitions != 0 || s.OpenTime != 0 {
			t.Errorf("snapshot is %+v", s)
		}
		wantCounts(t, b, 1, 8, 0, 0)
		wantStory(t, b, &r.recorder)
		var shadow []string
		for _, e := range r.notices {
			shadow = append(shadow, fmt.Sprintf("%v>%v %s %v", e.From, e.To, e.Reason.Rule, e.Shadow))
		}
		if want := []string{"closed>closed disabled false", "closed>open consecutive_failures true",
			"open>half_open delay_elapsed true", "half_open>closed probes_succeeded true"}; !slices.Equal(shadow, want) {
			t.Errorf("notices:\n got  %v\n want %v", shadow, want)
		}

		for range 5 {
			_ = b.Do(t.Context(), fail)
		}
		b.Reset() // in the middle of what would have been an outage
		wantState(t, b, breaker.Closed)
		if err := b.Do(t.Context(), succeed); err != nil {
			t.Errorf("after Reset: %v", err)
		}
		trip(t, b) // and now for real
		wantStory(t, b, &r.recorder, "closed>open consecutive_failures")
	})
}

func TestDisablingTwiceIsDisablingOnce(t *testing.T) {
	r := new(noticer)
	b := mustNew(t, breaker.Config{}, r)
	b.Disable("first")
	for range 5 {
		_ = b.Do(t.Context(), fail)
	}
	b.Disable("second")
	if s := b.Snapshot(); s.OverrideNote != "second" || s.WouldOpen != 1 {
		t.Errorf("snapshot is %+v", s)
	}
	wantStory(t, b, &r.recorder)
}

func TestDisableEndsAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := new(recorder)
		b := mustNew(t, breaker.Config{}, r)
		trip(t, b)
		b.Disable("let them through")
		if err := b.Do(t.Context(), succeed); err != nil {
			t.Errorf("disabled, a call gets %v", err)
		}
		b.ForceOpen("no, do not")
		if err := b.Do(t.Context(), succeed); !errors.Is(err, breaker.ErrOpen) {
			t.Errorf("forced open, a call gets %v", err)
		}
		wantStory(t, b, r, "closed>open consecutive_failures", "open>closed disabled", "closed>open forced")
	})
}
