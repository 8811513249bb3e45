package e2e

import (
	"bufio"
	"context"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/otelbreaker/otelbreaker/e2e/internal/exposition"
	"github.com/otelbreaker/otelbreaker/e2e/internal/stack"
)

// TestParity_Demo runs the demo as a user does, with nothing but an endpoint to ship to, until its
// outage is over, and compares its page with that of the collector it ships to. The demo's clients go
// on calling meanwhile, so the pages are compared until a pair of them shows the same moment.
func TestParity_Demo(t *testing.T) {
	c := stack.Start(t)
	demo := startDemo(t, "http://"+c.GRPC)

	recovered := regexp.MustCompile(`circuit_breaker_transitions_total\{.*from_state="half_open",service="payments",to_state="closed"\} 1\n`)
	limit := time.After(time.Minute)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	var difference string
	for {
		before := ownPage(t, demo, formats["openmetrics"], "circuit_breaker_")
		page := collectorPage(t, c, formats["openmetrics"], "circuit_breaker_")
		after := ownPage(t, demo, formats["openmetrics"], "circuit_breaker_")
		if recovered.MatchString(strings.ReplaceAll(string(after), ".0\n", "\n")) {
			near := exposition.SameMoment(page, after, time.Second)
			difference = exposition.Diff("demo", after, "collector", near)
			if difference == "" && exposition.Diff("", before, "", after) == "" {
				t.Logf("no difference in %d lines about circuit_breaker_… metrics", strings.Count(string(page), "\n"))
				break
			}
		}
		select {
		case <-tick.C:
			continue
		case <-limit:
			t.Fatalf("the routes never showed the same moment; in the end:\n%s", difference)
		}
	}

	demo.interrupt(t)
	if err := c.Stop(); err != nil {
		t.Fatal(err)
	}
	records, err := c.Logs()
	if err != nil {
		t.Fatal(err)
	}
	var story []string
	for _, record := range records {
		if event := text(record.Attributes(), "event_type"); text(record.Attributes(), "service") == "payments" {
			story = append(story, event)
		}
	}
	if !slices.Contains(story, "circuit_opened") || len(story) == 0 || story[len(story)-1] != "circuit_closed" {
		t.Errorf("the log records that arrived tell %v", story)
	}
}

// demoProcess is a running demo. As a handler it answers with its own /metrics.
type demoProcess struct {
	http.Handler
	command *exec.Cmd
}

func startDemo(t *testing.T, endpoint string) *demoProcess {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "demo")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "./cmd/demo")
	build.Dir = ".."
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building the demo: %v\n%s", err, out)
	}
	command := exec.CommandContext(context.WithoutCancel(t.Context()), binary, "-listen", "127.0.0.1:0", "-rate", "4")
	for _, variable := range os.Environ() {
		if !strings.HasPrefix(variable, "OTEL_") {
			command.Env = append(command.Env, variable)
		}
	}
	command.Env = append(command.Env, "OTEL_EXPORTER_OTLP_ENDPOINT="+endpoint, "OTEL_EXPORTER_OTLP_PROTOCOL=grpc",
		"OTEL_METRIC_EXPORT_INTERVAL=50")
	out, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = command.Process.Kill() }) // does nothing to one that has ended

	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if _, address, found := strings.Cut(lines.Text(), "metrics  "); found {
			go func() {
				for lines.Scan() { // or the demo would wait for somebody to read
				}
			}()
			page, err := url.Parse(strings.TrimSpace(address))
			if err != nil {
				t.Fatal(err)
			}
			page.Path = ""
			return &demoProcess{&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(page) }}, command}
		}
	}
	t.Fatalf("the demo ended without telling its address: %v", command.Wait())
	return nil
}

// interrupt ends the demo as Ctrl-C does, which flushes.
func (d *demoProcess) interrupt(t *testing.T) {
	t.Helper()
	if err := d.command.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := d.command.Wait(); err != nil {
		t.Errorf("after Ctrl-C the demo ended with: %v", err)
	}
}
