package e2e

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	otelprom "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/metric"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"

	"github.com/otelbreaker/otelbreaker/e2e/internal/exposition"
	"github.com/otelbreaker/otelbreaker/e2e/internal/stack"
)

// formats are the two that Prometheus asks for, by the Accept header it does so with. Exemplars
// travel in the second only.
var formats = map[string]string{
	"text":        "text/plain;version=0.0.4",
	"openmetrics": "application/openmetrics-text;version=1.0.0;escaping=underscores",
}

// settle bounds the wait for what is on its way to the collector.
const settle = 15 * time.Second

// ownPage fetches a process's own page and selects the metrics named by prefix, without the labels
// that may differ between the routes.
func ownPage(t *testing.T, own http.Handler, accept, prefix string) exposition.Page {
	t.Helper()
	req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil)
	req.Header.Set("Accept", accept)
	rec := httptest.NewRecorder()
	own.ServeHTTP(rec, req)
	if rec.Code != http.StatusOK {
		t.Fatalf("the process's own /metrics answered %d: %s", rec.Code, rec.Body)
	}
	return selected(t, rec.Body.Bytes(), prefix)
}

// collectorPage does the same with the page of the collector that the process exports to.
func collectorPage(t *testing.T, c *stack.Collector, accept, prefix string) exposition.Page {
	t.Helper()
	page, err := c.Page(t.Context(), accept)
	if err != nil {
		t.Fatal(err)
	}
	return selected(t, page, prefix)
}

func selected(t *testing.T, page []byte, prefix string) exposition.Page {
	t.Helper()
	lines, err := exposition.Select(page, prefix, "job", "instance")
	if err != nil {
		t.Fatal(err)
	}
	return lines
}

// TestRoutes_PlainSDK tells a fault of the routes from one of the breakers' metrics: the SDK alone,
// with one instrument of every kind that the breakers use, comes out the same on both.
func TestRoutes_PlainSDK(t *testing.T) {
	c := stack.Start(t)
	registry := prometheus.NewRegistry()
	pull, err := otelprom.New(otelprom.WithRegisterer(registry), otelprom.WithoutScopeInfo())
	if err != nil {
		t.Fatal(err)
	}
	push, err := otlpmetrichttp.New(t.Context(), otlpmetrichttp.WithEndpointURL(c.HTTP+"/v1/metrics"))
	if err != nil {
		t.Fatal(err)
	}
	provider := sdkmetric.NewMeterProvider(
		sdkmetric.WithReader(pull), sdkmetric.WithReader(sdkmetric.NewPeriodicReader(push)))
	t.Cleanup(func() {
		if err := provider.Shutdown(context.Background()); err != nil {
			t.Errorf("shutting the SDK down: %v", err)
		}
	})
	record(t, provider.Meter("plain"))
	if err := provider.ForceFlush(t.Context()); err != nil {
		t.Fatal(err)
	}

	own := promhttp.HandlerFor(registry, promhttp.HandlerOpts{EnableOpenMetrics: true})
	for name, accept := range formats {
		t.Run(name, func(t *testing.T) {
			waitEqual(t, own, c, accept, "plain_", "")
		})
	}
}

func record(t *testing.T, meter metric.Meter) {
	t.Helper()
	set := metric.WithAttributes(attribute.String("service", "s"), attribute.String("endpoint", "http://a:1"))
	_, err := meter.Int64ObservableGauge("plain.state", metric.WithDescription("Now."),
		metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
			o.Observe(2, set)
			return nil
		}))
	if err != nil {
		t.Fatal(err)
	}
	_, err = meter.Int64ObservableCounter("plain.requests", metric.WithUnit("{request}"),
		metric.WithDescription("Calls."),
		metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
			o.Observe(7, set, metric.WithAttributes(attribute.String("outcome", "success")))
			o.Observe(0, set, metric.WithAttributes(attribute.String("outcome", "failure")))
			return nil
		}))
	if err != nil {
		t.Fatal(err)
	}
	_, err = meter.Float64ObservableCounter("plain.open", metric.WithUnit("s"), metric.WithDescription("Seconds."),
		metric.WithFloat64Callback(func(_ context.Context, o metric.Float64Observer) error {
			o.Observe(1.0/3, set)
			return nil
		}))
	if err != nil {
		t.Fatal(err)
	}
	histogram, err := meter.Float64Histogram("plain.recovery.duration", metric.WithUnit("s"),
		metric.WithDescription("How long."), metric.WithExplicitBucketBoundaries(0.1, 0.5, 1.5, 30.5))
	if err != nil {
		t.Fatal(err)
	}
	for _, seconds := range []float64{0.05, 0.7, 1e9 / 7} {
		histogram.Record(t.Context(), seconds, set)
	}
}

// readings is how often two pages must be equal in a row: an order that is left to chance would come
// out right now and then.
const readings = 5

// waitEqual waits until the collector's page is equal to the process's own, makes sure that it stays
// so, returns it, and fails with the difference that is left. Equal are also the times of an
// exemplar that are less than a second apart, and values of the counter named growing that lie
// between the process's before and after.
func waitEqual(t *testing.T, own http.Handler, c *stack.Collector, accept, prefix, growing string) exposition.Page {
	t.Helper()
	poll := time.NewTicker(50 * time.Millisecond)
	defer poll.Stop()
	timeout := time.After(settle)
	before := ownPage(t, own, accept, prefix)
	if before == "" {
		t.Fatalf("no metric named %s… on the process's own page", prefix)
	}
	for equal := 0; ; {
		page := collectorPage(t, c, accept, prefix)
		after := ownPage(t, own, accept, prefix)
		near := exposition.SameMoment(exposition.Between(before, page, after, growing), after, time.Second)
		difference := exposition.Diff("process", after, "collector", near)
		switch {
		case difference != "" && equal > 0:
			t.Fatalf("the routes were equal, and are no longer:\n%s", difference)
		case difference == "":
			if equal++; equal == readings {
				return page
			}
			continue
		}
		select {
		case <-poll.C:
		case <-timeout:
			t.Fatalf("the routes differ after %v:\n%s", settle, difference)
		}
	}
}
