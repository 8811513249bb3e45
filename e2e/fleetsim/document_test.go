package fleetsim

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/otelbreaker/otelbreaker/e2e/internal/stack"
)

// told is what a run of the whole fleet has shown.
type told struct {
	Instances, Endpoints, Series int
	Hurry                        int           // by how much time ran faster
	Open                         int           // instances
	Alerted                      time.Duration // after the outage began
	Exports                      taken
	Queue                        float64 // bytes, when the gateway was killed
	Away                         time.Duration
	Panels, Rules, Groups        []timed
	Head                         float64 // series in Prometheus, with those of the rules
	Missed                       float64 // evaluations
	GiB                          map[string]float64
	Cost                         cost // of the rounds of the outage
}

// save writes what a run has shown into testdata, from where it goes into docs/fleet-telemetry.md.
func save(t *testing.T, name string, shown any) {
	t.Helper()
	content, err := json.MarshalIndent(shown, "", "\t")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll("testdata", 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join("testdata", name), append(content, '\n'), 0o600); err != nil {
		t.Fatal(err)
	}
}

// load reads what save has written.
func load(t *testing.T, name string, shown any) {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(content, shown); err != nil {
		t.Fatal(err)
	}
}

const (
	beginFigures = "<!-- figures: written by make fleet-telemetry, checked by make e2e -->\n"
	endFigures   = "<!-- figures: end -->\n"
)

// TestFleet_FiguresAreInTheDocument: docs/fleet-telemetry.md has the figures of testdata; with -write they are put there.
func TestFleet_FiguresAreInTheDocument(t *testing.T) {
	var (
		story told
		costs []cost
	)
	load(t, "fleet.json", &story)
	load(t, "costs.json", &costs)
	root, err := stack.FindRoot()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(root, "docs", "fleet-telemetry.md")
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(content), beginFigures)
	_, after, ends := strings.Cut(rest, endFigures)
	if !found || !ends {
		t.Fatalf("%s does not have the lines %q and %q", file, beginFigures, endFigures)
	}
	if story.Cost.Endpoints == costs[0].Endpoints { // of the same kind: one more size
		at := 1 + slices.IndexFunc(costs, func(c cost) bool { return c.Route == story.Cost.Route })
		for at < len(costs) && costs[at].Route == story.Cost.Route {
			at++
		}
		costs = slices.Insert(costs, at, story.Cost)
	}
	written := before + beginFigures + "\n" + story.String() + "\n" + tables(costs) + "\n" + endFigures + after
	switch {
	case *write:
		if err := os.WriteFile(file, []byte(written), 0o600); err != nil {
			t.Fatal(err)
		}
	case written != string(content):
		t.Error("docs/fleet-telemetry.md has other figures than testdata; `make fleet-telemetry` writes them")
	}
}

// slowest is how many rules and panels are told of.
const slowest = 6

func (s told) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s instances with %d endpoints each, %d gateways, one Prometheus:\n\n", grouped(s.Instances), s.Endpoints, gateways)
	if s.Hurry > 1 {
		fmt.Fprintf(&b, "Time ran %d times as fast: an export every %v, rules every %v.\n\n", s.Hurry, time.Minute/time.Duration(s.Hurry), 15*time.Second/time.Duration(s.Hurry))
	}
	fmt.Fprintf(&b, "| | |\n|---|---|\n")
	row := func(what, format string, values ...any) {
		fmt.Fprintf(&b, "| %s | %s |\n", what, fmt.Sprintf(format, values...))
	}
	row("series compared at the end, one by one", "%s: none lost, none of two instances, none different", grouped(s.Series))
	row("exports that a gateway had taken", "%s, each with its sample in Prometheus", grouped(s.Exports.Accepted))
	row("gateway killed", "with %.1f MiB in its queue, which all arrived; away for %v", s.Queue/mib, s.Away.Round(time.Second))
	row("exports that failed meanwhile", "%s (%s of them arrived all the same); the next ones had all counts",
		grouped(s.Exports.Failed), grouped(s.Exports.ArrivedAllTheSame))
	row("outage", "one alert, open on %s of %s instances, %v after it began", grouped(s.Open), grouped(s.Instances), (s.Alerted * time.Duration(s.Hurry)).Round(time.Second))
	row("series in Prometheus", "%s, with those that rules record", grouped(int(s.Head)))
	for _, g := range s.Groups {
		row("rules of "+g.Name, "evaluated in %v, due every 15 s", rounded(g.Took))
	}
	row("evaluations left out", "%.0f, the standstill of Prometheus among them, where one was due every %v", s.Missed, 15*time.Second/time.Duration(s.Hurry))
	row("memory at most", "Prometheus %.1f GiB, the gateways %.1f together, the instances %.1f", s.GiB["Prometheus"], s.GiB["gateways"], s.GiB["instances"])
	fmt.Fprintf(&b, "\nThe rules and the panels that took longest:\n\n| rule | took | panel | took |\n|---|---:|---|---:|\n")
	slices.SortFunc(s.Panels, func(a, b timed) int { return int(b.Took - a.Took) })
	for n := range min(slowest, len(s.Rules), len(s.Panels)) {
		fmt.Fprintf(&b, "| `%s` | %v | %s | %v |\n", s.Rules[n].Name, rounded(s.Rules[n].Took), s.Panels[n].Name, rounded(s.Panels[n].Took))
	}
	return b.String()
}

