package otelcb_test

import (
	"bytes"
	"context"
	"flag"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/prometheus/otlptranslator"
	otelprometheus "go.opentelemetry.io/otel/exporters/prometheus"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"

	"github.com/otelbreaker/otelbreaker/breaker"
)

var update = flag.Bool("update", false, "write the golden file anew")

// newExporter gives the exporter, set up as the contract asks for, and the registry of which a scrape is made.
func newExporter(t *testing.T) (sdkmetric.Reader, *prometheus.Registry) {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	exporter, err := otelprometheus.New(
		otelprometheus.WithRegisterer(registry),
		otelprometheus.WithTranslationStrategy(otlptranslator.UnderscoreEscapingWithSuffixes),
		otelprometheus.WithoutScopeInfo(),
		otelprometheus.WithoutTargetInfo(),
	)
	if err != nil {
		t.Fatal(err)
	}
	return exporter, registry
}

// newPrometheus gives what scrapes the exporter.
func newPrometheus(t *testing.T) (*sdkmetric.MeterProvider, func() string) {
	t.Helper()
	exporter, registry := newExporter(t)
	return sdkmetric.NewMeterProvider(sdkmetric.WithReader(exporter)), func() string {
		families, err := registry.Gather()
		if err != nil {
			t.Error(err)
		}
		var text bytes.Buffer
		for _, f := range families {
			if _, err := expfmt.MetricFamilyToText(&text, f); err != nil {
				t.Error(err)
			}
		}
		return text.String()
	}
}

// What Prometheus scrapes, to the byte: rules and dashboards are written against it.
func TestPrometheusText(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		provider, scrape := newPrometheus(t)
		c := config()
		c.SlowCallDuration = time.Second
		b := newBreaker(t, c)
		g := newGroup(t, breaker.Config{})
		observe(t, b, provider)
		observe(t, g, provider)
		call(b, 3, succeed)
		call(b, 1, func(context.Context) error { time.Sleep(1500 * time.Millisecond); return nil })
		outage(b, c)
		call(b, 2, fail)
		call(b, 4, succeed) // blocked
		time.Sleep(2500 * time.Millisecond)
		call(g.Get("http://idle.example:80"), 1, succeed)
		flush(t, b)
		got := scrape()

		const golden = "testdata/metrics.prom"
		if *update {
			if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			t.Errorf("the text is not that of %s:\n%s", golden, got)
		}
	})
}

var hostile = []string{
	"\xff\xfe", "a\x00b", "line\nevil_metric 1\n", `"} 1`, `\`, `{a="b"}`, "<script>alert(1)</script>", "\x1b[31mred",
	"\u202egnp.exe", "#", "'; DROP TABLE x;--", strings.Repeat("x", 1<<16), "\xed\xa0\x80",
}

// Whatever a breaker is called, it is one well-formed series, and harms no other.
func TestG16_HostileNamesAreInertInMetrics(t *testing.T) {
	provider, scrape := newPrometheus(t)
	g := newGroup(t, breaker.Config{Service: service})
	observe(t, g, provider)
	want := map[string]bool{}
	for _, name := range hostile {
		call(g.Get(name), 1, succeed)
		want[strings.ToValidUTF8(g.Get(name).Snapshot().Endpoint, "\uFFFD")] = true
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(scrape()))
	if err != nil {
		t.Fatal(err)
	}
	if families["evil_metric"] != nil {
		t.Error("a name made a metric of its own")
	}
	got := map[string]bool{}
	for _, m := range families["circuit_breaker_state"].GetMetric() {
		if len(m.GetLabel()) != 2 {
			t.Errorf("labels are %v", m.GetLabel())
		}
		for _, l := range m.GetLabel() {
			if l.GetName() == "endpoint" {
				got[l.GetValue()] = true
			}
		}
	}
	for name := range want {
		if !got[name] {
			t.Errorf("%.40q has no series", name)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d series, want %d", len(got), len(want))
	}
}
