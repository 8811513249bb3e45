package grpcbreaker_test

import (
	"context"
	"errors"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	pb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/otelbreaker/otelbreaker/breaker"
	"github.com/otelbreaker/otelbreaker/contrib/grpcbreaker"
)

func TestG11_AStreamIsJudgedAtItsEnd(t *testing.T) {
	for _, c := range []struct {
		name string
		err  error
		want counts
	}{
		{"well", nil, counts{success: 1}},
		{"by a failure", errDown, counts{failure: 1}},
		{"by an answer", status.Error(codes.NotFound, ""), counts{success: 1}},
	} {
		end := make(chan struct{})
		s := answers(nil)
		s.talk = func(with pb.TestService_FullDuplexCallServer) error {
			for {
				if _, err := with.Recv(); err != nil {
					break // the client's half is closed
				}
				_ = with.Send(&pb.StreamingOutputCallResponse{})
			}
			<-end
			return c.err
		}
		r := start(t, s, neverTrips)
		stream, err := r.client.FullDuplexCall(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			_ = stream.Send(&pb.StreamingOutputCallRequest{})
			if _, err := stream.Recv(); err != nil {
				t.Fatal(err)
			}
		}
		_ = stream.CloseSend()
		expect(t, r.breaker(), c.name+", half closed", counts{})
		close(end)
		_, err = stream.Recv()
		if want := c.err; status.Code(err) != status.Code(want) && !errors.Is(err, io.EOF) {
			t.Errorf("%s: received %v", c.name, err)
		}
		expect(t, r.breaker(), c.name, c.want)
		for range 2 {
			_, _ = stream.Recv()
			_ = stream.Send(&pb.StreamingOutputCallRequest{})
			_, _ = stream.Header()
		}
		expect(t, r.breaker(), c.name+", afterwards", c.want)
	}
}

// A server may end a stream before the client has said all it has to say.
func TestG11_AStreamThatTheServerEndsEarlyIsJudgedByItsCode(t *testing.T) {
	for _, c := range []struct {
		err  error
		want counts
	}{{errDown, counts{failure: 1}}, {status.Error(codes.InvalidArgument, ""), counts{success: 1}}} {
		s := answers(nil)
		s.upload = func(pb.TestService_StreamingInputCallServer) error { return c.err }
		r := start(t, s, neverTrips)
		stream, err := r.client.StreamingInputCall(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for err == nil { // until gRPC has the server's word
			err = stream.Send(&pb.StreamingInputCallRequest{})
		}
		if !errors.Is(err, io.EOF) {
			t.Fatalf("sending ended with %v", err)
		}
		expect(t, r.breaker(), "sending ended", counts{})
		if md, err := stream.Header(); md != nil || err != nil {
			t.Errorf("the headers are %v, %v", md, err)
		}
		if _, err := stream.CloseAndRecv(); status.Code(err) != status.Code(c.err) {
			t.Errorf("received %v", err)
		}
		expect(t, r.breaker(), status.Code(c.err).String(), c.want)
	}
}

func TestG11_AServerThatDiesBreaksItsStreamsOff(t *testing.T) {
	s := answers(nil)
	s.download = func(_ *pb.StreamingOutputCallRequest, to pb.TestService_StreamingOutputCallServer) error {
		_ = to.Send(&pb.StreamingOutputCallResponse{})
		<-to.Context().Done()
		return nil
	}
	server, address := serveWith(t, s)
	guarded := guard(t, newTelemetry(), neverTrips)
	conn := dial(t, address, guarded.DialOptions()...)
	stream, err := pb.NewTestServiceClient(conn).StreamingOutputCall(t.Context(), &pb.StreamingOutputCallRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	server.Stop()
	if err := drain(stream); status.Code(err) != codes.Unavailable {
		t.Errorf("received %v", err)
	}
	expect(t, breakerOf(guarded, conn), "broken off", counts{failure: 1})
}

func TestG11_AStreamThatNobodyWantsSettlesAsGarbage(t *testing.T) {
	s, _ := stalling()
	r := start(t, s, tripsAtOnce)
	forget := func(receive bool) {
		stream, err := r.client.StreamingOutputCall(t.Context(), &pb.StreamingOutputCallRequest{})
		if err != nil {
			t.Fatal(err)
		}
		if receive {
			if _, err := stream.Recv(); err != nil {
				t.Fatal(err)
			}
		}
	}
	forget(true)
	settles(t, r.breaker(), "with an answer", counts{success: 1})
	forget(false)
	settles(t, r.breaker(), "without one", counts{success: 1, ignored: 1})
}

// The end of the process would be the penalty for looking at the bubble's context from without.
func TestG11_GarbageOfABubbleHarmsNobody(t *testing.T) {
	var b *breaker.Breaker
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		_ = cancel // whoever calls it ends the call, too
		var s grpc.ClientStream
		b, s = open(ctx, t, &fake{recv: func() error { return nil }})
		if err := s.RecvMsg(nil); err != nil {
			t.Fatal(err)
		}
	})
	settles(t, b, "the bubble is over", counts{success: 1})
}

