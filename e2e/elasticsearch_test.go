package e2e

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/otelbreaker/otelbreaker/e2e/internal/bulk"
	"github.com/otelbreaker/otelbreaker/e2e/internal/stack"
)

// TestDeploy_Elasticsearch takes a process through an outage with deploy/otel-collector-elasticsearch.yaml beside the
// usual configuration, and checks the documents that the collector's real exporter sends, field by field. They go
// to a stand-in for Elasticsearch's _bulk endpoint, which cannot be had here; package bulk says what that leaves
// open. The usual destination of log records has to get them as well.
func TestDeploy_Elasticsearch(t *testing.T) {
	var elasticsearch bulk.Server
	backend := httptest.NewServer(&elasticsearch)
	defer backend.Close()
	c := stack.StartWith(t, []string{"otel-collector-elasticsearch.yaml"}, "COLLECTOR_ELASTICSEARCH_ENDPOINT="+backend.URL)
	p := startProcess(t, "grpc", "http://"+c.GRPC)
	began := time.Now()
	o := p.recoveredOutage(t)
	p.shutdown(t)
	if err := c.Stop(); err != nil {
		t.Fatal(err)
	}
	spans := checkSpans(t, c, o)
	checkLogs(t, c, o, spans)

	documents := elasticsearch.Documents()
	slices.SortFunc(documents, func(a, b bulk.Document) int { // batches may overtake each other
		return cmp.Compare(sentAt(t, a), sentAt(t, b))
	})
	type fields map[string]any
	common := func(call trace.SpanContext, event, from, to, reason, severity, body string, further fields) fields {
		all := fields{
			"trace_id":                         call.TraceID().String(),
			"span_id":                          call.SpanID().String(),
			"event_name":                       event,
			"attributes.event_type":            event,
			"attributes.component":             "circuit_breaker",
			"attributes.service":               "payments",
			"attributes.endpoint":              o.endpoint,
			"attributes.old_state":             from,
			"attributes.new_state":             to,
			"attributes.reason":                reason,
			"severity_text":                    severity,
			"severity_number":                  json.Number(map[string]string{"INFO": "9", "WARN": "13"}[severity]),
			"body.text":                        body,
			"resource.attributes.service.name": "checkout",
			"scope.name":                       "github.com/otelbreaker/otelbreaker/logs",
			"data_stream.type":                 "logs",
			"data_stream.dataset":              "generic.otel",
			"data_stream.namespace":            "default",
		}
		for path, value := range further {
			all[path] = value
		}
		return all
	}
	want := []fields{
		common(o.openedBy, "circuit_opened", "closed", "open", "consecutive_failures", "WARN",
			"Circuit breaker opened", fields{
				"attributes.error.type": "503", "attributes.failure_count": json.Number("3"),
				"attributes.observed": json.Number("3.0"), "attributes.threshold": json.Number("3.0"),
			}),
		common(o.openedBy, "circuit_half_open", "open", "half_open", "delay_elapsed", "INFO",
			"Circuit breaker testing recovery", nil),
		common(o.reopenedBy, "circuit_reopened", "half_open", "open", "probe_failed", "WARN", "Circuit breaker reopened", fields{
			"attributes.error.type": "503",
		}),
		common(o.openedBy, "circuit_half_open", "open", "half_open", "delay_elapsed", "INFO",
			"Circuit breaker testing recovery", nil),
		common(o.closedBy, "circuit_closed", "half_open", "closed", "probes_succeeded", "INFO", "Circuit breaker closed", fields{
			"attributes.blocked_count": json.Number("5"),
		}),
	}
	if len(documents) != len(want) {
		t.Fatalf("%d documents, want one for each of %d transitions: %v", len(documents), len(want), documents)
	}
	outages, instances := map[any]bool{}, map[any]bool{}
	for i, d := range documents {
		if d.Action != "create" || d.Index != "logs-generic.otel-default" {
			t.Errorf("document %d: %s in %s, want create in logs-generic.otel-default", i, d.Action, d.Index)
		}
		for path, value := range want[i] {
			if got := d.Field(path); got != value {
				t.Errorf("document %d: %s is %#v, want %#v", i, path, got, value)
			}
		}
		// Milliseconds since 1970, with a fraction.
		at, err := strconv.ParseFloat(fmt.Sprint(d.Field("@timestamp")), 64)
		if moment := time.UnixMicro(int64(at * 1000)); err != nil || moment.Before(began) || moment.After(time.Now()) {
			t.Errorf("document %d: @timestamp is %v, want a moment of this test", i, d.Field("@timestamp"))
		}
		outages[d.Field("attributes.outage_id")] = true
		instances[d.Field("resource.attributes.service.instance.id")] = true
	}
	if len(outages) != 1 || outages[nil] || outages[""] {
		t.Errorf("the documents of one outage have the outage ids %v", outages)
	}
	if len(instances) != 1 || instances[nil] || instances[""] {
		t.Errorf("the documents of one process have the instance ids %v", instances)
	}
	closing := documents[len(documents)-1].Field("attributes.recovery_duration_seconds")
	if seconds, err := strconv.ParseFloat(fmt.Sprint(closing), 64); err != nil || seconds < 0.6 || seconds > 60 {
		t.Errorf("the closing's recovery_duration_seconds is %v, want at least two open delays of 0.3", closing)
	}
}

// sentAt is a document's time in nanoseconds. The exporter writes milliseconds, a dot, and the rest in nanoseconds,
// without leading zeros: .5 is five of them.
func sentAt(t *testing.T, d bulk.Document) int64 {
	t.Helper()
	whole, rest, _ := strings.Cut(fmt.Sprint(d.Field("@timestamp")), ".")
	milliseconds, err1 := strconv.ParseInt(whole, 10, 64)
	nanoseconds, err2 := strconv.ParseInt(rest, 10, 64)
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	return milliseconds*1_000_000 + nanoseconds
}
