//go:build panels

package e2e

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/otelbreaker/otelbreaker/e2e/internal/panel"
)

// TestDashboards_Answers keeps in the folder PANEL_ANSWERS what the panels get to see in an incident of some minutes, for
// `make panels` to draw.
func TestDashboards_Answers(t *testing.T) {
	dir := os.Getenv("PANEL_ANSWERS")
	if dir == "" {
		t.Fatal("PANEL_ANSWERS names no folder")
	}
	store := openStore(t, 5*time.Second)
	store.incident(t)
	dashboards, err := panel.Load("../deploy/grafana/dashboards")
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range dashboards {
		kept := store.keep(t, d)
		content, err := json.Marshal(kept)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(d.File)), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// incident is some minutes of a bad day, for the drawing, and ends in the middle of an outage: what waits here is the
// script, not a test for its effect.
func (s *store) incident(t *testing.T) {
	t.Helper()
	s.settles(t)
	begin := time.Now()
	s.opened = begin
	for _, scene := range []struct {
		at time.Duration
		do func()
	}{
		{0, func() { recommendations.failing.Store(2) }},
		{45 * time.Second, func() { payments.failing.Store(100) }}, // down, and its probes fail
		{75 * time.Second, func() { payments.failing.Store(0) }},
		{100 * time.Second, func() { inventory.only.Store("checkout-2"); inventory.failing.Store(100) }}, // one process has trouble
		{112 * time.Second, func() { inventory.failing.Store(0) }},
		{130 * time.Second, func() { inventory.failing.Store(100) }},
		{138 * time.Second, func() { inventory.failing.Store(0); inventory.only.Store("") }},
		{150 * time.Second, func() {
			s.operate(t, 3, "recommendations", "disable")
			recommendations.slow.Store(int64(70 * time.Millisecond))
		}},
		{155 * time.Second, func() { recommendations.failing.Store(60) }},
		{170 * time.Second, func() { recommendations.failing.Store(2); recommendations.slow.Store(0) }},
		{210 * time.Second, func() { payments.failing.Store(100) }}, // and again, until the end
		{300 * time.Second, func() {}},
	} {
		select {
		case <-time.After(time.Until(begin.Add(scene.at))):
		case <-t.Context().Done():
			t.Fatal(t.Context().Err())
		}
		scene.do()
	}
	s.awaits(t, "payments open", `max(circuit_breaker_state{service="payments"}) == bool 2`)
}

// kept is what `make panels` draws a dashboard from.
type kept struct {
	Dashboard   json.RawMessage                 `json:"dashboard"`
	Chosen      map[string][]string             `json:"chosen"`
	From        int64                           `json:"from"` // milliseconds
	To          int64                           `json:"to"`
	Panels      map[int]map[string]panel.Answer `json:"panels"` // by id and refId
	Annotations map[string]panel.Answer         `json:"annotations"`
}

func (s *store) keep(t *testing.T, d panel.Dashboard) kept {
	t.Helper()
	view := s.view(nil)
	if d.UID == "otelbreaker-breaker" { // which is for one
		view.Chosen = map[string][]string{"service": {payments.service}}
	}
	content, err := os.ReadFile(d.File)
	if err != nil {
		t.Fatal(err)
	}
	k := kept{
		Dashboard: content, Chosen: view.Chosen, From: view.From.UnixMilli(), To: view.To.UnixMilli(),
		Panels: map[int]map[string]panel.Answer{}, Annotations: map[string]panel.Answer{},
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for _, p := range d.Panels {
		k.Panels[p.ID] = map[string]panel.Answer{}
		for _, target := range p.Targets {
			if k.Panels[p.ID][target.RefID], err = s.sources.Ask(ctx, view, p, target); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, a := range d.Annotations.List {
		if a.BuiltIn == 1 || !a.Enable {
			continue
		}
		if k.Annotations[a.Name], err = s.sources.AskAnnotation(ctx, view, a); err != nil {
			t.Fatal(err)
		}
	}
	return k
}
