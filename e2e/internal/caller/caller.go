// Package caller is a program that calls dependencies through breakers all the time, as a service would: the load
// behind the dashboards. It has the pipeline of package collector and a page of metrics, and is told what an operator
// would do by net/rpc.
package caller

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/otelbreaker/otelbreaker/breaker"
	"github.com/otelbreaker/otelbreaker/collector"
	"github.com/otelbreaker/otelbreaker/logs"
	"github.com/otelbreaker/otelbreaker/transport"
)

// InstanceHeader tells a dependency which process calls, so that it can fail for that one alone.
const InstanceHeader = "Instance"

// Plan is what a program is started with, as JSON in its argument.
type Plan struct {
	Instance     string
	Dependencies []Dependency
	Recovery     time.Duration // open this long before a probe
}

// Dependency is a service that is called.
type Dependency struct {
	Service, Endpoint string // as its breaker is called
	URL               string
	Every             time.Duration // a call
	Slow              time.Duration // a call is slow from then on; 0: none is
}

// Caller is what a test tells the process to do.
type Caller struct {
	address string
	plan    Plan
	by      map[string]*transport.Transport
	tracer  trace.Tracer
	ends    chan struct{}
	calling sync.WaitGroup
}

// Start starts the pipeline by the OTEL_* variables, the page and the calls. stop ends the calls and sends what is left.
func Start(ctx context.Context, plan Plan) (c *Caller, stop func() error, err error) {
	pipeline, err := collector.Start(ctx)
	if err != nil {
		return nil, nil, err
	}
	c = &Caller{
		plan: plan, by: make(map[string]*transport.Transport), ends: make(chan struct{}),
		tracer: otel.Tracer("github.com/otelbreaker/otelbreaker/e2e/internal/caller"),
	}
	for _, d := range plan.Dependencies {
		guarded, err := transport.New(otelhttp.NewTransport(http.DefaultTransport.(*http.Transport).Clone()),
			transport.WithConfig(breaker.Config{
				Service: d.Service, FailureThreshold: 5, SlowCallDuration: d.Slow,
				RecoveryTimeout: plan.Recovery, BackoffFactor: 1.5, MaxRecoveryTimeout: 4 * plan.Recovery,
			}),
			transport.WithKey(func(*http.Request) string { return d.Endpoint }),
			transport.WithLogs(logs.WithFailures()))
		if err != nil {
			return nil, nil, err
		}
		guarded.Breakers().Get(d.Endpoint) // so that it shows before the first call
		c.by[d.Service] = guarded
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	c.address = listener.Addr().String()
	server := &http.Server{Handler: pipeline.MetricsHandler(), ReadHeaderTimeout: time.Minute}
	go func() { _ = server.Serve(listener) }() // until it is closed
	for _, d := range plan.Dependencies {
		c.calling.Go(func() { c.keepCalling(d) })
	}
	return c, func() error {
		close(c.ends)
		c.calling.Wait()
		return errors.Join(pipeline.Shutdown(context.Background()), server.Close())
	}, nil
}

// keepCalling makes a call each time that one is due, however long the last ones take.
func (c *Caller) keepCalling(d Dependency) {
	due := time.NewTicker(d.Every)
	defer due.Stop()
	client := &http.Client{Transport: c.by[d.Service], Timeout: 10 * time.Second}
	for {
		select {
		case <-due.C:
			c.calling.Go(func() { c.call(client, d) })
		case <-c.ends:
			return
		}
	}
}

func (c *Caller) call(client *http.Client, d Dependency) {
	ctx, span := c.tracer.Start(context.Background(), "GET /"+d.Service, trace.WithSpanKind(trace.SpanKindServer))
	defer span.End()
	if err := c.get(ctx, client, d.URL); err != nil {
		span.SetStatus(codes.Error, "not complete")
	}
}

func (c *Caller) get(ctx context.Context, client *http.Client, url string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	request.Header.Set(InstanceHeader, c.plan.Instance)
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, response.Body)
	return errors.Join(err, response.Body.Close())
}

// Address is where the process shows its /metrics, host:port.
func (c *Caller) Address(_ struct{}, address *string) error {
	*address = c.address
	return nil
}

// Operation is what an operator does to the breaker of a service.
type Operation struct{ Service, Do string }

// Operate does "disable", "force open" or "reset".
func (c *Caller) Operate(o Operation, _ *struct{}) error {
	guarded, found := c.by[o.Service]
	if !found {
		return fmt.Errorf("no dependency %q", o.Service)
	}
	for b := range guarded.Breakers().All() {
		switch o.Do {
		case "disable":
			b.Disable("looking into it")
		case "force open":
			b.ForceOpen("maintenance")
		case "reset":
			b.Reset()
		default:
			return fmt.Errorf("no operation %q", o.Do)
		}
	}
	return nil
}
