package collector_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	metricspb "go.opentelemetry.io/proto/otlp/metrics/v1"

	"github.com/otelbreaker/otelbreaker/collector"
)

// processSeries are those of the runtime and the process, and the OTel names that they come from. The memory limit is
// there where one is set.
var processSeries = map[string]string{
	`go_config_gogc_percent`:                            "go.config.gogc",
	`go_goroutine_count`:                                "go.goroutine.count",
	`go_memory_allocated_bytes_total`:                   "go.memory.allocated",
	`go_memory_allocations_total`:                       "go.memory.allocations",
	`go_memory_gc_goal_bytes`:                           "go.memory.gc.goal",
	`go_memory_used_bytes{go_memory_type="other"}`:      "go.memory.used",
	`go_memory_used_bytes{go_memory_type="stack"}`:      "go.memory.used",
	`go_processor_limit`:                                "go.processor.limit",
	`process_cpu_time_seconds_total{cpu_mode="system"}`: "process.cpu.time",
	`process_cpu_time_seconds_total{cpu_mode="user"}`:   "process.cpu.time",
	`process_memory_usage_bytes`:                        "process.memory.usage",
}

var processSample = regexp.MustCompile(`(?m)^((?:go|process)_[^ ]+) ([^ ]+)$`)

// ofProcess returns the values of the runtime's and the process's series on the page.
func ofProcess(t *testing.T, p *collector.Pipeline) map[string]float64 {
	t.Helper()
	values := map[string]float64{}
	for _, sample := range processSample.FindAllStringSubmatch(scrape(t, p, ""), -1) {
		value, err := strconv.ParseFloat(sample[2], 64)
		if err != nil {
			t.Fatal(err)
		}
		values[sample[1]] = value
	}
	return values
}

func TestRuntimeMetrics(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the figures are compared with those in /proc")
	}
	t.Setenv("HOST_PROC", t.TempDir()) // as for an agent that looks at the host: it must not mislead
	r := newReceiver(t, "http/protobuf")
	useOTLP(t, "http/protobuf", r.url)
	p := start(t)
	got := ofProcess(t, p)
	for series := range processSeries {
		if _, found := got[series]; !found {
			t.Errorf("no %s", series)
		}
	}
	if len(got) != len(processSeries) {
		t.Errorf("%d series, want %d: %v", len(got), len(processSeries), got)
	}

	resident := residentMemory(t)
	if usage := got["process_memory_usage_bytes"]; usage < resident/2 || usage > 2*resident {
		t.Errorf("resident memory %.0f, /proc says %.0f", usage, resident)
	}
	cpu := func(values map[string]float64) float64 {
		return values[`process_cpu_time_seconds_total{cpu_mode="user"}`] + values[`process_cpu_time_seconds_total{cpu_mode="system"}`]
	}
	before := cpu(got)
	eventually(t, "more CPU time", func() bool {
		for begin := time.Now(); time.Since(begin) < 20*time.Millisecond; { // work for some ticks of the clock
		}
		return cpu(ofProcess(t, p)) > before
	})

	if err := p.ForceFlush(t.Context()); err != nil {
		t.Fatal(err)
	}
	sent := r.metricNames()
	for series, name := range processSeries {
		if !slices.Contains(sent, name) {
			t.Errorf("%s was not sent, but %s is on the page", name, series)
		}
	}
	for _, m := range r.allMetrics() {
		if m.Name == "process.cpu.time" && (!m.GetSum().GetIsMonotonic() || m.GetSum().GetAggregationTemporality() != metricspb.AggregationTemporality_AGGREGATION_TEMPORALITY_CUMULATIVE || m.Unit != "s") {
			t.Errorf("sent: %v", m)
		}
		if m.Name == "process.memory.usage" && (m.GetSum().GetIsMonotonic() || m.Unit != "By") {
			t.Errorf("sent: %v", m)
		}
	}
}

// residentMemory returns what Linux says of this process, in bytes.
func residentMemory(t *testing.T) float64 {
	t.Helper()
	statm, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Fatal(err)
	}
	pages, err := strconv.Atoi(strings.Fields(string(statm))[1])
	if err != nil {
		t.Fatal(err)
	}
	return float64(pages * os.Getpagesize())
}

func TestWithoutRuntimeMetrics(t *testing.T) {
	if got := ofProcess(t, start(t, collector.WithoutRuntimeMetrics())); len(got) > 0 {
		t.Errorf("got %v", got)
	}
}

// BenchmarkRuntimeMetrics is the price of the runtime's and the process's metrics in one scrape.
func BenchmarkRuntimeMetrics(b *testing.B) {
	for name, opts := range map[string][]collector.Option{"with": nil, "without": {collector.WithoutRuntimeMetrics()}} {
		b.Run(name, func(b *testing.B) {
			p, err := collector.Start(b.Context(), append(opts, collector.WithoutGlobals())...)
			if err != nil {
				b.Fatal(err)
			}
			defer func() { _ = p.Shutdown(context.Background()) }()
			request := httptest.NewRequestWithContext(b.Context(), http.MethodGet, "/metrics", nil)
			for b.Loop() {
				p.MetricsHandler().ServeHTTP(httptest.NewRecorder(), request)
			}
		})
	}
}
