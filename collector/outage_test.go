package collector_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/metric"

	"github.com/otelbreaker/otelbreaker/collector"
)

var protocols = []string{"http/protobuf", "grpc"}

// outages are the ways in which a receiver is not there.
var outages = map[string]func(*testing.T) string{"down": downURL, "black hole": blackHoleURL}

// slack is what a busy machine may add to a deadline.
const slack = time.Second

// useOTLP sends all signals to a receiver, and nothing before a flush.
func useOTLP(t *testing.T, protocol, url string) {
	t.Helper()
	for name, value := range map[string]string{
		"OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
		"OTEL_EXPORTER_OTLP_ENDPOINT": url,
		"OTEL_METRICS_EXPORTER":       "otlp,prometheus",
		"OTEL_METRIC_EXPORT_INTERVAL": "600000",
		"OTEL_BSP_SCHEDULE_DELAY":     "600000",
		"OTEL_BLRP_SCHEDULE_DELAY":    "600000",
		"OTEL_EXPORTER_OTLP_TIMEOUT":  "600000",
	} {
		t.Setenv(name, value)
	}
}

func TestG14_StartAndShutdownWithoutReceiver(t *testing.T) {
	const deadline = 500 * time.Millisecond
	for outage, url := range outages {
		for _, protocol := range protocols {
			t.Run(outage+" "+protocol, func(t *testing.T) {
				useOTLP(t, protocol, url(t))
				begin := time.Now()
				p := start(t)
				if d := time.Since(begin); d > slack {
					t.Errorf("Start took %v", d)
				}
				record(t, p)

				ctx, cancel := context.WithTimeout(t.Context(), deadline)
				defer cancel()
				begin = time.Now()
				err := p.Shutdown(ctx)
				if d := time.Since(begin); d > deadline+slack {
					t.Errorf("Shutdown took %v", d)
				}
				if err == nil {
					t.Fatal("Shutdown: no error")
				}
				for _, want := range []string{"collector: traces: 1 not delivered: ", "collector: logs: 1 not delivered: "} {
					if !strings.Contains(err.Error(), want) {
						t.Errorf("no %q in: %v", want, err)
					}
				}
				if !regexp.MustCompile(`collector: metrics: [1-9]\d* not delivered: `).MatchString(err.Error()) {
					t.Errorf("no count of data points in: %v", err)
				}
				if outage == "black hole" && !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("not for want of time: %v", err)
				}
			})
		}
	}
}

// With a receiver that hangs the queues fill up. What they cannot hold is dropped and counted, to the item, and nobody waits:
// exports have ten minutes here, so that one call waiting for them would never end.
func TestG14_LossIsCounted(t *testing.T) {
	const queue, recorded = 100, 5000
	for _, protocol := range protocols {
		t.Run(protocol, func(t *testing.T) {
			useOTLP(t, protocol, blackHoleURL(t))
			t.Setenv("OTEL_BSP_MAX_QUEUE_SIZE", fmt.Sprint(queue))
			t.Setenv("OTEL_BLRP_MAX_QUEUE_SIZE", fmt.Sprint(queue))
			t.Setenv("OTEL_BSP_EXPORT_TIMEOUT", "600000")
			t.Setenv("OTEL_BLRP_EXPORT_TIMEOUT", "600000")
			p := start(t)
			for range recorded {
				_, span := p.TracerProvider().Tracer("test").Start(t.Context(), "span")
				span.End()
				emit(t.Context(), p.LoggerProvider(), "body")
			}
			wantSeries(t, p, map[string]int{
				`otelbreaker_export_dropped_total{exporter="otlp",signal="traces"}`:   recorded - queue,
				`otelbreaker_export_dropped_total{exporter="otlp",signal="logs"}`:     recorded - queue,
				`otelbreaker_export_failures_total{exporter="otlp",signal="traces"}`:  0,
				`otelbreaker_export_failures_total{exporter="otlp",signal="logs"}`:    0,
				`otelbreaker_export_failures_total{exporter="otlp",signal="metrics"}`: 0,
			})
			ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
			defer cancel()
			err := p.Shutdown(ctx)
			for _, want := range []string{"traces: 100 not delivered: ", "logs: 100 not delivered: "} {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("no %q in: %v", want, err)
				}
			}
		})
	}
}

