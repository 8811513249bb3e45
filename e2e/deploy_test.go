package e2e

import (
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"

	"github.com/otelbreaker/otelbreaker/e2e/internal/stack"
)

const (
	oneRecord = `{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{"stringValue":"Circuit breaker opened"},` +
		`"attributes":[{"key":"event_type","value":{"stringValue":"circuit_opened"}}]}]}]}]}`
	oneSpan = `{"resourceSpans":[{"scopeSpans":[{"spans":[{"name":"circuit_breaker.outage",` +
		`"traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b174"}]}]}]}`
)

// send posts one batch of OTLP in JSON to the collector, which has to take it.
func send(t *testing.T, c *stack.Collector, path, body string) {
	t.Helper()
	if status := post(t, c, path, body); status != http.StatusOK {
		t.Fatalf("POST %s: %d", path, status)
	}
}

func post(t *testing.T, c *stack.Collector, path, body string) (status int) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, c.HTTP+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil {
		t.Error(err)
	}
	return resp.StatusCode
}

func TestDeploy_ValidWithNothingSet(t *testing.T) {
	options := []string{
		"otel-collector-elasticsearch.yaml", "otel-collector-remote-write.yaml", "otel-collector-prometheus-otlp.yaml",
	}
	for _, with := range [][]string{nil, options[0:1], options[1:2], options[2:3], options} {
		if out, err := stack.ValidateWith(t, with); err != nil {
			t.Errorf("the collector refuses deploy/otel-collector.yaml with %v: %v\n%s", with, err, out)
		}
	}
	out, err := stack.Validate(t, "COLLECTOR_LOGS_EXPORTER=no_such")
	if err == nil || !strings.Contains(out, "no_such") {
		t.Errorf("an exporter that is not there must be refused by name; got %v: %s", err, out)
	}
}

// TestDeploy_PrometheusConfiguration: promtool accepts it as it is, with the files of targets that it names.
func TestDeploy_PrometheusConfiguration(t *testing.T) {
	if out, err := stack.CheckPrometheus(t); err != nil {
		t.Errorf("promtool refuses deploy/prometheus/prometheus.yml: %v\n%s", err, out)
	}
}

// TestDeploy_PrintsByDefault: where no exporter is named, log records and spans are in the
// collector's own output.
func TestDeploy_PrintsByDefault(t *testing.T) {
	c := stack.Start(t, "COLLECTOR_LOGS_EXPORTER=debug", "COLLECTOR_TRACES_EXPORTER=debug")
	send(t, c, "/v1/logs", oneRecord)
	send(t, c, "/v1/traces", oneSpan)
	if err := c.Stop(); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"Circuit breaker opened event_type=circuit_opened", "circuit_breaker.outage"} {
		if !strings.Contains(c.Output(), want) {
			t.Errorf("%q is not in the collector's output", want)
		}
	}
}

// TestDeploy_SendsOn: log records and spans reach the endpoints that the environment names.
func TestDeploy_SendsOn(t *testing.T) {
	type delivery struct {
		path string
		what string
		err  error
	}
	arrived := make(chan delivery, 2)
	backend := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		what, err := decode(r)
		arrived <- delivery{r.URL.Path, what, err}
	}))
	defer backend.Close()

	c := stack.Start(t,
		"COLLECTOR_LOGS_EXPORTER=otlp_http/logs", "COLLECTOR_LOGS_ENDPOINT="+backend.URL+"/otlp",
		"COLLECTOR_TRACES_EXPORTER=otlp_http/traces", "COLLECTOR_TRACES_ENDPOINT="+backend.URL)
	for _, test := range []struct{ path, body, want, what string }{
		{"/v1/logs", oneRecord, "/otlp/v1/logs", "Circuit breaker opened"},
		{"/v1/traces", oneSpan, "/v1/traces", "circuit_breaker.outage"},
	} {
		send(t, c, test.path, test.body)
		select {
		case got := <-arrived:
			if got.err != nil {
				t.Fatal(got.err)
			}
			if got.path != test.want || got.what != test.what {
				t.Errorf("sent to %s: got %q at %s, want %q at %s", test.path, got.what, got.path, test.what, test.want)
			}
		case <-time.After(settle):
			t.Fatalf("nothing of what was sent to %s has reached the backend", test.path)
		}
	}
}

// decode returns the first record's body or the first span's name of an OTLP request.
func decode(r *http.Request) (string, error) {
	if encoding := r.Header.Get("Content-Encoding"); encoding != "gzip" {
		return "", fmt.Errorf("content encoding %q, want the exporter's default, gzip", encoding)
	}
	unzipped, err := gzip.NewReader(r.Body)
	if err != nil {
		return "", err
	}
	data, err := io.ReadAll(unzipped)
	if err != nil {
		return "", err
	}
	switch {
	case strings.HasSuffix(r.URL.Path, "/v1/logs"):
		request := plogotlp.NewExportRequest()
		if err := request.UnmarshalProto(data); err != nil {
			return "", err
		}
		if n := request.Logs().LogRecordCount(); n != 1 {
			return "", fmt.Errorf("%d log records, want 1", n)
		}
		return request.Logs().ResourceLogs().At(0).ScopeLogs().At(0).LogRecords().At(0).Body().AsString(), nil
	case strings.HasSuffix(r.URL.Path, "/v1/traces"):
		request := ptraceotlp.NewExportRequest()
		if err := request.UnmarshalProto(data); err != nil {
			return "", err
		}
		if n := request.Traces().SpanCount(); n != 1 {
			return "", fmt.Errorf("%d spans, want 1", n)
		}
		return request.Traces().ResourceSpans().At(0).ScopeSpans().At(0).Spans().At(0).Name(), nil
	}
	return "", fmt.Errorf("unexpected path %s", r.URL.Path)
}
