// Command kubernetes writes what in base/ is of other files in deploy/, so that there is no second copy by hand: the alert
// rules as resources of the Prometheus operator, and the gateways' configuration, which kustomize reads from nowhere but
// its own folder.
//
//	go run -C deploy/kubernetes .
package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

func main() {
	files, err := generated(".")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	for name, content := range files {
		if err := os.WriteFile(name, content, 0o644); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}

const notByHand = "# Written by `go run -C deploy/kubernetes .` from deploy/%s; a change here is lost.\n"

// generated is the content of the files that are written, by name; dir is this folder.
func generated(dir string) (map[string][]byte, error) {
	deploy := filepath.Join(dir, "..")
	config, err := os.ReadFile(filepath.Join(deploy, "otel-collector.yaml"))
	if err != nil {
		return nil, err
	}
	var rules bytes.Buffer
	for _, of := range []struct{ name, file string }{
		{"circuit-breaker-alerts", "prometheus/circuit_breaker_alerts.yml"},
		{"circuit-breaker-recording", "prometheus/circuit_breaker_recording.yml"},
	} {
		text, err := os.ReadFile(filepath.Join(deploy, of.file))
		if err != nil {
			return nil, err
		}
		if rules.Len() > 0 {
			rules.WriteString("---\n")
		}
		fmt.Fprintf(&rules, notByHand, of.file)
		rules.WriteString(rule(of.name, string(text)))
	}
	return map[string][]byte{
		filepath.Join(dir, "base", "otel-collector.yaml"): append(fmt.Appendf(nil, notByHand, "otel-collector.yaml"), config...),
		filepath.Join(dir, "base", "rules.yaml"):          rules.Bytes(),
	}, nil
}

// rule is a rule file as a PrometheusRule, whose spec is such a file. By its label the operator's Prometheus finds it.
func rule(name, text string) string {
	var out strings.Builder
	fmt.Fprintf(&out, "apiVersion: monitoring.coreos.com/v1\nkind: PrometheusRule\nmetadata:\n  name: %s\n  labels: {release: prometheus}\nspec:\n", name)
	for line := range strings.Lines(text) {
		if line != "\n" {
			out.WriteString("  ")
		}
		out.WriteString(line)
	}
	return out.String()
}
