package e2e

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"testing"
	"time"

	"github.com/otelbreaker/otelbreaker/e2e/internal/child"
	"github.com/otelbreaker/otelbreaker/e2e/internal/incident"
	"github.com/otelbreaker/otelbreaker/e2e/internal/receiver"
	"github.com/otelbreaker/otelbreaker/e2e/internal/stack"
	"github.com/otelbreaker/otelbreaker/e2e/internal/timescale"
)

// by is the scale of time: 15 minutes are 22.5 seconds, a scrape every 15 seconds is one every 375 ms. At this one the
// histogram of recoveries has its buckets where the scaled rules need them: 300.5 s become 7.5.
const by = 1.0 / 40

// recoveryBounds are those of circuit_breaker_recovery_duration_seconds.
var recoveryBounds = []float64{0.1, 0.25, 0.5, 1.5, 2.5, 7.5, 15.5, 30.5, 60.5, 120.5, 300.5, 600.5, 1800.5}

// minutes are of the story.
func minutes(n float64) time.Duration { return time.Duration(n * by * float64(time.Minute)) }

// routes are the ways of metrics into Prometheus; a process of each plays every incident.
var routes = []string{"scraped", "otlp"}

// processes there are by each route, of those that are there at the same time.
const processes = 6

// shop is the service whose processes have the incidents; all but one, which is to be missed, and is a program of its own:
// of the others something is always heard.
func shop(route string) string { return "shop-" + route }

func lone(route string) string { return shop(route) + "-lone" }

// job is the service of a process.
func job(route string, which int) string {
	if which == processes-1 {
		return lone(route)
	}
	return shop(route)
}

// theatre is where the incidents are played: the stack, and what came of them.
type theatre struct {
	*stack.All
	scale  *timescale.Scale
	slack  *receiver.Receiver
	binary string
	pages  map[string][]string // addresses, by route
	began  time.Time
}

func openTheatre(t *testing.T) *theatre {
	t.Helper()
	files := deployed(t)
	scale, err := timescale.New(by, recoveryBounds, files)
	if err != nil {
		t.Fatal(err)
	}
	slack, err := receiver.Start(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = slack.Close() })
	th := &theatre{scale: scale, slack: slack, pages: make(map[string][]string), binary: child.Build(t, "./internal/incident/program")}
	addresses := stack.FreeAddresses(t, processes*len(routes))
	var targets []stack.Target
	for i, route := range routes {
		th.pages[route] = addresses[processes*i : processes*(i+1)]
		if route == "scraped" {
			for which, address := range th.pages[route] {
				targets = append(targets, stack.Target{Address: address, Job: job(route, which)})
			}
		}
	}
	th.All = stack.UpForTest(t, stack.Wiring{
		Webhook: slack.URL, Services: targets,
		// What is five minutes and one by default.
		Env: []string{"COLLECTOR_METRIC_EXPIRATION=" + minutes(5).String()},
		Flags: []string{
			"--query.lookback-delta=" + inMilliseconds(minutes(5)),
			"--rules.alert.resend-delay=" + inMilliseconds(minutes(1)),
		},
	}, scale.Rewrite)
	return th
}

func inMilliseconds(d time.Duration) string { return fmt.Sprintf("%dms", d.Milliseconds()) }

// deployed are the files of Prometheus and Alertmanager in deploy/.
func deployed(t *testing.T) map[string][]byte {
	t.Helper()
	root, err := stack.FindRoot()
	if err != nil {
		t.Fatal(err)
	}
	files := make(map[string][]byte)
	for _, folder := range []string{"prometheus", "alertmanager"} {
		dir := os.DirFS(filepath.Join(root, "deploy", folder))
		err := fs.WalkDir(dir, ".", func(name string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() {
				return err
			}
			files[path.Join(folder, name)], err = fs.ReadFile(dir, name)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return files
}

// actor is a process of package incident.
type actor struct{ *child.Process }

// enter starts a process that plays scripts. which tells its page of metrics.
func (th *theatre) enter(t *testing.T, route string, which int, plan incident.Plan) actor {
	t.Helper()
	plan.By, plan.Route, plan.Listen = by, route, th.pages[route][which]
	argument, err := json.Marshal(plan)
	if err != nil {
		t.Fatal(err)
	}
	exporters := "prometheus"
	if route == "otlp" {
		exporters = "otlp"
	}
	return actor{child.Launch(t, th.binary, []string{
		"OTEL_SERVICE_NAME=" + job(route, which),
		"OTEL_EXPORTER_OTLP_ENDPOINT=" + th.Collector.HTTP,
		"OTEL_METRICS_EXPORTER=" + exporters,
		fmt.Sprintf("OTEL_METRIC_EXPORT_INTERVAL=%d", minutes(1).Milliseconds()), // of the default
	}, string(argument))}
}

// account is what has happened in the process.
func (a actor) account() (account incident.Account, err error) {
	err = a.Call("Service.Account", struct{}{}, &account)
	return account, err
}
