package collector

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/log"
	nooplog "go.opentelemetry.io/otel/log/noop"
	"go.opentelemetry.io/otel/metric"
	noopmetric "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/sdk/resource"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
	nooptrace "go.opentelemetry.io/otel/trace/noop"
)

const (
	// defaultTimeout bounds ForceFlush and Shutdown where the context has no deadline.
	defaultTimeout = 5 * time.Second
	// maxMargin is how long before the deadline Shutdown ends exports, at most, to come back in time with a count.
	maxMargin = 100 * time.Millisecond
)

var (
	errShutdown = errors.New("collector: the pipeline is shut down")
	errRefused  = errors.New("the queue was full, or already closed")
)

// Pipeline is a running telemetry pipeline, made by [Start]. Its methods are safe for concurrent use.
type Pipeline struct {
	meters  metric.MeterProvider
	tracers trace.TracerProvider
	loggers log.LoggerProvider
	page    http.Handler

	errors  *errorLog
	stages  []stage
	outlets []*outlet

	stop     context.Context // done when exports have to end
	abort    context.CancelCauseFunc
	flushing chan struct{} // holds a token while a ForceFlush is under way
	down     atomic.Bool
	ended    chan struct{} // closed when Shutdown has ended
}

// stage is a signal and the SDK's provider of it.
type stage struct {
	signal   signal
	provider interface {
		ForceFlush(context.Context) error
		Shutdown(context.Context) error
	}
}

// Start builds a pipeline from the options and the OTEL_* variables, as the package's documentation tells, and makes
// it the global one. It does not connect to anything: a receiver that is down is no error here. It fails on bad
// options and variables, with one error for each joined, and then leaves nothing running and no global changed.
//
// ctx bounds Start alone: the pipeline runs until [Pipeline.Shutdown].
func Start(ctx context.Context, opts ...Option) (*Pipeline, error) {
	c, err := newConfig(opts)
	textMap, propagatorsErr := propagators()
	errs := []error{err, context.Cause(ctx)}
	log := &errorLog{logger: c.logger}
	plans := map[signal]plan{}
	if !disabled() { // the emergency switch works whatever else is wrong
		errs = append(errs, propagatorsErr, checkRules())
		for _, s := range signals {
			plans[s], err = s.plan(c, log)
			errs = append(errs, err)
		}
	}
	if err := joinOnce(errs); err != nil {
		return nil, err
	}

	p := &Pipeline{
		meters:   noopmetric.NewMeterProvider(),
		tracers:  nooptrace.NewTracerProvider(),
		loggers:  nooplog.NewLoggerProvider(),
		page:     emptyPage("OTEL_SDK_DISABLED is true"),
		errors:   log,
		flushing: make(chan struct{}, 1),
		ended:    make(chan struct{}),
	}
	p.stop, p.abort = context.WithCancelCause(context.Background())
	if !disabled() {
		build, _ := debug.ReadBuildInfo()
		res := newResource(ctx, build, c.resource, p.errors)
		if err := errors.Join(
			p.startMetrics(ctx, res, plans[metrics], c),
			p.startTraces(ctx, res, plans[traces], c),
			p.startLogs(ctx, res, plans[logs], c),
			p.instrument(),
		); err != nil {
			p.abort(err)
			_ = p.Shutdown(ctx) // nothing is in it yet
			return nil, err
		}
	}
	if !c.withoutGlobals {
		p.errors.install()
		otel.SetMeterProvider(p.meters)
		otel.SetTracerProvider(p.tracers)
		otel.SetLoggerProvider(p.loggers)
		otel.SetTextMapPropagator(textMap)
	}
	return p, nil
}

// joinOnce joins errors; a variable for all signals that is bad for each is told of once.
func joinOnce(errs []error) error {
	seen := map[string]bool{}
	return errors.Join(slices.DeleteFunc(errs, func(err error) bool {
		if err == nil || seen[err.Error()] {
			return true
		}
		seen[err.Error()] = true
		return false
	})...)
}

// newResource describes the program. What a detector cannot find out is left out.
//
// The command line is not among it: it may hold credentials.
func newResource(ctx context.Context, build *debug.BuildInfo, attrs []attribute.KeyValue, report *errorLog) *resource.Resource {
	res, err := resource.New(ctx,
		resource.WithAttributes(versionOf(build)...),
		resource.WithTelemetrySDK(),
		resource.WithHost(),
		resource.WithProcessPID(),
		resource.WithProcessExecutableName(),
		resource.WithProcessRuntimeName(),
		resource.WithProcessRuntimeVersion(),
		resource.WithService(), // its instance id keeps replicas behind one receiver apart
		resource.WithAttributes(attrs...),
		resource.WithFromEnv(), // last, so that it wins
	)
	report.Handle(err)
	return res
}

// versionOf tells the version of the main module, nothing where the Go tool knew none.
func versionOf(build *debug.BuildInfo) []attribute.KeyValue {
	if build == nil || build.Main.Version == "" || build.Main.Version == "(devel)" {
		return nil
	}
	return []attribute.KeyValue{semconv.ServiceVersion(build.Main.Version)}
}

