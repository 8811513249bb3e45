package otelcb

import (
	"errors"

	"go.opentelemetry.io/otel/metric"
)

// recoveryBounds are in seconds. None is a whole number, because Prometheus writes the bucket of a scraped le="1" as
// 1.0 and of one sent by OTLP as 1, and a fleet that mixes both ways would have two buckets for one.
var recoveryBounds = []float64{0.1, 0.25, 0.5, 1.5, 2.5, 7.5, 15.5, 30.5, 60.5, 120.5, 300.5, 600.5, 1800.5}

type instruments struct {
	state, failures, override                                        metric.Int64ObservableGauge
	lastFailure                                                      metric.Float64ObservableGauge
	transitions, requests, slowCalls, wouldOpen, wouldBlock, dropped metric.Int64ObservableCounter
	open                                                             metric.Float64ObservableCounter
	recovery                                                         metric.Float64Histogram
}

func newInstruments(m metric.Meter) (*instruments, error) {
	var errs []error
	gauge := func(name, unit, description string) metric.Int64ObservableGauge {
		g, err := m.Int64ObservableGauge(name, metric.WithUnit(unit), metric.WithDescription(description))
		errs = append(errs, err)
		return g
	}
	counter := func(name, unit, description string) metric.Int64ObservableCounter {
		c, err := m.Int64ObservableCounter(name, metric.WithUnit(unit), metric.WithDescription(description))
		errs = append(errs, err)
		return c
	}
	// Gauges have no unit, since Prometheus would put it into the name, and so do annotations like {request}, which
	// it leaves out.
	i := &instruments{
		state: gauge("circuit_breaker.state", "",
			"State of the circuit breaker: 0 closed, 1 half_open, 2 open"),
		transitions: counter("circuit_breaker.transitions", "{transition}",
			"Transitions of the circuit breaker from one state to another"),
		requests: counter("circuit_breaker.requests", "{request}",
			"Calls by outcome: success, failure, blocked by the circuit breaker, or ignored (neither success nor failure)"),
		failures: gauge("circuit_breaker.failures.current", "{failure}",
			"Consecutive failures now"),
		slowCalls: counter("circuit_breaker.slow_calls", "{request}",
			"Calls slower than the configured slow-call duration"),
		override: gauge("circuit_breaker.override", "",
			"Override by an operator: 0 automatic (none), 1 forced open, 2 disabled"),
		wouldOpen: counter("circuit_breaker.would_open", "{transition}",
			"Openings there would have been, had the circuit breaker not been disabled"),
		wouldBlock: counter("circuit_breaker.would_block", "{request}",
			"Calls that would have been blocked, had the circuit breaker not been disabled"),
		dropped: counter("circuit_breaker.events_dropped", "{event}",
			"Events that the circuit breaker's listeners were too slow for"),
	}
	var err error
	i.lastFailure, err = m.Float64ObservableGauge("circuit_breaker.last_failure_time",
		metric.WithDescription("Time of the newest failure, in Unix seconds"))
	errs = append(errs, err)
	i.open, err = m.Float64ObservableCounter("circuit_breaker.open", metric.WithUnit("s"),
		metric.WithDescription("Time spent open, growing while open"))
	errs = append(errs, err)
	i.recovery, err = m.Float64Histogram("circuit_breaker.recovery.duration", metric.WithUnit("s"),
		metric.WithDescription("Time from the first opening of an outage to the closing, reopenings included"),
		metric.WithExplicitBucketBoundaries(recoveryBounds...))
	return i, errors.Join(append(errs, err)...)
}

func (i *instruments) observables() []metric.Observable {
	return []metric.Observable{
		i.state, i.transitions, i.requests, i.failures, i.lastFailure, i.open, i.slowCalls, i.override,
		i.wouldOpen, i.wouldBlock, i.dropped,
	}
}
