package e2e

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/otelbreaker/otelbreaker/e2e/internal/bulk"
	"github.com/otelbreaker/otelbreaker/e2e/internal/otlp"
	"github.com/otelbreaker/otelbreaker/e2e/internal/stack"
)

// TestDeploy_QueueOutlivesTheCollector: the backends are away, the collector takes log records, spans and metrics all the
// same, is killed or stopped, is started again, takes more; then the backends come back. Each of them gets exactly what
// was sent.
func TestDeploy_QueueOutlivesTheCollector(t *testing.T) {
	t.Run("killed", func(t *testing.T) {
		queueOutlives(t, true, func(t *testing.T, c *stack.Collector) {
			t.Helper()
			c.Kill(t)
		})
	})
	// Without Elasticsearch: while that is away its exporter keeps the collector from stopping.
	t.Run("stopped", func(t *testing.T) {
		queueOutlives(t, false, func(t *testing.T, c *stack.Collector) {
			t.Helper()
			if err := c.Stop(); err != nil {
				t.Fatal(err)
			}
		})
	})
}

func queueOutlives(t *testing.T, withElasticsearch bool, end func(*testing.T, *stack.Collector)) {
	t.Helper()
	var logs, traces ids
	var elasticsearch bulk.Server
	prometheus := stack.StartPrometheus(t, nil, nil)
	toPrometheus, err := url.Parse(prometheus.URL)
	if err != nil {
		t.Fatal(err)
	}
	away := new(atomic.Bool)
	away.Store(true)
	backends := map[string]*absentee{
		"loki":   startAbsentee(t, away, http.StripPrefix("/otlp", &otlp.Receiver{Logs: logs.ofRecords})),
		"traces": startAbsentee(t, away, &otlp.Receiver{Traces: traces.ofSpans}),
		"prometheus": startAbsentee(t, away, &httputil.ReverseProxy{
			Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(toPrometheus) },
		}),
	}
	options := []string{"otel-collector-prometheus-otlp.yaml"}
	arrived := map[string]func() map[string]int{
		"loki":       logs.counts,
		"traces":     traces.counts,
		"prometheus": func() map[string]int { return sampleCounts(t, prometheus) },
	}
	toElasticsearch := startAbsentee(t, away, &elasticsearch)
	if withElasticsearch {
		backends["elasticsearch"] = toElasticsearch
		options = append(options, "otel-collector-elasticsearch.yaml")
		arrived["elasticsearch"] = func() map[string]int { return documentCounts(&elasticsearch) }
	}
	c := stack.StartWith(t, options,
		"COLLECTOR_LOGS_EXPORTER=otlp_http/logs", "COLLECTOR_LOGS_ENDPOINT="+backends["loki"].url+"/otlp",
		"COLLECTOR_TRACES_EXPORTER=otlp_http/traces", "COLLECTOR_TRACES_ENDPOINT="+backends["traces"].url,
		"COLLECTOR_ELASTICSEARCH_ENDPOINT="+toElasticsearch.url,
		"COLLECTOR_PROMETHEUS_OTLP_ENDPOINT="+backends["prometheus"].url+"/api/v1/otlp")

	const half = 50
	began := time.Now().Add(-time.Minute) // samples are kept to the millisecond
	want := map[string]int{}
	sendRange := func(from, to int) {
		for i := from; i < to; i++ {
			id := fmt.Sprintf("id-%03d", i)
			want[id] = 1
			send(t, c, "/v1/logs", strings.ReplaceAll(oneRecord, "Circuit breaker opened", id))
			send(t, c, "/v1/traces", strings.ReplaceAll(oneSpan, "circuit_breaker.outage", id))
			send(t, c, "/v1/metrics", fmt.Sprintf(`{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":"queued",`+
				`"gauge":{"dataPoints":[{"timeUnixNano":"%d","asDouble":%d}]}}]}]}]}`, began.Add(time.Duration(i)*100*time.Millisecond).UnixNano(), i))
		}
	}
	sendRange(0, half)
	for name, b := range backends { // part of it is on its way by now, and not only in the queue
		waitUntil(t, "request to "+name, func() bool { return b.requests.Load() > 0 })
	}
	end(t, c)
	c.Restart(t)
	if withElasticsearch { // its exporter makes three requests a batch, unless told otherwise
		until := toElasticsearch.requests.Load() + 4
		waitUntil(t, "four further requests to elasticsearch", func() bool { return toElasticsearch.requests.Load() >= until })
	}
	sendRange(half, 2*half)
	away.Store(false)

	for name, got := range arrived {
		waitCounts(t, name, want, got)
	}
	if err := c.Stop(); err != nil {
		t.Fatal(err)
	}
	for name, got := range arrived {
		if got := got(); !maps.Equal(got, want) {
			t.Errorf("%s: more came after all had arrived: %v", name, got)
		}
	}
}

