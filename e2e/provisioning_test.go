package e2e

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// The files of deploy/grafana/provisioning, as far as they are used. What is not here is not known to the test, and an
// error: Grafana ignores a misspelt key without a word.
type (
	dataSources struct {
		APIVersion  int          `yaml:"apiVersion"`
		DataSources []dataSource `yaml:"datasources"`
	}
	dataSource struct {
		Name, UID, Type, Access, URL string
		Editable                     bool
		JSONData                     struct {
			HTTPMethod      string `yaml:"httpMethod"`
			PrometheusType  string `yaml:"prometheusType"`
			TimeInterval    string `yaml:"timeInterval"`
			ExemplarTraceID []struct {
				Name            string
				DatasourceUID   string `yaml:"datasourceUid"`
				URLDisplayLabel string `yaml:"urlDisplayLabel"`
			} `yaml:"exemplarTraceIdDestinations"`
			MaxLines      int `yaml:"maxLines"`
			DerivedFields []struct {
				Name            string
				MatcherType     string `yaml:"matcherType"`
				MatcherRegex    string `yaml:"matcherRegex"`
				URL             string
				DatasourceUID   string `yaml:"datasourceUid"`
				URLDisplayLabel string `yaml:"urlDisplayLabel"`
			} `yaml:"derivedFields"`
			TracesToLogs struct {
				DatasourceUID      string `yaml:"datasourceUid"`
				SpanStartTimeShift string `yaml:"spanStartTimeShift"`
				SpanEndTimeShift   string `yaml:"spanEndTimeShift"`
				FilterByTraceID    bool   `yaml:"filterByTraceID"`
				FilterBySpanID     bool   `yaml:"filterBySpanID"`
				CustomQuery        bool   `yaml:"customQuery"`
				Query              string
			} `yaml:"tracesToLogsV2"`
		} `yaml:"jsonData"`
	}
	dashboardProviders struct {
		APIVersion int `yaml:"apiVersion"`
		Providers  []struct {
			Name, Folder, Type    string
			FolderUID             string `yaml:"folderUid"`
			AllowUIUpdates        bool   `yaml:"allowUiUpdates"`
			DisableDeletion       bool   `yaml:"disableDeletion"`
			UpdateIntervalSeconds int    `yaml:"updateIntervalSeconds"`
			Options               struct {
				Path                      string
				FoldersFromFilesStructure bool `yaml:"foldersFromFilesStructure"`
			}
		}
	}
)

// provisioned reads a file as Grafana does: $NAME and ${NAME} stand for what the environment has, and $$ for $.
func provisioned[T any](t *testing.T, name string, environment map[string]string) T {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("..", "deploy", "grafana", "provisioning", name))
	if err != nil {
		t.Fatal(err)
	}
	filled := regexp.MustCompile(`\$\$|\$\{\w+\}|\$\w+`).ReplaceAllFunc(content, func(found []byte) []byte {
		if string(found) == "$$" {
			return []byte("$")
		}
		value, there := environment[strings.Trim(string(found), "${}")]
		if !there && !bytes.HasPrefix(bytes.TrimSpace(lineOf(content, found)), []byte("#")) {
			t.Errorf("%s: %s is not in the environment that the file tells of", name, found)
		}
		return []byte(value)
	})
	decoder := yaml.NewDecoder(bytes.NewReader(filled))
	decoder.KnownFields(true)
	var into T
	if err := decoder.Decode(&into); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return into
}

// lineOf is the first line that holds found.
func lineOf(content, found []byte) []byte {
	for line := range bytes.Lines(content) {
		if bytes.Contains(line, found) {
			return line
		}
	}
	return nil
}

var grafanaEnvironment = map[string]string{
	"PROMETHEUS_URL": "http://127.0.0.1:9090", "LOKI_URL": "http://127.0.0.1:3100", "JAEGER_URL": "http://127.0.0.1:16686",
	"OTELBREAKER_DASHBOARDS": "/etc/grafana/dashboards/otelbreaker",
}

func TestDashboards_DataSourcesLeadToEachOther(t *testing.T) {
	file := provisioned[dataSources](t, "datasources/otelbreaker.yaml", grafanaEnvironment)
	by := map[string]dataSource{}
	for _, d := range file.DataSources {
		if d.Name == "" || d.Access != "proxy" || !strings.HasPrefix(d.URL, "http://") || d.Editable {
			t.Errorf("%+v is not complete", d)
		}
		by[d.Type] = d
	}
	if file.APIVersion != 1 || len(by) != 3 {
		t.Fatalf("%+v", file)
	}
	metrics, logs, traces := by["prometheus"], by["loki"], by["jaeger"]
	if to := metrics.JSONData.ExemplarTraceID; len(to) != 1 || to[0].Name != "trace_id" || to[0].DatasourceUID != traces.UID {
		t.Errorf("an exemplar leads to %+v", to)
	}
	if to := logs.JSONData.DerivedFields; len(to) != 1 || to[0].MatcherType != "label" || to[0].MatcherRegex != "trace_id" ||
		to[0].URL != "${__value.raw}" || to[0].DatasourceUID != traces.UID {
		t.Errorf("a log line leads to %+v", to)
	}
	if to := traces.JSONData.TracesToLogs; to.DatasourceUID != logs.UID || !to.CustomQuery {
		t.Errorf("a trace leads to %+v", to)
	}
}

func TestDashboards_FolderIsProvisioned(t *testing.T) {
	file := provisioned[dashboardProviders](t, "dashboards/otelbreaker.yaml", grafanaEnvironment)
	if file.APIVersion != 1 || len(file.Providers) != 1 {
		t.Fatalf("%+v", file)
	}
	p := file.Providers[0]
	if p.Folder != "Circuit breakers" || p.Type != "file" || p.AllowUIUpdates || p.Options.Path != grafanaEnvironment["OTELBREAKER_DASHBOARDS"] {
		t.Errorf("%+v", p)
	}
}

// linesOfTrace is the query by which a trace finds its log lines, as Grafana fills it.
func linesOfTrace(t *testing.T, program, trace string) string {
	t.Helper()
	for _, d := range provisioned[dataSources](t, "datasources/otelbreaker.yaml", grafanaEnvironment).DataSources {
		if query := d.JSONData.TracesToLogs.Query; query != "" {
			return strings.NewReplacer(`${__span.tags["service.name"]}`, program, `${__trace.traceId}`, trace).Replace(query)
		}
	}
	t.Fatal("no data source leads from traces to logs")
	return ""
}
