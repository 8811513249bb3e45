package e2e

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/otelbreaker/otelbreaker/e2e/internal/elastic"
)

// TestKibana_SavedObjects: the file that Kibana imports hangs together: each reference is to an object in it, each
// field has a type, each condition is one of the queries', no two panels overlap. It is by form: whether Kibana takes
// it is not shown.
func TestKibana_SavedObjects(t *testing.T) {
	content, err := os.ReadFile(filepath.Join(kibana, "saved-objects.ndjson"))
	if err != nil {
		t.Fatal(err)
	}
	known := knownFields(t)
	objects := map[string]*savedObject{}
	for line := range bytes.Lines(content) {
		o := &savedObject{}
		if err := json.Unmarshal(line, o); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		if o.Core != "8.8.0" || o.Version == "" {
			t.Errorf("%s: Kibana cannot tell what to migrate it from", o.ID)
		}
		key := o.Type + "/" + o.ID
		if objects[key] != nil {
			t.Errorf("there are two %s", key)
		}
		objects[key] = o
	}
	kinds := map[string]int{}
	for key, o := range objects {
		kinds[o.Type]++
		for _, r := range o.References {
			if objects[r.Type+"/"+r.ID] == nil {
				t.Errorf("%s refers to %s/%s, which is not in the file", key, r.Type, r.ID)
			}
		}
		fields, kql := o.names(t)
		if kql != "" {
			conditions, err := elastic.KQLConditions(kql)
			if err != nil {
				t.Errorf("%s: %v", key, err)
			}
			for _, c := range conditions {
				field, _, _ := strings.Cut(c, " ")
				fields = append(fields, field)
				if _, value, compares := strings.Cut(c, "= "); compares && field == "event_type" && !events[value] {
					t.Errorf("%s asks for the event %s, which there is not", key, value)
				}
			}
		}
		for _, field := range fields {
			if _, found := known[field]; !found {
				t.Errorf("%s names %s, which has no type", key, field)
			}
		}
	}
	if kinds["index-pattern"] != 1 || kinds["search"] < 5 || kinds["dashboard"] != 1 || kinds["lens"] < 5 {
		t.Errorf("there are %v", kinds)
	}
}

// events are those that package logs tells of.
var events = map[string]bool{
	"circuit_opened": true, "circuit_half_open": true, "circuit_closed": true, "circuit_reopened": true,
	"circuit_state_change": true, "circuit_would_open": true, "call_failed": true,
}

type savedObject struct {
	ID, Type   string
	Core       string `json:"coreMigrationVersion"`
	Version    string `json:"typeMigrationVersion"`
	References []struct{ ID, Name, Type string }
	Attributes json.RawMessage
}