// MeterProvider returns the provider to make meters from.
func (p *Pipeline) MeterProvider() metric.MeterProvider { return p.meters }

// TracerProvider returns the provider to make tracers from.
func (p *Pipeline) TracerProvider() trace.TracerProvider { return p.tracers }

// LoggerProvider returns the provider to make loggers from.
func (p *Pipeline) LoggerProvider() log.LoggerProvider { return p.loggers }

// MetricsHandler returns the page for Prometheus to scrape. It answers in the text format or, when asked for it, in
// OpenMetrics, which carries exemplars; compressed when asked for it. Sixteen scrapes are served at once, and from
// Shutdown on none; the others get status 503.
func (p *Pipeline) MetricsHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if p.down.Load() {
			http.Error(w, errShutdown.Error(), http.StatusServiceUnavailable)
			return
		}
		p.page.ServeHTTP(w, r)
	})
}

// ForceFlush exports what has been recorded so far, all signals at once, and returns the failures joined. It waits
// until ctx is done, without a deadline 5 s at most; what is under way then goes on. After Shutdown it is an error.
func (p *Pipeline) ForceFlush(ctx context.Context) error {
	if p.down.Load() {
		return errShutdown
	}
	ctx, cancel := withDeadline(ctx)
	defer cancel()
	select {
	case p.flushing <- struct{}{}: // one at a time: behind a receiver that hangs they would pile up
	case <-ctx.Done():
		return fmt.Errorf("collector: an earlier ForceFlush is still under way: %w", context.Cause(ctx))
	}
	return p.each(ctx, func(ctx context.Context, s stage) error { return s.provider.ForceFlush(ctx) }, func() { <-p.flushing })
}

// Shutdown exports what is left, all signals at once, and ends the pipeline. It returns when that is done or when the
// deadline of ctx comes, without one after 5 s. What is not delivered by then is given up, and the error says how
// much of which signal and why. Recording after Shutdown does nothing. A further call waits for the first and
// returns nil.
func (p *Pipeline) Shutdown(ctx context.Context) error {
	ctx, cancel := withDeadline(ctx)
	defer cancel()
	if !p.down.CompareAndSwap(false, true) {
		select {
		case <-p.ended:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	defer close(p.ended)
	defer p.tellLast(ctx)

	deadline, _ := ctx.Deadline()
	exporting, endExporting := context.WithDeadline(ctx, deadline.Add(-min(time.Until(deadline)/10, maxMargin)))
	defer endExporting()
	context.AfterFunc(exporting, func() { p.abort(context.Cause(exporting)) })
	return p.each(ctx, func(ctx context.Context, s stage) error { return s.provider.Shutdown(ctx) }, func() {})
}

// tellLast writes what is left to tell, and waits for the program's logger no longer than until the deadline, or a
// moment past it where the exports have used that up.
func (p *Pipeline) tellLast(ctx context.Context) {
	written := make(chan struct{})
	go func() {
		defer close(written)
		p.errors.flush()
	}()
	select {
	case <-written:
		return
	case <-ctx.Done():
	}
	select {
	case <-written:
	case <-time.After(maxMargin):
	}
}

// each runs op on every stage at once and waits for all until ctx is done. It calls done when the last has ended.
//
// The SDK does not see ctx end. Told to hurry it would throw away what is queued without passing it to the outlets, or
// go on behind our back; the outlets keep the time instead, and then let everything run through quickly.
func (p *Pipeline) each(ctx context.Context, op func(context.Context, stage) error, done func()) error {
	before := make([]int64, len(p.stages))
	results := make([]chan error, len(p.stages))
	var running sync.WaitGroup
	for i, s := range p.stages {
		before[i], _, _ = p.losses(s.signal)
		results[i] = make(chan error, 1)
		running.Go(func() { results[i] <- op(context.WithoutCancel(ctx), s) })
	}
	go func() {
		running.Wait()
		done()
	}()
	var errs []error
	for i, s := range p.stages {
		var err error
		select {
		case err = <-results[i]:
		case <-ctx.Done():
			select {
			case err = <-results[i]: // it has ended in time, another has not
			default:
				err = context.Cause(ctx)
			}
		}
		lost, pending, cause := p.losses(s.signal)
		lost -= before[i]
		if p.down.Load() {
			lost += pending
		}
		switch {
		case lost > 0:
			errs = append(errs, fmt.Errorf("collector: %s: %d not delivered: %w", s.signal, lost, cmp.Or(err, cause, errRefused)))
		case err != nil:
			errs = append(errs, fmt.Errorf("collector: %s: %w", s.signal, err))
		}
	}
	return errors.Join(errs...)
}

// losses returns how many spans or records of s were dropped so far, how many are on their way, and why an export
// last failed.
func (p *Pipeline) losses(s signal) (dropped, pending int64, cause error) {
	for _, o := range p.outlets {
		if o.signal == s {
			dropped += o.dropped.Load()
			pending += o.pending.Load()
			if err := o.lastErr.Load(); err != nil {
				cause = *err
			}
		}
	}
	return dropped, pending, cause
}

func withDeadline(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, defaultTimeout)
}
