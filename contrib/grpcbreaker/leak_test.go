package grpcbreaker_test

import (
	"context"
	"io"
	"runtime"
	"strings"
	"testing"

	pb "google.golang.org/grpc/interop/grpc_testing"
)

// goroutines gives the stacks of all that are there.
func goroutines() string {
	stacks := make([]byte, 1<<20)
	return string(stacks[:runtime.Stack(stacks, true)])
}

func TestG19_StreamsLeaveNoGoroutineBehind(t *testing.T) {
	s, arrived := stalling()
	r := start(t, s, neverTrips)
	var open []pb.TestService_StreamingOutputCallClient
	ctx, cancel := context.WithCancel(t.Context())
	for range 20 {
		stream, err := r.client.StreamingOutputCall(ctx, &pb.StreamingOutputCallRequest{})
		if err != nil {
			t.Fatal(err)
		}
		<-arrived
		open = append(open, stream)
	}
	if strings.Contains(goroutines(), "grpcbreaker.(*") {
		t.Errorf("open streams have goroutines of ours: %s", goroutines())
	}
	cancel()
	settles(t, r.breaker(), "cancelled", counts{ignored: 20})
	wait(t, func() bool { return !strings.Contains(goroutines(), "grpcbreaker.(*") })
	runtime.KeepAlive(open)
}

// foreign is a context of somebody else's making, which package context can only wait for.
type foreign struct {
	context.Context
	done chan struct{}
}

func (f foreign) Done() <-chan struct{} { return f.done }

func TestG19_AStreamThatEndsLetsItsContextGo(t *testing.T) {
	const waiting = "propagateCancel"
	before := strings.Count(goroutines(), waiting)
	b, s := open(foreign{t.Context(), make(chan struct{})}, t, &fake{recv: func() error { return io.EOF }})
	if strings.Count(goroutines(), waiting) == before {
		t.Error("nothing waits for the context, so nothing is shown")
	}
	_ = s.RecvMsg(nil)
	expect(t, b, "ended", counts{success: 1})
	wait(t, func() bool { return strings.Count(goroutines(), waiting) <= before })
}
