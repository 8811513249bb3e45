package grpcbreaker_test

import (
	"context"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/log"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	pb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"

	"github.com/otelbreaker/otelbreaker/breaker"
	"github.com/otelbreaker/otelbreaker/contrib/grpcbreaker"
	"github.com/otelbreaker/otelbreaker/internal/signals"
)

// telemetry collects all that leaves.
type telemetry struct {
	reader  *metric.ManualReader
	meters  *metric.MeterProvider
	spans   *tracetest.SpanRecorder
	tracers *trace.TracerProvider
	records *signals.Records
	loggers *log.LoggerProvider
}

func newTelemetry() *telemetry {
	t := &telemetry{reader: metric.NewManualReader(), spans: tracetest.NewSpanRecorder(), records: new(signals.Records)}
	t.meters = metric.NewMeterProvider(metric.WithReader(t.reader))
	t.tracers = trace.NewTracerProvider(trace.WithSpanProcessor(t.spans))
	t.loggers = log.NewLoggerProvider(log.WithProcessor(t.records))
	return t
}

// newBenchTelemetry is one that keeps nothing.
func newBenchTelemetry() *telemetry {
	return &telemetry{meters: metric.NewMeterProvider(metric.WithReader(metric.NewManualReader())),
		tracers: trace.NewTracerProvider(), loggers: log.NewLoggerProvider()}
}

func (tel *telemetry) options() []grpcbreaker.Option {
	return []grpcbreaker.Option{grpcbreaker.WithMeterProvider(tel.meters),
		grpcbreaker.WithTracerProvider(tel.tracers), grpcbreaker.WithLoggerProvider(tel.loggers)}
}

// instrument is otelgrpc.
func (tel *telemetry) instrument() grpc.DialOption {
	return grpc.WithStatsHandler(otelgrpc.NewClientHandler(
		otelgrpc.WithMeterProvider(tel.meters), otelgrpc.WithTracerProvider(tel.tracers)))
}

// counters gives the breakers' counters, as instrument and labels to the value.
func (tel *telemetry) counters(t testing.TB) map[string]int64 {
	t.Helper()
	var all metricdata.ResourceMetrics
	if err := tel.reader.Collect(context.Background(), &all); err != nil {
		t.Fatal(err)
	}
	points := map[string]int64{}
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			var from []metricdata.DataPoint[int64]
			switch data := m.Data.(type) {
			case metricdata.Gauge[int64]:
				from = data.DataPoints
			case metricdata.Sum[int64]:
				from = data.DataPoints
			}
			for _, p := range from {
				points[m.Name+" "+p.Attributes.Encoded(attribute.DefaultEncoder())] = p.Value
			}
		}
	}
	return points
}

// service answers as it is told to.
type service struct {
	pb.UnimplementedTestServiceServer
	unary    func(context.Context, *pb.SimpleRequest) (*pb.SimpleResponse, error)
	download func(*pb.StreamingOutputCallRequest, pb.TestService_StreamingOutputCallServer) error
	upload   func(pb.TestService_StreamingInputCallServer) error
	talk     func(pb.TestService_FullDuplexCallServer) error
}

func (s *service) UnaryCall(ctx context.Context, r *pb.SimpleRequest) (*pb.SimpleResponse, error) {
	return s.unary(ctx, r)
}

func (s *service) StreamingOutputCall(r *pb.StreamingOutputCallRequest, to pb.TestService_StreamingOutputCallServer) error {
	return s.download(r, to)
}

func (s *service) StreamingInputCall(from pb.TestService_StreamingInputCallServer) error {
	return s.upload(from)
}

func (s *service) FullDuplexCall(with pb.TestService_FullDuplexCallServer) error { return s.talk(with) }

// answers is the service whose every method ends with err.
func answers(err error) *service {
	return &service{
		unary: func(context.Context, *pb.SimpleRequest) (*pb.SimpleResponse, error) {
			return &pb.SimpleResponse{}, err
		},
		download: func(_ *pb.StreamingOutputCallRequest, to pb.TestService_StreamingOutputCallServer) error {
			_ = to.Send(&pb.StreamingOutputCallResponse{})
			return err
		},
		upload: func(from pb.TestService_StreamingInputCallServer) error {
			for {
				if _, end := from.Recv(); end != nil {
					break
				}
			}
			if err != nil {
				return err
			}
			return from.SendAndClose(&pb.StreamingInputCallResponse{})
		},
		talk: func(with pb.TestService_FullDuplexCallServer) error {
			_, _ = with.Recv()
			_ = with.Send(&pb.StreamingOutputCallResponse{})
			return err
		},
	}
}

// serve starts a server on a loopback port and gives its address.
func serve(t testing.TB, s pb.TestServiceServer, options ...grpc.ServerOption) string {
	t.Helper()
	_, address := serveWith(t, s, options...)
	return address
}

