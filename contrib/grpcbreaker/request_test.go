package grpcbreaker_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/gzip" // registers it
	"google.golang.org/grpc/encoding/proto"
	pb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/otelbreaker/otelbreaker/breaker"
	"github.com/otelbreaker/otelbreaker/contrib/grpcbreaker"
)

// broken are credentials that cannot be had.
type broken struct{ err error }

func (b broken) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return nil, b.err
}
func (b broken) RequireTransportSecurity() bool { return false }

// secure are credentials for secure connections alone.
type secure struct{ broken }

func (secure) RequireTransportSecurity() bool { return true }

// malformed are credentials that cannot be sent.
type malformed struct{ broken }

func (malformed) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "a\x00b"}, nil
}

// probing makes a breaker wait for its probe.
func probing(t testing.TB, b *breaker.Breaker) {
	t.Helper()
	_ = b.Do(context.Background(), func(context.Context) error { return errDown })
	wait(t, func() bool { return b.State() == breaker.HalfOpen })
}

func TestG09_CredentialsThatFailSayNothingOfTheServer(t *testing.T) {
	served := answers(nil)
	served.unary = func(context.Context, *pb.SimpleRequest) (*pb.SimpleResponse, error) {
		t.Error("the server got it")
		return nil, nil
	}
	address := serve(t, served)
	all := map[string]broken{"no status": {errors.New("no token")}, "late": {context.DeadlineExceeded}}
	for c := codes.Canceled; c <= codes.Unauthenticated; c++ {
		all[c.String()] = broken{status.Error(c, "no token")}
	}
	atOnce := grpcbreaker.WithConfig(breaker.Config{FailureThreshold: 1, RecoveryTimeout: 1})
	for name, creds := range all {
		for where, options := range map[string][]grpc.DialOption{
			"of the connection": {grpc.WithPerRPCCredentials(creds)},
			"of the call":       {grpc.WithDefaultCallOptions(grpc.PerRPCCredentials(creds))},
		} {
			guarded := guard(t, newTelemetry(), atOnce)
			conn := dial(t, address, append(options, guarded.DialOptions()...)...)
			b := breakerOf(guarded, conn)
			probing(t, b)
			for i, k := range kinds {
				if err := k.call(t.Context(), pb.NewTestServiceClient(conn)); err == nil {
					t.Errorf("%s, %s, %s: no error", name, where, k.name)
				}
				expect(t, b, fmt.Sprint(name, ", ", where, ", ", k.name), counts{failure: 1, ignored: uint64(i) + 1})
				if s := b.State(); s != breaker.HalfOpen {
					t.Errorf("%s, %s, %s: the probe left it %v", name, where, k.name, s)
				}
			}
		}
	}
	for name, creds := range map[string]grpc.CallOption{
		"for secure connections": grpc.PerRPCCredentials(secure{}), "malformed": grpc.PerRPCCredentials(malformed{}),
	} {
		guarded := guard(t, newTelemetry(), tripsAtOnce)
		conn := dial(t, address, append(guarded.DialOptions(), grpc.WithDefaultCallOptions(creds))...)
		for i, k := range kinds {
			if err := k.call(t.Context(), pb.NewTestServiceClient(conn)); err == nil {
				t.Errorf("%s, %s: no error", name, k.name)
			}
			expect(t, breakerOf(guarded, conn), name+", "+k.name, counts{ignored: uint64(i) + 1})
		}
	}
}

