package docs_test

import (
	"flag"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the examples of the documents on telemetry anew")

// telemetryFiles are the documents on what leaves a breaker; they are one in all but length.
var telemetryFiles = []string{"telemetry.md", "telemetry-logs.md", "telemetry-spans.md"}

// telemetry is the text of them all.
func telemetry(t *testing.T) string {
	t.Helper()
	var text strings.Builder
	for _, file := range telemetryFiles {
		text.WriteString(read(t, file))
	}
	return text.String()
}

// outageID stands in the documents for the outage's id, which is random.
const outageID = "5bd1c9e204a7f836"

// The documents' examples are blocks of code under a comment that names them.
var example = regexp.MustCompile("(?s)(<!-- example: ([a-z_ ]+) -->\n+```\\w*\n)(.*?)(```\n)")

// Every example of the documents is what comes out of a scripted outage, to the byte.
func TestTheExamplesOfTelemetryAreWhatComesOut(t *testing.T) {
	in(t, func(p *program) {
		random := p.outage()
		page := p.scrape("application/openmetrics-text; version=1.0.0")
		examples := map[string]string{
			"prometheus":  familiesOf(p.scrape(""), "circuit_breaker_"),
			"openmetrics": familiesOf(page, "circuit_breaker_recovery_duration_seconds"),
			"slog":        p.lines.String(),
			"traces":      traceView(p.allSpans()),
		}
		for _, event := range []string{"circuit_opened", "circuit_half_open", "circuit_reopened", "circuit_closed", "call_failed"} {
			examples["loki "+event] = loki(p.record(event))
			examples["elasticsearch "+event] = elasticsearch(p.record(event))
		}
		shown := map[string]bool{}
		renew := func(block string) string {
			parts := example.FindStringSubmatch(block)
			name := parts[2]
			got, known := examples[name]
			if !known {
				t.Errorf("there is no example %q", name)
				return block
			}
			shown[name] = true
			got = strings.ReplaceAll(got, random, outageID)
			if got != parts[3] && !*update {
				t.Errorf("the example %q is not what comes out:\n%s", name, got)
			}
			return parts[1] + got + parts[4]
		}
		for _, file := range telemetryFiles {
			actual := example.ReplaceAllStringFunc(read(t, file), renew)
			if *update {
				if err := os.WriteFile(file, []byte(actual), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		}
		for _, name := range []string{"prometheus", "openmetrics", "slog", "traces", "loki circuit_opened",
			"elasticsearch circuit_opened", "loki circuit_closed", "elasticsearch circuit_closed"} {
			if !shown[name] {
				t.Errorf("no document shows %q", name)
			}
		}
	})
}

// tableOf gives the cells of a table of the documents on telemetry, row by row: the one whose head begins so.
func tableOf(t *testing.T, head string) [][]string {
	t.Helper()
	return tableIn(t, telemetry(t), head)
}

func tableIn(t *testing.T, document, head string) (rows [][]string) {
	t.Helper()
	_, text, found := strings.Cut(document, "\n| "+head)
	if !found {
		t.Fatalf("there is no table that begins with %q", head)
	}
	for i, line := range strings.Split(text, "\n") {
		if i < 2 { // the rest of the head, and the rule
			continue
		}
		if !strings.HasPrefix(line, "| ") {
			return rows
		}
		var cells []string
		for _, c := range strings.Split(strings.Trim(line, "| "), " | ") {
			cells = append(cells, strings.TrimSpace(c))
		}
		rows = append(rows, cells)
	}
	return rows
}

var code = regexp.MustCompile("`([^`]+)`")

// coded gives what is marked as code in a cell, sorted.
func coded(cell string) (all []string) {
	for _, m := range code.FindAllStringSubmatch(cell, -1) {
		all = append(all, m[1])
	}
	slices.Sort(all)
	return all
}

// same compares two sets of what is in the source and what is in the document.
func same(t *testing.T, what string, source, document map[string]string) {
	t.Helper()
	for k, v := range source {
		if said, found := document[k]; !found {
			t.Errorf("%s: %s (%s) is not in the document", what, k, v)
		} else if said != v {
			t.Errorf("%s: %s is %s, and the document says %s", what, k, v, said)
		}
	}
	for k := range document {
		if _, found := source[k]; !found {
			t.Errorf("%s: %s is in the document, and nowhere else", what, k)
		}
	}
}