// open makes a guarded stream of one that does as it is told.
func open(ctx context.Context, t testing.TB, inner grpc.ClientStream, options ...grpcbreaker.Option) (
	*breaker.Breaker, grpc.ClientStream,
) {
	t.Helper()
	guarded := guard(t, newTelemetry(), append(options, oneKey)...)
	return guarded.Breakers().Get("key"), openWith(ctx, t, guarded, inner)
}

func openWith(ctx context.Context, t testing.TB, guarded *grpcbreaker.Interceptors, inner grpc.ClientStream) grpc.ClientStream {
	t.Helper()
	s, err := guarded.Stream()(ctx, &grpc.StreamDesc{ServerStreams: true}, nil, "/a.B/C", func(context.Context,
		*grpc.StreamDesc, *grpc.ClientConn, string, ...grpc.CallOption) (grpc.ClientStream, error) {
		return inner, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestG11_ErrorsOfHeaderAndSendEndTheStream(t *testing.T) {
	failing := &fake{
		header: func() (metadata.MD, error) { return nil, errDown },
		send:   func() error { return errDown },
	}
	b, s := open(t.Context(), t, failing, neverTrips)
	if _, err := s.Header(); err != errDown {
		t.Errorf("Header gives %v", err)
	}
	expect(t, b, "Header failed", counts{failure: 1})
	b, s = open(t.Context(), t, failing, neverTrips)
	if err := s.SendMsg(nil); err != errDown {
		t.Errorf("SendMsg gives %v", err)
	}
	expect(t, b, "SendMsg failed", counts{failure: 1})
	_ = s.SendMsg(nil)
	expect(t, b, "and again", counts{failure: 1})

	failing.header = func() (metadata.MD, error) { return nil, io.EOF }
	b, s = open(t.Context(), t, failing, neverTrips)
	if _, err := s.Header(); err != io.EOF {
		t.Errorf("Header gives %v", err)
	}
	expect(t, b, "a stream without headers has yet to say how it ended", counts{})
}

// halfOpen gives interceptors whose only breaker waits for a probe.
func halfOpen(t *testing.T) (*grpcbreaker.Interceptors, *breaker.Breaker) {
	t.Helper()
	guarded := guard(t, newTelemetry(), oneKey, grpcbreaker.WithConfig(breaker.Config{
		FailureThreshold: 1, RecoveryTimeout: time.Second, ProbeTimeout: 10 * time.Second}))
	b := guarded.Breakers().Get("key")
	_ = b.Do(t.Context(), func(context.Context) error { return errDown })
	time.Sleep(time.Second)
	if s := b.State(); s != breaker.HalfOpen {
		t.Fatalf("the breaker is %v", s)
	}
	t.Cleanup(func() { b.ForceOpen("test over") }) // stops its timer
	return guarded, b
}

func TestG11_AStreamOutlivesTheLeaseOfItsProbe(t *testing.T) {
	var headers metadata.MD
	message := &fake{recv: func() error { return nil }, header: func() (metadata.MD, error) { return headers, nil }}
	look := func(there metadata.MD) func(grpc.ClientStream) {
		return func(s grpc.ClientStream) {
			headers = there
			_, _ = s.Header()
		}
	}
	for _, c := range []struct {
		name string
		see  func(s grpc.ClientStream) // what there is of an answer
		at   time.Duration
		want breaker.State // after the lease
	}{
		{"with a message", func(s grpc.ClientStream) { _ = s.RecvMsg(nil) }, time.Second, breaker.Closed},
		{"with headers", look(metadata.MD{}), time.Second, breaker.Closed},
		{"without headers", look(nil), time.Second, breaker.Open},
		{"with a message at the last moment", func(s grpc.ClientStream) { _ = s.RecvMsg(nil) }, 9500 * time.Millisecond, breaker.Closed},
		{"with a message too late", func(s grpc.ClientStream) { _ = s.RecvMsg(nil) }, 10500 * time.Millisecond, breaker.Open},
		{"without any", func(grpc.ClientStream) {}, time.Second, breaker.Open},
	} {
		synctest.Test(t, func(t *testing.T) {
			guarded, b := halfOpen(t)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			s := openWith(ctx, t, guarded, message)
			time.Sleep(c.at)
			c.see(s)
			if c.at < 9*time.Second {
				time.Sleep(8*time.Second - c.at)
				if s := b.State(); s != breaker.HalfOpen {
					t.Errorf("%s: with the lease running the breaker is %v", c.name, s)
				}
				expect(t, b, c.name+" with the lease running", counts{failure: 1})
				time.Sleep(2500 * time.Millisecond)
			}
			synctest.Wait()
			if s := b.State(); s != c.want {
				t.Errorf("%s: after the lease the breaker is %v", c.name, s)
			}
			want := counts{success: 1, failure: 1}
			if c.want == breaker.Open {
				want = counts{failure: 2}
			}
			expect(t, b, c.name+" after the lease", want)
			if err := s.RecvMsg(nil); err != nil { // the stream itself goes on
				t.Error(err)
			}
			cancel()
			synctest.Wait()
			expect(t, b, c.name+" when it ends", want)
		})
	}
}

func TestG11_AProbeGivesItsPlaceBackWhenItsCallerCancels(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		guarded, b := halfOpen(t)
		ctx, cancel := context.WithCancel(t.Context())
		s := openWith(ctx, t, guarded, &fake{recv: func() error { return nil }})
		if n := b.Snapshot().ProbesInFlight; n != 1 {
			t.Errorf("%d probes in flight", n)
		}
		cancel()
		synctest.Wait()
		if snapshot := b.Snapshot(); snapshot.ProbesInFlight != 0 || snapshot.State != breaker.HalfOpen {
			t.Errorf("%d probes in flight, %v", snapshot.ProbesInFlight, snapshot.State)
		}
		expect(t, b, "cancelled", counts{failure: 1, ignored: 1})
		_ = s.RecvMsg(nil)
	})
}

func TestG11_AProbeThatBreaksOffReopens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		guarded, b := halfOpen(t)
		s := openWith(t.Context(), t, guarded, &fake{recv: func() error { return errDown }})
		if err := s.RecvMsg(nil); err != errDown {
			t.Fatal(err)
		}
		expect(t, b, "broken off", counts{failure: 2})
		if s := b.State(); s != breaker.Open {
			t.Errorf("the breaker is %v", s)
		}
	})
}