func TestG09_MoreMetadataThanTheServerTakesIsIgnored(t *testing.T) {
	address := serve(t, answers(nil), grpc.MaxHeaderListSize(2000))
	guarded := guard(t, newTelemetry(), grpcbreaker.WithConfig(breaker.Config{FailureThreshold: 1, RecoveryTimeout: 1}))
	conn := dial(t, address, guarded.DialOptions()...)
	b := breakerOf(guarded, conn)
	probing(t, b)
	large := metadata.AppendToOutgoingContext(t.Context(), "user", strings.Repeat("a", 3000))
	for i, k := range kinds {
		err := k.call(large, pb.NewTestServiceClient(conn))
		if status.Code(err) != codes.Internal || !strings.Contains(err.Error(), "header list size") {
			t.Errorf("%s: %v", k.name, err)
		}
		expect(t, b, k.name, counts{failure: 1, ignored: uint64(i) + 1})
		if s := b.State(); s != breaker.HalfOpen {
			t.Errorf("%s: the probe left it %v", k.name, s)
		}
	}
	if err := kinds[0].call(t.Context(), pb.NewTestServiceClient(conn)); err != nil {
		t.Error(err)
	}
	if s := b.State(); s != breaker.Closed {
		t.Errorf("a probe that was sent left it %v", s)
	}
}

// noise is a message of some size, whose compressed form is no smaller.
func noise(size int) *pb.SimpleRequest {
	body := make([]byte, size)
	r := rand.NewChaCha8([32]byte{})
	_, _ = r.Read(body)
	return &pb.SimpleRequest{Payload: &pb.Payload{Body: body}}
}

func TestG09_AMessageIsTooLargeWhenGRPCSaysSo(t *testing.T) {
	zeros := &pb.SimpleRequest{Payload: &pb.Payload{Body: make([]byte, 1000)}}
	gzip, most := grpc.UseCompressor("gzip"), grpc.MaxCallSendMsgSize
	exhausted := answers(status.Error(codes.ResourceExhausted, "no more today"))
	config := grpc.WithDefaultServiceConfig(`{"methodConfig": [{"name": [{}], "maxRequestMessageBytes": 100}]}`)
	for _, c := range []struct {
		name    string
		message *pb.SimpleRequest
		options []grpc.CallOption
		dial    []grpc.DialOption
		want    counts // of a server that fails with ResourceExhausted if it gets the call
	}{
		{"within the limit", zeros, []grpc.CallOption{most(2000)}, nil, counts{failure: 1}},
		{"beyond it", zeros, []grpc.CallOption{most(100)}, nil, counts{ignored: 1}},
		{"beyond it, the last option holding", zeros, []grpc.CallOption{most(2000), most(100)}, nil, counts{ignored: 1}},
		{"within it when compressed", zeros, []grpc.CallOption{most(100), gzip}, nil, counts{failure: 1}},
		{"beyond it though compressed", noise(1000), []grpc.CallOption{gzip, most(100)}, nil, counts{ignored: 1}},
		{"beyond it because compressed", noise(1000), []grpc.CallOption{gzip, most(1010)}, nil, counts{ignored: 1}},
		{"by the service config", zeros, nil, []grpc.DialOption{config}, counts{ignored: 1}},
		{"compressed by the connection's option", zeros, []grpc.CallOption{most(100)},
			[]grpc.DialOption{grpc.WithDefaultCallOptions(gzip)}, counts{failure: 1}},
		{"by another codec", zeros, []grpc.CallOption{most(1500), grpc.ForceCodecV2(twice{})}, nil, counts{ignored: 1}},
		{"by another codec of the first kind", zeros, []grpc.CallOption{most(1500), grpc.ForceCodec(first{})}, nil, counts{ignored: 1}},
		{"by a codec that is registered", zeros, []grpc.CallOption{most(1500), grpc.CallContentSubtype("twice")}, nil, counts{ignored: 1}},
		{"by an older one that is registered", zeros, []grpc.CallOption{most(1500), grpc.CallContentSubtype("first")}, nil, counts{ignored: 1}},
	} {
		guarded := guard(t, newTelemetry(), tripsAtOnce)
		conn := dial(t, serve(t, exhausted), append(guarded.DialOptions(), c.dial...)...)
		_, err := pb.NewTestServiceClient(conn).UnaryCall(t.Context(), c.message, c.options...)
		if status.Code(err) != codes.ResourceExhausted {
			t.Errorf("%s: %v", c.name, err)
		}
		expect(t, breakerOf(guarded, conn), c.name, c.want)
	}
}

// twice is a codec that says everything twice, first the same of gRPC's older kind.
type (
	twice struct{}
	first struct{}
)

