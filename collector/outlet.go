package collector

import (
	"context"
	"fmt"
	"net/http"
	"sync/atomic"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// outlet counts what one exporter of one signal has in hand, and ends its exports when Shutdown's time is over.
//
// The SDK's queues drop in silence. An outlet therefore bounds what is queued and under way itself, just ahead of the
// queue, which then never overflows: every loss passes here and is counted.
type outlet struct {
	signal     signal
	exporter   string
	attributes metric.MeasurementOption
	client     *http.Client    // of OTLP by HTTP
	stop       context.Context // done when exports have to end
	limit      int64           // of pending

	pending  atomic.Int64 // spans or log records queued and under way
	dropped  atomic.Int64 // spans or log records
	failures atomic.Int64 // exports
	lastErr  atomic.Pointer[error]
}

func (p *Pipeline) newOutlet(s signal, exporter string, from plan, limit int) *outlet {
	o := &outlet{
		signal:   s,
		exporter: exporter,
		attributes: metric.WithAttributeSet(attribute.NewSet(
			attribute.String("signal", s.String()), attribute.String("exporter", exporter))),
		stop:  p.stop,
		limit: int64(limit),
	}
	if exporter == otlpExporter {
		o.client = from.client
	}
	p.outlets = append(p.outlets, o)
	return o
}

// admit takes one span or record in, or counts it as dropped.
func (o *outlet) admit() bool {
	if o.pending.Add(1) <= o.limit {
		return true
	}
	o.pending.Add(-1)
	o.dropped.Add(1)
	return false
}

// send exports so many pending items. Of ctx only the deadline counts: what is under way is not given up because a
// reader is told to stop, and would only be sent once more.
func (o *outlet) send(ctx context.Context, items int, export func(context.Context) error) error {
	bound := o.stop
	if deadline, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		bound, cancel = context.WithDeadline(bound, deadline)
		defer cancel()
	}
	err := export(bound)
	if err != nil {
		if cause := context.Cause(o.stop); cause != nil {
			err = fmt.Errorf("%w: %w", cause, err)
		}
		err = redacted{err}
		o.failures.Add(1)
		o.dropped.Add(int64(items))
		o.lastErr.Store(&err)
	}
	o.pending.Add(-int64(items))
	return err
}

// closeIdle ends the connections that wait for a next export.
func (o *outlet) closeIdle() {
	if o.client != nil {
		o.client.CloseIdleConnections()
	}
}
