package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/otelbreaker/otelbreaker/e2e/internal/bulk"
	"github.com/otelbreaker/otelbreaker/e2e/internal/elastic"
	"github.com/otelbreaker/otelbreaker/e2e/internal/stack"
)

var kibana = filepath.Join("..", "deploy", "kibana")

// mapping is the type of a field.
type mapping struct {
	Type        string `json:"type"`
	IgnoreAbove int    `json:"ignore_above"`
}

// attributeTypes are those of deploy/kibana/component-template.json, lineTypes those of index-template.json.
func attributeTypes(t *testing.T) map[string]mapping {
	t.Helper()
	var file struct {
		Template struct {
			Mappings struct {
				Properties struct {
					Attributes struct {
						Type       string
						Priority   int
						Properties map[string]mapping
					}
				}
			}
		}
	}
	readJSON(t, "component-template.json", &file)
	attributes := file.Template.Mappings.Properties.Attributes
	// What Elasticsearch's own templates say of attributes, merged with this, and a priority that none of them gives to
	// another object: 10, 20, 30 and 40 are taken in one version or another.
	if attributes.Type != "passthrough" || attributes.Priority <= 10 || attributes.Priority >= 20 {
		t.Errorf("attributes are %s with priority %d", attributes.Type, attributes.Priority)
	}
	return attributes.Properties
}

func lineTypes(t *testing.T) map[string]mapping {
	t.Helper()
	var file struct {
		Template struct {
			Mappings struct {
				Properties map[string]mapping
			}
		}
	}
	readJSON(t, "index-template.json", &file)
	return file.Template.Mappings.Properties
}

func readJSON(t *testing.T, name string, into any) {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(kibana, name))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(content, into); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

// indexed is a document with its fields by the names that queries use.
type indexed map[string]any

func (r indexed) Field(name string) any { return r[name] }

// caughtShift is a shift in the documents that the collector's real elasticsearch exporter sent to a stand-in for
// Elasticsearch, with deploy/otel-collector-elasticsearch.yaml.
func caughtShift(t *testing.T) (*shift, []indexed) {
	t.Helper()
	var elasticsearch bulk.Server
	backend := httptest.NewServer(&elasticsearch)
	defer backend.Close()
	c := stack.StartWith(t, []string{"otel-collector-elasticsearch.yaml"},
		"COLLECTOR_LOGS_EXPORTER=nop", "COLLECTOR_ELASTICSEARCH_ENDPOINT="+backend.URL)
	send(t, c, "/v1/logs", oldOpening(time.Now().Add(-dayBefore), "archive"))
	s := work(t, c.HTTP)
	for _, p := range s.programs {
		p.shutdown(t)
	}
	if err := c.Stop(); err != nil {
		t.Fatal(err)
	}
	var records []indexed
	for _, d := range elasticsearch.Documents() {
		if d.Index != "logs-generic.otel-default" {
			t.Errorf("a document went to %s", d.Index)
		}
		r := indexed{}
		// By the built-in template: these fields have names of their own, and attributes can be named without the prefix.
		for _, name := range []string{"@timestamp", "trace_id", "span_id", "severity_text"} {
			if value := d.Field(name); value != nil {
				r[name] = value
			}
		}
		attributes, _ := d.Fields["attributes"].(map[string]any)
		maps.Copy(r, attributes)
		records = append(records, r)
	}
	return s, records
}

// spokenShift is a shift in the documents that an agent has to make of the lines that log/slog wrote.
func spokenShift(t *testing.T) (*shift, []indexed) {
	t.Helper()
	s := work(t, "")
	old := indexed{"@timestamp": epochMillis(time.Now().Add(-dayBefore)), "component": "circuit_breaker",
		"event_type": "circuit_opened", "service": "payments", "endpoint": payAPI, "reason": "consecutive_failures", "error.type": "503"}
	records := []indexed{old}
	for _, p := range s.programs {
		decoder := json.NewDecoder(strings.NewReader(p.lines.String()))
		decoder.UseNumber()
		for range p.jsonLines(t) {
			var r indexed
			if err := decoder.Decode(&r); err != nil {
				t.Fatal(err)
			}
			at, err := time.Parse(time.RFC3339Nano, fmt.Sprint(r["time"]))
			if err != nil {
				t.Fatal(err)
			}
			r["@timestamp"], r["message"] = epochMillis(at), r["msg"]
			delete(r, "time")
			delete(r, "msg")
			records = append(records, r)
		}
	}
	return s, records
}

func epochMillis(at time.Time) json.Number {
	return json.Number(strconv.FormatInt(at.UnixMilli(), 10))
}

