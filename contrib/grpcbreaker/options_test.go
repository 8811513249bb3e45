package grpcbreaker_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	pb "google.golang.org/grpc/interop/grpc_testing"

	"github.com/otelbreaker/otelbreaker/breaker"
	"github.com/otelbreaker/otelbreaker/contrib/grpcbreaker"
)

func TestG18_BadOptionsAreRefusedByName(t *testing.T) {
	for _, c := range []struct {
		option grpcbreaker.Option
		names  []string
	}{
		{nil, []string{"option 0", "nil"}},
		{grpcbreaker.WithKey(nil), []string{"WithKey", "nil"}},
		{grpcbreaker.WithClassify(nil), []string{"WithClassify", "nil"}},
		{grpcbreaker.WithFailureCodes(), []string{"WithFailureCodes", "one or more"}},
		{grpcbreaker.WithFailureCodes(codes.Unavailable, codes.OK), []string{"WithFailureCodes", "0", "1 to 16"}},
		{grpcbreaker.WithFailureCodes(17), []string{"WithFailureCodes", "17", "1 to 16"}},
		{grpcbreaker.WithMaxEndpoints(0), []string{"WithMaxEndpoints", "0", "1 or more"}},
		{grpcbreaker.WithListeners(nil), []string{"listener 0", "nil"}},
		{grpcbreaker.WithConfig(breaker.Config{Endpoint: "dns:///a.example"}), []string{"Endpoint", "empty"}},
		{grpcbreaker.WithConfig(breaker.Config{FailureRate: 1.5}), []string{"FailureRate", "1.5", "0 to 1"}},
	} {
		tel := newTelemetry()
		guarded, err := grpcbreaker.New(append([]grpcbreaker.Option{c.option}, tel.options()...)...)
		if err == nil || guarded != nil {
			t.Errorf("accepted, though %v", c.names)
			continue
		}
		for _, name := range c.names {
			if !strings.Contains(err.Error(), name) {
				t.Errorf("%v does not say %q", err, name)
			}
		}
	}
	_, err := grpcbreaker.New(grpcbreaker.WithKey(nil), grpcbreaker.WithClassify(nil))
	if err == nil || !strings.Contains(err.Error(), "WithKey") || !strings.Contains(err.Error(), "WithClassify") {
		t.Errorf("not all that is wrong is told: %v", err)
	}
}

func TestTheWholeGroupCanBeginDisabled(t *testing.T) {
	calls, err := grpcbreaker.New(append(newTelemetry().options(), grpcbreaker.WithDisabled("trial"))...)
	if err != nil {
		t.Fatal(err)
	}
	if s := calls.Breakers().Get("dns:///a.example").Snapshot(); s.Override != breaker.Disabled || s.OverrideNote != "trial" {
		t.Errorf("it is %v, %q", s.Override, s.OverrideNote)
	}
}

func TestWithoutAKeyACallGoesPastTheBreakers(t *testing.T) {
	r := start(t, answers(errDown), tripsAtOnce,
		grpcbreaker.WithKey(func(context.Context, string, *grpc.ClientConn) string { return "" }))
	for range 3 {
		for _, k := range kinds {
			if err := k.call(t.Context(), r.client); err == nil || errors.Is(err, breaker.ErrOpen) {
				t.Errorf("%s: %v", k.name, err)
			}
		}
	}
	for _, key := range []func(context.Context, string, *grpc.ClientConn) string{
		grpcbreaker.TargetKey, grpcbreaker.ServiceKey, grpcbreaker.MethodKey,
	} {
		if got := key(t.Context(), "/a.B/C", nil); got != "" {
			t.Errorf("a call without a connection has the key %q", got)
		}
	}
	for b := range r.guarded.Breakers().All() {
		t.Errorf("a breaker was made for %s", b.Snapshot().Endpoint)
	}
}

