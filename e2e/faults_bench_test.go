package e2e

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/otelbreaker/otelbreaker/e2e/internal/load"
)

// BenchmarkCalls measures the calls of a program at thousands a second: with telemetry off, with it sent to a collector,
// and with each kind of trouble with that. The upstream is healthy, so that all calls are sent. One round after the
// other, so that what disturbs the machine disturbs all alike; p99-ratio is that of calls with telemetry to calls without
// that take turns with them in the same process:
//
//	for round in {1..10}; do
//		go test -C e2e -run '^$' -bench Calls -benchtime 20000x .
//	done | tee faults.txt
//	.bin/benchstat -filter '.unit:(p50-ns OR p99-ns OR p99-ratio)' faults.txt
func BenchmarkCalls(b *testing.B) {
	binary := buildLoad(b)
	b.Run("off", func(b *testing.B) {
		measure(b, startLoad(b, binary, "OTEL_SDK_DISABLED=true"), func() {})
	})
	for _, protocol := range []string{"grpc", "http/protobuf"} {
		short, _, _ := strings.Cut(protocol, "/")
		b.Run("on/"+short, func(b *testing.B) {
			_, c := startBackend(b)
			measure(b, startLoad(b, binary, exportTo(addressOf(c, protocol), protocol)...), func() {})
		})
		for _, name := range slices.Sorted(maps.Keys(troubles)) {
			b.Run(name+"/"+short, func(b *testing.B) {
				_, c := startBackend(b)
				trouble := troubles[name](b, c, protocol)
				p := startLoad(b, binary, exportTo(trouble.endpoint(), protocol)...)
				measure(b, p, func() { trouble.begin(b) })
			})
		}
	}
}

// measure measures b.N calls, after some that warm everything up, and some more in which the trouble takes hold.
func measure(b *testing.B, p *program, begin func()) {
	b.Helper()
	p.ask("Go")
	ask[load.Stretch](p, "Run", 2000)
	begin()
	ask[load.Stretch](p, "Run", 2000)
	b.Run("calls", func(b *testing.B) { // the first run of a benchmark that has others in it is its last
		s := ask[load.Stretch](p, "Run", b.N)
		b.ReportMetric(0, "ns/op")
		for unit, d := range map[string]time.Duration{"p50-ns": s.On.P50, "p99-ns": s.On.P99, "max-ns": s.On.Max} {
			b.ReportMetric(float64(d), unit)
		}
		b.ReportMetric(float64(s.On.P99)/float64(s.Off.P99), "p99-ratio")
		b.ReportMetric(s.PerSecond(), "calls/s")
		b.ReportMetric(float64(s.Heap)/(1<<20), "heap-MiB")
	})
	p.ask("Halt")
}
