package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/otelbreaker/otelbreaker/breaker"
	"github.com/otelbreaker/otelbreaker/e2e/internal/route"
	"github.com/otelbreaker/otelbreaker/e2e/internal/stack"
)

// TestParity_Prometheus takes one process through a whole outage and compares what real Prometheus servers
// have of it by every route that deploy/ has a configuration for:
//
//   - scraped from the process;
//   - scraped from the collector's page, by the same Prometheus with the same configuration;
//   - sent by OTLP from the process to Prometheus' own receiver;
//   - sent by remote write from the collector;
//   - sent by OTLP from the collector, over its queue.
//
// At each point of rest (closed, open, half-open, recovered) every series of circuit_breaker_… and
// otelbreaker_… must be there by each route, with the same labels, value and buckets; in the end with the
// same exemplars. Of all else that the process tells (its runtime, its requests) the series must be the same, and
// not their values. Left aside are the labels job and instance; the metric target_info, and those that Prometheus
// makes of a scrape; of buckets that are not ours the form of a bound that is a whole number; the time of an
// exemplar, to less than a second; and how long the breaker has been open, to two, while it is.
func TestParity_Prometheus(t *testing.T) {
	byOTLP := stack.StartPrometheus(t, nil, nil)
	byRemoteWrite := stack.StartPrometheus(t, nil, nil)
	byQueue := stack.StartPrometheus(t, nil, nil)
	c := stack.StartWith(t, []string{"otel-collector-remote-write.yaml", "otel-collector-prometheus-otlp.yaml"},
		"COLLECTOR_REMOTE_WRITE_ENDPOINT="+byRemoteWrite.URL+"/api/v1/write",
		"COLLECTOR_PROMETHEUS_OTLP_ENDPOINT="+byQueue.URL+"/api/v1/otlp")
	p := startProcess(t, "http/protobuf", both(t, c.HTTP, byOTLP.URL+"/api/v1/otlp"))
	own := httptest.NewServer(p.pipeline.MetricsHandler())
	t.Cleanup(own.Close)
	ownAddress := own.Listener.Addr().String()
	byScrape := stack.StartPrometheus(t, []stack.Target{{Address: ownAddress, Job: "checkout"}},
		[]stack.Target{{Address: hostOf(t, c.Prometheus)}})

	routes := []route.Route{
		{Name: "scraped from the process", Prometheus: byScrape, Process: `job="checkout",instance="` + ownAddress + `"`},
		{Name: "scraped from the collector", Prometheus: byScrape, Process: `job="checkout",instance!="` + ownAddress + `"`},
		{Name: "OTLP from the process", Prometheus: byOTLP, Process: `job="checkout"`},
		{Name: "remote write from the collector", Prometheus: byRemoteWrite, Process: `job="checkout"`},
		{Name: "OTLP from the collector", Prometheus: byQueue, Process: `job="checkout"`},
	}

	d := p.dependsOn(t, breaker.Config{
		Service:          "payments",
		FailureThreshold: 3,
		SlowCallDuration: time.Nanosecond, // every call is slow
		RecoveryTimeout:  5 * time.Second, // long enough for the routes to show it
	})
	state := `circuit_breaker_state{endpoint="` + d.endpoint + `", service="payments"} `
	requests := func(outcome string, n int) string {
		return fmt.Sprintf(`circuit_breaker_requests_total{endpoint="%s", outcome="%s", service="payments"} %d`, d.endpoint, outcome, n)
	}

	for range 4 {
		d.must(t)
	}
	route.WaitSame(t, routes, time.Now, 0, state+"0", requests("success", 4), requests("blocked", 0))

	d.behaviour.Store(fails)
	for range 3 {
		d.must(t)
	}
	d.awaits(t, breaker.Open)
	for range 5 {
		if _, err := d.call(t.Context(), t); !errors.Is(err, breaker.ErrOpen) {
			t.Fatalf("a call while the breaker is open returned %v", err)
		}
	}
	lastOpen := d.breaker.Snapshot().OpenedAt.Add(5*time.Second - 50*time.Millisecond)
	route.WaitSame(t, routes, func() time.Time { return earlier(time.Now(), lastOpen) }, route.GrowingTolerance,
		state+"2", requests("failure", 3), requests("blocked", 5))

	// From here on shorter, which does not touch the period that is running.
	if err := d.breaker.Reconfigure(breaker.Config{
		FailureThreshold: 3, SlowCallDuration: time.Nanosecond, RecoveryTimeout: 300 * time.Millisecond,
	}); err != nil {
		t.Fatal(err)
	}
	d.awaits(t, breaker.HalfOpen)
	route.WaitSame(t, routes, time.Now, 0, state+"1")

	d.must(t) // the probe fails
	d.awaits(t, breaker.Open)
	d.awaits(t, breaker.HalfOpen)
	d.behaviour.Store(answers)
	closedBy := d.must(t)
	d.awaits(t, breaker.Closed)
	d.flush(t)
	recovery := func(le string, n int) string {
		return fmt.Sprintf(`circuit_breaker_recovery_duration_seconds_bucket{endpoint="%s", le="%s", service="payments"} %d`, d.endpoint, le, n)
	}
	route.WaitSame(t, routes, time.Now, 0, state+"0", requests("success", 5), requests("failure", 4), requests("blocked", 5),
		recovery("2.5", 0), recovery("1800.5", 1), recovery("+Inf", 1))
	route.WaitSameExemplars(t, routes, "circuit_breaker_recovery_duration_seconds_bucket", closedBy.TraceID().String())
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

func hostOf(t *testing.T, address string) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	return u.Host
}

// both starts an endpoint that passes all it is sent on to a collector, and metrics to a Prometheus as well: a
// process has only one to send to. It answers as the one that refused did, so that the process sends again.
func both(t *testing.T, collector, prometheus string) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		to := []string{collector}
		if strings.HasSuffix(r.URL.Path, "/v1/metrics") {
			to = append(to, prometheus)
		}
		status := http.StatusOK
		for _, base := range to {
			if got, err := passOn(r.Context(), base+r.URL.Path, r.Header, body); err != nil {
				status = http.StatusBadGateway
			} else if got != http.StatusOK {
				status = got
			}
		}
		w.WriteHeader(status)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

func passOn(ctx context.Context, to string, header http.Header, body []byte) (status int, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to, bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	req.Header = header.Clone()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, errors.Join(err, resp.Body.Close())
}
