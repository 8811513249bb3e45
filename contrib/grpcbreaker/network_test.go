package grpcbreaker_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials"
	pb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"

	"github.com/otelbreaker/otelbreaker/breaker"
	"github.com/otelbreaker/otelbreaker/contrib/grpcbreaker"
)

// certified gives the credentials of a server that is called example.com, and those of a client that trusts it.
func certified(t testing.TB) (server, client credentials.TransportCredentials) {
	t.Helper()
	made := httptest.NewUnstartedServer(nil)
	made.StartTLS() // which has a certificate for tests
	defer made.Close()
	trusted := x509.NewCertPool()
	trusted.AddCert(made.Certificate())
	return credentials.NewTLS(&tls.Config{Certificates: made.TLS.Certificates, NextProtos: []string{"h2"}}),
		credentials.NewTLS(&tls.Config{RootCAs: trusted, ServerName: "example.com"})
}

func TestG11_TheVerdictIsTheSameOverTLS(t *testing.T) {
	ofServer, ofClient := certified(t)
	for _, c := range []struct {
		name string
		err  error
		want counts
	}{{"well", nil, counts{success: 4}}, {"a failure", errDown, counts{failure: 4}}} {
		guarded := guard(t, newTelemetry(), neverTrips)
		conn := dial(t, serve(t, answers(c.err), grpc.Creds(ofServer)),
			append(guarded.DialOptions(), grpc.WithTransportCredentials(ofClient))...)
		for _, k := range kinds {
			if err := k.call(t.Context(), pb.NewTestServiceClient(conn)); status.Code(err) != status.Code(c.err) {
				t.Errorf("%s, %s: %v", c.name, k.name, err)
			}
		}
		expect(t, breakerOf(guarded, conn), c.name, c.want)

		before := countsOf(breakerOf(guarded, conn))
		for i, k := range kinds { // to whom the certificate does not belong
			if err := k.call(t.Context(), pb.NewTestServiceClient(dial(t, conn.Target(), append(guarded.DialOptions(),
				grpc.WithTransportCredentials(ofClient), grpc.WithDefaultCallOptions(grpc.CallAuthority("stranger.test")))...))); err == nil {
				t.Errorf("%s: no error of a strange authority", k.name)
			}
			before.ignored++
			expect(t, breakerOf(guarded, conn), "a strange authority, kind "+kinds[i].name, before)
		}
	}
}

func TestG11_AServerWhoseCertificateIsNotTrustedIsAFailure(t *testing.T) {
	ofServer, _ := certified(t)
	guarded := guard(t, newTelemetry(), neverTrips)
	conn := dial(t, serve(t, answers(nil), grpc.Creds(ofServer)),
		append(guarded.DialOptions(), grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{RootCAs: x509.NewCertPool()})))...)
	for i, k := range kinds {
		if err := k.call(t.Context(), pb.NewTestServiceClient(conn)); status.Code(err) != codes.Unavailable {
			t.Errorf("%s: %v", k.name, err)
		}
		expect(t, breakerOf(guarded, conn), k.name, counts{failure: uint64(i) + 1})
	}
}

