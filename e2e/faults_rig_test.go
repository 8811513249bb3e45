package e2e

import (
	"context"
	"errors"
	"io"
	"maps"
	"net/http/httptest"
	"net/rpc"
	"net/url"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/otelbreaker/otelbreaker/e2e/internal/fault"
	"github.com/otelbreaker/otelbreaker/e2e/internal/load"
	"github.com/otelbreaker/otelbreaker/e2e/internal/otlp"
	"github.com/otelbreaker/otelbreaker/e2e/internal/stack"
)

// trouble is something wrong with a collector, or on the way to it.
type trouble interface {
	endpoint() string // that a program exports to, host:port
	begin(t testing.TB)
	end(t testing.TB)
}

// troubles make each kind for a protocol. The collector is always the real one. It is killed itself; the others are
// played by a proxy in front of it.
var troubles = map[string]func(t testing.TB, c *stack.Collector, protocol string) trouble{
	"killed": func(_ testing.TB, c *stack.Collector, protocol string) trouble {
		return killed{c, addressOf(c, protocol)}
	},
	"refusing":        proxied(fault.Refusing),
	"black hole":      proxied(fault.BlackHole),
	"slow":            proxied(fault.Slow),
	"partial success": rejectsSome,
}

// addressOf is where a collector takes OTLP.
func addressOf(c *stack.Collector, protocol string) string {
	if protocol == "grpc" {
		return c.GRPC
	}
	return strings.TrimPrefix(c.HTTP, "http://")
}

// killed is a collector that ends by SIGKILL and is started again on the same ports.
type killed struct {
	*stack.Collector
	address string
}

func (k killed) endpoint() string   { return k.address }
func (k killed) begin(t testing.TB) { t.Helper(); k.Kill(t) }
func (k killed) end(t testing.TB)   { t.Helper(); k.Restart(t) }

// proxy is trouble on the way to the collector.
type proxy struct {
	*fault.Proxy
	kind fault.Kind
}

func proxied(kind fault.Kind) func(testing.TB, *stack.Collector, string) trouble {
	return func(t testing.TB, c *stack.Collector, protocol string) trouble {
		t.Helper()
		p, err := fault.NewProxy(addressOf(c, protocol))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := p.Close(); err != nil {
				t.Errorf("closing the proxy: %v", err)
			}
		})
		return proxy{p, kind}
	}
}

func (p proxy) endpoint() string   { return p.Addr }
func (p proxy) begin(t testing.TB) { t.Helper(); p.set(t, p.kind) }
func (p proxy) end(t testing.TB)   { t.Helper(); p.set(t, fault.None) }

func (p proxy) set(t testing.TB, kind fault.Kind) {
	t.Helper()
	if err := p.Set(kind); err != nil {
		t.Fatal(err)
	}
}

// partial takes a part of everything only.
type partial struct{ *fault.Partial }

func rejectsSome(t testing.TB, c *stack.Collector, protocol string) trouble {
	t.Helper()
	p, err := fault.NewPartial(protocol, c.GRPC)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Errorf("closing the front: %v", err)
		}
	})
	return partial{p}
}

func (p partial) endpoint() string   { return p.Addr }
func (p partial) begin(t testing.TB) { t.Helper(); p.Reject(true) }
func (p partial) end(t testing.TB)   { t.Helper(); p.Reject(false) }

// backend is what the collector passes log records and spans on to. Both arrive at least once: what is sent again
// because an answer was lost counts once here.
type backend struct {
	mu      sync.Mutex
	records map[load.Transition]time.Time // when each was emitted
	spans   map[place]bool
	again   int // records that had arrived already
}

// startBackend starts one, and a collector that sends to it.
func startBackend(t testing.TB) (*backend, *stack.Collector) {
	t.Helper()
	b := &backend{records: make(map[load.Transition]time.Time), spans: make(map[place]bool)}
	server := httptest.NewServer(&otlp.Receiver{Logs: b.takeLogs, Traces: b.takeSpans})
	t.Cleanup(server.Close)
	return b, stack.Start(t,
		"COLLECTOR_LOGS_EXPORTER=otlp_http/logs", "COLLECTOR_LOGS_ENDPOINT="+server.URL,
		"COLLECTOR_TRACES_EXPORTER=otlp_http/traces", "COLLECTOR_TRACES_ENDPOINT="+server.URL)
}

