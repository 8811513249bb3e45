package grpcbreaker_test

import (
	"context"
	"errors"
	"io"
	"testing"

	"google.golang.org/grpc"
	pb "google.golang.org/grpc/interop/grpc_testing"

	"github.com/otelbreaker/otelbreaker/breaker"
)

// inert makes unary calls and streams that cost nothing.
func inert(context.Context, string, any, any, *grpc.ClientConn, ...grpc.CallOption) error { return nil }

func TestACallAllocatesLittle(t *testing.T) {
	guarded := guard(t, newTelemetry())
	conn := dial(t, "passthrough:///a.example:443", guarded.DialOptions()...)
	b := breakerOf(guarded, conn)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	desc := &grpc.StreamDesc{ServerStreams: true}
	ended := &fake{recv: func() error { return io.EOF }}
	opener := func(context.Context, *grpc.StreamDesc, *grpc.ClientConn, string, ...grpc.CallOption) (grpc.ClientStream, error) {
		return ended, nil
	}
	unary := func() { _ = guarded.Unary()(ctx, "/a.B/C", nil, nil, conn, inert) }
	streaming := func() {
		if s, err := guarded.Stream()(ctx, desc, conn, "/a.B/C", opener); err == nil {
			_ = s.RecvMsg(nil)
		}
	}
	for _, c := range []struct {
		name string
		call func()
		most float64
	}{{"a call", unary, 1}, {"a stream", streaming, 6}} {
		if n := testing.AllocsPerRun(200, c.call); n > c.most {
			t.Errorf("%s: %v allocations", c.name, n)
		} else {
			t.Logf("%s: %v allocations", c.name, n)
		}
	}
	b.ForceOpen("test")
	for _, call := range []func(){unary, streaming} {
		if n := testing.AllocsPerRun(200, call); n > 1 {
			t.Errorf("%v allocations a rejection", n)
		}
	}
}

func BenchmarkRejected(b *testing.B) {
	guarded := guard(b, newTelemetry())
	conn := dial(b, "passthrough:///a.example:443", guarded.DialOptions()...)
	breakerOf(guarded, conn).ForceOpen("benchmark")
	client := pb.NewTestServiceClient(conn)
	ctx, in := b.Context(), &pb.SimpleRequest{}
	b.Run("unary", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := client.UnaryCall(ctx, in); err == nil {
				b.Fatal("let through")
			}
		}
	})
	b.Run("stream", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := client.FullDuplexCall(ctx); err == nil {
				b.Fatal("let through")
			}
		}
	})
	b.Run("parallel", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if _, err := client.UnaryCall(ctx, in); !errors.Is(err, breaker.ErrOpen) {
					b.Error("let through")
				}
			}
		})
	})
}

// BenchmarkPassed is what the interceptor itself costs: a call that costs nothing.
func BenchmarkPassed(b *testing.B) {
	guarded := guard(b, newTelemetry())
	conn := dial(b, "passthrough:///a.example:443", guarded.DialOptions()...)
	ctx, unary := b.Context(), guarded.Unary()
	b.ReportAllocs()
	for b.Loop() {
		if err := unary(ctx, "/a.B/C", nil, nil, conn, inert); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkLoopback compares otelgrpc alone with the interceptors above it, with the same SDK behind both.
func BenchmarkLoopback(b *testing.B) {
	address := serve(b, answers(nil))
	for _, k := range []kind{kinds[0], kinds[1]} {
		for _, with := range []bool{false, true} {
			name := k.name + "/otelgrpc alone"
			tel := newBenchTelemetry()
			options := []grpc.DialOption{tel.instrument()}
			if with {
				name = k.name + "/breaker over it"
				options = append(options, guard(b, tel).DialOptions()...)
			}
			client := pb.NewTestServiceClient(dial(b, address, options...))
			b.Run(name, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if err := k.call(b.Context(), client); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