// TestKibana_Types: each attribute that arrives has a type in the template, and is of it; each type in the template is
// that of one that arrives.
func TestKibana_Types(t *testing.T) {
	for name, c := range map[string]struct {
		types map[string]mapping
		shift func(*testing.T) (*shift, []indexed)
		own   []string // typed by Elasticsearch's own template
	}{
		"OTLP":       {attributeTypes(t), caughtShift, []string{"@timestamp", "trace_id", "span_id", "severity_text"}},
		"JSON lines": {lineTypes(t), spokenShift, nil},
	} {
		t.Run(name, func(t *testing.T) {
			_, records := c.shift(t)
			seen := map[string]bool{}
			for _, r := range records {
				for field, value := range r {
					m, found := c.types[field]
					switch {
					case found && !m.holds(value):
						t.Errorf("%s is %#v, and its type %s", field, value, m.Type)
					case !found && !slices.Contains(c.own, field):
						t.Errorf("%s has no type", field)
					}
					seen[field] = true
				}
			}
			for field := range c.types {
				if !seen[field] {
					t.Errorf("%s has a type, and never arrives", field)
				}
			}
		})
	}
}

// holds tells that a value in JSON is of the type, such that nothing of it is lost or left out of the index.
func (m mapping) holds(value any) bool {
	switch v := value.(type) {
	case string:
		return m.Type == "keyword" && len(v) <= m.IgnoreAbove || m.Type == "match_only_text"
	case bool:
		return m.Type == "boolean"
	case json.Number:
		_, err := strconv.ParseInt(string(v), 10, 64)
		return m.Type == "double" || err == nil && (m.Type == "long" || m.Type == "date")
	}
	return false
}

// TestKibana_Queries: each search of the file finds what happened, over both kinds of documents. What evaluates them is
// a stand-in of a few kinds of query (package elastic), not Elasticsearch.
func TestKibana_Queries(t *testing.T) {
	queries, err := elastic.Read(filepath.Join(kibana, "queries.console"))
	if err != nil {
		t.Fatal(err)
	}
	for name, shift := range map[string]func(*testing.T) (*shift, []indexed){"OTLP": caughtShift, "JSON lines": spokenShift} {
		t.Run(name, func(t *testing.T) {
			s, records := shift(t)
			var documents []elastic.Document
			for _, r := range records {
				documents = append(documents, r)
			}
			want := s.found(t)
			for _, q := range queries {
				w, known := want[q.Name]
				if !known {
					t.Errorf("nobody has said what %s has to find", q.Name)
					continue
				}
				delete(want, q.Name)
				search, err := q.Search(w.values)
				if err != nil {
					t.Fatal(err)
				}
				hits, numbers, err := search.Run(documents, time.Now())
				if err != nil {
					t.Fatalf("%s: %v", q.Name, err)
				}
				var got []string
				for _, d := range hits {
					got = append(got, hitOf(d))
				}
				if !w.ordered {
					slices.Sort(got)
					slices.Sort(w.hits)
				}
				if !slices.Equal(got, w.hits) {
					t.Errorf("%s: found\n%s\nwant\n%s", q.Name, strings.Join(got, "\n"), strings.Join(w.hits, "\n"))
				}
				if !maps.Equal(numbers, w.numbers) {
					t.Errorf("%s: counted\n%v\nwant\n%v", q.Name, numbers, w.numbers)
				}
			}
			for name := range want {
				t.Errorf("the file has no query %s", name)
			}
		})
	}
}

func hitOf(d elastic.Document) string {
	text := func(name string) string {
		if value := d.Field(name); value != nil {
			return fmt.Sprint(value)
		}
		return ""
	}
	return strings.Join([]string{text("event_type"), text("service"), text("endpoint"), text("trace_id")}, "|")
}

// foundBy is what a search has to find. It is ordered where no two hits are of one time.
type foundBy struct {
	values  map[string]string
	hits    []string
	ordered bool
	numbers map[string]float64
}