// A receiver that is slow gets everything in the time that there is, and holds nobody up that records.
func TestG14_SlowReceiver(t *testing.T) {
	const delay = 50 * time.Millisecond
	for name, test := range map[string]struct {
		deadline time.Duration
		lost     bool
	}{
		"in time":  {deadline: time.Minute},
		"too late": {deadline: delay / 2, lost: true},
	} {
		t.Run(name, func(t *testing.T) {
			r := newReceiver(t, "http/protobuf")
			slow := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
				select {
				case <-time.After(delay):
					r.serveHTTP(w, req)
				case <-req.Context().Done():
				}
			}))
			defer slow.Close()
			useOTLP(t, "http/protobuf", slow.URL)
			p := start(t)
			for range 3 {
				record(t, p)
			}
			ctx, cancel := context.WithTimeout(t.Context(), test.deadline)
			defer cancel()
			begin := time.Now()
			err := p.Shutdown(ctx)
			if d := time.Since(begin); d > test.deadline+slack {
				t.Errorf("Shutdown took %v", d)
			}
			if !test.lost {
				if err != nil || len(r.spanNames()) != 3 || len(r.logBodies()) != 3 || len(r.metricNames()) == 0 {
					t.Errorf("error %v; spans %q, records %q, metrics %q", err, r.spanNames(), r.logBodies(), r.metricNames())
				}
				return
			}
			for _, want := range []string{"traces: 3 not delivered: ", "logs: 3 not delivered: ", "metrics: "} {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("no %q in: %v", want, err)
				}
			}
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("not for want of time: %v", err)
			}
		})
	}
}

// A flush that is not waited for goes on: its deadline bounds the wait, and throws nothing away.
func TestG14_FlushGivenUpLosesNothing(t *testing.T) {
	release := make(chan struct{})
	r := newReceiver(t, "http/protobuf")
	slow := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		<-release
		r.serveHTTP(w, req)
	}))
	defer slow.Close()
	useOTLP(t, "http/protobuf", slow.URL)
	t.Setenv("OTEL_BLRP_MAX_EXPORT_BATCH_SIZE", "10") // more exports than one, which the SDK cuts short by itself
	p := start(t)
	for range 25 {
		record(t, p)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := p.ForceFlush(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error: %v", err)
	}
	if err := p.ForceFlush(ctx); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "still under way") {
		t.Errorf("a second flush: %v", err)
	}
	close(release)
	if err := p.ForceFlush(t.Context()); err != nil {
		t.Error(err)
	}
	if spans, records := len(r.spanNames()), len(r.logBodies()); spans != 25 || records != 25 {
		t.Errorf("%d spans and %d records arrived, want 25", spans, records)
	}
	wantSeries(t, p, map[string]int{
		`otelbreaker_export_dropped_total{exporter="otlp",signal="traces"}`: 0,
		`otelbreaker_export_dropped_total{exporter="otlp",signal="logs"}`:   0,
	})
}

// Failures are counted, and recording goes on when the receiver is back.
func TestG14_ReceiverComesBack(t *testing.T) {
	r := newReceiver(t, "http/protobuf")
	refuse := true
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if refuse {
			http.Error(w, "no", http.StatusForbidden)
			return
		}
		r.serveHTTP(w, req)
	}))
	defer server.Close()
	useOTLP(t, "http/protobuf", server.URL)
	t.Setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20hunter2")
	p := start(t)
	record(t, p)
	err := p.ForceFlush(t.Context())
	for _, want := range []string{"traces: 1 not delivered: ", "logs: 1 not delivered: ", "metrics: ", "403"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in: %v", want, err)
		}
	}
	if strings.Contains(err.Error(), "hunter2") {
		t.Errorf("a credential in: %v", err)
	}
	refuse = false
	record(t, p)
	if err := p.ForceFlush(t.Context()); err != nil {
		t.Error(err)
	}
	if len(r.spanNames()) != 1 || len(r.logBodies()) != 1 {
		t.Errorf("spans %q, log records %q", r.spanNames(), r.logBodies())
	}
	wantSeries(t, p, map[string]int{
		`otelbreaker_export_dropped_total{exporter="otlp",signal="traces"}`:   1,
		`otelbreaker_export_dropped_total{exporter="otlp",signal="logs"}`:     1,
		`otelbreaker_export_failures_total{exporter="otlp",signal="traces"}`:  1,
		`otelbreaker_export_failures_total{exporter="otlp",signal="logs"}`:    1,
		`otelbreaker_export_failures_total{exporter="otlp",signal="metrics"}`: 1,
	})
	if err := p.Shutdown(t.Context()); err != nil {
		t.Errorf("Shutdown tells of a loss of long ago: %v", err)
	}
}

