package fault

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/otelbreaker/otelbreaker/e2e/internal/otlp"
)

// every is which share of what comes in a [Partial] rejects: one in so many.
const every = 3

// Partial is an OTLP endpoint that passes everything on to a collector, but rejects a part of it while it is told to,
// and says so to the sender (partial success).
type Partial struct {
	Addr string // host:port

	rejecting atomic.Bool
	seen      atomic.Uint64
	to        *grpc.ClientConn
	stop      func()
	running   sync.WaitGroup
}

// NewPartial starts one for a protocol, grpc or http/protobuf, which passes on to target, an address for OTLP by gRPC.
func NewPartial(protocol, target string) (*Partial, error) {
	to, err := grpc.NewClient(target, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, err
	}
	p := &Partial{to: to}
	var config net.ListenConfig
	listener, err := config.Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, errors.Join(err, to.Close())
	}
	p.Addr = listener.Addr().String()
	receiver := &otlp.Receiver{Logs: p.logs, Traces: p.traces, Metrics: p.metrics}
	if protocol == "grpc" {
		server := grpc.NewServer()
		receiver.Register(server)
		p.running.Go(func() { _ = server.Serve(listener) }) // ends with Stop
		p.stop = server.Stop
	} else {
		server := &http.Server{Handler: receiver, ReadHeaderTimeout: 5 * time.Second}
		p.running.Go(func() { _ = server.Serve(listener) }) // ends with Close
		p.stop = func() { _ = server.Close() }
	}
	return p, nil
}

// Reject begins or ends to reject.
func (p *Partial) Reject(on bool) { p.rejecting.Store(on) }

// Close ends it.
func (p *Partial) Close() error {
	p.stop()
	p.running.Wait()
	return p.to.Close()
}

// rejects tells whether the next item is among the rejected, and counts it if so.
func (p *Partial) rejects(count *int64) bool {
	if !p.rejecting.Load() || p.seen.Add(1)%every != 0 {
		return false
	}
	*count++
	return true
}

func (p *Partial) logs(ctx context.Context, logs plog.Logs) (rejected int64, err error) {
	for _, resource := range logs.ResourceLogs().All() {
		for _, scope := range resource.ScopeLogs().All() {
			scope.LogRecords().RemoveIf(func(plog.LogRecord) bool { return p.rejects(&rejected) })
		}
	}
	_, err = plogotlp.NewGRPCClient(p.to).Export(ctx, plogotlp.NewExportRequestFromLogs(logs))
	return rejected, err
}

func (p *Partial) traces(ctx context.Context, traces ptrace.Traces) (rejected int64, err error) {
	for _, resource := range traces.ResourceSpans().All() {
		for _, scope := range resource.ScopeSpans().All() {
			scope.Spans().RemoveIf(func(ptrace.Span) bool { return p.rejects(&rejected) })
		}
	}
	_, err = ptraceotlp.NewGRPCClient(p.to).Export(ctx, ptraceotlp.NewExportRequestFromTraces(traces))
	return rejected, err
}

// metrics rejects whole metrics, and counts each as one data point: nothing but that it is more than none matters.
func (p *Partial) metrics(ctx context.Context, metrics pmetric.Metrics) (rejected int64, err error) {
	for _, resource := range metrics.ResourceMetrics().All() {
		for _, scope := range resource.ScopeMetrics().All() {
			scope.Metrics().RemoveIf(func(pmetric.Metric) bool { return p.rejects(&rejected) })
		}
	}
	_, err = pmetricotlp.NewGRPCClient(p.to).Export(ctx, pmetricotlp.NewExportRequestFromMetrics(metrics))
	return rejected, err
}