// A gateway of this size, half used, is what the extrapolation counts in.
const (
	gatewayCores = 4
	gatewayGiB   = 8
	used         = 0.5
	extrapolated = 100_000
)

// tables are what was measured of each way, and what it comes to.
func tables(costs []cost) string {
	var b strings.Builder
	fmt.Fprintf(&b, "What the gateways take together, by way and size; each instance has %d endpoints and exports once a minute, with gzip:\n\n", costs[0].Endpoints)
	b.WriteString("| way | instances | CPU, s a minute | resident, MiB | in, MiB a minute | out, MiB a minute |\n|---|---:|---:|---:|---:|---:|\n")
	ways := map[string][]cost{}
	var names []string
	for _, c := range costs {
		if ways[c.Route] == nil {
			names = append(names, c.Route)
		}
		ways[c.Route] = append(ways[c.Route], c)
		fmt.Fprintf(&b, "| %s | %s | %.1f | %.0f | %.1f | %.1f |\n", c.Route, grouped(c.Instances), c.CPU, c.Resident/mib, c.In/mib, c.Out/mib)
	}
	fmt.Fprintf(&b, "\nA straight line through them, and where it leads for %s instances; a gateway is one of %d cores and %d GiB, half used:\n\n",
		grouped(extrapolated), gatewayCores, gatewayGiB)
	b.WriteString("| way | an instance, CPU ms a minute | an instance, MiB | an instance, KiB a minute in, out | cores | GiB | Mbit/s in, out | gateways by CPU | by memory |\n")
	b.WriteString("|---|---:|---:|---:|---:|---:|---:|---:|---:|\n")
	for _, name := range names {
		of := func(value func(cost) float64) float64 { return max(0, fit(ways[name], value).each) }
		cpu, resident := of(func(c cost) float64 { return c.CPU }), of(func(c cost) float64 { return c.Resident })
		in, out := of(func(c cost) float64 { return c.In }), of(func(c cost) float64 { return c.Out })
		cores, memory := cpu*extrapolated/60, resident*extrapolated/gib
		mbit := func(bytes float64) float64 { return bytes * extrapolated * 8 / 60 / 1e6 }
		fmt.Fprintf(&b, "| %s | %.0f | %.2f | %.1f, %.1f | %.0f | %.0f | %.0f, %.0f | %.0f | %.0f |\n", name, cpu*1000, resident/mib, in/1024, out/1024,
			cores, memory, mbit(in), mbit(out), math.Ceil(cores/gatewayCores/used), math.Ceil(memory/gatewayGiB/used))
	}
	return b.String()
}

// grouped writes a number with its thousands apart.
func grouped(n int) string {
	if n < 1000 {
		return strconv.Itoa(n)
	}
	return fmt.Sprintf("%s,%03d", grouped(n/1000), n%1000)
}

func rounded(d time.Duration) time.Duration {
	if d > 10*time.Second {
		return d.Round(time.Second)
	}
	return d.Round(10 * time.Millisecond)
}