func wantSeries(t *testing.T, p *collector.Pipeline, want map[string]int) {
	t.Helper()
	page := scrape(t, p, "")
	for series, value := range want {
		if !strings.Contains(page, fmt.Sprintf("\n%s %d\n", series, value)) {
			got := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(series) + `.*$`).FindString(page)
			t.Errorf("got %q, want %s %d", got, series, value)
		}
	}
}

func TestG19_NoGoroutineIsLeft(t *testing.T) {
	for _, protocol := range protocols {
		for name, url := range map[string]func(*testing.T) string{
			"up":         func(t *testing.T) string { t.Helper(); return newReceiver(t, protocol).url },
			"down":       downURL,
			"black hole": blackHoleURL,
		} {
			t.Run(name+" "+protocol, func(t *testing.T) {
				useOTLP(t, protocol, url(t))
				before := goroutines()
				p := start(t)
				for range 2000 { // some batches
					record(t, p)
				}
				flush, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
				defer cancel()
				_ = p.ForceFlush(flush) // under way at Shutdown, where nobody answers
				patience := 500 * time.Millisecond
				if name == "up" {
					patience = time.Minute
				}
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				if err := p.Shutdown(ctx); (err == nil) != (name == "up") {
					t.Errorf("Shutdown: %v", err)
				}
				var left []string
				eventually(t, "the goroutines from before", func() bool {
					left = goroutines()
					return len(left) <= len(before)
				})
				if t.Failed() {
					t.Log(strings.Join(left, "\n\n"))
				}
			})
		}
	}
}

func goroutines() []string {
	stacks := make([]byte, 1<<20)
	return strings.Split(string(stacks[:runtime.Stack(stacks, true)]), "\n\n")
}

// A console that cannot be written to, or a callback that never returns, cannot be ended. Shutdown ends all the same.
func TestG14_ShutdownWithStuckCallback(t *testing.T) {
	r := newReceiver(t, "http/protobuf")
	useOTLP(t, "http/protobuf", r.url)
	p := start(t)
	record(t, p)
	release := make(chan struct{})
	defer close(release)
	if _, err := p.MeterProvider().Meter("test").Int64ObservableGauge("stuck", metric.WithInt64Callback(
		func(context.Context, metric.Int64Observer) error { <-release; return nil })); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	begin := time.Now()
	err := p.Shutdown(ctx)
	if d := time.Since(begin); d > 300*time.Millisecond+slack {
		t.Errorf("took %v", d)
	}
	if err == nil || err.Error() != "collector: metrics: context deadline exceeded" {
		t.Errorf("error: %v", err)
	}
	if len(r.spanNames()) != 1 || len(r.logBodies()) != 1 {
		t.Error("the other signals have been kept from flushing")
	}
}

// The console is looked at from outside: the exporters take hold of it when the program starts.
func TestConsole(t *testing.T) {
	const inside = "OTELBREAKER_TEST_CONSOLE"
	var opts []collector.Option
	switch os.Getenv(inside) {
	case "":
		for _, by := range []string{"variable", "option"} {
			command := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestConsole$")
			command.Env = append(os.Environ(), inside+"="+by)
			out, err := command.Output()
			if err != nil {
				t.Error(err)
			}
			for _, want := range []string{`"Name":"span"`, `"Value":"body"`, `"Name":"test.calls"`} {
				if !strings.Contains(string(out), want) {
					t.Errorf("by %s: no %s in %s", by, want, out)
				}
			}
		}
		return
	case "variable":
		for _, signal := range []string{"TRACES", "METRICS", "LOGS"} {
			t.Setenv("OTEL_"+signal+"_EXPORTER", "console")
		}
	case "option":
		opts = append(opts, collector.WithConsole())
	}
	p := start(t, opts...)
	record(t, p)
	if err := p.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}
