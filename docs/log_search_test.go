package docs_test

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// The document's queries are blocks of code under a comment that names the form and the query.
var shownQuery = regexp.MustCompile("(?s)(<!-- (logql|kql|json|esql): ([a-z-]+) -->\n+```\\w*\n)(.*?)(```\n)")

// Every query of log-search.md is that of the file in deploy/, to the byte; and every query of the files is shown.
func TestTheQueriesOfLogSearchAreThoseOfTheFiles(t *testing.T) {
	const file = "log-search.md"
	queries := queriesOf(t)
	shown := map[string]bool{}
	text := read(t, file)
	actual := shownQuery.ReplaceAllStringFunc(text, func(block string) string {
		parts := shownQuery.FindStringSubmatch(block)
		name := parts[2] + ": " + parts[3]
		query, found := queries[name]
		if !found {
			t.Errorf("there is no query %q", name)
			return block
		}
		shown[name] = true
		if query != parts[4] && !*update {
			t.Errorf("the query %q is not that of the file:\n%s", name, query)
		}
		return parts[1] + query + parts[5]
	})
	for name := range queries {
		// The requests in JSON are long; the two that are asked most stand for them.
		if form, _, _ := strings.Cut(name, ":"); !shown[name] && (form != "json" || name == "json: openings" || name == "json: events-over-time") {
			t.Errorf("the document does not show %q", name)
		}
	}
	if *update {
		if err := os.WriteFile(file, []byte(actual), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

var (
	queryInLogQL   = regexp.MustCompile(`(?s)^# ([a-z-]+): (?:lines|instant|series)\n(?:# [^\n]*\n)+(.*)$`)
	queryInConsole = regexp.MustCompile(`(?s)^# ([a-z-]+): .*\n# KQL: ([^\n]*)\nGET (.*)$`)
	queryInESQL    = regexp.MustCompile(`(?s)"""\n(.*)\n  """`)
)

// queriesOf are the queries of deploy/loki and deploy/kibana by form and name.
func queriesOf(t *testing.T) map[string]string {
	t.Helper()
	queries := map[string]string{}
	for block := range strings.SplitSeq(read(t, "../deploy/loki/queries.logql"), "\n\n") {
		if m := queryInLogQL.FindStringSubmatch(strings.TrimSpace(block)); m != nil {
			queries["logql: "+m[1]] = m[2] + "\n"
		}
	}
	last := ""
	for block := range strings.SplitSeq(read(t, "../deploy/kibana/queries.console"), "\n\n") {
		if m := queryInConsole.FindStringSubmatch(strings.TrimSpace(block)); m != nil {
			last = m[1]
			queries["kql: "+last], queries["json: "+last] = m[2]+"\n", "GET "+m[3]+"\n"
		} else if m := queryInESQL.FindStringSubmatch(block); m != nil {
			queries["esql: "+last] = strings.ReplaceAll("\n"+m[1], "\n    ", "\n")[1:] + "\n"
		}
	}
	if len(queries) < 40 {
		t.Fatalf("found only %d queries in the files", len(queries))
	}
	return queries
}

// The fields that log-search.md tells of are those that telemetry-logs.md has.
func TestTheFieldsOfLogSearchAreThoseOfTelemetry(t *testing.T) {
	_, table, _ := strings.Cut(read(t, "log-search.md"), "<!-- fields -->")
	table, _, _ = strings.Cut(table, "<!-- end of fields -->")
	said := map[string]bool{}
	for _, name := range coded(table) {
		said[name] = true
	}
	for _, row := range tableOf(t, "key | type | in |") {
		if !strings.Contains(row[2], "`transition`") && !strings.Contains(row[2], "`call_failed`") {
			continue
		}
		for _, name := range coded(row[0]) {
			if !said[name] {
				t.Errorf("log-search.md does not tell of %s", name)
			}
		}
	}
}
