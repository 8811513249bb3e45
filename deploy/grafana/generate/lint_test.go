package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// The parts of a dashboard's JSON that the lint looks at. It reads the files, and not what writes them: the files are
// what Grafana loads.
type (
	fileDashboard struct {
		UID, Title, Description, Refresh string
		Tags                             []string
		Editable                         *bool
		SchemaVersion                    int
		Time                             struct{ From, To string }
		Links                            []struct {
			Type, Title, URL      string
			IncludeVars, KeepTime bool
		}
		Templating  struct{ List []fileVariable }
		Annotations struct{ List []fileAnnotation }
		Panels      []filePanel
	}
	fileVariable struct {
		Name, Type, Label, AllValue string
		Query                       any
		Datasource                  source
		IncludeAll, Multi           bool
	}
	fileAnnotation struct {
		Name, Expr, TextFormat string
		BuiltIn                int
		Datasource             source
	}
	source    struct{ Type, UID string }
	filePanel struct {
		ID                       int
		Type, Title, Description string
		Datasource               *source
		GridPos                  struct{ X, Y, W, H int }
		Targets                  []fileTarget
		FieldConfig              struct {
			Defaults struct {
				Unit       string
				Thresholds struct{ Steps []any }
				Mappings   []fileMapping
			}
			Overrides []any
		}
		Transformations []any
		Interval        string
	}
	fileTarget struct {
		RefID, Expr, LegendFormat string
		Datasource                source
		Instant, Range, Exemplar  bool
	}
	fileMapping struct {
		Type    string
		Options json.RawMessage
	}
)

func readDashboard(name string) (fileDashboard, []byte, error) {
	var d fileDashboard
	content, err := os.ReadFile(filepath.Join("..", "dashboards", name))
	if err != nil {
		return d, nil, err
	}
	return d, content, json.Unmarshal(content, &d)
}

// documented are the names of the metrics in docs/telemetry.md and of the recording rules, and what Prometheus itself
// makes of a scrape.
func documented() (map[string]bool, error) {
	names := map[string]bool{"scrape_duration_seconds": true, "scrape_samples_scraped": true}
	telemetry, err := os.ReadFile("../../../docs/telemetry.md")
	if err != nil {
		return nil, err
	}
	for _, row := range regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\| `[a-z_.]+` \\| (gauge|counter|histogram)").FindAllSubmatch(telemetry, -1) {
		names[string(row[1])] = true
		if string(row[2]) == "histogram" {
			names[string(row[1])+"_bucket"] = true
		}
	}
	rules, err := filepath.Glob("../../prometheus/*.yml")
	if err != nil {
		return nil, err
	}
	for _, file := range rules {
		content, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		for _, record := range regexp.MustCompile(`(?m)^\s*-?\s*record:\s*(\S+)`).FindAllSubmatch(content, -1) {
			names[string(record[1])] = true
		}
	}
	return names, nil
}

var (
	selector  = regexp.MustCompile(`([a-zA-Z_:][a-zA-Z0-9_:]*)?\{([^{}]*)\}`)
	matcher   = regexp.MustCompile(`([a-z_]+)\s*(=~|!~|!=|=)\s*"([^"]*)"`)
	window    = regexp.MustCompile(`\[([^\]]*)\]|\boffset\s+([^\s)]+)`)
	variable  = regexp.MustCompile(`\$\{?([a-zA-Z_]+)`)
	dashLink  = regexp.MustCompile(`/d/([^?"\\]*)`)
	linkedVar = regexp.MustCompile(`var-([a-z]+)=`)
)

// lint tells what is wrong with a dashboard. content is its file, names are the metrics there are, uids the dashboards.
func lint(d fileDashboard, content []byte, names map[string]bool, uids []string) []string {
	var wrong []string
	bad := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }

	if !slices.Contains(uids, d.UID) {
		bad("uid %q is not one of %v", d.UID, uids)
	}
	if d.Title == "" || d.Description == "" {
		bad("no title or no description")
	}
	if d.Editable == nil || *d.Editable {
		bad("editable")
	}
	if d.SchemaVersion < 39 || d.SchemaVersion > 42 {
		bad("schemaVersion %d is not from 39 to 42", d.SchemaVersion)
	}
	if !slices.Contains(d.Tags, "circuit-breaker") {
		bad("no tag circuit-breaker")
	}
	if d.Time.From == "" || d.Refresh == "" {
		bad("no time range or no refresh")
	}

	defined := []string{}
	for _, v := range d.Templating.List {
		defined = append(defined, v.Name)
		if v.Label == "" {
			bad("variable %s: no label", v.Name)
		}
		if v.Type == "query" && (!v.IncludeAll || !v.Multi || v.AllValue == "") {
			bad("variable %s: wants multi, all, and a value for all", v.Name)
		}
		if v.Type == "query" && !strings.HasPrefix(v.Datasource.UID, "${") {
			bad("variable %s: data source %q is no variable", v.Name, v.Datasource.UID)
		}
	}
	for _, used := range variable.FindAllStringSubmatch(string(content), -1) {
		if name := used[1]; !strings.HasPrefix(name, "__") && !slices.Contains(defined, name) {
			bad("variable $%s is not defined", name)
		}
	}
	for _, l := range dashLink.FindAllStringSubmatch(string(content), -1) {
		if !slices.Contains(uids, l[1]) {
			bad("a link to /d/%s leads nowhere", l[1])
		}
	}
	for _, l := range linkedVar.FindAllStringSubmatch(string(content), -1) {
		if !slices.Contains(defined, l[1]) {
			bad("a link sets var-%s, which no dashboard has", l[1])
		}
	}
	for _, l := range d.Links {
		if l.Type != "link" || !l.IncludeVars || !l.KeepTime || l.URL == "/d/"+d.UID {
			bad("link %q: wants another dashboard, the variables and the time range", l.Title)
		}
	}
	if len(d.Links) != len(uids)-1 {
		bad("%d links, not one to each of the other %d dashboards", len(d.Links), len(uids)-1)
	}
	for _, a := range d.Annotations.List {
		if a.BuiltIn == 1 {
			continue
		}
		if a.Datasource.UID != "${logs}" {
			bad("annotation %s: data source %q is no variable", a.Name, a.Datasource.UID)
		}
		if !strings.Contains(a.TextFormat, "{{trace_id}}") {
			bad("annotation %s: no trace", a.Name)
		}
		for _, w := range lintQuery(a.Expr, true, names) {
			bad("annotation %s: %s", a.Name, w)
		}
	}
	return append(wrong, lintPanels(d.Panels, names)...)
}

