// Package stack starts the real OpenTelemetry Collector for a test, with the configuration that
// users are given, and stops it when the test ends.
package stack

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	startTimeout = 30 * time.Second
	stopTimeout  = 15 * time.Second
	startTries   = 3 // a port that was free may be taken before the collector binds it
)

// Collector is a running collector process with deploy/otel-collector.yaml. Its methods are for
// the goroutine of the test.
type Collector struct {
	GRPC       string // OTLP over gRPC, host:port
	HTTP       string // OTLP over HTTP, a base URL
	Prometheus string // the page with the metrics that arrived, a URL

	health     string
	logsFile   string
	tracesFile string

	cmd    *exec.Cmd
	exited chan struct{} // closed when the process has ended; exit is set before
	exit   error
	output output
}

// Start starts a collector and waits until it is ready. env holds further NAME=value settings of
// deploy/otel-collector.yaml, and wins over the harness's own: log records and spans go to files,
// which Logs and Spans read. The collector is stopped when the test ends, and its output is shown if
// the test has failed. The binary is .bin/otelcol, which `make e2e` builds.
func Start(t *testing.T, env ...string) *Collector {
	t.Helper()
	binary, config, overlay := files(t)
	for try := 1; ; try++ {
		c, err := start(t, env, binary, "--config", config, "--config", overlay)
		if err == nil {
			t.Cleanup(func() {
				if err := c.Stop(); err != nil {
					t.Errorf("stopping the collector: %v", err)
				}
				if t.Failed() {
					t.Logf("the collector's output:\n%s", c.output.String())
				}
			})
			return c
		}
		if try == startTries || !strings.Contains(c.output.String(), "address already in use") {
			t.Fatalf("starting the collector: %v\nits output:\n%s", err, c.output.String())
		}
	}
}

// Validate has the collector check deploy/otel-collector.yaml, as it is, in an environment of env
// alone, and returns what it prints.
func Validate(t *testing.T, env ...string) (string, error) {
	t.Helper()
	binary, config, _ := files(t)
	cmd := exec.CommandContext(t.Context(), binary, "validate", "--config", config)
	cmd.Env = append([]string{}, env...) // not nil, which would stand for this process's
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func start(t *testing.T, env []string, binary string, args ...string) (*Collector, error) {
	t.Helper()
	dir := t.TempDir()
	addr, err := freeAddresses(t.Context(), 5)
	if err != nil {
		t.Fatal(err)
	}
	selfHost, selfPort, _ := strings.Cut(addr[4], ":")
	c := &Collector{
		GRPC:       addr[0],
		HTTP:       "http://" + addr[1],
		Prometheus: "http://" + addr[2] + "/metrics",
		health:     "http://" + addr[3] + "/",
		logsFile:   filepath.Join(dir, "logs.jsonl"),
		tracesFile: filepath.Join(dir, "traces.jsonl"),
		exited:     make(chan struct{}),
	}

	c.cmd = exec.CommandContext(lifetime(t), binary, args...)
	// Nothing of this process's environment: the OTEL_* variables that a test sets for its own SDK
	// would reach the collector's.
	c.cmd.Env = append([]string{
		"COLLECTOR_OTLP_GRPC=" + addr[0],
		"COLLECTOR_OTLP_HTTP=" + addr[1],
		"COLLECTOR_PROMETHEUS=" + addr[2],
		"COLLECTOR_HEALTH=" + addr[3],
		"COLLECTOR_SELF_HOST=" + selfHost,
		"COLLECTOR_SELF_PORT=" + selfPort,
		"COLLECTOR_LOGS_EXPORTER=file/logs",
		"COLLECTOR_TRACES_EXPORTER=file/traces",
		"E2E_LOGS_FILE=" + c.logsFile,
		"E2E_TRACES_FILE=" + c.tracesFile,
	}, env...)
	c.cmd.Stdout = &c.output
	c.cmd.Stderr = &c.output
	if err := c.cmd.Start(); err != nil {
		return c, err
	}
	go func() {
		c.exit = c.cmd.Wait()
		close(c.exited)
	}()

	if err := c.waitReady(t.Context()); err != nil {
		return c, errors.Join(err, c.kill())
	}
	return c, nil
}

// lifetime ends when the time for the whole test binary is nearly up. It would otherwise end without a
// cleanup, and leave the process running.
func lifetime(t *testing.T) context.Context {
	t.Helper()
	deadline, ok := t.Deadline()
	if !ok {
		return context.Background()
	}
	ctx, cancel := context.WithDeadline(context.Background(), deadline.Add(-time.Second))
	t.Cleanup(cancel) // after the cleanup that stops the collector, which is registered later
	return ctx
}

// waitReady polls the health page until it answers 200.
func (c *Collector) waitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	for {
		_, err := get(ctx, c.health, "")
		if err == nil {
			return nil
		}
		select {
		case <-poll.C:
		case <-c.exited:
			return fmt.Errorf("it ended before it was ready: %w", c.exit)
		case <-ctx.Done():
			return fmt.Errorf("not ready after %v: %w", startTimeout, err)
		}
	}
}

// Stop ends the collector as an operator would, by SIGTERM, so that it first passes on all that it
// holds. Stopping twice is harmless. An error means that it did not end, or not cleanly.
func (c *Collector) Stop() error {
	select {
	case <-c.exited:
		return c.exit
	default:
	}
	if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return errors.Join(err, c.kill())
	}
	select {
	case <-c.exited:
		return c.exit
	case <-time.After(stopTimeout):
		return errors.Join(fmt.Errorf("still running %v after SIGTERM", stopTimeout), c.kill())
	}
}

func (c *Collector) kill() error {
	err := c.cmd.Process.Kill()
	<-c.exited
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return err
}

// Page fetches the metrics that have arrived, in the format that accept asks for.
func (c *Collector) Page(ctx context.Context, accept string) ([]byte, error) {
	return get(ctx, c.Prometheus, accept)
}

// Output returns what the collector has printed so far.
func (c *Collector) Output() string { return c.output.String() }

func get(ctx context.Context, url, accept string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	if accept != "" {
		req.Header.Set("Accept", accept)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("GET %s: %s", url, resp.Status)
	}
	return body, err
}

// output keeps what the process prints.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}