func (twice) Name() string { return "twice" }
func (first) Name() string { return "first" }

func (twice) Marshal(v any) (mem.BufferSlice, error) {
	data, err := first{}.Marshal(v)
	return mem.BufferSlice{mem.SliceBuffer(data)}, err
}

func (twice) Unmarshal(mem.BufferSlice, any) error { return nil }

func (first) Marshal(v any) ([]byte, error) {
	data, err := encoding.GetCodecV2(proto.Name).Marshal(v)
	return bytes.Repeat(data.Materialize(), 2), err
}

func (first) Unmarshal([]byte, any) error { return nil }

func init() {
	encoding.RegisterCodecV2(twice{})
	encoding.RegisterCodec(first{})
	encoding.RegisterCompressor(jammed{})
}

// jammed is a compressor that fails.
type jammed struct{}

func (jammed) Name() string                                 { return "jammed" }
func (jammed) Compress(io.Writer) (io.WriteCloser, error)   { return nil, errors.New("jammed") }
func (jammed) Decompress(from io.Reader) (io.Reader, error) { return from, nil }

func TestG09_AMessageThatCannotBeEncodedIsIgnored(t *testing.T) {
	r := start(t, answers(nil), tripsAtOnce)
	for i, o := range []grpc.CallOption{grpc.UseCompressor("jammed"), grpc.UseCompressor("unheard-of"), grpc.CallContentSubtype("unheard-of")} {
		_, err := r.client.UnaryCall(t.Context(), noise(10), o)
		if status.Code(err) != codes.Internal {
			t.Errorf("%v: %v", o, err)
		}
		expect(t, r.breaker(), fmt.Sprint(o), counts{ignored: uint64(i) + 1})
	}
}

// A server's limit is the server's own, and its refusal has its code; so has what it cannot send. The client's limit on
// what it takes is not.
func TestG09_AnAnswerThatTheCallerDoesNotTakeIsIgnored(t *testing.T) {
	large := make([]byte, 1000)
	s := answers(nil)
	s.unary = func(context.Context, *pb.SimpleRequest) (*pb.SimpleResponse, error) {
		return &pb.SimpleResponse{Payload: &pb.Payload{Body: large}}, nil
	}
	s.download = func(_ *pb.StreamingOutputCallRequest, to pb.TestService_StreamingOutputCallServer) error {
		return to.Send(&pb.StreamingOutputCallResponse{Payload: &pb.Payload{Body: large}})
	}
	r := start(t, s, tripsAtOnce)
	var ignored uint64
	for _, options := range [][]grpc.CallOption{
		{grpc.MaxCallRecvMsgSize(100)}, {grpc.MaxCallRecvMsgSize(100), grpc.UseCompressor("gzip")},
	} {
		_, err := r.client.UnaryCall(t.Context(), &pb.SimpleRequest{}, options...)
		if status.Code(err) != codes.ResourceExhausted {
			t.Errorf("unary: %v", err)
		}
		ignored++
		expect(t, r.breaker(), "unary", counts{ignored: ignored})
		stream, err := r.client.StreamingOutputCall(t.Context(), &pb.StreamingOutputCallRequest{}, options...)
		if err != nil {
			t.Fatal(err)
		}
		if err := drain(stream); status.Code(err) != codes.ResourceExhausted {
			t.Errorf("stream: %v", err)
		}
		ignored++
		expect(t, r.breaker(), "stream", counts{ignored: ignored})
	}

	guarded := guard(t, newTelemetry(), neverTrips)
	for i, o := range []grpc.ServerOption{grpc.MaxRecvMsgSize(100), grpc.MaxSendMsgSize(100)} {
		conn := dial(t, serve(t, s, o), append(guarded.DialOptions(), grpc.WithDefaultCallOptions(grpc.MaxCallSendMsgSize(math.MaxInt32)))...)
		_, err := pb.NewTestServiceClient(conn).UnaryCall(t.Context(), noise(1000))
		if status.Code(err) != codes.ResourceExhausted {
			t.Errorf("%d: %v", i, err)
		}
		expect(t, breakerOf(guarded, conn), fmt.Sprint("the server's limit ", i), counts{failure: 1})
	}
}

