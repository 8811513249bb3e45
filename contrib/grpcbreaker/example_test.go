package grpcbreaker_test

import (
	"context"
	"errors"
	"fmt"
	"net"

	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/otelbreaker/otelbreaker/breaker"
	"github.com/otelbreaker/otelbreaker/contrib/grpcbreaker"
)

// overloaded is a server that has too much to do.
type overloaded struct {
	healthpb.UnimplementedHealthServer
}

func (overloaded) Check(context.Context, *healthpb.HealthCheckRequest) (*healthpb.HealthCheckResponse, error) {
	return nil, status.Error(codes.ResourceExhausted, "too much to do")
}

func Example() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	server := grpc.NewServer()
	healthpb.RegisterHealthServer(server, overloaded{})
	go func() { _ = server.Serve(listener) }()
	defer server.Stop()

	guarded, err := grpcbreaker.New()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = guarded.Close() }()
	conn, err := grpc.NewClient(listener.Addr().String(), append(guarded.DialOptions(),
		grpc.WithStatsHandler(otelgrpc.NewClientHandler()),
		grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = conn.Close() }()

	client := healthpb.NewHealthClient(conn)
	for range breaker.DefaultFailureThreshold + 1 {
		_, err := client.Check(context.Background(), &healthpb.HealthCheckRequest{})
		if rejection, blocked := errors.AsType[*breaker.OpenError](err); blocked {
			fmt.Println("not sent, the breaker is", rejection.State, "and the code", status.Code(err))
			continue
		}
		fmt.Println(status.Code(err))
	}
	// Output:
	// ResourceExhausted
	// ResourceExhausted
	// ResourceExhausted
	// ResourceExhausted
	// ResourceExhausted
	// not sent, the breaker is open and the code Unavailable
}

func ExampleWithClassify() {
	// For this service NotFound means that its index is gone.
	guarded, err := grpcbreaker.New(
		grpcbreaker.WithConfig(breaker.Config{Service: "search", FailureRate: 0.5}),
		grpcbreaker.WithClassify(func(method string, err error) breaker.Outcome {
			if method == "/search.v1.Search/Find" && status.Code(err) == codes.NotFound {
				return breaker.Failure
			}
			return grpcbreaker.DefaultClassify(method, err)
		}))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = guarded.Close() }()
}

func ExampleWithKey() {
	// One breaker a service behind a gateway, rather than one for the gateway.
	guarded, err := grpcbreaker.New(grpcbreaker.WithKey(grpcbreaker.ServiceKey))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = guarded.Close() }()
}
