package e2e

import (
	"strings"
	"testing"
	"time"

	"github.com/otelbreaker/otelbreaker/e2e/internal/panel"
)

// emptyWhereNothingHappened are the panels that have nothing to show on a system that has never had an outage, and say
// so in their descriptions. All others show their zeros.
var emptyWhereNothingHappened = map[string]bool{
	"otelbreaker-overview: Transitions":   true, // the log
	"otelbreaker-breaker: Transitions":    true, // the log in columns
	"otelbreaker-breaker: Failed calls":   true, // the log
	"otelbreaker-fleet: Who opened first": true, // the log
}

// TestDashboards_HaveData asks every query of every panel of every dashboard of the real Prometheus and the real Loki:
// of a system where all has been well from the beginning, and after an outage, on both routes by themselves. In the end
// a breaker is open.
func TestDashboards_HaveData(t *testing.T) {
	store := openStore(t, time.Second)
	dashboards, err := panel.Load("../deploy/grafana/dashboards")
	if err != nil {
		t.Fatal(err)
	}
	if len(dashboards) != 4 {
		t.Fatalf("%d dashboards", len(dashboards))
	}

	store.settles(t)
	t.Run("all well", func(t *testing.T) {
		for _, d := range dashboards {
			for _, p := range d.Panels {
				count := store.ask(t, d, p, nil)
				name := d.UID + ": " + p.Title
				switch {
				case p.Type == "row":
				case emptyWhereNothingHappened[name]:
					if !strings.Contains(p.Description, "mpty") {
						t.Errorf("%s is empty on a healthy system, and its description does not say so", name)
					}
				case count.Values == 0:
					t.Errorf("%s is empty", name)
				case count.Numbers == 0 && !p.SaysSoWithoutNumber():
					t.Errorf("%s has no number, and no text in its place", name)
				}
			}
		}
	})

	store.outage(t)

	routes := map[string][]string{
		"both routes":                  nil,
		"scraped":                      {"checkout"},
		"by OTLP through a collector":  {"search"},
		"two programs, chosen by name": {"checkout", "search"},
	}
	for name, jobs := range routes {
		t.Run(name, func(t *testing.T) {
			for _, d := range dashboards {
				for _, p := range d.Panels {
					count := store.ask(t, d, p, map[string][]string{"job": jobs})
					if p.Type != "row" && count.Numbers == 0 {
						t.Errorf("%s: %s has no data: %+v", d.UID, p.Title, count)
					}
				}
				for _, a := range d.Annotations.List {
					if a.BuiltIn != 1 {
						store.askAnnotation(t, a)
					}
				}
			}
		})
	}
	t.Run("one breaker, chosen by name", func(t *testing.T) {
		chosen := map[string][]string{"service": {"payments"}, "endpoint": {payments.endpoint}}
		for _, d := range dashboards {
			for _, p := range d.Panels {
				if count := store.ask(t, d, p, chosen); p.Type != "row" && count.Numbers == 0 {
					t.Errorf("%s: %s has no data: %+v", d.UID, p.Title, count)
				}
			}
		}
	})
	t.Run("the metrics are ours", func(t *testing.T) { store.knowsTheMetrics(t, dashboards) })
	t.Run("the outage shows", func(t *testing.T) { store.showsTheOutage(t, dashboards) })
	t.Run("an exemplar's trace is in Jaeger, and leads to its log lines", func(t *testing.T) { store.exemplarOpensItsTrace(t, dashboards) })
}
