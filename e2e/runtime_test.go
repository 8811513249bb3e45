package e2e

import (
	"strings"
	"testing"
	"time"

	"github.com/otelbreaker/otelbreaker/e2e/internal/exposition"
	"github.com/otelbreaker/otelbreaker/e2e/internal/stack"
)

// TestParity_Runtime compares what the pipeline tells of the Go runtime, of the process and of itself on both routes.
// Memory and CPU time are never the same at two moments, so the values are left aside: the same must be names, labels,
// types and help.
func TestParity_Runtime(t *testing.T) {
	c := stack.Start(t)
	p := startProcess(t, "grpc", "http://"+c.GRPC)
	own := p.pipeline.MetricsHandler()
	poll := time.NewTicker(50 * time.Millisecond)
	defer poll.Stop()
	for _, prefix := range []string{"go_", "process_", "otelbreaker_"} {
		for name, accept := range formats {
			want := withoutValues(ownPage(t, own, accept, prefix))
			if !strings.Contains(string(want), "\n"+prefix) {
				t.Fatalf("%s: no metric named %s… on the process's own page", name, prefix)
			}
			timeout := time.After(settle)
			for {
				got := withoutValues(collectorPage(t, c, accept, prefix))
				difference := exposition.Diff("process", want, "collector", got)
				if difference == "" {
					break
				}
				select {
				case <-poll.C:
					continue
				case <-timeout:
					t.Fatalf("%s: the routes differ after %v:\n%s", name, settle, difference)
				}
			}
		}
	}
}

func withoutValues(page exposition.Page) exposition.Page {
	var out strings.Builder
	for line := range strings.Lines(string(page)) {
		if !strings.HasPrefix(line, "#") {
			line = line[:strings.LastIndex(line, " ")] + "\n"
		}
		out.WriteString(line)
	}
	return exposition.Page(out.String())
}