func lintPanels(panels []filePanel, names map[string]bool) []string {
	var wrong []string
	ids := map[int]bool{}
	titles := map[string]bool{}
	for i, p := range panels {
		bad := func(format string, args ...any) {
			wrong = append(wrong, fmt.Sprintf("panel %d, %q: ", p.ID, p.Title)+fmt.Sprintf(format, args...))
		}
		if p.ID <= 0 || ids[p.ID] {
			bad("no id of its own")
		}
		ids[p.ID] = true
		if p.Title == "" || titles[p.Title] {
			bad("no title of its own")
		}
		titles[p.Title] = true
		g := p.GridPos
		if g.X < 0 || g.Y < 0 || g.W < 1 || g.H < 1 || g.X+g.W > width {
			bad("outside of the grid: %+v", g)
		}
		for _, other := range panels[:i] {
			o := other.GridPos
			if g.X < o.X+o.W && o.X < g.X+g.W && g.Y < o.Y+o.H && o.Y < g.Y+g.H {
				bad("lies over panel %d, %q", other.ID, other.Title)
			}
		}
		if p.Type == "row" {
			continue
		}
		if len(p.Description) < 20 {
			bad("no description")
		}
		if p.FieldConfig.Defaults.Unit == "" {
			bad("no unit")
		}
		if len(p.FieldConfig.Defaults.Thresholds.Steps) == 0 {
			bad("no thresholds")
		}
		if p.Datasource == nil || (p.Datasource.UID != "${datasource}" && p.Datasource.UID != "${logs}") {
			bad("its data source is no variable")
			continue
		}
		if len(p.Targets) == 0 {
			bad("no query")
		}
		refs := map[string]bool{}
		states := false
		for _, t := range p.Targets {
			if t.RefID == "" || refs[t.RefID] {
				bad("a query without a refId of its own")
			}
			refs[t.RefID] = true
			if t.Datasource != *p.Datasource {
				bad("query %s: another data source than the panel's", t.RefID)
			}
			for _, w := range lintQuery(t.Expr, t.Datasource.Type == "loki", names) {
				bad("query %s: %s", t.RefID, w)
			}
			if t.Datasource.Type == "prometheus" && t.Instant == t.Range {
				bad("query %s: neither instant nor a range, or both", t.RefID)
			}
			states = states || regexp.MustCompile(`^(sort_desc\()?(max( by \([a-z, ]+\) )?\()?circuit_breaker_state\{[^}]*\}\)*$`).MatchString(t.Expr)
		}
		if states && p.Type != "table" && !mapsStates(p.FieldConfig.Defaults.Mappings) {
			bad("a state that is not mapped to 0 CLOSED green, 1 HALF_OPEN yellow, 2 OPEN red")
		}
	}
	return wrong
}

func mapsStates(mappings []fileMapping) bool {
	for _, m := range mappings {
		var options map[string]struct{ Text, Color string }
		if m.Type != "value" || json.Unmarshal(m.Options, &options) != nil {
			continue
		}
		if fmt.Sprint(options["0"], options["1"], options["2"]) == "{CLOSED green} {HALF_OPEN yellow} {OPEN red}" {
			return true
		}
	}
	return false
}

// lintQuery checks a query as far as that goes without a parser; the tests in e2e/ parse and run it.
func lintQuery(expr string, loki bool, names map[string]bool) []string {
	var wrong []string
	bad := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	if strings.TrimSpace(expr) == "" {
		return []string{"empty"}
	}
	selectors := selector.FindAllStringSubmatch(expr, -1)
	if len(selectors) == 0 {
		bad("selects nothing: %s", expr)
	}
	for _, s := range selectors {
		if strings.HasPrefix(s[2], ".") || strings.Contains(expr, "{"+s[0]+"}") {
			continue // a template of line_format
		}
		if !loki && !names[s[1]] {
			bad("metric %q is neither in docs/telemetry.md nor recorded by a rule", s[1])
		}
	}
	for _, m := range matcher.FindAllStringSubmatch(expr, -1) {
		label, operator, value := m[1], m[2], m[3]
		switch label {
		case "job", "instance", "service", "endpoint", "service_name":
			scrapeConfig := label == "job" && operator == "=" && value == "collectors"
			if !scrapeConfig && (operator != "=~" || !strings.HasPrefix(value, "$")) {
				bad("%s is hard-coded", m[0])
			}
		}
	}
	for _, w := range window.FindAllStringSubmatch(expr, -1) {
		switch w[1] + w[2] {
		case rateInterval, timeSpan, interval:
		default:
			bad("%s is a fixed time", w[0])
		}
	}
	if regexp.MustCompile(`\b(rate|increase)\([^\[]*\[\$__interval\]`).MatchString(expr) {
		bad("a rate over $__interval is empty where that is shorter than two scrapes")
	}
	return wrong
}
