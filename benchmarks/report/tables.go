package main

import (
	"fmt"
	"math"
	"strings"
)

// A column's benchmark for the row r is called prefix + r + suffix.
type column struct{ title, prefix, suffix, unit string }

type table struct {
	title   string
	corner  string
	rows    []string
	columns []column
}

var libraries = []string{
	own, bare, "gobreaker", "failsafe-go", "failsafe-go-executor", "go-resiliency", "go-zero",
	"aegis", "hystrix-go",
}

var tables = []table{
	{
		title: "A call, one after the other", corner: "library", rows: libraries,
		columns: []column{
			{"closed", "Call/Closed/", "", seconds},
			{"rolling window", "Call/Window/", "", seconds},
			{"with failures", "Call/Mixed/", "", seconds},
			{"rejected", "Call/Rejected/", "", seconds},
			{"failing", "Call/Failing/", "", seconds},
			{"allocations (closed)", "Call/Closed/", "", allocs},
			{"(rejected)", "Call/Rejected/", "", allocs},
		},
	},
	{
		title: "A call, from eight goroutines", corner: "library", rows: libraries,
		columns: []column{
			{"closed", "Call8/Closed/", "", seconds},
			{"rolling window", "Call8/Window/", "", seconds},
			{"with failures", "Call8/Mixed/", "", seconds},
			{"rejected", "Call8/Rejected/", "", seconds},
			{"failing", "Call8/Failing/", "", seconds},
		},
	},
	{
		title: "What nothing could beat", corner: "limit",
		rows: []string{"harness", "atomic-add", "mutex", "time-now", "time-since", "two-clock-reads"},
		columns: []column{
			{"one after the other", "Limit/", "", seconds},
			{"from eight goroutines", "Limit8/", "", seconds},
		},
	},
	{
		title: "What a call is made of, and could have been", corner: "part",
		rows: []string{
			"load-word", "load-word-beside-a-counter", "rwmutex", "stripe-by-stack", "stripe-by-random-number",
			"count-admissions-too", "otel-add", "call-by-interface", "defer", "defer-with-recover",
		},
		columns: []column{
			{"one after the other", "Part/", "", seconds},
			{"from eight goroutines", "Part8/", "", seconds},
		},
	},
	{
		title: "Memory of a breaker", corner: "library", rows: libraries,
		columns: []column{
			{"consecutive failures", "Memory/Closed/", "", held},
			{"rolling window", "Memory/Window/", "", held},
			{"in a group", "Memory/Group/", "", held},
		},
	},
	{
		title: "A call where there are many breakers", corner: "the breaker is",
		rows: []string{"at-hand", "looked-up", "random"},
		columns: []column{
			{"1", "Many/", "/n=1", seconds},
			{"100", "Many/", "/n=100", seconds},
			{"10,000", "Many/", "/n=10000", seconds},
		},
	},
	{
		title: "A collection of all metrics", corner: "breakers",
		rows: []string{"n=1", "n=100", "n=1000", "n=10000"},
		columns: []column{
			{"time", "Collection/", "", seconds},
			{"of it the SDK's own", "CollectionSDK/", "", seconds},
			{"allocations", "Collection/", "", allocs},
			{"of them the SDK's own", "CollectionSDK/", "", allocs},
		},
	},
	{
		title: "An outage: opened, tested, closed, and every listener done", corner: "who listens",
		rows: []string{"nothing", "metrics", "records", "spans-nothing", "spans-all"},
		columns: []column{
			{"time of the three transitions", "Outage/", "", seconds},
			{"allocations", "Outage/", "", allocs},
		},
	},
	{
		title: "A call in a recorded span", corner: "in the span is",
		rows: []string{"empty", "success", "rejected"},
		columns: []column{
			{"time, the span's own included", "Span/", "", seconds},
			{"allocations", "Span/", "", allocs},
		},
	},
}

// summary is the README's.
var summary = table{
	corner: "", rows: []string{own, "gobreaker", "failsafe-go", "failsafe-go-executor", "go-resiliency", "go-zero", "hystrix-go"},
	columns: []column{
		{"closed", "Call/Closed/", "", seconds},
		{"from eight goroutines", "Call8/Closed/", "", seconds},
		{"rolling window", "Call/Window/", "", seconds},
		{"rejected", "Call/Rejected/", "", seconds},
		{"allocations", "Call/Closed/", "", allocs},
	},
}

func write(r *results) (string, error) {
	var text strings.Builder
	m := r.machine
	for _, key := range []string{"cpu", "cores", "goos", "goarch", "go", "commit", "rounds"} {
		if m[key] == "" {
			return "", fmt.Errorf("the results do not say their %s", key)
		}
	}
	fmt.Fprintf(&text, "Measured on %s, %s cores, %s/%s, %s, at commit %s, in %s. Medians, and how far their 95 %% confidence "+
		"interval reaches.\n", m["cpu"], m["cores"], m["goos"], m["goarch"], m["go"], m["commit"],
		strings.Replace(m["rounds"], " of ", " rounds of ", 1))
	writeTargets(&text, r)
	for _, t := range tables {
		t.write(&text, r)
	}
	return text.String(), nil
}

func (t table) write(text *strings.Builder, r *results) {
	fmt.Fprintf(text, "\n### %s\n\n%s", t.title, t.lines(r))
}

