package rulestest_test

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const runbooksDir = "../../docs/runbooks"

// Where an alert's runbook_url leads there is a runbook, with every section, and the list has it.
func TestEveryAlertHasItsRunbook(t *testing.T) {
	rules := read(t, alertsFile)
	list := read(t, filepath.Join(runbooksDir, "README.md"))
	names := alerts(t)
	for _, name := range names {
		url := "https://github.com/otelbreaker/otelbreaker/blob/main/docs/runbooks/" + name + ".md"
		if strings.Count(rules, "runbook_url: "+url+"\n") != 1 {
			t.Errorf("%s does not have the runbook_url %s", name, url)
		}
		text := read(t, filepath.Join(runbooksDir, name+".md"))
		severity := regexp.MustCompile(`(?s)- alert: ` + name + `\n.*?labels: [&*](\w+)`).FindStringSubmatch(rules)[1]
		if !strings.HasPrefix(text, "# "+name+"\n\n"+severity+", ") {
			t.Errorf("%s.md does not begin with its name and its severity, %s", name, severity)
		}
		for _, section := range []string{"Meaning", "Impact", "Look at first", "Do", "Forcing open, disabling", "Recovery"} {
			if _, rest, found := strings.Cut(text, "\n## "+section+"\n\n"); !found || strings.HasPrefix(rest, "##") {
				t.Errorf("%s.md does not tell %q", name, section)
			}
		}
		if !strings.Contains(list, fmt.Sprintf("| [%[1]s](%[1]s.md) | %s |", name, severity)) {
			t.Errorf("the list in README.md does not have %s as %s", name, severity)
		}
		for _, language := range []string{"promql", "logql"} {
			if len(queries(text, language)) == 0 {
				t.Errorf("%s.md has no query in %s", name, language)
			}
		}
	}
	files, err := filepath.Glob(filepath.Join(runbooksDir, "*.md"))
	if err != nil || len(files) != len(names)+1 {
		t.Errorf("%d files of %d alerts and a list: %v", len(files), len(names), err)
	}
	for _, file := range files {
		for _, link := range regexp.MustCompile(`\]\((\w+\.md)\)`).FindAllStringSubmatch(read(t, file), -1) {
			read(t, filepath.Join(runbooksDir, link[1]))
		}
	}
}

// queries are the code blocks of a language.
func queries(text, language string) (found []string) {
	for _, m := range regexp.MustCompile("(?s)\n *```"+language+"\n(.*?)\n *```").FindAllStringSubmatch(text, -1) {
		found = append(found, strings.TrimSpace(m[1]))
	}
	return found
}

// Each PromQL query of the runbooks parses, and asks for metrics that there are.
func TestRunbooksAskPrometheusForWhatThereIs(t *testing.T) {
	known := map[string]bool{"up": true} // Prometheus' own
	for _, m := range regexp.MustCompile("(?m)^\\| `(\\w+)` \\|").FindAllStringSubmatch(read(t, "../../docs/telemetry.md"), -1) {
		known[m[1]] = true
	}
	for _, part := range []string{"_bucket", "_sum", "_count"} {
		known["circuit_breaker_recovery_duration_seconds"+part] = true
	}
	for _, file := range []string{alertsFile, "../prometheus/circuit_breaker_recording.yml"} {
		for _, m := range regexp.MustCompile(`- record: (\S+)`).FindAllStringSubmatch(read(t, file), -1) {
			known[m[1]] = true
		}
	}
	if len(known) < 20 {
		t.Fatalf("only %d metrics: %v", len(known), known)
	}

	rules, n := "groups:\n  - name: runbooks\n    rules:\n", 0
	for _, name := range alerts(t) {
		for _, query := range queries(read(t, filepath.Join(runbooksDir, name+".md")), "promql") {
			n++
			rules += fmt.Sprintf("      - record: query%d\n        expr: |\n          %s\n", n, strings.ReplaceAll(query, "\n", "\n          "))
			for _, metric := range metricsOf(query) {
				if !known[metric] {
					t.Errorf("%s.md asks for %s, which does not exist:\n%s", name, metric, query)
				}
			}
		}
	}
	file := filepath.Join(t.TempDir(), "runbooks.yml")
	write(t, file, rules)
	out, err := exec.Command(tool(t, "promtool"), "check", "rules", "--lint=none", file).CombinedOutput()
	if want := fmt.Sprintf("%d rules found", n); err != nil || !strings.Contains(string(out), want) {
		t.Errorf("not %q: %v\n%s", want, err, out)
	}
}

// metricsOf are the names in a query that are neither functions, labels nor keywords.
func metricsOf(query string) (names []string) {
	query = regexp.MustCompile(`"[^"]*"`).ReplaceAllString(query, "")
	query = regexp.MustCompile(`\{[^}]*\}|\[[^\]]*\]|\b(by|without|on|ignoring) *\([^)]*\)`).ReplaceAllString(query, " ")
	for _, m := range regexp.MustCompile(`([A-Za-z_:][\w:]*)(\s*\()?`).FindAllStringSubmatch(query, -1) {
		switch m[1] {
		case "and", "or", "unless", "bool", "offset":
			continue
		}
		if m[2] == "" {
			names = append(names, m[1])
		}
	}
	return names
}

// LogQL cannot be parsed without Loki. That it asks for event types and attributes that are written can be seen.
func TestRunbooksAskLokiForWhatThereIs(t *testing.T) {
	telemetry := read(t, "../../docs/telemetry-logs.md")
	// What Loki makes of the resource and of a record's context.
	known := map[string]bool{"service_name": true, "service_instance_id": true, "trace_id": true}
	for _, row := range regexp.MustCompile("(?m)^\\| (`[\\w.]+`(?:, `[\\w.]+`)*) \\|").FindAllStringSubmatch(telemetry, -1) {
		for _, word := range regexp.MustCompile("`([\\w.]+)`").FindAllStringSubmatch(row[1], -1) {
			known[strings.ReplaceAll(word[1], ".", "_")] = true
		}
	}
	// The audit's records are shown as they come out.
	audit := read(t, "../../docs/operations.md")
	for _, m := range regexp.MustCompile(`[{,]"([\w.]+)":`).FindAllStringSubmatch(audit, -1) {
		known[strings.ReplaceAll(m[1], ".", "_")] = true
	}
	asked := 0
	for _, name := range alerts(t) {
		for _, query := range queries(read(t, filepath.Join(runbooksDir, name+".md")), "logql") {
			asked++
			for _, m := range regexp.MustCompile(`(\w+) *(?:=~|=|>|<) *"|(\w+) > \d|\{\{\.(\w+)\}\}|sum by \((\w+)\)`).FindAllStringSubmatch(query, -1) {
				if attribute := m[1] + m[2] + m[3] + m[4]; !known[attribute] {
					t.Errorf("%s.md asks for the attribute %s, which does not exist:\n%s", name, attribute, query)
				}
			}
			for _, m := range regexp.MustCompile(`event_type=~?"([^"]+)"`).FindAllStringSubmatch(query, -1) {
				for value := range strings.SplitSeq(m[1], "|") {
					if !strings.Contains(telemetry, "| `"+value+"` |") && !strings.Contains(audit, `"event_type":"`+value+`"`) {
						t.Errorf("%s.md asks for the event type %s, which does not exist", name, value)
					}
				}
			}
		}
	}
	if asked == 0 {
		t.Error("no query asks Loki")
	}
}
