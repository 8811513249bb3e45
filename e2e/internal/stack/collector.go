// Package stack starts the real programs that deploy/ has configurations for: the OpenTelemetry Collector, Prometheus,
// Alertmanager, Loki and Jaeger, with those files as users are given them, each alone for a test or all of them
// together, and stops them again.
package stack

import (
	"context"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Collector is a running collector process with deploy/otel-collector.yaml. Its methods are for
// the goroutine of the test.
type Collector struct {
	GRPC       string // OTLP over gRPC, host:port
	HTTP       string // OTLP over HTTP, a base URL
	Prometheus string // the page with the metrics that arrived, a URL
	Self       string // the page with its own metrics, a URL

	page       string // host:port of Prometheus
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
	s := siteOf(t)
	dir := t.TempDir()
	c, err := again(func() (*Collector, error) {
		c := &Collector{logsFile: filepath.Join(dir, "logs.jsonl"), tracesFile: filepath.Join(dir, "traces.jsonl")}
		return c, c.start(t.Context(), s, append([]string{
			"COLLECTOR_LOGS_EXPORTER=file/logs",
			"COLLECTOR_TRACES_EXPORTER=file/traces",
			"E2E_LOGS_FILE=" + c.logsFile,
			"E2E_TRACES_FILE=" + c.tracesFile,
		}, env...), append(configs(s, options...), "--config", filepath.Join(s.Root, "e2e", "internal", "stack", "overlay.yaml"))...)
	})
	if err != nil {
		t.Fatalf("starting the collector: %v", err)
	}
	c.stopAtEnd(t, "the collector")
	return c
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
	s := siteOf(t)
	binary, err := s.binary("otelcol")
	if err != nil {
		return "", err
	}
	cmd := exec.CommandContext(t.Context(), binary, append([]string{"validate"}, configs(s, options...)...)...)
	cmd.Env = append([]string{}, env...) // not nil, which would stand for this process's
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// configs are the flags of the collector's configuration that users are given, with some of its options.
func configs(s *Site, options ...string) []string {
	var flags []string
	for _, name := range append([]string{"otel-collector.yaml"}, options...) {
		flags = append(flags, "--config", s.deploy(name))
	}
	return flags
}

func (c *Collector) start(ctx context.Context, s *Site, env []string, args ...string) error {
	binary, err := s.binary("otelcol")
	if err != nil {
		return err
	}
	addr, err := s.addresses("127.0.0.1:4317", "127.0.0.1:4318", "127.0.0.1:8889", "127.0.0.1:13133", "127.0.0.1:8888")
	if err != nil {
		return err
	}
	storage, err := s.folder("otelcol")
	if err != nil {
		return err
	}
	selfHost, selfPort, _ := strings.Cut(addr[4], ":")
	c.GRPC, c.HTTP = addr[0], "http://"+addr[1]
	c.page, c.Prometheus = addr[2], "http://"+addr[2]+"/metrics"
	c.health, c.Self = "http://"+addr[3]+"/", "http://"+addr[4]+"/metrics"
	if err := c.run(s, append([]string{
		"COLLECTOR_OTLP_GRPC=" + addr[0],
		"COLLECTOR_OTLP_HTTP=" + addr[1],
		"COLLECTOR_PROMETHEUS=" + addr[2],
		"COLLECTOR_HEALTH=" + addr[3],
		"COLLECTOR_SELF_HOST=" + selfHost,
		"COLLECTOR_SELF_PORT=" + selfPort,
		"COLLECTOR_STORAGE=" + storage,
	}, env...), binary, args...); err != nil {
		return err
	}
	return c.waitPage(ctx, c.health)
}

// Own fetches the collector's metrics of its own.
func (c *Collector) Own(ctx context.Context) ([]byte, error) { return get(ctx, c.Self, "") }

// Page fetches the metrics that have arrived, in the format that accept asks for.
func (c *Collector) Page(ctx context.Context, accept string) ([]byte, error) {
	return get(ctx, c.Prometheus, accept)
}
