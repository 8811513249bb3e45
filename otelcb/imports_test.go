package otelcb_test

import (
	"os/exec"
	"strings"
	"testing"
)

// Who instruments a program must not choose its SDK.
func TestImportsTheAPIAlone(t *testing.T) {
	for _, pkg := range []string{"otelcb", "logs"} {
		out, err := exec.Command("go", "list", "-deps", "github.com/otelbreaker/otelbreaker/"+pkg).CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		if !strings.Contains(string(out), "go.opentelemetry.io/otel/metric") {
			t.Fatalf("%s: the list lacks the API: %s", pkg, out)
		}
		for dep := range strings.Lines(string(out)) {
			if strings.Contains(dep, "/sdk") || strings.Contains(dep, "/exporters/") || strings.Contains(dep, "prometheus") {
				// auto/sdk is what the trace API itself is built with.
				if !strings.HasPrefix(dep, "go.opentelemetry.io/auto/sdk") {
					t.Errorf("%s imports %s", pkg, dep)
				}
			}
		}
	}
}
