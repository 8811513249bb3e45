package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The uids, files and so on are an interface: alerts and users' bookmarks name them.
var files = map[string]string{
	"overview.json":    "otelbreaker-overview",
	"breaker.json":     "otelbreaker-breaker",
	"fleet.json":       "otelbreaker-fleet",
	"performance.json": "otelbreaker-performance",
}

func uids() []string {
	var all []string
	for _, uid := range files {
		all = append(all, uid)
	}
	slices.Sort(all)
	return all
}

func TestDashboards_AreWhatTheProgramWrites(t *testing.T) {
	written := dashboards()
	there, err := filepath.Glob("../dashboards/*.json")
	if err != nil {
		t.Fatal(err)
	}
	if len(there) != len(written) || len(there) != len(files) {
		t.Errorf("%d files in dashboards/, %d dashboards written, %d promised", len(there), len(written), len(files))
	}
	for name, dashboard := range written {
		want, err := render(dashboard)
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(filepath.Join("..", "dashboards", name))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s is not what go -C deploy/grafana/generate generate writes", name)
		}
	}
}

func TestDashboards_Lint(t *testing.T) {
	names, err := documented()
	if err != nil {
		t.Fatal(err)
	}
	if len(names) < 20 {
		t.Fatalf("only %d metrics found in docs/telemetry.md", len(names))
	}
	for name, uid := range files {
		t.Run(name, func(t *testing.T) {
			d, content, err := readDashboard(name)
			if err != nil {
				t.Fatal(err)
			}
			if d.UID != uid {
				t.Errorf("uid %q, promised is %q", d.UID, uid)
			}
			for _, wrong := range lint(d, content, names, uids()) {
				t.Error(wrong)
			}
		})
	}
}

// TestLint_Finds breaks a dashboard in each way that the lint is there for.
func TestLint_Finds(t *testing.T) {
	names, err := documented()
	if err != nil {
		t.Fatal(err)
	}
	_, sound, err := readDashboard("overview.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, old, by, want string }{
		{"uid", `"uid": "otelbreaker-overview"`, `"uid": "x"`, `uid "x" is not`},
		{"editable", `"editable": false`, `"editable": true`, "editable"},
		{"schema", `"schemaVersion": 39`, `"schemaVersion": 38`, "schemaVersion 38"},
		{"title", `"title": "Fleet open"`, `"title": ""`, "no title"},
		{"description", `"description": "Calls that failed in the range shown, over all instances."`, `"description": "Calls."`, "no description"},
		{"unit", `"unit": "reqps"`, `"unit": ""`, "no unit"},
		{"data source", `"uid": "${datasource}"`, `"uid": "P1809F7CD0C75ACF3"`, "its data source is no variable"},
		{"unknown variable", `service=~\"$service\"`, `service=~\"$dependency\"`, "variable $dependency is not defined"},
		{"hard-coded instance", `instance=~\"$instance\"`, `instance=\"10.0.0.11:8080\"`, "is hard-coded"},
		{"hard-coded service", `service=~\"$service\"`, `service=\"payments\"`, "is hard-coded"},
		{"unknown metric", `circuit_breaker_failures_current{`, `circuit_breaker_failures{`, "neither in docs/telemetry.md"},
		{"fixed window", `[$__rate_interval]`, `[1m]`, "[1m] is a fixed time"},
		{"short window", `[$__rate_interval]`, `[$__interval]`, "shorter than two scrapes"},
		{"empty query", `"expr": "count(\n  count by (job, instance)`, `"expr": "", "was": "count(\n  count by (job, instance)`, "empty"},
		{"overlap", `"x": 3,`, `"x": 2,`, "lies over"},
		{"outside", `"w": 24,`, `"w": 25,`, "outside of the grid"},
		{"link", `"url": "/d/otelbreaker-fleet"`, `"url": "/d/fleet"`, "leads nowhere"},
		{"link's variable", `var-service=`, `var-dependency=`, "var-dependency"},
		{"link without time", `"keepTime": true`, `"keepTime": false`, "time range"},
		{"annotation", `{{trace_id}}`, `{{outage_id}}`, "no trace"},
		{"states", `"text": "HALF_OPEN"`, `"text": "HALF-OPEN"`, "not mapped"},
		{"id", `"id": 2,`, `"id": 1,`, "no id of its own"},
		{"all", `"allValue": ".*"`, `"allValue": ""`, "a value for all"},
	} {
		t.Run(c.name, func(t *testing.T) {
			broken := []byte(strings.ReplaceAll(string(sound), c.old, c.by))
			if bytes.Equal(broken, sound) {
				t.Fatalf("nothing like %s to break", c.old)
			}
			var d fileDashboard
			if err := json.Unmarshal(broken, &d); err != nil {
				t.Fatal(err)
			}
			if wrong := strings.Join(lint(d, broken, names, uids()), "\n"); !strings.Contains(wrong, c.want) {
				t.Errorf("%q is not among what was found:\n%s", c.want, wrong)
			}
		})
	}
}

// TestDashboards_ShareTheirVariables: a link carries them, and a variable that the other does not have would be lost.
func TestDashboards_ShareTheirVariables(t *testing.T) {
	first := ""
	for name := range files {
		d, _, err := readDashboard(name)
		if err != nil {
			t.Fatal(err)
		}
		list, err := json.Marshal(d.Templating.List)
		if err != nil {
			t.Fatal(err)
		}
		if first == "" {
			first = string(list)
		}
		if string(list) != first {
			t.Errorf("%s has other variables", name)
		}
	}
}

// TestProvisioning_NamesWhatTheLinksName: the data sources' links name each other by uid, and so do the annotations.
func TestProvisioning_NamesWhatTheLinksName(t *testing.T) {
	content, err := os.ReadFile("../provisioning/datasources/otelbreaker.yaml")
	if err != nil {
		t.Fatal(err)
	}
	text := string(content)
	for _, uid := range []string{"otelbreaker-metrics", "otelbreaker-logs", tracesUID} {
		if !regexp.MustCompile(`(?m)^    uid: ` + uid + `$`).MatchString(text) {
			t.Errorf("no data source %s", uid)
		}
	}
	for _, link := range regexp.MustCompile(`datasourceUid: (\S+)`).FindAllStringSubmatch(text, -1) {
		if !strings.Contains(text, "\n    uid: "+link[1]+"\n") {
			t.Errorf("a link to the data source %s leads nowhere", link[1])
		}
	}
	// Grafana replaces $NAME and ${NAME} from its environment, and what it does not know by nothing.
	for _, v := range regexp.MustCompile(`\$?\$\{?[A-Za-z_]+`).FindAllString(regexp.MustCompile(`(?m)^\s*#.*$`).ReplaceAllString(text, ""), -1) {
		if !slices.Contains([]string{"${PROMETHEUS_URL", "${LOKI_URL", "${JAEGER_URL"}, v) && !strings.HasPrefix(v, "$${__") {
			t.Errorf("%s would be replaced from the environment", v)
		}
	}
}