func TestG12_AFloodOfKeysStaysBoundedAndSparesStreamsAndOpenBreakers(t *testing.T) {
	const most = 8
	tel := newTelemetry()
	guarded := guard(t, tel, tripsAtOnce, grpcbreaker.WithMaxEndpoints(most),
		grpcbreaker.WithKey(func(_ context.Context, method string, _ *grpc.ClientConn) string { return method }))
	call := func(method string, err error) error {
		return guarded.Unary()(t.Context(), method, nil, nil, nil, func(context.Context, string, any, any, *grpc.ClientConn,
			...grpc.CallOption) error {
			return err
		})
	}
	_ = call("down", errDown)
	stream, err := guarded.Stream()(t.Context(), &grpc.StreamDesc{}, nil, "stream", func(context.Context, *grpc.StreamDesc,
		*grpc.ClientConn, string, ...grpc.CallOption) (grpc.ClientStream, error) {
		return &fake{recv: func() error { return nil }}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	flood := func(from, to int) {
		for i := from; i < to; i++ {
			if err := call(fmt.Sprint("/strange.Service/", i), nil); err != nil {
				t.Fatal(err)
			}
		}
		runtime.GC()
	}
	flood(0, 10_000)
	runtime.ReadMemStats(&before)
	flood(10_000, 200_000)
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 1<<20 {
		t.Errorf("the heap has grown by %d bytes", grown)
	}
	series := 0
	for name := range tel.counters(t) {
		if strings.HasPrefix(name, "circuit_breaker.state ") {
			series++
		}
	}
	if series > most+1 {
		t.Errorf("there are %d series of the state", series)
	}
	n := 0
	for range guarded.Breakers().All() {
		n++
	}
	if n > most+1 {
		t.Errorf("there are %d breakers", n)
	}
	if err := call("down", nil); !errors.Is(err, breaker.ErrOpen) {
		t.Errorf("the flood washed away the breaker that was open: %v", err)
	}
	if err := stream.RecvMsg(nil); err != nil {
		t.Fatal(err)
	}
	expect(t, guarded.Breakers().Get("stream"), "the stream's end", counts{success: 1})
}

func TestG08_EveryCallIsCountedOnce(t *testing.T) {
	s := answers(nil)
	s.unary = func(ctx context.Context, r *pb.SimpleRequest) (*pb.SimpleResponse, error) {
		if r.GetFillUsername() {
			return nil, errDown
		}
		return &pb.SimpleResponse{}, nil
	}
	r := start(t, s, grpcbreaker.WithConfig(breaker.Config{FailureThreshold: 3, RecoveryTimeout: 1}))
	var made, blocked atomic.Uint64
	var callers sync.WaitGroup
	for i := range 8 {
		callers.Go(func() {
			for j := range 200 {
				ctx, cancel := context.WithCancel(t.Context())
				k := kinds[(i+j)%len(kinds)]
				var err error
				switch {
				case j%7 == 0: // given up at some time
					go cancel()
					err = k.call(ctx, r.client)
				case j%5 == 0:
					_, err = r.client.UnaryCall(ctx, &pb.SimpleRequest{FillUsername: true})
				default:
					err = k.call(ctx, r.client)
				}
				cancel()
				made.Add(1)
				if errors.Is(err, breaker.ErrOpen) {
					blocked.Add(1)
				}
			}
		})
	}
	callers.Wait()
	total := func() uint64 {
		c := countsOf(r.breaker())
		return c.success + c.failure + c.blocked + c.ignored
	}
	wait(t, func() bool { return total() >= made.Load() }) // a cancelled stream may settle a moment later
	if n := total(); n != made.Load() {
		t.Errorf("%d calls, counted %d", made.Load(), n)
	}
	if c := countsOf(r.breaker()); c.blocked != blocked.Load() || c.success == 0 || c.failure == 0 || c.ignored == 0 {
		t.Errorf("%d were blocked, counted %+v", blocked.Load(), c)
	}
}