// A deadline that nobody runs into says nothing; one that a receiver runs into does.
func TestG09_ADeadlineCountsForWhoReceives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		b, s := open(ctx, t, &fake{recv: func() error {
			<-ctx.Done()
			return status.FromContextError(ctx.Err()).Err()
		}}, neverTrips)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		expect(t, b, "the deadline is over", counts{})
		_ = s.RecvMsg(nil)
		expect(t, b, "received", counts{failure: 1})
	})
}

func TestG01_ProbesAreBoundedOverARealServer(t *testing.T) {
	s, arrived := stalling()
	r := start(t, s, grpcbreaker.WithConfig(breaker.Config{FailureThreshold: 1, RecoveryTimeout: time.Nanosecond, MaxProbes: 3}))
	_ = r.breaker().Do(t.Context(), func(context.Context) error { return errDown })
	wait(t, func() bool { return r.breaker().State() == breaker.HalfOpen })
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	const each = 20
	var calls sync.WaitGroup
	blocked := make(chan struct{}, each*len(kinds))
	for _, k := range kinds {
		for range each {
			calls.Go(func() {
				if err := k.call(ctx, r.client); errors.Is(err, breaker.ErrOpen) {
					blocked <- struct{}{}
				}
			})
		}
	}
	for range each*len(kinds) - 3 {
		<-blocked
	}
	for range 3 {
		<-arrived
	}
	if n := r.breaker().Snapshot().ProbesInFlight; n != 3 {
		t.Errorf("%d probes in flight", n)
	}
	cancel()
	calls.Wait()
	expect(t, r.breaker(), "cancelled", counts{failure: 1, ignored: 3, blocked: uint64(each*len(kinds) - 3)})
	if n := len(arrived); n != 0 {
		t.Errorf("the server got %d calls more", n)
	}
}
