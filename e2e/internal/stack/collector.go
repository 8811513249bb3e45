// Package stack starts the real OpenTelemetry Collector and Prometheus for a test, with the configurations that
// users are given, and stops them when the test ends.
package stack

import (
	"context"
	"errors"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// startTries: a port that was free may be taken before the collector binds it.
const startTries = 3

// Collector is a running collector process with deploy/otel-collector.yaml. Its methods are for
// the goroutine of the test.
type Collector struct {
	GRPC       string // OTLP over gRPC, host:port
	HTTP       string // OTLP over HTTP, a base URL
	Prometheus string // the page with the metrics that arrived, a URL

	health     string
	logsFile   string
	tracesFile string

	process
}

// Start starts a collector and waits until it is ready. env holds further NAME=value settings of
// deploy/otel-collector.yaml, and wins over the harness's own: log records and spans go to files,
// which Logs and Spans read, and the queues are in a folder of the test. The collector is stopped
// when the test ends, and its output is shown if the test has failed. The binary is .bin/otelcol,
// which `make e2e` builds.
func Start(t testing.TB, env ...string) *Collector {
	t.Helper()
	return StartWith(t, nil, env...)
}

// StartWith is Start with further configurations, named as the files of deploy/ are.
func StartWith(t testing.TB, options []string, env ...string) *Collector {
	t.Helper()
	p := findPlace(t)
	args := append(p.configs(options...), "--config", p.overlay())
	for try := 1; ; try++ {
		c, err := start(t, env, p.binary(t, "otelcol"), args...)
		if err == nil {
			c.stopAtEnd(t, "the collector")
			return c
		}
		if try == startTries || !strings.Contains(c.Output(), "address already in use") {
			t.Fatalf("starting the collector: %v\nits output:\n%s", err, c.Output())
		}
	}
}

// Validate has the collector check deploy/otel-collector.yaml, as it is, in an environment of env
// alone, and returns what it prints.
func Validate(t *testing.T, env ...string) (string, error) {
	t.Helper()
	return ValidateWith(t, nil, env...)
}

// ValidateWith is Validate with further configurations, named as the files of deploy/ are.
func ValidateWith(t *testing.T, options []string, env ...string) (string, error) {
	t.Helper()
	p := findPlace(t)
	cmd := exec.CommandContext(t.Context(), p.binary(t, "otelcol"), append([]string{"validate"}, p.configs(options...)...)...)
	cmd.Env = append([]string{}, env...) // not nil, which would stand for this process's
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func start(t testing.TB, env []string, binary string, args ...string) (*Collector, error) {
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
	}
	err = c.run(t, append([]string{
		"COLLECTOR_OTLP_GRPC=" + addr[0],
		"COLLECTOR_OTLP_HTTP=" + addr[1],
		"COLLECTOR_PROMETHEUS=" + addr[2],
		"COLLECTOR_HEALTH=" + addr[3],
		"COLLECTOR_SELF_HOST=" + selfHost,
		"COLLECTOR_SELF_PORT=" + selfPort,
		"COLLECTOR_STORAGE=" + filepath.Join(dir, "storage"),
		"COLLECTOR_LOGS_EXPORTER=file/logs",
		"COLLECTOR_TRACES_EXPORTER=file/traces",
		"E2E_LOGS_FILE=" + c.logsFile,
		"E2E_TRACES_FILE=" + c.tracesFile,
	}, env...), binary, args...)
	if err != nil {
		return c, err
	}
	if err := c.waitReady(t.Context()); err != nil {
		return c, errors.Join(err, c.kill())
	}
	return c, nil
}

// waitReady polls the health page until it answers 200.
func (c *Collector) waitReady(ctx context.Context) error {
	return c.waitFor(ctx, func(ctx context.Context) error {
		_, err := get(ctx, c.health, "")
		return err
	})
}

// Page fetches the metrics that have arrived, in the format that accept asks for.
func (c *Collector) Page(ctx context.Context, accept string) ([]byte, error) {
	return get(ctx, c.Prometheus, accept)
}
