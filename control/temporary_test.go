package control_test

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/otelbreaker/otelbreaker/breaker"
	"github.com/otelbreaker/otelbreaker/control"
)

func TestTemporary_EndsByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		rec := r.post(alices, order("force_open", "for", "15m"))
		until := time.Now().Add(15 * time.Minute).UTC().Format(time.RFC3339)
		if !strings.Contains(rec.Body.String(), `"until":"`+until+`"`) || r.snapshot().OverrideNote != "migration (by alice, until "+until+")" {
			t.Errorf("%s, %q", rec.Body, r.snapshot().OverrideNote)
		}
		r.audit()
		time.Sleep(15*time.Minute - time.Nanosecond)
		synctest.Wait()
		if s := r.snapshot(); s.Override != breaker.ForcedOpen {
			t.Errorf("too early: %v", s.Override)
		}
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		if s := r.snapshot(); s.Override != breaker.Automatic || s.State != breaker.Closed {
			t.Errorf("at its end: %v, %v", s.Override, s.State)
		}
		has(t, r.one(), map[string]any{"level": "INFO", "msg": applied, "result": "applied", "operator": "alice", "action": "reset",
			"service": "s", "endpoint": a, "note": "has run out: migration (by alice, until " + until + ")"})
	})
}

// TestTemporary_LeavesWhatCameSinceAlone has each kind of thing come between.
func TestTemporary_LeavesWhatCameSinceAlone(t *testing.T) {
	for name, c := range map[string]struct {
		between func(*rig)
		want    breaker.Override
		note    string
	}{
		"an order":            {func(r *rig) { r.post(bobs, order("force_open")) }, breaker.ForcedOpen, "migration (by bob)"},
		"another override":    {func(r *rig) { r.post(bobs, order("disable")) }, breaker.Disabled, "migration (by bob)"},
		"a reset":             {func(r *rig) { r.post(bobs, order("reset")) }, breaker.Automatic, ""},
		"the program's own":   {func(r *rig) { r.group.Get(a).ForceOpen("mine") }, breaker.ForcedOpen, "mine"},
		"the program's reset": {func(r *rig) { r.group.Get(a).Reset() }, breaker.Automatic, ""},
		"a longer one":        {func(r *rig) { r.post(bobs, order("force_open", "for", "2h")) }, breaker.ForcedOpen, ""},
		"a new configuration": {func(r *rig) { r.post(bobs, order("reconfigure", "configuration", `{"max_probes":2}`)) }, breaker.Automatic, ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				r.post(alices, order("force_open", "for", "15m"))
				time.Sleep(time.Minute)
				c.between(r)
				time.Sleep(time.Hour)
				synctest.Wait()
				if s := r.snapshot(); s.Override != c.want || c.note != "" && s.OverrideNote != c.note {
					t.Errorf("it is %v, %q; want %v, %q", s.Override, s.OverrideNote, c.want, c.note)
				}
				time.Sleep(2 * time.Hour)
				synctest.Wait()
				if n := control.Temporary(r.handler); n != 0 {
					t.Errorf("%d are remembered at the end", n)
				}
			})
		})
	}
}

func TestTemporary_GoesBackToWhatWasBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		trial := newGroup(t, breaker.Config{Service: "s"}, breaker.WithDisabled("trial"))
		b := trial.Get(a)
		r.handle([]control.Source{trial})
		r.post(alices, order("force_open", "for", "10m"))
		time.Sleep(5 * time.Minute)
		r.post(alices, order("force_open", "for", "10m")) // what was before is still the trial
		time.Sleep(9 * time.Minute)
		if s := b.Snapshot(); s.Override != breaker.ForcedOpen {
			t.Errorf("it is %v", s.Override)
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if s := b.Snapshot(); s.Override != breaker.Disabled || s.OverrideNote != "trial" {
			t.Errorf("it is %v, %q", s.Override, s.OverrideNote)
		}
		all := r.audit()
		if last := all[len(all)-1]; last["action"] != "disable" {
			t.Errorf("the last record is %v", last)
		}
		b.ForceOpen("by hand")
		r.post(alices, order("disable", "for", "10m"))
		time.Sleep(11 * time.Minute)
		synctest.Wait()
		if s := b.Snapshot(); s.Override != breaker.ForcedOpen || s.OverrideNote != "by hand" {
			t.Errorf("it is %v, %q", s.Override, s.OverrideNote)
		}
	})
}

func TestTemporary_ARefusedOrderEndsNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.post(alices, order("force_open", "for", "15m"))
		if rec := r.post(alices, order("reset", "reason", "")); rec.Code != http.StatusBadRequest {
			t.Errorf("%d", rec.Code)
		}
		if n := control.Temporary(r.handler); n != 1 {
			t.Errorf("%d are remembered, want 1", n)
		}
		time.Sleep(time.Hour)
	})
}
