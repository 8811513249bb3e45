package fleet

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/log"
	"go.opentelemetry.io/otel/metric"
)

const (
	// ScopeName is the instrumentation scope of the metrics and log records.
	ScopeName = "github.com/otelbreaker/otelbreaker/fleet"

	// Version is the version of this module.
	Version = "0.1.0-dev"
)

// propagationBounds are in seconds; none is a whole number, as those of package otelcb.
var propagationBounds = []float64{0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.5, 2.5, 7.5}

// telemetry tells how the fleet does. It is written to by the loop and the workers, never by a call.
type telemetry struct {
	fleet        attribute.KeyValue
	logger       log.Logger
	records      chan log.Record // on their way to the logger, which may block
	registration metric.Registration
	propagation  metric.Float64Histogram
	attributes   metric.MeasurementOption

	isWhole  atomic.Bool
	replicas atomic.Int64
	errors   map[operation]*atomic.Int64
}

func newTelemetry(c config) (*telemetry, error) {
	t := &telemetry{
		fleet:  attribute.String("fleet", c.name),
		logger: c.loggers.Logger(ScopeName, log.WithInstrumentationVersion(Version)),
		errors: map[operation]*atomic.Int64{}, records: make(chan log.Record, maxRecords),
	}
	t.attributes = metric.WithAttributeSet(attribute.NewSet(t.fleet))
	t.replicas.Store(1)
	byOperation := map[operation]metric.ObserveOption{}
	for _, op := range operations {
		t.errors[op] = new(atomic.Int64)
		byOperation[op] = metric.WithAttributeSet(attribute.NewSet(t.fleet, attribute.String("operation", string(op))))
	}
	meter := c.meters.Meter(ScopeName, metric.WithInstrumentationVersion(Version))
	connected, err1 := meter.Int64ObservableGauge("circuit_breaker.fleet.connected",
		metric.WithDescription("Whether this replica shares with its fleet: 1, or 0 while its breakers carry on alone"))
	replicas, err2 := meter.Int64ObservableGauge("circuit_breaker.fleet.replicas", metric.WithUnit("{replica}"),
		metric.WithDescription("Live replicas that this one knows of, itself included"))
	failures, err3 := meter.Int64ObservableCounter("circuit_breaker.fleet.errors", metric.WithUnit("{error}"),
		metric.WithDescription("Operations on the fleet's engine that failed, and values in it that make no sense"))
	var err4 error
	t.propagation, err4 = meter.Float64Histogram("circuit_breaker.fleet.propagation", metric.WithUnit("s"),
		metric.WithDescription("Time from handing a change to the engine until this replica's own watch told of it"),
		metric.WithExplicitBucketBoundaries(propagationBounds...))
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return nil, fmt.Errorf("fleet: the meter provider refused an instrument: %w", err)
	}
	var err error
	t.registration, err = meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		whole := int64(0)
		if t.isWhole.Load() {
			whole = 1
		}
		o.ObserveInt64(connected, whole, t.attributes)
		o.ObserveInt64(replicas, t.replicas.Load(), t.attributes)
		for _, op := range operations {
			o.ObserveInt64(failures, t.errors[op].Load(), byOperation[op])
		}
		return nil
	}, connected, replicas, failures)
	if err != nil {
		return nil, fmt.Errorf("fleet: the meter provider refused the callback: %w", err)
	}
	go t.write()
	return t, nil
}

// maxRecords wait for a logger that blocks; those beyond are lost, for the breakers wait for none.
const maxRecords = 64

func (t *telemetry) write() {
	for r := range t.records {
		t.emit(r)
	}
}

func (t *telemetry) emit(r log.Record) {
	defer func() { _ = recover() }() // foreign code, on which the fleet does not depend
	t.logger.Emit(context.Background(), r)
}

// end is for when nothing is told any more.
func (t *telemetry) end() {
	_ = t.registration.Unregister()
	close(t.records)
}

func (t *telemetry) failed(op operation) { t.errors[op].Add(1) }

func (t *telemetry) live(n int) { t.replicas.Store(int64(n)) }

func (t *telemetry) propagated(d time.Duration) {
	t.propagation.Record(context.Background(), d.Seconds(), t.attributes)
}

// joined notes that this replica shares; back tells that it was said to be lost.
func (t *telemetry) joined(back bool, away time.Duration) {
	t.isWhole.Store(true)
	if back {
		t.record("fleet_rejoined", "Circuit breakers share with their fleet again", log.SeverityInfo, "INFO",
			attribute.Float64("away_seconds", away.Seconds()))
	}
}

// lost notes that this replica carries on alone.
func (t *telemetry) lost(cause error) {
	t.isWhole.Store(false)
	t.record("fleet_lost", "Circuit breakers carry on without their fleet", log.SeverityWarn, "WARN",
		attribute.String("error.type", errorType(cause)))
}

// refused notes a breaker that cannot take part.
func (t *telemetry) refused(err error) {
	t.record("fleet_refused", "A circuit breaker cannot join the fleet", log.SeverityWarn, "WARN",
		attribute.String("error.type", errorType(err)))
}

// record writes a log record. It names errors by their type alone, for their text may hold anything.
func (t *telemetry) record(event, body string, severity log.Severity, text string, more attribute.KeyValue) {
	var r log.Record
	r.SetEventName(event)
	r.SetTimestamp(time.Now())
	r.SetSeverity(severity)
	r.SetSeverityText(text)
	r.SetBody(attribute.StringValue(body))
	r.AddAttributes(attribute.String("component", "circuit_breaker"), attribute.String("event_type", event), t.fleet, more)
	select {
	case t.records <- r:
	default:
	}
}