// A server that stops gracefully says GOAWAY: streams go on to their end, and new calls find it gone.
func TestG11_AfterGoAwayStreamsEndAndNewCallsFail(t *testing.T) {
	end := make(chan struct{})
	s := answers(nil)
	s.download = func(_ *pb.StreamingOutputCallRequest, to pb.TestService_StreamingOutputCallServer) error {
		_ = to.Send(&pb.StreamingOutputCallResponse{})
		<-end
		return nil
	}
	server, address := serveWith(t, s)
	guarded := guard(t, newTelemetry(), neverTrips)
	conn := dial(t, address, guarded.DialOptions()...)
	client := pb.NewTestServiceClient(conn)
	stream, err := client.StreamingOutputCall(t.Context(), &pb.StreamingOutputCallRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	var stopped sync.WaitGroup
	stopped.Go(server.GracefulStop)
	for state := connectivity.Ready; state == connectivity.Ready; state = conn.GetState() { // until GOAWAY is there
		conn.WaitForStateChange(t.Context(), connectivity.Ready)
	}
	if err := kinds[0].call(t.Context(), client); status.Code(err) != codes.Unavailable {
		t.Errorf("a new call: %v", err)
	}
	expect(t, breakerOf(guarded, conn), "a new call", counts{failure: 1})
	close(end)
	if err := drain(stream); err != nil {
		t.Errorf("the stream: %v", err)
	}
	expect(t, breakerOf(guarded, conn), "the stream's end", counts{failure: 1, success: 1})
	stopped.Wait()
}

// A server that renews its connections says GOAWAY as well. gRPC sends what that meets again, and there is no failure.
func TestG11_GoAwayOfAServerThatGoesOnIsNoFailure(t *testing.T) {
	address := serve(t, answers(nil), grpc.KeepaliveParams(keepalive.ServerParameters{
		MaxConnectionAge: 20 * time.Millisecond, MaxConnectionAgeGrace: time.Minute}))
	guarded := guard(t, newTelemetry(), tripsAtOnce)
	conn := dial(t, address, guarded.DialOptions()...)
	client := pb.NewTestServiceClient(conn)
	var made uint64
	for renewed := 0; renewed < 3; {
		for _, k := range kinds {
			if err := k.call(t.Context(), client); err != nil {
				t.Fatalf("%s: %v", k.name, err)
			}
			made++
		}
		if conn.GetState() != connectivity.Ready {
			renewed++
		}
	}
	expect(t, breakerOf(guarded, conn), "renewed", counts{success: made})
}

// relay passes bytes on until it is told to pass no more, and leaves the connections open all the same.
func relay(t testing.TB, to string) (address string, silence func()) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var silent atomic.Bool
	var conns sync.Map
	var passing sync.WaitGroup
	pass := func(to, from net.Conn) {
		for p := make([]byte, 4096); ; {
			n, err := from.Read(p)
			if err != nil {
				_ = to.Close()
				return
			}
			if !silent.Load() {
				_, _ = to.Write(p[:n])
			}
		}
	}
	passing.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", to)
			if err != nil {
				_ = client.Close()
				continue
			}
			conns.Store(client, server)
			passing.Go(func() { pass(server, client) })
			passing.Go(func() { pass(client, server) })
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		conns.Range(func(a, b any) bool {
			_, _ = a.(net.Conn).Close(), b.(net.Conn).Close()
			return true
		})
		passing.Wait()
	})
	return listener.Addr().String(), func() { silent.Store(true) }
}

// A network that swallows everything: gRPC's keepalive finds out, ten seconds being the least that it waits.
func TestG11_AConnectionThatKeepaliveDropsIsAFailure(t *testing.T) {
	if testing.Short() {
		t.Skip("takes gRPC's least keepalive of ten seconds")
	}
	t.Parallel()
	s, arrived := stalling()
	address, silence := relay(t, serve(t, s))
	guarded := guard(t, newTelemetry(), neverTrips)
	conn := dial(t, address, append(guarded.DialOptions(), grpc.WithKeepaliveParams(keepalive.ClientParameters{
		Time: 10 * time.Second, Timeout: 50 * time.Millisecond}))...)
	var calls sync.WaitGroup
	for _, k := range kinds {
		calls.Go(func() {
			if err := k.call(t.Context(), pb.NewTestServiceClient(conn)); status.Code(err) != codes.Unavailable {
				t.Errorf("%s: %v", k.name, err)
			}
		})
		<-arrived
	}
	silence()
	calls.Wait()
	expect(t, breakerOf(guarded, conn), "dropped", counts{failure: uint64(len(kinds))})
}