func (t table) lines(r *results) string {
	var text strings.Builder
	fmt.Fprintf(&text, "| %s |", t.corner)
	for _, c := range t.columns {
		fmt.Fprintf(&text, " %s |", c.title)
	}
	fmt.Fprintf(&text, "\n|---|%s\n", strings.Repeat("---:|", len(t.columns)))
	for _, row := range t.rows {
		line, filled := "| "+strings.ReplaceAll(row, "n=", "")+" |", false
		for _, c := range t.columns {
			v, found := r.values[c.unit][c.prefix+row+c.suffix]
			line += " " + cell(v, found, c.unit) + " |"
			filled = filled || found
		}
		if filled {
			text.WriteString(line + "\n")
		}
	}
	return text.String()
}

func cell(v value, found bool, unit string) string {
	if !found {
		return "–"
	}
	var text string
	switch unit {
	case seconds:
		text = duration(v.median * 1e9)
	case held:
		return bytes(v.median)
	default:
		return fmt.Sprintf("%.0f", v.median)
	}
	if v.spread != "" {
		text += " ± " + v.spread
	}
	return text
}

// duration writes nanoseconds with three significant digits.
func duration(ns float64) string {
	unit := "ns"
	for _, u := range []string{"µs", "ms", "s"} {
		if ns < 1000 {
			break
		}
		ns, unit = ns/1000, u
	}
	digits := max(0, 2-int(math.Floor(math.Log10(max(ns, 1)))))
	return fmt.Sprintf("%.*f %s", digits, ns, unit)
}

func bytes(n float64) string {
	if n < 10_000 {
		return fmt.Sprintf("%.0f B", n)
	}
	return fmt.Sprintf("%.1f KiB", n/1024)
}

// target is one of the project's own: what is measured shall be no more than what is allowed.
type target struct {
	text     string
	measured func(*results) float64
	allowed  func(*results) float64
	print    func(float64) string
}

const (
	own    = "otelbreaker" // with all its telemetry
	bare   = "otelbreaker-bare"
	margin = 1.1 // what still counts as the same, on a machine that others use, too
)

var targets = []target{
	{
		"closed: three bare atomic adds",
		func(r *results) float64 { return r.ns("Call/Closed/"+own) - r.ns("Limit/harness") },
		func(r *results) float64 { return 3 * (r.ns("Limit/atomic-add") - r.ns("Limit/harness")) },
		duration,
	},
	{
		"closed, eight goroutines: no more than one after the other",
		func(r *results) float64 { return r.ns("Call8/Closed/" + own) },
		func(r *results) float64 { return r.ns("Call/Closed/" + own) },
		duration,
	},
	{
		"rolling window with rates and slow calls: two clock reads and 20 ns",
		func(r *results) float64 { return r.ns("Call/Window/" + own) },
		func(r *results) float64 { return r.ns("Limit/two-clock-reads") + 20 },
		duration,
	},
	{
		"rejected, with the full error: 20 ns",
		func(r *results) float64 { return r.ns("Call/Rejected/" + own) },
		func(*results) float64 { return 20 },
		duration,
	},
	telemetryFree("closed", "Call/Closed/"),
	telemetryFree("rolling window", "Call/Window/"),
	telemetryFree("with failures", "Call/Mixed/"),
	telemetryFree("failing", "Call/Failing/"),
	telemetryFree("rejected", "Call/Rejected/"),
	allocationFree("closed", "Call/Closed/"),
	allocationFree("rolling window", "Call/Window/"),
	allocationFree("rejected", "Call/Rejected/"),
	{
		"memory, consecutive failures: 1 KiB",
		func(r *results) float64 { return r.number(held, "Memory/Alone/consecutive") },
		func(*results) float64 { return 1 << 10 },
		bytes,
	},
	{
		"memory, time window: 4 KiB",
		func(r *results) float64 { return r.number(held, "Memory/Alone/window") },
		func(*results) float64 { return 4 << 10 },
		bytes,
	},
	{
		"a call among 10,000 breakers: what it costs where there is one, and a tenth",
		func(r *results) float64 { return r.ns("Many/at-hand/n=10000") },
		func(r *results) float64 { return margin * r.ns("Many/at-hand/n=1") },
		duration,
	},
	collectionOf("1"),
	collectionOf("100"),
	collectionOf("1000"),
}

// telemetryFree holds that all the telemetry adds no more to a call than noise.
func telemetryFree(name, benchmark string) target {
	return target{
		name + ", what all the telemetry adds: 2 ns",
		func(r *results) float64 { return r.ns(benchmark+own) - r.ns(benchmark+bare) },
		func(*results) float64 { return 2 },
		duration,
	}
}

// collectionOf holds that our part of a collection is small beside the SDK's.
func collectionOf(breakers string) target {
	return target{
		"a collection of " + breakers + ": what the SDK takes alone, and a quarter",
		func(r *results) float64 { return r.ns("Collection/n=" + breakers) },
		func(r *results) float64 { return 1.25 * r.ns("CollectionSDK/n="+breakers) },
		duration,
	}
}

func allocationFree(name, benchmark string) target {
	return target{
		name + ": no allocation",
		func(r *results) float64 { return r.number(allocs, benchmark+own) },
		func(*results) float64 { return 0 },
		func(n float64) string { return fmt.Sprintf("%.0f", n) },
	}
}

func writeTargets(text *strings.Builder, r *results) {
	text.WriteString("\n### Targets\n\n| target | measured | at most | met |\n|---|---:|---:|---|\n")
	for _, t := range targets {
		measured, allowed := t.measured(r), t.allowed(r)
		if math.IsNaN(measured) || math.IsNaN(allowed) {
			fmt.Fprintf(text, "| %s | – | – | not measured |\n", t.text)
			continue
		}
		met := "**no**"
		if measured <= allowed {
			met = "yes"
		}
		fmt.Fprintf(text, "| %s | %s | %s | %s |\n", t.text, t.print(measured), t.print(allowed), met)
	}
}
