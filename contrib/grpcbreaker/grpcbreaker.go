package grpcbreaker

import (
	"context"
	"errors"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/otelbreaker/otelbreaker/breaker"
	"github.com/otelbreaker/otelbreaker/logs"
	"github.com/otelbreaker/otelbreaker/otelcb"
)

// Interceptors guard the calls of gRPC clients with circuit breakers. One value may serve any number of connections. Make
// it with [New]. All methods may be called concurrently.
type Interceptors struct {
	breakers *breaker.Group
	key      func(context.Context, string, *grpc.ClientConn) string
	classify func(string, error) breaker.Outcome
	close    func() error
}

// New makes interceptors. The error tells of every option that is wrong.
func New(options ...Option) (*Interceptors, error) {
	s, wrong := newSettings(options)
	breakers, err := breaker.NewGroup(s.config, s.group...)
	if err := errors.Join(wrong, err); err != nil {
		return nil, err
	}
	unobserve, err := observe(breakers, s)
	if err != nil {
		return nil, err
	}
	return &Interceptors{breakers: breakers, key: s.key, classify: s.classify, close: sync.OnceValue(unobserve)}, nil
}

// observe connects the breakers to metrics, spans and logs, until the function that it returns is called.
func observe(breakers *breaker.Group, s *settings) (end func() error, err error) {
	registration, err := otelcb.Observe(breakers, otelcb.WithMeterProvider(s.meters), otelcb.WithTracerProvider(s.tracers),
		otelcb.WithLogs(append([]logs.Option{logs.WithLoggerProvider(s.loggers)}, s.logs...)...), otelcb.WithSlog(s.slog))
	if err != nil {
		return nil, err
	}
	return registration.Unregister, nil
}

// DialOptions has a connection use both interceptors. Those of options before stand above them, those after beneath.
func (i *Interceptors) DialOptions() []grpc.DialOption {
	return []grpc.DialOption{grpc.WithChainUnaryInterceptor(i.Unary()), grpc.WithChainStreamInterceptor(i.Stream())}
}

// Unary gives the interceptor of calls with one request and one response.
func (i *Interceptors) Unary() grpc.UnaryClientInterceptor { return i.unary }

// Stream gives the interceptor of all other calls.
func (i *Interceptors) Stream() grpc.StreamClientInterceptor { return i.stream }

// Breakers gives the breakers, for a health page, to subscribe to, or to override.
func (i *Interceptors) Breakers() *breaker.Group { return i.breakers }

// Close ends the telemetry: the breakers' metrics vanish at the next collection, and no more log records and span
// events are written for them. Calls go on being guarded, and the listeners of [WithListeners] being told. A second
// Close does nothing and returns the first one's error.
func (i *Interceptors) Close() error { return i.close() }

func (i *Interceptors) unary(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn,
	invoker grpc.UnaryInvoker, options ...grpc.CallOption,
) error {
	key := i.key(ctx, method, cc)
	if key == "" {
		return invoker(ctx, method, req, reply, cc, options...)
	}
	permit, err := i.breakers.Acquire(ctx, key)
	if err != nil {
		return rejected(err)
	}
	judged := false
	defer func() {
		if !judged { // a panic or Goexit, beneath or of the classification
			permit.DoneWith(ctx, breaker.Result{Outcome: breaker.Failure, ErrorType: breaker.ErrorTypePanic})
		}
	}()

	// In one piece, options and all, to cost one allocation.
	end := new(struct {
		trailer metadata.MD
		options [6]grpc.CallOption
	})
	withTrailer := append(append(end.options[:0], options...), grpc.Trailer(&end.trailer))
	err = invoker(ctx, method, req, reply, cc, withTrailer...)
	var result breaker.Result
	if err != nil {
		sent := request{ctx: ctx, cc: cc, method: method, message: req, options: options}
		result = i.failed(&sent, err, end.trailer)
	}
	permit.DoneWith(ctx, result)
	judged = true
	return err
}

func (i *Interceptors) stream(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string,
	streamer grpc.Streamer, options ...grpc.CallOption,
) (grpc.ClientStream, error) {
	key := i.key(ctx, method, cc)
	if key == "" {
		return streamer(ctx, desc, cc, method, options...)
	}
	permit, err := i.breakers.Acquire(ctx, key)
	if err != nil {
		return nil, rejected(err)
	}
	judged := false
	defer func() {
		if !judged { // as above
			permit.DoneWith(ctx, breaker.Result{Outcome: breaker.Failure, ErrorType: breaker.ErrorTypePanic})
		}
	}()

	start := time.Now()
	opened, err := streamer(ctx, desc, cc, method, options...)
	elapsed := max(time.Since(start), 1) // 0 would stand for the time to the end of the stream
	if err == nil && opened == nil {
		err = status.Error(codes.Internal, "grpcbreaker: an interceptor beneath gave neither a stream nor an error")
	}
	sent := request{ctx: ctx, cc: cc, method: method}
	if err != nil {
		permit.DoneWith(ctx, i.failed(&sent, err, nil))
		judged = true
		return opened, err
	}
	opened = i.watch(&permit, sent, desc, opened, elapsed)
	judged = true
	return opened, nil
}
