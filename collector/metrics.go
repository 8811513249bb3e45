package collector

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/otlptranslator"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetricgrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	otelprometheus "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/exporters/stdout/stdoutmetric"
	"go.opentelemetry.io/otel/metric"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/resource"
)

// scopeName is the instrumentation scope of the pipeline's own metrics.
const scopeName = "github.com/otelbreaker/otelbreaker/collector"

// maxScrapes is how many scrapes are served at once: each holds a whole page.
const maxScrapes = 16

// startMetrics adds the meter provider and the page.
func (p *Pipeline) startMetrics(ctx context.Context, res *resource.Resource, from plan, c config) error {
	opts := []sdkmetric.Option{sdkmetric.WithResource(res), sdkmetric.WithView(c.views...)}
	if c.exponentialRecovery {
		opts = append(opts, sdkmetric.WithView(exponentialRecovery(c.views)))
	}
	fromVariable, _ := strconv.Atoi(os.Getenv("OTEL_GO_X_CARDINALITY_LIMIT")) // refused before, if it is no number
	limit := cmp.Or(c.cardinalityLimit, fromVariable, defaultCardinalityLimit)
	opts = append(opts, sdkmetric.WithCardinalityLimit(limit))
	p.page = emptyPage("OTEL_METRICS_EXPORTER does not name " + prometheusExporter)
	for _, name := range from.exporters {
		if name == prometheusExporter {
			reader, page, err := newPage(p.errors)
			if err != nil {
				return err
			}
			p.page = page
			opts = append(opts, sdkmetric.WithReader(reader))
			continue
		}
		exporter, err := newMetricExporter(ctx, name, from)
		if err != nil {
			return fmt.Errorf("collector: metrics: %w", err)
		}
		o := p.newOutlet(metrics, name, from, 0)
		opts = append(opts, sdkmetric.WithReader(sdkmetric.NewPeriodicReader(metricOutlet{exporter, o})))
	}
	provider := sdkmetric.NewMeterProvider(opts...)
	p.meters = meterProvider{provider, limit}
	p.stages = append(p.stages, stage{metrics, provider})
	if c.withoutRuntime {
		return nil
	}
	return p.observeProcess(ctx)
}

// meterProvider tells its limit as well, which package otelcb asks it for: the SDK does not say.
type meterProvider struct {
	*sdkmetric.MeterProvider
	cardinalityLimit int
}

// CardinalityLimit is how many attribute sets of one instrument are kept apart.
func (p meterProvider) CardinalityLimit() int { return p.cardinalityLimit }

// exponentialRecovery returns the view of WithExponentialRecovery. It has nothing to say where one of others has: two
// that match would make two streams of one name.
func exponentialRecovery(others []sdkmetric.View) sdkmetric.View {
	ours := sdkmetric.NewView(
		sdkmetric.Instrument{Name: "circuit_breaker.recovery.duration"},
		sdkmetric.Stream{Aggregation: sdkmetric.AggregationBase2ExponentialHistogram{
			MaxSize:  160, // as the specification has it
			MaxScale: 8,   // the finest that Prometheus knows
		}})
	return func(i sdkmetric.Instrument) (sdkmetric.Stream, bool) {
		for _, view := range others {
			if _, matches := view(i); matches {
				return sdkmetric.Stream{}, false
			}
		}
		return ours(i)
	}
}

// newPage returns the reader that a scrape reads by, and the page. The registry is its own: what else the program has
// in the default one belongs to another page.
func newPage(log *errorLog) (sdkmetric.Reader, http.Handler, error) {
	registry := prometheus.NewRegistry()
	reader, err := otelprometheus.New(
		otelprometheus.WithRegisterer(registry),
		otelprometheus.WithTranslationStrategy(otlptranslator.UnderscoreEscapingWithSuffixes),
		otelprometheus.WithoutScopeInfo(),
	)
	return reader, promhttp.HandlerFor(registry, promhttp.HandlerOpts{
		ErrorLog:            log,
		ErrorHandling:       promhttp.ContinueOnError, // one bad series must not blind the others
		EnableOpenMetrics:   true,                     // which carries the exemplars
		MaxRequestsInFlight: maxScrapes,
	}), err
}

// emptyPage is a page without series that says why.
func emptyPage(why string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		_, _ = io.WriteString(w, "# No metrics here: "+why+".\n") // the scraper's going away is its own affair
	})
}

func newMetricExporter(ctx context.Context, name string, from plan) (sdkmetric.Exporter, error) {
	switch {
	case name == consoleExporter:
		return stdoutmetric.New()
	case from.grpc:
		return otlpmetricgrpc.New(ctx, otlpmetricgrpc.WithEndpointURL(from.url))
	default:
		return otlpmetrichttp.New(ctx, otlpmetrichttp.WithEndpointURL(from.url), otlpmetrichttp.WithHTTPClient(from.client))
	}
}

type metricOutlet struct {
	sdkmetric.Exporter
	*outlet
}

func (o metricOutlet) Export(ctx context.Context, m *metricdata.ResourceMetrics) error {
	points := dataPoints(m)
	o.pending.Add(points)
	return o.send(ctx, points, func(ctx context.Context) error { return o.Exporter.Export(ctx, m) })
}

func (o metricOutlet) Shutdown(ctx context.Context) error {
	defer o.closeIdle()
	return o.Exporter.Shutdown(ctx)
}

func dataPoints(m *metricdata.ResourceMetrics) int64 {
	n := 0
	for _, scope := range m.ScopeMetrics {
		for _, metric := range scope.Metrics {
			switch data := metric.Data.(type) {
			case metricdata.Gauge[int64]:
				n += len(data.DataPoints)
			case metricdata.Gauge[float64]:
				n += len(data.DataPoints)
			case metricdata.Sum[int64]:
				n += len(data.DataPoints)
			case metricdata.Sum[float64]:
				n += len(data.DataPoints)
			case metricdata.Histogram[int64]:
				n += len(data.DataPoints)
			case metricdata.Histogram[float64]:
				n += len(data.DataPoints)
			case metricdata.ExponentialHistogram[int64]:
				n += len(data.DataPoints)
			case metricdata.ExponentialHistogram[float64]:
				n += len(data.DataPoints)
			case metricdata.Summary:
				n += len(data.DataPoints)
			}
		}
	}
	return int64(n)
}

// instrument registers the metrics that the pipeline itself provides.
func (p *Pipeline) instrument() error {
	meter := p.meters.Meter(scopeName)
	failures, err1 := meter.Int64ObservableCounter("otelbreaker.export.failures", metric.WithUnit("{export}"),
		metric.WithDescription("Exports of telemetry that failed or were rejected in part, after retries"))
	dropped, err2 := meter.Int64ObservableCounter("otelbreaker.export.dropped", metric.WithUnit("{item}"),
		metric.WithDescription("Spans, log records and data points lost: the queue was full, or their export failed or was rejected"))
	_, err3 := meter.RegisterCallback(func(_ context.Context, observer metric.Observer) error {
		for _, o := range p.outlets {
			observer.ObserveInt64(failures, o.failures.Load(), o.attributes)
			observer.ObserveInt64(dropped, o.dropped.Load(), o.attributes)
		}
		return nil
	}, failures, dropped)
	return errors.Join(err1, err2, err3)
}