// names are the fields that an object names, and its condition in KQL.
func (o *savedObject) names(t *testing.T) (fields []string, kql string) {
	t.Helper()
	decode := func(text []byte, into any) {
		t.Helper()
		if err := json.Unmarshal(text, into); err != nil {
			t.Fatalf("%s: %v", o.ID, err)
		}
	}
	refersTo := func(kind, name string) {
		t.Helper()
		for _, r := range o.References {
			if r.Name == name && r.Type == kind {
				return
			}
		}
		t.Errorf("%s has no reference %s to a %s", o.ID, name, kind)
	}
	switch o.Type {
	case "index-pattern":
		var a struct{ Title, TimeFieldName, FieldFormatMap string }
		decode(o.Attributes, &a)
		var formats map[string]struct {
			ID     string
			Params struct{ URLTemplate string }
		}
		decode([]byte(a.FieldFormatMap), &formats)
		if f := formats["trace_id"]; f.ID != "url" || !strings.Contains(f.Params.URLTemplate, "/trace/{{value}}") {
			t.Errorf("a trace_id opens %v", f)
		}
		queries, err := elastic.Read(filepath.Join(kibana, "queries.console"))
		if err != nil || a.Title != queries[0].Index {
			t.Errorf("the data view is of %s, the queries of %s (%v)", a.Title, queries[0].Index, err)
		}
		return append(slices.Collect(maps.Keys(formats)), a.TimeFieldName), ""
	case "search":
		var a struct {
			Columns []string
			Sort    [][]string
			Meta    struct{ SearchSourceJSON string } `json:"kibanaSavedObjectMeta"`
		}
		decode(o.Attributes, &a)
		var source struct {
			Query        struct{ Query, Language string }
			IndexRefName string
		}
		decode([]byte(a.Meta.SearchSourceJSON), &source)
		refersTo("index-pattern", source.IndexRefName)
		if source.Query.Language != "kuery" {
			t.Errorf("%s is in %s", o.ID, source.Query.Language)
		}
		return append(a.Columns, a.Sort[0][0]), source.Query.Query
	case "lens":
		return o.lens(t, decode, refersTo)
	case "dashboard":
		var a struct{ PanelsJSON string }
		decode(o.Attributes, &a)
		var panels []struct {
			Type, PanelIndex, PanelRefName string
			GridData                       struct{ X, Y, W, H int }
		}
		decode([]byte(a.PanelsJSON), &panels)
		taken := map[[2]int]string{}
		for _, p := range panels {
			refersTo(p.Type, p.PanelIndex+":"+p.PanelRefName)
			for x := p.GridData.X; x < p.GridData.X+p.GridData.W; x++ {
				for y := p.GridData.Y; y < p.GridData.Y+p.GridData.H; y++ {
					if other := taken[[2]int{x, y}]; other != "" || x >= 48 {
						t.Fatalf("panel %s overlaps %s or the edge", p.PanelIndex, other)
					}
					taken[[2]int{x, y}] = p.PanelIndex
				}
			}
		}
		return nil, ""
	}
	t.Errorf("%s is a %s", o.ID, o.Type)
	return nil, ""
}

func (o *savedObject) lens(t *testing.T, decode func([]byte, any), refersTo func(kind, name string)) (fields []string, kql string) {
	t.Helper()
	var a struct {
		State struct {
			DatasourceStates struct {
				FormBased struct {
					Layers map[string]struct {
						ColumnOrder []string
						Columns     map[string]struct {
							OperationType, SourceField, DataType string
							Params                               struct{ OrderBy struct{ ColumnID string } }
						}
					}
				}
			}
			Query         struct{ Query, Language string }
			Visualization json.RawMessage
		}
	}
	decode(o.Attributes, &a)
	for id, layer := range a.State.DatasourceStates.FormBased.Layers {
		refersTo("index-pattern", "indexpattern-datasource-layer-"+id)
		if want := slices.Sorted(maps.Keys(layer.Columns)); !slices.Equal(slices.Sorted(slices.Values(layer.ColumnOrder)), want) {
			t.Errorf("%s orders the columns %v, and has %v", o.ID, layer.ColumnOrder, want)
		}
		for column, c := range layer.Columns {
			if !bytes.Contains(a.State.Visualization, []byte(`"`+column+`"`)) {
				t.Errorf("%s does not show its column %s", o.ID, column)
			}
			if by := c.Params.OrderBy.ColumnID; by != "" && layer.Columns[by].OperationType == "" {
				t.Errorf("%s orders by the column %s, which it has not", o.ID, by)
			}
			types := map[string][]string{"terms": {"keyword"}, "sum": {"long"}, "max": {"double"}, "date_histogram": {"date"}}
			switch {
			case c.OperationType == "count" && c.SourceField == "___records___":
			case slices.Contains(types[c.OperationType], lineTypes(t)[c.SourceField].Type):
				fields = append(fields, c.SourceField)
			default:
				t.Errorf("%s: %s of %s", o.ID, c.OperationType, c.SourceField)
			}
		}
	}
	return fields, a.State.Query.Query
}