func (s *shift) found(t *testing.T) map[string]foundBy {
	t.Helper()
	none := map[string]float64{}
	hit := func(event, service, endpoint string, in trace.SpanContext) string {
		id := ""
		if in.IsValid() {
			id = in.TraceID().String()
		}
		return strings.Join([]string{event, service, endpoint, id}, "|")
	}
	of := func(e turn, event string) string { return hit(event, e.Service, e.Endpoint, e.in) }
	first := s.outage[0]
	var openings, recoveries []string
	for _, e := range s.opened {
		openings = append(openings, of(e, "circuit_opened"))
	}
	bySize := slices.Clone(s.closed)
	slices.SortFunc(bySize, func(a, b turn) int { return int(b.RecoveryDuration - a.RecoveryDuration) })
	for _, e := range bySize {
		event := "circuit_closed"
		if e.Reason.Rule == "reset" {
			event = "circuit_state_change"
		}
		recoveries = append(recoveries, of(e, event))
	}
	probe := hit("call_failed", "payments", payAPI, s.failed)
	wholeOutage := []string{probe}
	for i, event := range []string{"circuit_opened", "circuit_half_open", "circuit_reopened", "circuit_half_open", "circuit_closed"} {
		wholeOutage = append(wholeOutage, of(s.outage[i], event))
	}
	nowhere := trace.SpanContext{}
	return map[string]foundBy{
		"openings": {hits: openings, numbers: none},
		"events-over-time": {numbers: map[string]float64{
			"payments/circuit_opened": 2, "payments/circuit_half_open": 3, "payments/circuit_reopened": 1,
			"payments/circuit_closed": 2, "payments/circuit_state_change": 2, "payments/circuit_control": 2, "inventory/circuit_opened": 2,
			"search/circuit_state_change": 1, "search/circuit_would_open": 1,
			"mail/circuit_opened": 3, "mail/circuit_half_open": 3, "mail/circuit_closed": 3,
		}},
		"openings-by-reason": {numbers: map[string]float64{
			"payments/consecutive_failures/503": 1, "payments/consecutive_failures/500": 1,
			"inventory/consecutive_failures/timeout": 2, "mail/consecutive_failures/421": 3,
		}},
		"before-an-opening": {
			values: map[string]string{"SERVICE": "payments", "ENDPOINT": payAPI, "TIME": first.At.UTC().Format(time.RFC3339Nano)},
			hits: []string{
				hit("call_failed", "payments", payAPI, s.ranUp[0]), hit("call_failed", "payments", payAPI, s.ranUp[1]),
				hit("call_failed", "payments", payAPI, first.in),
			},
			numbers: map[string]float64{"503": 2, "timeout": 1, "held_back": 0},
		},
		"trace": {
			values: map[string]string{"TRACE": first.in.TraceID().String()},
			hits: []string{
				hit("", "", "", first.in), hit("call_failed", "payments", payAPI, first.in), of(first, "circuit_opened"),
				of(s.outage[1], "circuit_half_open"), of(s.outage[3], "circuit_half_open"),
			},
			numbers: none,
		},
		"outage":             {values: map[string]string{"OUTAGE": first.OutageID}, hits: wholeOutage, numbers: none},
		"longest-recoveries": {hits: recoveries, ordered: true, numbers: none},
		"blocked":            {numbers: map[string]float64{"payments/blocked": float64(s.blocked) + 2, "mail/blocked": 0}},
		"overrides": {hits: []string{
			hit("circuit_state_change", "payments", payInEU, nowhere), hit("circuit_state_change", "payments", payInEU, nowhere),
			hit("circuit_state_change", "search", searchAPI, nowhere),
		}, numbers: none},
		"audit": {hits: []string{
			hit("circuit_control", "payments", payInEU, nowhere), hit("circuit_control", "", "", nowhere),
			hit("circuit_control", "payments", payInEU, nowhere),
		}, numbers: none},
	}
}

// knownFields are those that both kinds of documents have types for.
func knownFields(t *testing.T) map[string]mapping {
	t.Helper()
	known := lineTypes(t)
	delete(known, "level") // severity_text of the other kind
	for field, m := range attributeTypes(t) {
		if known[field] != m {
			t.Errorf("%s is %v in the one template, and %v in the other", field, m, known[field])
		}
	}
	return known
}

// TestKibana_ThreeFormsAskTheSame: of each query the search, the KQL and the ES|QL have the same conditions, on fields
// that have the types for them. This is by form: no parser of KQL or ES|QL can be had here.
func TestKibana_ThreeFormsAskTheSame(t *testing.T) {
	queries, err := elastic.Read(filepath.Join(kibana, "queries.console"))
	if err != nil {
		t.Fatal(err)
	}
	known := knownFields(t)
	for _, q := range queries {
		search, err := q.Search(nil)
		if err != nil {
			t.Error(err)
			continue
		}
		want, err := search.Conditions()
		if err != nil {
			t.Errorf("%s: %v", q.Name, err)
		}
		kql, err := elastic.KQLConditions(q.KQL)
		if err != nil || !slices.Equal(kql, want) {
			t.Errorf("%s: KQL asks for %v, want %v (%v)", q.Name, kql, want, err)
		}
		index, esql, fields, err := elastic.ESQLConditions(q.ESQL)
		if err != nil || index != q.Index || !slices.Equal(esql, want) {
			t.Errorf("%s: ES|QL asks %s for %v, want %s, %v (%v)", q.Name, index, esql, q.Index, want, err)
		}
		if day := strings.Contains(q.Body, `"now-24h"`); day != strings.Contains(q.ESQL, "NOW() - 24 hours") {
			t.Errorf("%s: the forms do not ask for the same day", q.Name)
		}
		for _, field := range append(fields, search.Fields()...) {
			if _, found := known[field]; !found {
				t.Errorf("%s names %s, which has no type", q.Name, field)
			}
		}
		for _, c := range search.Query.Bool.Filter {
			for field := range c.Term {
				if known[field].Type != "keyword" {
					t.Errorf("%s: a term on %s, which is of type %s", q.Name, field, known[field].Type)
				}
			}
		}
	}
}
