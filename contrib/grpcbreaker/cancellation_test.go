package grpcbreaker_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	pb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/otelbreaker/otelbreaker/breaker"
	"github.com/otelbreaker/otelbreaker/contrib/grpcbreaker"
)

// stalling is a service that says so when a call is there, and otherwise nothing until the caller goes.
func stalling() (s *service, arrived chan struct{}) {
	arrived = make(chan struct{}, 100)
	stall := func(ctx context.Context) error {
		arrived <- struct{}{}
		<-ctx.Done()
		return ctx.Err()
	}
	return &service{
		unary: func(ctx context.Context, _ *pb.SimpleRequest) (*pb.SimpleResponse, error) {
			return nil, stall(ctx)
		},
		download: func(_ *pb.StreamingOutputCallRequest, to pb.TestService_StreamingOutputCallServer) error {
			_ = to.Send(&pb.StreamingOutputCallResponse{})
			return stall(to.Context())
		},
		upload: func(from pb.TestService_StreamingInputCallServer) error { return stall(from.Context()) },
		talk:   func(with pb.TestService_FullDuplexCallServer) error { return stall(with.Context()) },
	}, arrived
}

func TestG09_TheCallersCancellationIsIgnored(t *testing.T) {
	s, arrived := stalling()
	r := start(t, s, tripsAtOnce)
	var ignored uint64
	for _, k := range kinds {
		for _, limit := range []time.Duration{0, time.Hour} { // of a context that also has a deadline
			ctx, cancel := context.WithCancel(t.Context())
			if limit > 0 {
				ctx, cancel = context.WithTimeout(t.Context(), limit)
			}
			go func() {
				<-arrived
				cancel()
			}()
			if err := k.call(ctx, r.client); status.Code(err) != codes.Canceled {
				t.Errorf("%s: %v", k.name, err)
			}
			ignored++
			expect(t, r.breaker(), k.name, counts{ignored: ignored})
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_ = k.call(ctx, r.client)
		ignored++
		expect(t, r.breaker(), k.name+", cancelled before", counts{ignored: ignored})
	}
}

func TestG09_ACancelledStreamThatNobodyReceivesIsIgnored(t *testing.T) {
	s, arrived := stalling()
	r := start(t, s, tripsAtOnce)
	for i, answered := range []bool{false, true} {
		ctx, cancel := context.WithCancel(t.Context())
		stream, err := r.client.StreamingOutputCall(ctx, &pb.StreamingOutputCallRequest{})
		if err != nil {
			t.Fatal(err)
		}
		<-arrived
		if answered {
			if _, err := stream.Recv(); err != nil {
				t.Fatal(err)
			}
		}
		expect(t, r.breaker(), "open", counts{ignored: uint64(i)})
		cancel()
		settles(t, r.breaker(), "cancelled", counts{ignored: uint64(i) + 1})
		if _, err := stream.Recv(); answered && status.Code(err) != codes.Canceled {
			t.Errorf("received %v", err)
		}
		expect(t, r.breaker(), "received from all the same", counts{ignored: uint64(i) + 1})
	}
}

func TestG09_ADeadlineThatPassedIsAFailure(t *testing.T) {
	const patience = 30 * time.Millisecond // real, for a socket knows no other
	s, _ := stalling()
	trips := make(causes, len(kinds))
	r := start(t, s, tripsAtOnce, grpcbreaker.WithListeners(trips))
	var failed uint64
	for _, k := range kinds {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		if err := k.call(ctx, r.client); status.Code(err) != codes.DeadlineExceeded {
			t.Errorf("%s: %v", k.name, err)
		}
		cancel()
		failed++
		expect(t, r.breaker(), k.name, counts{failure: failed})
		if got := <-trips; got != "DEADLINE_EXCEEDED" {
			t.Errorf("%s: error.type is %q", k.name, got)
		}
		r.breaker().Reset()
	}
}

func TestG09_AConnectionThatTheCallerClosedIsIgnored(t *testing.T) {
	s, arrived := stalling()
	for _, k := range kinds {
		r := start(t, s, tripsAtOnce)
		go func() {
			<-arrived
			_ = r.conn.Close()
		}()
		if err := k.call(t.Context(), r.client); err == nil {
			t.Errorf("%s: no error", k.name)
		}
		expect(t, r.breaker(), k.name+" in flight", counts{ignored: 1})
		_ = k.call(t.Context(), r.client)
		expect(t, r.breaker(), k.name+" afterwards", counts{ignored: 2})
	}
}

func TestG09_TheCalleesOwnCancellationIsAFailure(t *testing.T) {
	r := start(t, answers(context.Canceled), neverTrips)
	for i, k := range kinds {
		_ = k.call(t.Context(), r.client)
		expect(t, r.breaker(), k.name, counts{failure: uint64(i) + 1})
	}
}

func TestG09_ACallThatCannotBeSentIsIgnored(t *testing.T) {
	invalid := "\xff" // is no text of a message
	served := answers(nil)
	served.unary = func(context.Context, *pb.SimpleRequest) (*pb.SimpleResponse, error) {
		t.Error("the server got it")
		return nil, nil
	}
	r := start(t, served, tripsAtOnce)
	var ignored uint64
	check := func(what string, err error) {
		t.Helper()
		ignored++
		if err == nil {
			t.Errorf("%s: no error", what)
		}
		expect(t, r.breaker(), what, counts{ignored: ignored})
	}
	message := &pb.SimpleRequest{ResponseStatus: &pb.EchoStatus{Message: invalid}}
	_, err := r.client.UnaryCall(t.Context(), message)
	check("a message that cannot be marshalled", err)
	_, err = r.client.UnaryCall(t.Context(), &pb.SimpleRequest{Payload: &pb.Payload{Body: make([]byte, 100)}},
		grpc.MaxCallSendMsgSize(10))
	check("a message that is too large", err)
	for _, k := range kinds {
		check("metadata with a control character, "+k.name,
			k.call(metadata.AppendToOutgoingContext(t.Context(), "user", "a\x00b"), r.client))
		check("metadata that is not ASCII, "+k.name,
			k.call(metadata.AppendToOutgoingContext(t.Context(), "user", "Jürgen"), r.client))
		check("metadata of a name that is none, "+k.name,
			k.call(metadata.AppendToOutgoingContext(t.Context(), "us er", "a"), r.client))
		check("metadata without a name, "+k.name,
			k.call(metadata.AppendToOutgoingContext(t.Context(), "", "a"), r.client))
	}
	stream, err := r.client.FullDuplexCall(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	err = stream.Send(&pb.StreamingOutputCallRequest{ResponseStatus: &pb.EchoStatus{Message: invalid}})
	check("a stream's message that cannot be marshalled", err)
	_, err = r.client.StreamingOutputCall(t.Context(), &pb.StreamingOutputCallRequest{ResponseStatus: &pb.EchoStatus{Message: invalid}})
	check("a download's message that cannot be marshalled", err)
	upload, err := r.client.StreamingInputCall(t.Context(), grpc.MaxCallSendMsgSize(10))
	if err != nil {
		t.Fatal(err)
	}
	check("a stream's message that is too large",
		upload.Send(&pb.StreamingInputCallRequest{Payload: &pb.Payload{Body: make([]byte, 100)}}))
	if s := r.breaker().State(); s != breaker.Closed {
		t.Errorf("the breaker is %v", s)
	}
}

// What looks the same, but is the server's fault.
func TestG09_WhatTheServerCannotSendIsAFailure(t *testing.T) {
	good := metadata.AppendToOutgoingContext(t.Context(), "user", "a b~", "token-bin", "\x00\xff", "a.b-c_1", "", ":left-out", "a")
	s := answers(nil)
	s.unary = func(context.Context, *pb.SimpleRequest) (*pb.SimpleResponse, error) {
		return &pb.SimpleResponse{Username: "\xff"}, nil
	}
	r := start(t, s, neverTrips)
	err := r.call(good)
	if status.Code(err) != codes.Internal || !strings.Contains(err.Error(), "error while marshaling") {
		t.Fatalf("the server says %v", err)
	}
	expect(t, r.breaker(), "an answer that cannot be marshalled", counts{failure: 1})

	s.unary = func(context.Context, *pb.SimpleRequest) (*pb.SimpleResponse, error) {
		return nil, status.Error(codes.ResourceExhausted, "trying to send message larger than max (9 vs. 1)")
	}
	_ = r.call(good)
	_, _ = r.client.UnaryCall(good, &pb.SimpleRequest{}, grpc.MaxCallSendMsgSize(1000))
	expect(t, r.breaker(), "an answer that is too large", counts{failure: 3})

	s.unary = func(context.Context, *pb.SimpleRequest) (*pb.SimpleResponse, error) {
		return nil, status.Error(codes.Internal, "header key")
	}
	_ = r.call(good)
	expect(t, r.breaker(), "with all the metadata that there can be", counts{failure: 4})
}
