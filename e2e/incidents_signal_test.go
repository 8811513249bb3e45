package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/otelbreaker/otelbreaker/e2e/internal/incident"
	"github.com/otelbreaker/otelbreaker/e2e/internal/matrix"
	"github.com/otelbreaker/otelbreaker/e2e/internal/stack"
)

// Parts of docs/signal.md that are written by `make signal`.
const (
	beginMatrix = "<!-- matrix: written by make signal, checked by make e2e -->\n"
	endMatrix   = "<!-- matrix: end -->\n"
	beginDelays = "<!-- delays: written by make signal -->\n"
	endDelays   = "<!-- delays: end -->\n"
)

// delays are how long after its beginning an incident was first told of by an alert, by alert.
func (th *theatre) delays(t *testing.T, accounts map[string]incident.Account) map[string][]time.Duration {
	t.Helper()
	delays := make(map[string][]time.Duration)
	seen := make(map[string]bool)
	for _, n := range th.notifications(t) {
		key := strings.Join([]string{n.route, n.incident, n.alert}, " ")
		if n.resolved || seen[key] {
			continue
		}
		seen[key] = true
		if onset, found := accounts[n.route].Onsets[n.incident]; found {
			delays[n.alert] = append(delays[n.alert], n.At.Sub(onset))
		}
	}
	return delays
}

// trips are the incidents in which a breaker tripped and somebody has to be told of it: the first page of them is the
// delay that people ask about.
var trips = map[string]string{
	incident.CleanOutage: open, incident.StuckOpen: open, incident.NotRecovering: open, incident.SlowRecovery: open,
	incident.FleetOutage: fleetOpen, incident.BrokenReplica: open, incident.ForgottenOpen: open,
}

// firstPages are the delays from a trip to the first page of it.
func (th *theatre) firstPages(t *testing.T, accounts map[string]incident.Account) (delays []time.Duration) {
	t.Helper()
	for _, route := range routes {
		for name, onset := range accounts[route].Onsets {
			if trips[name] == "" {
				continue
			}
			for _, n := range th.notifications(t) {
				if n.route == route && n.incident == name && !n.resolved {
					delays = append(delays, n.At.Sub(onset))
					break
				}
			}
		}
	}
	slices.Sort(delays)
	return delays
}

// document prints the matrix and the delays, and writes them into docs/signal.md or compares the matrix with it.
func (th *theatre) document(t *testing.T, alerts []string, accounts map[string]incident.Account) {
	table := matrix.Table(expected, order, alerts, alertPrefix) // the run has shown that it came so
	first := th.firstPages(t, accounts)
	if len(first) == 0 {
		t.Fatal("nobody was told of any trip")
	}
	var delays strings.Builder
	fmt.Fprintf(&delays, "From the trip of a breaker to the first notification of it, over %d outages: median **%s**, worst **%s** "+
		"(measured %s and %s in time that ran %.0f times as fast).\n\n",
		len(first), unscaled(first[len(first)/2]), unscaled(first[len(first)-1]),
		short(first[len(first)/2]), short(first[len(first)-1]), 1/by)
	delays.WriteString("| alert | notifications | median | worst |\n|---|---|---|---|\n")
	byAlert := th.delays(t, accounts)
	for _, alert := range alerts {
		d := byAlert[alert]
		if len(d) == 0 {
			continue
		}
		slices.Sort(d)
		fmt.Fprintf(&delays, "| %s | %d | %s | %s |\n", strings.TrimPrefix(alert, alertPrefix), len(d),
			unscaled(d[len(d)/2]), unscaled(d[len(d)-1]))
	}
	t.Logf("\n%s\n%s", table, delays.String())

	root, err := stack.FindRoot()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(root, "docs", "signal.md")
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	written, err := replacePart(string(content), beginMatrix, endMatrix, "\n"+table+"\n")
	if err != nil {
		t.Fatal(err)
	}
	if !*writeSignal {
		if written != string(content) {
			t.Error("docs/signal.md has another matrix; `make signal` writes it")
		}
		return
	}
	if written, err = replacePart(written, beginDelays, endDelays, "\n"+delays.String()+"\n"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(written), 0o600); err != nil {
		t.Fatal(err)
	}
}

// unscaled is how long it would have taken in real time.
func unscaled(d time.Duration) string { return short(time.Duration(float64(d) / by)) }

func short(d time.Duration) string {
	if d < 10*time.Second {
		return d.Round(100 * time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}

// replacePart replaces what stands between two markers.
func replacePart(text, begin, end, part string) (string, error) {
	before, rest, found := strings.Cut(text, begin)
	if !found {
		return "", fmt.Errorf("docs/signal.md has no %q", begin)
	}
	_, after, found := strings.Cut(rest, end)
	if !found {
		return "", fmt.Errorf("docs/signal.md has no %q after %q", end, begin)
	}
	return before + begin + part + end + after, nil
}