func serveWith(t testing.TB, s pb.TestServiceServer, options ...grpc.ServerOption) (server *grpc.Server, address string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server = grpc.NewServer(options...)
	pb.RegisterTestServiceServer(server, s)
	var served sync.WaitGroup
	served.Go(func() { _ = server.Serve(listener) })
	t.Cleanup(func() {
		server.Stop()
		served.Wait()
	})
	return server, listener.Addr().String()
}

// rig is a client, guarded, of a server.
type rig struct {
	*telemetry
	guarded *grpcbreaker.Interceptors
	conn    *grpc.ClientConn
	client  pb.TestServiceClient
}

func guard(t testing.TB, tel *telemetry, options ...grpcbreaker.Option) *grpcbreaker.Interceptors {
	t.Helper()
	guarded, err := grpcbreaker.New(append(tel.options(), options...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := guarded.Close(); err != nil {
			t.Error(err)
		}
	})
	return guarded
}

func dial(t testing.TB, address string, options ...grpc.DialOption) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient(address,
		append([]grpc.DialOption{grpc.WithTransportCredentials(insecure.NewCredentials())}, options...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// start puts a guarded client, with otelgrpc, before a service.
func start(t testing.TB, s pb.TestServiceServer, options ...grpcbreaker.Option) *rig {
	t.Helper()
	r := &rig{telemetry: newTelemetry()}
	r.guarded = guard(t, r.telemetry, options...)
	r.conn = dial(t, serve(t, s), append(r.guarded.DialOptions(), r.instrument())...)
	r.client = pb.NewTestServiceClient(r.conn)
	return r
}

// breakerOf gives a connection's breaker.
func breakerOf(guarded *grpcbreaker.Interceptors, conn *grpc.ClientConn) *breaker.Breaker {
	return guarded.Breakers().Get(grpcbreaker.TargetKey(context.Background(), "", conn))
}

func (r *rig) breaker() *breaker.Breaker { return breakerOf(r.guarded, r.conn) }

func (r *rig) call(ctx context.Context) error {
	_, err := r.client.UnaryCall(ctx, &pb.SimpleRequest{})
	return err
}

// kind is one of the four kinds of calls, made from beginning to end.
type kind struct {
	name string
	call func(ctx context.Context, client pb.TestServiceClient) error
}

var kinds = []kind{
	{"unary", func(ctx context.Context, client pb.TestServiceClient) error {
		_, err := client.UnaryCall(ctx, &pb.SimpleRequest{})
		return err
	}},
	{"server streams", func(ctx context.Context, client pb.TestServiceClient) error {
		stream, err := client.StreamingOutputCall(ctx, &pb.StreamingOutputCallRequest{})
		if err != nil {
			return err
		}
		return drain(stream)
	}},
	{"client streams", func(ctx context.Context, client pb.TestServiceClient) error {
		stream, err := client.StreamingInputCall(ctx)
		if err != nil {
			return err
		}
		_ = stream.Send(&pb.StreamingInputCallRequest{})
		_, err = stream.CloseAndRecv()
		return err
	}},
	{"both stream", func(ctx context.Context, client pb.TestServiceClient) error {
		stream, err := client.FullDuplexCall(ctx)
		if err != nil {
			return err
		}
		_ = stream.Send(&pb.StreamingOutputCallRequest{})
		return drain(stream)
	}},
}

// counts are a breaker's totals.
type counts struct{ success, failure, blocked, ignored uint64 }

func countsOf(b *breaker.Breaker) counts {
	s := b.Snapshot()
	return counts{s.Success, s.Failure, s.Blocked, s.Ignored}
}

func expect(t testing.TB, b *breaker.Breaker, when string, want counts) {
	t.Helper()
	if got := countsOf(b); got != want {
		t.Errorf("%s: %+v, want %+v", when, got, want)
	}
}

// wait waits for something to happen, garbage collection included.
func wait(t testing.TB, happened func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !happened(); runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatal("it does not happen")
		}
		runtime.GC()
	}
}

// settles waits until the totals are these.
func settles(t testing.TB, b *breaker.Breaker, when string, want counts) {
	t.Helper()
	defer func() { expect(t, b, when, want) }()
	wait(t, func() bool { return countsOf(b) == want })
}

// tripsAtOnce is a configuration under which one failure is enough, neverTrips one under which none is.
var (
	tripsAtOnce = grpcbreaker.WithConfig(breaker.Config{FailureThreshold: 1})
	neverTrips  = grpcbreaker.WithConfig(breaker.Config{FailureThreshold: 1_000_000})
)

var errDown = status.Error(codes.Unavailable, "down")
