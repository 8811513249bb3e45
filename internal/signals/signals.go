// Package signals takes down what leaves of a breaker, in a form in which two of them can be compared: it is for the
// tests of adapters, whose breakers must give the very signals of our own. Its Records keeps log records for any test.
package signals

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sort"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/attribute"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/otelbreaker/otelbreaker/breaker"
	"github.com/otelbreaker/otelbreaker/logs"
	"github.com/otelbreaker/otelbreaker/otelcb"
)

// What the breaker of an Outage has to be set to: consecutive failures, and one probe, which has to succeed.
const (
	FailureThreshold = 6
	RecoveryTimeout  = time.Minute
)

// What the breakers of adapters' tests are called.
const (
	Service  = "payments"
	Endpoint = "https://payments.example"
)

// Errors of an Outage's calls. ErrIgnored is to be ignored, if the breaker can.
var (
	ErrDown    = errors.New("down")
	ErrIgnored = errors.New("of no account")
)

// Capture takes down all that leaves.
type Capture struct {
	reader  *sdkmetric.ManualReader
	meters  *sdkmetric.MeterProvider
	spans   *tracetest.SpanRecorder
	tracers *sdktrace.TracerProvider
	loggers *sdklog.LoggerProvider
	records Records
}

// New makes one.
func New() *Capture {
	c := &Capture{reader: sdkmetric.NewManualReader(), spans: tracetest.NewSpanRecorder()}
	c.meters = sdkmetric.NewMeterProvider(sdkmetric.WithReader(c.reader))
	c.tracers = sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(c.spans))
	c.loggers = sdklog.NewLoggerProvider(sdklog.WithProcessor(&c.records))
	return c
}

// Observe takes down what leaves of src.
func (c *Capture) Observe(src otelcb.Source) (*otelcb.Registration, error) {
	return otelcb.Observe(src, otelcb.WithMeterProvider(c.meters), otelcb.WithTracerProvider(c.tracers),
		otelcb.WithLogs(logs.WithLoggerProvider(c.loggers), logs.WithFailures()))
}

// Call is what makes a call through a breaker.
type Call func(ctx context.Context, f func(context.Context) error) error

// Outage takes a breaker through two outages' worth of calls, each with a span of its own: successes, failures until it
// opens, blocked calls, a probe that fails, one that succeeds and has another call blocked meanwhile. wait has to let time pass and everything happen. ignored
// tells that the breaker knows outcomes that are neither.
func (c *Capture) Outage(call Call, wait func(time.Duration), ignored bool) {
	run := func(name string, f func(context.Context) error) {
		ctx, span := c.tracers.Tracer("caller").Start(context.Background(), name)
		_ = call(ctx, f)
		span.End()
		wait(time.Second)
	}
	do := func(name string, err error) { run(name, func(context.Context) error { return err }) }
	do("good", nil)
	do("bad", ErrDown)
	if ignored {
		do("ignored", ErrIgnored)
	}
	do("good again", nil)
	for i := range FailureThreshold {
		do(fmt.Sprintf("failure %d", i+1), ErrDown)
	}
	do("blocked", nil)
	wait(RecoveryTimeout)
	do("probe that fails", context.DeadlineExceeded)
	do("blocked again", nil)
	wait(RecoveryTimeout)
	run("probe that succeeds", func(context.Context) error {
		do("blocked by the probe", nil)
		return nil
	})
	do("good at last", nil)
}

// Of gives the lines of a breaker in an outage, in virtual time, so that those of two breakers are of the same moments.
func Of(t *testing.T, ignored bool, make func(*testing.T) (otelcb.Source, Call)) (lines []string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c := New()
		src, call := make(t)
		r, err := c.Observe(src)
		if err != nil {
			t.Fatal(err)
		}
		c.Outage(call, func(d time.Duration) {
			time.Sleep(d)
			synctest.Wait()
		}, ignored)
		if lines, err = c.Lines(); err != nil {
			t.Fatal(err)
		}
		if err := r.Unregister(); err != nil {
			t.Fatal(err)
		}
	})
	return lines
}

// Own gives a breaker of ours for an Outage, which ignores ErrIgnored.
func Own(t *testing.T) (otelcb.Source, Call) {
	t.Helper()
	b, err := breaker.New(breaker.Config{Service: Service, Endpoint: Endpoint, FailureThreshold: FailureThreshold,
		RecoveryTimeout: RecoveryTimeout, Classify: func(err error) breaker.Outcome {
			switch {
			case errors.Is(err, ErrIgnored):
				return breaker.Ignored
			case err != nil:
				return breaker.Failure
			}
			return breaker.Success
		}})
	if err != nil {
		t.Fatal(err)
	}
	return b, b.Do
}

