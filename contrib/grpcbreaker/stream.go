package grpcbreaker

import (
	"context"
	"errors"
	"io"
	"runtime"
	"sync/atomic"
	"time"
	"weak"

	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	"github.com/otelbreaker/otelbreaker/breaker"
)

// stream is a stream that was opened: it tells its call how it ends.
type stream struct {
	grpc.ClientStream
	call *call
	desc *grpc.StreamDesc
}

// Header notes that there was an answer.
func (s *stream) Header() (metadata.MD, error) {
	asked := s.call.waits()
	md, err := s.ClientStream.Header()
	s.call.waited(asked)
	switch {
	case err != nil && !errors.Is(err, io.EOF):
		s.breakOff(err)
	case md != nil:
		s.call.answer()
	}
	return md, err
}

// SendMsg ends the call where the client itself is at fault; what else ends the stream is for RecvMsg to tell, and
// io.EOF here.
func (s *stream) SendMsg(m any) error {
	err := s.ClientStream.SendMsg(m)
	if err == nil || errors.Is(err, io.EOF) {
		return err
	}
	switch c, _ := codeOf(err); c {
	case codes.Internal, codes.ResourceExhausted: // malformed or too large: the server has never seen it
		s.call.end(s.call.sent.ctx, breaker.Result{Outcome: breaker.Ignored})
	default:
		s.breakOff(err)
	}
	return err
}

// RecvMsg ends the call at the end of the stream.
func (s *stream) RecvMsg(m any) error {
	asked := s.call.waits()
	err := s.ClientStream.RecvMsg(m)
	s.call.waited(asked)
	switch {
	case err == nil && s.desc.ServerStreams:
		s.call.answer()
	case err == nil, errors.Is(err, io.EOF):
		s.call.end(s.call.sent.ctx, s.call.success())
	default:
		s.breakOff(err)
	}
	return err
}

// breakOff ends the call by an error.
func (s *stream) breakOff(err error) {
	c := s.call
	if c.settled.Load() {
		return
	}
	ctx := c.sent.ctx
	if !trace.SpanContextFromContext(ctx).IsValid() {
		ctx = s.Context() // with otelgrpc's span, if there is one; the stream is over, so asking does no harm
	}
	r := breaker.Result{Outcome: breaker.Failure, ErrorType: breaker.ErrorTypePanic} // should the classification panic
	defer func() {
		r.Elapsed = c.elapsed()
		c.end(ctx, r)
	}()
	r = c.by.failed(&c.sent, err, s.Trailer())
}

// call is one whose stream has yet to end. The stream holds it, and not the other way round, so that it becomes garbage
// with the stream.
type call struct {
	by     *Interceptors
	permit breaker.Permit
	sent   request
	talks  bool // both sides send many messages
	stop   func() bool

	waiting  atomic.Int64 // nanoseconds that the caller has waited: to open the stream, and for the first answer
	answered atomic.Bool
	due      atomic.Bool // the lease is about to end, and the first answer settles
	settled  atomic.Bool
}

// watch takes over the permit until the stream ends.
func (i *Interceptors) watch(permit *breaker.Permit, sent request, desc *grpc.StreamDesc, opened grpc.ClientStream,
	elapsed time.Duration,
) grpc.ClientStream {
	c := &call{by: i, permit: permit.Move(), sent: sent, talks: desc.ClientStreams && desc.ServerStreams}
	c.waiting.Store(int64(elapsed))
	// A stream that nobody ends settles when it is garbage. What finalizers ask for holds: a call is in no cycle, and what
	// it keeps is small.
	runtime.SetFinalizer(c, (*call).forget)
	// Weak, so that a call is none the longer in memory.
	still := weak.Make(c)
	if sent.ctx.Done() != nil {
		c.stop = context.AfterFunc(sent.ctx, func() {
			if c := still.Value(); c != nil {
				c.cancelled()
			}
		})
	}
	if left, probe := c.permit.Lease(); probe {
		// A tenth of the lease, up to a second, is for a timer that comes late.
		time.AfterFunc(left-min(left/10, time.Second), func() {
			if c := still.Value(); c != nil {
				c.outlive()
			}
		})
	}
	return &stream{opened, c, desc}
}

// waits begins the time until the first answer, if that is still to come.
func (c *call) waits() (since time.Time) {
	if !c.talks && !c.answered.Load() {
		since = time.Now()
	}
	return since
}

func (c *call) waited(since time.Time) {
	if !since.IsZero() {
		c.waiting.Add(int64(time.Since(since)))
	}
}

func (c *call) elapsed() time.Duration { return time.Duration(c.waiting.Load()) }

func (c *call) success() breaker.Result { return breaker.Result{Elapsed: c.elapsed()} }

// answer notes that the server has said something.
func (c *call) answer() {
	if c.answered.Load() {
		return
	}
	c.answered.Store(true)
	if c.due.Load() {
		c.settle(c.sent.ctx, c.success())
	}
}

// outlive has a probe succeed shortly before its lease ends: there was a good answer, and a stream may go on for ever.
func (c *call) outlive() {
	c.due.Store(true)
	if c.answered.Load() {
		c.settle(c.sent.ctx, c.success())
	}
}

// cancelled ends a call that its caller gave up, whether or not anybody receives. A deadline ends it when receiving runs
// into it: that nobody receives is not the server's fault.
func (c *call) cancelled() {
	if errors.Is(c.sent.ctx.Err(), context.Canceled) {
		c.settle(c.sent.ctx, breaker.Result{Outcome: breaker.Ignored})
	}
}

// forget settles a call whose stream is garbage. Whether the caller had cancelled is not asked, for the goroutine of the
// finalizers must not touch the context of a testing/synctest bubble.
func (c *call) forget() {
	r := c.success()
	if !c.answered.Load() {
		r.Outcome = breaker.Ignored
	}
	c.settle(c.sent.ctx, r)
}

// end settles on behalf of whoever holds the stream.
func (c *call) end(ctx context.Context, r breaker.Result) {
	if c.settled.Load() {
		return
	}
	c.settle(ctx, r)
	runtime.SetFinalizer(c, nil)
	if c.stop != nil {
		c.stop()
	}
}

// settle reports the result, of which the permit takes the first.
func (c *call) settle(ctx context.Context, r breaker.Result) {
	c.permit.DoneWith(ctx, r)
	c.settled.Store(true)
}

var _ grpc.ClientStream = (*stream)(nil)