// What an interceptor beneath refuses was not sent either.
func TestG09_WhatIsRefusedBeneathIsIgnored(t *testing.T) {
	guarded := guard(t, newTelemetry(), tripsAtOnce)
	invalid := status.Error(codes.InvalidArgument, "no amount")
	conn := dial(t, serve(t, answers(nil)), append(guarded.DialOptions(),
		grpc.WithChainUnaryInterceptor(func(context.Context, string, any, any, *grpc.ClientConn, grpc.UnaryInvoker, ...grpc.CallOption) error {
			return invalid
		}))...)
	if err := kinds[0].call(t.Context(), pb.NewTestServiceClient(conn)); err != invalid {
		t.Errorf("it came as %v", err)
	}
	expect(t, breakerOf(guarded, conn), "refused", counts{ignored: 1})
}

// tardy are credentials that take until the deadline, and say so in their own words.
type tardy struct{ broken }

func (tardy) GetRequestMetadata(ctx context.Context, _ ...string) (map[string]string, error) {
	<-ctx.Done()
	return nil, status.Error(codes.DeadlineExceeded, "no token in time")
}

// A deadline that passes before anything is sent is a failure as any other is, also that of a service config.
func TestG09_ADeadlineThatPassesBeforeTheCallIsSentIsAFailure(t *testing.T) {
	config := grpc.WithDefaultServiceConfig(`{"methodConfig": [{
		"name": [{"service": "grpc.testing.TestService", "method": "UnaryCall"}], "timeout": "0.03s"}]}`)
	soon := func() context.Context {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
		t.Cleanup(cancel)
		return ctx
	}
	expectLate := func(name string, guarded *grpcbreaker.Interceptors, conn *grpc.ClientConn, ctx context.Context) {
		t.Helper()
		if err := kinds[0].call(ctx, pb.NewTestServiceClient(conn)); status.Code(err) != codes.DeadlineExceeded {
			t.Errorf("%s: %v", name, err)
		}
		expect(t, breakerOf(guarded, conn), name, counts{failure: 1})
	}

	guarded := guard(t, newTelemetry(), neverTrips)
	expectLate("credentials that are late", guarded, dial(t, serve(t, answers(nil)),
		append(guarded.DialOptions(), grpc.WithPerRPCCredentials(tardy{}))...), soon())

	nobody := dial(t, "127.0.0.1:1", append(guarded.DialOptions(), config, grpc.WithDefaultCallOptions(grpc.WaitForReady(true)))...)
	expectLate("no connection in the service config's time", guarded, nobody, t.Context())

	s, arrived := stalling()
	conn := dial(t, serve(t, s, grpc.MaxConcurrentStreams(1)), append(guarded.DialOptions(), config)...)
	// The only place is taken by another call, of a method that the service config leaves its time.
	held, cancel := context.WithCancel(t.Context())
	defer cancel()
	stream, err := conn.NewStream(held, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, "/grpc.testing.TestService/FullDuplexCall")
	if err != nil {
		t.Fatal(err)
	}
	<-arrived
	expectLate("no place in the service config's time", guarded, conn, t.Context())
	runtime.KeepAlive(stream)
}

// A server that has sent headers says in its trailer no more than its status.
func TestG09_AServersWordsAreNotTakenForTheClients(t *testing.T) {
	s := answers(nil)
	s.unary = func(ctx context.Context, _ *pb.SimpleRequest) (*pb.SimpleResponse, error) {
		_ = grpc.SendHeader(ctx, metadata.Pairs("a", "b"))
		return nil, status.Error(codes.ResourceExhausted, "trying to send message larger than max (900 vs. 100)")
	}
	r := start(t, s, neverTrips)
	_, _ = r.client.UnaryCall(t.Context(), noise(1000))
	expect(t, r.breaker(), "of its own answer", counts{failure: 1})
}