// WaitForReady waits for a connection as long as the caller's deadline lets it, and the breaker with it.
func TestG09_WaitingForReadyEndsWithTheDeadlineOrTheConnection(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	_ = listener.Close()
	soon := backoff.Config{BaseDelay: time.Millisecond, MaxDelay: time.Millisecond}
	guarded := guard(t, newTelemetry(), neverTrips)
	conn := dial(t, address, append(guarded.DialOptions(), grpc.WithDefaultCallOptions(grpc.WaitForReady(true)),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: soon}))...)
	b, client := breakerOf(guarded, conn), pb.NewTestServiceClient(conn)
	for i, k := range kinds {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		if err := k.call(ctx, client); status.Code(err) != codes.DeadlineExceeded {
			t.Errorf("%s: %v", k.name, err)
		}
		cancel()
		expect(t, b, k.name+", nobody there", counts{failure: uint64(i) + 1})
	}
	ctx, cancel := context.WithCancel(t.Context())
	var waiting sync.WaitGroup
	waiting.Go(func() {
		if err := kinds[0].call(ctx, client); status.Code(err) != codes.Canceled {
			t.Errorf("cancelled: %v", err)
		}
	})
	cancel()
	waiting.Wait()
	expect(t, b, "cancelled", counts{failure: 4, ignored: 1})

	b.Reset()
	waiting.Go(func() {
		if err := kinds[0].call(t.Context(), client); err != nil {
			t.Errorf("once there is a server: %v", err)
		}
	})
	listener, err = net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	pb.RegisterTestServiceServer(server, answers(nil))
	waiting.Go(func() { _ = server.Serve(listener) })
	wait(t, func() bool { return countsOf(b).success == 1 })
	server.Stop()
	waiting.Wait()

	b.ForceOpen("test")
	if err := kinds[0].call(t.Context(), client); !errors.Is(err, breaker.ErrOpen) {
		t.Errorf("a blocked call waits for nothing: %v", err)
	}
}

// gRPC for Go hedges nothing. A service config that asks for it is one call, and one attempt.
func TestG08_HedgingInAServiceConfigIsOneCall(t *testing.T) {
	var served atomic.Int32
	s := answers(nil)
	s.unary = func(context.Context, *pb.SimpleRequest) (*pb.SimpleResponse, error) {
		served.Add(1)
		return nil, errDown
	}
	guarded := guard(t, newTelemetry(), neverTrips)
	conn := dial(t, serve(t, s), append(guarded.DialOptions(), grpc.WithDefaultServiceConfig(`{"methodConfig": [{
		"name": [{"service": "grpc.testing.TestService"}],
		"hedgingPolicy": {"maxAttempts": 3, "hedgingDelay": "0s", "nonFatalStatusCodes": ["UNAVAILABLE"]}}]}`))...)
	_ = kinds[0].call(t.Context(), pb.NewTestServiceClient(conn))
	if n := served.Load(); n != 1 {
		t.Errorf("the server got %d attempts", n)
	}
	expect(t, breakerOf(guarded, conn), "hedged", counts{failure: 1})
}

// The order among interceptors decides what a retry is to the breaker: a call each, or part of one.
func TestG08_RetriesAboveAreCallsOfTheirOwnAndBeneathAreNot(t *testing.T) {
	const attempts = 3
	again := func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoker grpc.UnaryInvoker, options ...grpc.CallOption) (err error) {
		for range attempts {
			if err = invoker(ctx, method, req, reply, cc, options...); err == nil || errors.Is(err, breaker.ErrOpen) {
				break
			}
		}
		return err
	}
	for name, c := range map[string]struct {
		options func(*grpcbreaker.Interceptors) []grpc.DialOption
		want    counts
	}{
		"above": {func(i *grpcbreaker.Interceptors) []grpc.DialOption {
			return append([]grpc.DialOption{grpc.WithChainUnaryInterceptor(again)}, i.DialOptions()...)
		}, counts{failure: 2, blocked: 1}},
		"beneath": {func(i *grpcbreaker.Interceptors) []grpc.DialOption {
			return append(i.DialOptions(), grpc.WithChainUnaryInterceptor(again))
		}, counts{failure: 1}},
	} {
		guarded := guard(t, newTelemetry(), grpcbreaker.WithConfig(breaker.Config{FailureThreshold: 2}))
		conn := dial(t, serve(t, answers(errDown)), c.options(guarded)...)
		_ = kinds[0].call(t.Context(), pb.NewTestServiceClient(conn))
		expect(t, breakerOf(guarded, conn), name, c.want)
	}
}
