package collector

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"reflect"
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
	log        *errorLog

	pending  atomic.Int64 // items queued and under way: spans, log records, data points
	dropped  atomic.Int64 // items
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
		log:   p.errors,
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
	o.drop(1)
	return false
}

func (o *outlet) drop(items int64) {
	o.dropped.Add(items)
	o.log.lose(o.signal, items)
}

// send exports so many pending items. Of ctx only the deadline counts: what is under way is not given up because a
// reader is told to stop, and would only be sent once more.
func (o *outlet) send(ctx context.Context, items int64, export func(context.Context) error) error {
	defer o.pending.Add(-items)
	bound := o.stop
	if deadline, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		bound, cancel = context.WithDeadline(bound, deadline)
		defer cancel()
	}
	err := export(bound)
	if err == nil {
		return nil
	}
	if cause := context.Cause(o.stop); cause != nil {
		err = fmt.Errorf("%w: %w", cause, err)
	}
	err = redacted{err}
	o.log.add(err)
	lost := items
	if n, partly := rejected(err); partly {
		lost = min(max(n, 0), items)
		if lost == 0 { // the receiver took everything and has something to say
			return nil
		}
	}
	o.failures.Add(1)
	if lost > 0 {
		o.drop(lost)
	}
	o.lastErr.Store(&err)
	return err
}

// rejected returns how many items of an export the receiver refused while it took the others, if that is what err
// tells. Each exporter has a type of its own for it, all of them internal, so it is found by its method and its field.
func rejected(err error) (items int64, partly bool) {
	if partial, found := errors.AsType[interface {
		error
		Is(error) bool
	}](err); found {
		if v := reflect.ValueOf(partial); v.Kind() == reflect.Struct && v.Type().Name() == "PartialSuccess" {
			if n := v.FieldByName("RejectedItems"); n.IsValid() && n.CanInt() {
				return n.Int(), true
			}
		}
	}
	return 0, false
}

// closeIdle ends the connections that wait for a next export.
func (o *outlet) closeIdle() {
	if o.client != nil {
		o.client.CloseIdleConnections()
	}
}
