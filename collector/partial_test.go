package collector_test

import (
	"math"
	"strings"
	"testing"

	"github.com/otelbreaker/otelbreaker/collector"
)

// recordThrice makes three spans, log records and data points, and no others.
func recordThrice(t *testing.T, p *collector.Pipeline) {
	t.Helper()
	for range 3 {
		record(t, p)
	}
	for _, name := range []string{"test.more", "test.most"} {
		counter, err := p.MeterProvider().Meter("test").Int64Counter(name)
		if err != nil {
			t.Fatal(err)
		}
		counter.Add(t.Context(), 1)
	}
}

// ownPoints is how many data points an export has that are the pipeline's own: two counters for three signals.
const ownPoints = 6

// What a receiver takes only in part is lost to the item, and told by Shutdown, by the metric and in the log.
func TestG14_RejectedItemsAreCounted(t *testing.T) {
	for _, protocol := range protocols {
		t.Run(protocol, func(t *testing.T) {
			r := newReceiver(t, protocol)
			r.partial = &partial{rejected: 2, message: "two are too old"}
			useOTLP(t, protocol, r.url)
			var out buffer
			p := start(t, collector.WithoutRuntimeMetrics(), collector.WithLogger(out.logger()))
			recordThrice(t, p)
			err := p.ForceFlush(t.Context())
			for _, signal := range []string{"traces", "metrics", "logs"} {
				want := "collector: " + signal + ": 2 not delivered: "
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("no %q in: %v", want, err)
				}
			}
			if len(r.spanNames()) != 3 || len(r.logBodies()) != 3 {
				t.Errorf("sent again: spans %q, records %q", r.spanNames(), r.logBodies())
			}
			wantLosses(t, p, 2, 2, 2, 1)
			eventually(t, "a line in the log", func() bool { return strings.Contains(out.String(), "two are too old") })
		})
	}
}

// A receiver may take everything and still have something to say. That is no failure.
func TestPartialSuccessWithoutLoss(t *testing.T) {
	for _, protocol := range protocols {
		t.Run(protocol, func(t *testing.T) {
			r := newReceiver(t, protocol)
			r.partial = &partial{message: "this version is old"}
			useOTLP(t, protocol, r.url)
			var out buffer
			p := start(t, collector.WithLogger(out.logger()))
			record(t, p)
			if err := p.ForceFlush(t.Context()); err != nil {
				t.Error(err)
			}
			wantLosses(t, p, 0, 0, 0, 0)
			eventually(t, "a line in the log", func() bool { return strings.Contains(out.String(), "this version is old") })
			if strings.Contains(out.String(), "dropped") {
				t.Errorf("the log tells of a loss: %s", &out)
			}
		})
	}
}

// No receiver can make the count wrong.
func TestG14_NonsenseOfRejectedItems(t *testing.T) {
	for rejected, lost := range map[int64]int{math.MaxInt64: 3, -1: 0} {
		r := newReceiver(t, "http/protobuf")
		r.partial = &partial{rejected: rejected}
		useOTLP(t, "http/protobuf", r.url)
		p := start(t, collector.WithoutRuntimeMetrics())
		recordThrice(t, p)
		if err := p.ForceFlush(t.Context()); (err != nil) != (lost > 0) {
			t.Errorf("%d rejected: error %v", rejected, err)
		}
		points := 0
		if lost > 0 {
			points = lost + ownPoints
		}
		wantLosses(t, p, lost, points, lost, min(lost, 1))
	}
}

// wantLosses compares the pipeline's own metrics about the OTLP exporter.
func wantLosses(t *testing.T, p *collector.Pipeline, spans, points, records, failures int) {
	t.Helper()
	wantSeries(t, p, map[string]int{
		`otelbreaker_export_dropped_total{exporter="otlp",signal="traces"}`:   spans,
		`otelbreaker_export_dropped_total{exporter="otlp",signal="metrics"}`:  points,
		`otelbreaker_export_dropped_total{exporter="otlp",signal="logs"}`:     records,
		`otelbreaker_export_failures_total{exporter="otlp",signal="traces"}`:  failures,
		`otelbreaker_export_failures_total{exporter="otlp",signal="metrics"}`: failures,
		`otelbreaker_export_failures_total{exporter="otlp",signal="logs"}`:    failures,
	})
}

// The pipeline's own series are there from the start, for what is sent and for nothing else.
func TestOwnSeriesFromTheStart(t *testing.T) {
	for name, test := range map[string]struct {
		env  map[string]string
		want []string // exporter and signal
	}{
		"page alone":    {},
		"traces":        {env: map[string]string{"OTEL_TRACES_EXPORTER": "otlp"}, want: []string{"otlp traces"}},
		"metrics twice": {env: map[string]string{"OTEL_METRICS_EXPORTER": "otlp,prometheus"}, want: []string{"otlp metrics"}},
		"everything": {
			env:  map[string]string{"OTEL_TRACES_EXPORTER": "otlp", "OTEL_LOGS_EXPORTER": "otlp", "OTEL_METRICS_EXPORTER": "otlp,prometheus"},
			want: []string{"otlp traces", "otlp metrics", "otlp logs"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			useOTLP(t, "http/protobuf", newReceiver(t, "http/protobuf").url)
			for _, signal := range []string{"TRACES", "LOGS"} {
				t.Setenv("OTEL_"+signal+"_EXPORTER", "none")
			}
			t.Setenv("OTEL_METRICS_EXPORTER", "prometheus")
			for name, value := range test.env {
				t.Setenv(name, value)
			}
			p := start(t)
			want := map[string]int{}
			for _, series := range test.want {
				exporter, signal, _ := strings.Cut(series, " ")
				labels := `{exporter="` + exporter + `",signal="` + signal + `"}`
				want["otelbreaker_export_dropped_total"+labels] = 0
				want["otelbreaker_export_failures_total"+labels] = 0
			}
			wantSeries(t, p, want)
			if n := strings.Count(scrape(t, p, ""), "\notelbreaker_export_"); n != len(want) {
				t.Errorf("%d series, want %d", n, len(want))
			}
		})
	}
}
