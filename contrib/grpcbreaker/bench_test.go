package grpcbreaker_test

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

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

// BenchmarkLoopback compares otelgrpc alone with a breaker over it, with the same SDK behind both, and with a second
// otelgrpc alone, which shows what of a difference is noise. They take turns at every call, in random order, so that
// whatever else the machine does hits them alike. It gives the median and the 99th percentile of a call in ns and the
// allocations of both its sides, and how much more that is than otelgrpc alone, in percent and in allocations.
func BenchmarkLoopback(b *testing.B) {
	address := serve(b, answers(nil))
	for _, k := range []kind{kinds[0], kinds[1]} {
		b.Run(strings.ReplaceAll(k.name, " ", "-"), func(b *testing.B) {
			contenders := []*contender{{name: "alone"}, {name: "noise"}, {name: "breaker"}}
			for _, c := range contenders {
				tel := newBenchTelemetry()
				options := []grpc.DialOption{tel.instrument()}
				if c.name == "breaker" {
					options = append(options, guard(b, tel).DialOptions()...)
				}
				c.client, c.kind = pb.NewTestServiceClient(dial(b, address, options...)), k
				c.took = make([]time.Duration, 0, 1<<20)
			}
			for range 1_000 {
				for _, c := range contenders {
					c.call(b)
				}
			}
			for _, c := range contenders {
				c.allocations = testing.AllocsPerRun(2_000, func() { c.call(b) })
			}
			turns := slices.Clone(contenders)
			for b.Loop() {
				rand.Shuffle(len(turns), func(i, j int) { turns[i], turns[j] = turns[j], turns[i] })
				for _, c := range turns {
					start := time.Now()
					c.call(b)
					c.took = append(c.took, time.Since(start))
				}
			}
			b.ReportMetric(0, "ns/op") // that of three calls says nothing
			alone := contenders[0]
			for _, c := range contenders {
				p50, p99 := c.percentile(50), c.percentile(99)
				b.ReportMetric(p50, "p50-ns-"+c.name)
				b.ReportMetric(p99, "p99-ns-"+c.name)
				b.ReportMetric(c.allocations, "allocs-"+c.name)
				if c != alone {
					b.ReportMetric(100*(p50/alone.percentile(50)-1), "%p50-"+c.name)
					b.ReportMetric(100*(p99/alone.percentile(99)-1), "%p99-"+c.name)
					b.ReportMetric(c.allocations-alone.allocations, "more-allocs-"+c.name)
				}
			}
		})
	}
}

// contender is one of those that BenchmarkLoopback compares.
type contender struct {
	name        string
	client      pb.TestServiceClient
	kind        kind
	allocations float64
	took        []time.Duration
}

func (c *contender) call(b *testing.B) {
	if err := c.kind.call(b.Context(), c.client); err != nil {
		b.Fatal(err)
	}
}

func (c *contender) percentile(p int) float64 {
	slices.Sort(c.took)
	return float64(c.took[min(len(c.took)*p/100, len(c.took)-1)])
}
