// Package replica is one of several processes of one service, for tests that run more than one: a program with a
// breaker, the pipeline of package collector and a page of metrics, told what to do by net/rpc.
package replica

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/otelbreaker/otelbreaker/breaker"
	"github.com/otelbreaker/otelbreaker/collector"
	"github.com/otelbreaker/otelbreaker/logs"
	"github.com/otelbreaker/otelbreaker/otelcb"
)

// Service and Endpoint of the breaker are the same in every replica, so that nothing but the process tells their
// series apart.
const (
	Service   = "payments"
	Endpoint  = "http://payments.example:80"
	Threshold = 3 // failures in a row open it, for an hour
)

// Replica is what a test tells the process to do. Each method may be called from one goroutine at a time.
type Replica struct {
	address string
	breaker *breaker.Breaker
}

// About tells where the process is found.
type About struct {
	Address string // host:port of its /metrics
	PID     int
}

// Start starts the pipeline by the OTEL_* variables, the breaker and the page. stop sends what is left.
func Start(ctx context.Context) (r *Replica, stop func() error, err error) {
	pipeline, err := collector.Start(ctx)
	if err != nil {
		return nil, nil, err
	}
	b, err := breaker.New(breaker.Config{
		Service: Service, Endpoint: Endpoint, FailureThreshold: Threshold, RecoveryTimeout: time.Hour,
	}, logs.NewListener())
	if err != nil {
		return nil, nil, err
	}
	if _, err := otelcb.Observe(b); err != nil {
		return nil, nil, err
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	server := &http.Server{Handler: pipeline.MetricsHandler(), ReadHeaderTimeout: time.Minute}
	go func() { _ = server.Serve(listener) }() // until it is closed
	stop = func() error {
		return errors.Join(pipeline.Shutdown(context.Background()), server.Close())
	}
	return &Replica{address: listener.Addr().String(), breaker: b}, stop, nil
}

// About tells where the process is found.
func (r *Replica) About(_ struct{}, about *About) error {
	*about = About{Address: r.address, PID: os.Getpid()}
	return nil
}

// Call makes calls that succeed, and tells how many of them were blocked.
func (r *Replica) Call(n int, blocked *int) error {
	for range n {
		switch err := r.breaker.Do(context.Background(), func(context.Context) error { return nil }); {
		case errors.Is(err, breaker.ErrOpen):
			*blocked++
		case err != nil:
			return err
		}
	}
	return nil
}

// Trip makes calls that fail until the breaker is open.
func (r *Replica) Trip(_, _ *struct{}) error {
	for range Threshold {
		_ = r.breaker.Do(context.Background(), func(context.Context) error { return errors.New("down") }) // the error is its own
	}
	if state := r.breaker.State(); state != breaker.Open {
		return fmt.Errorf("after %d failures the breaker is %v", Threshold, state)
	}
	return nil
}