func (b *backend) takeLogs(_ context.Context, logs plog.Logs) (int64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, resource := range logs.ResourceLogs().All() {
		for _, scope := range resource.ScopeLogs().All() {
			for _, record := range scope.LogRecords().All() {
				attributes := record.Attributes()
				of := load.Transition{
					Outage: text(attributes, "outage_id"),
					From:   text(attributes, "old_state"),
					To:     text(attributes, "new_state"),
					At:     record.Timestamp().AsTime().UnixNano(),
				}
				if _, known := b.records[of]; known {
					b.again++
				}
				b.records[of] = record.ObservedTimestamp().AsTime()
			}
		}
	}
	return 0, nil
}

func (b *backend) takeSpans(_ context.Context, traces ptrace.Traces) (int64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, resource := range traces.ResourceSpans().All() {
		for _, scope := range resource.ScopeSpans().All() {
			for _, span := range scope.Spans().All() {
				b.spans[place{[16]byte(span.TraceID()), [8]byte(span.SpanID())}] = true
			}
		}
	}
	return 0, nil
}

// arrived tells how many different log records and spans there are.
func (b *backend) arrived() (records, spans uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return uint64(len(b.records)), uint64(len(b.spans))
}

// written tells when each record that has arrived was written, and how many came that had arrived already.
func (b *backend) written() (at map[load.Transition]time.Time, again int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return maps.Clone(b.records), b.again
}

// buildLoad builds the program under load. It is built without the race detector, which would make it several times as
// slow: tests of its packages by themselves have that.
func buildLoad(tb testing.TB) (binary string) {
	tb.Helper()
	binary = filepath.Join(tb.TempDir(), "load")
	build := exec.Command("go", "build", "-o", binary, "./internal/load/program")
	if out, err := build.CombinedOutput(); err != nil {
		tb.Fatalf("building the program under load: %v\n%s", err, out)
	}
	return binary
}

// program is a running one.
type program struct {
	*rpc.Client
	tb testing.TB
}

// startLoad starts the program with these variables alone.
func startLoad(tb testing.TB, binary string, env ...string) *program {
	tb.Helper()
	command := exec.Command(binary)
	command.Env = append([]string{}, env...)
	var said strings.Builder
	command.Stderr = &said
	in, err := command.StdinPipe()
	if err != nil {
		tb.Fatal(err)
	}
	out, err := command.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := command.Start(); err != nil {
		tb.Fatal(err)
	}
	client := rpc.NewClient(struct {
		io.Reader
		io.WriteCloser
	}{out, in})
	tb.Cleanup(func() {
		_ = client.Close() // the end of its input ends it
		kill := time.AfterFunc(settle, func() { _ = command.Process.Kill() })
		defer kill.Stop()
		if err := command.Wait(); err != nil {
			tb.Errorf("the program under load ended with: %v", err)
		}
		if tb.Failed() {
			tb.Logf("the program under load said:\n%s", said.String())
		}
	})
	return &program{client, tb}
}

// exportTo are the variables of a program that sends everything to an address. The intervals are short so that much
// happens in little time; the timeouts and the queues are the defaults.
func exportTo(address, protocol string) []string {
	return []string{
		"OTEL_EXPORTER_OTLP_ENDPOINT=" + (&url.URL{Scheme: "http", Host: address}).String(),
		"OTEL_EXPORTER_OTLP_PROTOCOL=" + protocol,
		"OTEL_METRIC_EXPORT_INTERVAL=100",
		"OTEL_BLRP_SCHEDULE_DELAY=100",
		"OTEL_BSP_SCHEDULE_DELAY=500",
	}
}

// ask calls a method of the program that has nothing to answer.
func (p *program) ask(method string) {
	p.tb.Helper()
	ask[struct{}](p, method, struct{}{})
}

// ask calls a method of the program.
func ask[R any](p *program, method string, argument any) (reply R) {
	p.tb.Helper()
	select {
	case call := <-p.Go("Load."+method, argument, &reply, make(chan *rpc.Call, 1)).Done:
		if call.Error != nil {
			p.tb.Fatal(errors.Join(errors.New("asking for "+method), call.Error))
		}
	case <-time.After(time.Minute):
		p.tb.Fatalf("no answer to %s", method)
	}
	return reply
}