// Lines gives all of it: a line for each series, each record in order, each span with its events and links. Ids of
// outages and traces are told by what they are of; fractions below a millisecond are left out.
func (c *Capture) Lines() ([]string, error) {
	series, err := c.series()
	if err != nil {
		return nil, err
	}
	t := &teller{spans: map[trace.SpanID]string{}, outages: map[string]string{}}
	spans := c.spans.Ended()
	slices.SortFunc(spans, func(a, b sdktrace.ReadOnlySpan) int { // the outage's is ended on a goroutine of its own
		return cmp.Or(a.EndTime().Compare(b.EndTime()), cmp.Compare(a.Name(), b.Name()))
	})
	for _, s := range spans {
		t.spans[s.SpanContext().SpanID()] = s.Name()
	}
	lines := append([]string{}, series...)
	for _, r := range c.records.List() {
		var all []attribute.KeyValue
		r.WalkAttributes(func(kv attribute.KeyValue) bool {
			all = append(all, kv)
			return true
		})
		lines = append(lines, fmt.Sprintf("record %s %v %q at %s of %q: %s", r.EventName(), r.Severity(), r.Body().AsString(),
			moment(r.Timestamp()), t.spans[r.SpanID()], t.attributes(all)))
	}
	for _, s := range spans {
		lines = append(lines, fmt.Sprintf("span %s from %s to %s: %s", s.Name(), moment(s.StartTime()), moment(s.EndTime()),
			t.attributes(s.Attributes())))
		for _, e := range s.Events() {
			lines = append(lines, fmt.Sprintf("span %s, event %s: %s", s.Name(), e.Name, t.attributes(e.Attributes)))
		}
		for _, l := range s.Links() {
			lines = append(lines, fmt.Sprintf("span %s, link to %q: %s", s.Name(), t.spans[l.SpanContext.SpanID()], t.attributes(l.Attributes)))
		}
	}
	return lines, nil
}

// Differences gives what only one of two has, marked with - or +.
func Differences(a, b []string) (all []string) {
	for _, line := range a {
		if !slices.Contains(b, line) {
			all = append(all, "- "+line)
		}
	}
	for _, line := range b {
		if !slices.Contains(a, line) {
			all = append(all, "+ "+line)
		}
	}
	if all == nil && !slices.Equal(a, b) {
		all = append(all, "the same lines in another order, or another number")
	}
	return all
}

func (c *Capture) series() ([]string, error) {
	var data metricdata.ResourceMetrics
	if err := c.reader.Collect(context.Background(), &data); err != nil {
		return nil, err
	}
	var lines []string
	for _, scope := range data.ScopeMetrics {
		for _, m := range scope.Metrics {
			add := func(of attribute.Set, value any) {
				lines = append(lines, fmt.Sprintf("metric %s %s [%s] {%s} %v", scope.Scope.Name, m.Name, m.Unit,
					of.Encoded(attribute.DefaultEncoder()), value))
			}
			switch d := m.Data.(type) {
			case metricdata.Gauge[int64]:
				each(d.DataPoints, add)
			case metricdata.Gauge[float64]:
				each(d.DataPoints, add)
			case metricdata.Sum[int64]:
				each(d.DataPoints, add)
			case metricdata.Sum[float64]:
				each(d.DataPoints, add)
			case metricdata.Histogram[float64]:
				for _, p := range d.DataPoints {
					add(p.Attributes, fmt.Sprint(p.Count, rounded(p.Sum), p.BucketCounts))
				}
			default:
				return nil, fmt.Errorf("signals: %s is a %T", m.Name, d)
			}
		}
	}
	sort.Strings(lines)
	return lines, nil
}

func each[N int64 | float64](points []metricdata.DataPoint[N], add func(attribute.Set, any)) {
	for _, p := range points {
		add(p.Attributes, rounded(float64(p.Value)))
	}
}

func rounded(x float64) float64 { return math.Round(x*1000) / 1000 }

func moment(t time.Time) string { return t.UTC().Round(time.Millisecond).Format(time.RFC3339Nano) }

// teller puts ids into words.
type teller struct {
	spans   map[trace.SpanID]string
	outages map[string]string
}

func (t *teller) attributes(all []attribute.KeyValue) string {
	var parts []string
	for _, kv := range all {
		value := kv.Value.String()
		switch {
		case kv.Key == "outage_id":
			if t.outages[value] == "" {
				t.outages[value] = fmt.Sprintf("outage %d", len(t.outages)+1)
			}
			value = t.outages[value]
		case kv.Value.Type() == attribute.FLOAT64:
			value = fmt.Sprint(rounded(kv.Value.AsFloat64()))
		}
		parts = append(parts, string(kv.Key)+"="+value)
	}
	return strings.Join(parts, " ")
}