// TestDeploy_FullQueueRefuses: while a backend is away and the queue is full, the collector tells senders to come again.
// What it had taken arrives, and nothing of what it had refused.
func TestDeploy_FullQueueRefuses(t *testing.T) {
	var logs ids
	away := new(atomic.Bool)
	away.Store(true)
	backend := startAbsentee(t, away, &otlp.Receiver{Logs: logs.ofRecords})
	c := stack.Start(t, "COLLECTOR_LOGS_EXPORTER=otlp_http/logs", "COLLECTOR_LOGS_ENDPOINT="+backend.url,
		"COLLECTOR_QUEUE_BYTES=1048576")
	want := map[string]int{}
	padding := strings.Repeat("x", 64<<10)
	const most = 400 // requests, many times what the queue holds
	refused := 0
	for i := range most {
		id := fmt.Sprintf("%s-%03d", padding, i)
		switch status := post(t, c, "/v1/logs", strings.ReplaceAll(oneRecord, "Circuit breaker opened", id)); status {
		case http.StatusOK:
			want[id] = 1
		case http.StatusServiceUnavailable: // as OTLP has it for what may be sent again
			refused++
		default:
			t.Fatalf("the collector answered %d, want 200 or 503", status)
		}
	}
	if len(want) == 0 || refused == 0 {
		t.Fatalf("%d requests of 64 KiB taken, %d refused: want both", len(want), refused)
	}
	t.Logf("%d requests of 64 KiB taken, %d refused", len(want), refused)
	away.Store(false)
	waitCounts(t, "the backend", want, logs.counts)
	if err := c.Stop(); err != nil {
		t.Fatal(err)
	}
	if got := logs.counts(); !maps.Equal(got, want) {
		t.Errorf("%d records after %d", len(got), len(want))
	}
}

// waitCounts waits until a backend has what is wanted, and not less or more of it.
func waitCounts(t *testing.T, name string, want map[string]int, got func() map[string]int) {
	t.Helper()
	poll := time.NewTicker(50 * time.Millisecond)
	defer poll.Stop()
	timeout := time.After(2 * settle)
	for {
		has := got()
		if maps.Equal(has, want) {
			return
		}
		select {
		case <-poll.C:
		case <-timeout:
			var missing []string
			for _, id := range slices.Sorted(maps.Keys(want)) {
				if has[id] != 1 {
					missing = append(missing, fmt.Sprintf("%s %d times", id, has[id]))
				}
			}
			t.Fatalf("%s has %d of %d; not once: %v", name, len(has), len(want), missing)
		}
	}
}

// ids counts what arrived.
type ids struct {
	mu   sync.Mutex
	seen map[string]int
}

func (i *ids) add(id string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.seen == nil {
		i.seen = map[string]int{}
	}
	i.seen[id]++
}

// ofRecords takes a record's body for its id.
func (i *ids) ofRecords(_ context.Context, logs plog.Logs) (rejected int64, err error) {
	for _, resource := range logs.ResourceLogs().All() {
		for _, scope := range resource.ScopeLogs().All() {
			for _, record := range scope.LogRecords().All() {
				i.add(record.Body().AsString())
			}
		}
	}
	return 0, nil
}

// ofSpans takes a span's name for its id.
func (i *ids) ofSpans(_ context.Context, traces ptrace.Traces) (rejected int64, err error) {
	for _, resource := range traces.ResourceSpans().All() {
		for _, scope := range resource.ScopeSpans().All() {
			for _, span := range scope.Spans().All() {
				i.add(span.Name())
			}
		}
	}
	return 0, nil
}

func (i *ids) counts() map[string]int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return maps.Clone(i.seen)
}

func documentCounts(s *bulk.Server) map[string]int {
	counts := map[string]int{}
	for _, d := range s.Documents() {
		counts[fmt.Sprint(d.Field("body.text"))]++
	}
	return counts
}

func sampleCounts(t *testing.T, p *stack.Prometheus) map[string]int {
	t.Helper()
	result, _, _, err := p.API.Query(t.Context(), "queued[1h]", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	matrix, ok := result.(model.Matrix)
	if !ok {
		t.Fatalf("not a matrix: %v", result)
	}
	counts := map[string]int{}
	for _, series := range matrix {
		for _, pair := range series.Values {
			counts[fmt.Sprintf("id-%03d", int(pair.Value))]++
		}
	}
	return counts
}

// absentee is a server that may be away: it then breaks connections off.
type absentee struct {
	url      string
	requests atomic.Int64
}

func startAbsentee(t *testing.T, away *atomic.Bool, handler http.Handler) *absentee {
	t.Helper()
	a := &absentee{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.requests.Add(1)
		if away.Load() {
			panic(http.ErrAbortHandler)
		}
		handler.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	a.url = server.URL
	return a
}
