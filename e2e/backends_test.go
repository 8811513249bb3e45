package e2e

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/otelbreaker/otelbreaker/e2e/internal/stack"
)

// TestDeploy_Backends: with the files of deploy/ as they are, what the collector is sent is found in Loki and Jaeger.
func TestDeploy_Backends(t *testing.T) {
	loki, jaeger := stack.StartLoki(t), stack.StartJaeger(t)
	c := stack.Start(t, append(loki.LogsTo(), jaeger.TracesTo()...)...)
	send(t, c, "/v1/logs", oneRecord)
	send(t, c, "/v1/traces", oneSpan)

	query := url.Values{"query": {`{service_name="unknown_service"} | event_type="circuit_opened"`}}
	for _, found := range []struct{ url, want string }{
		{loki.URL + "/loki/api/v1/query_range?" + query.Encode(), "Circuit breaker opened"},
		{jaeger.URL + "/api/v3/traces/5b8efff798038103d269b633813fc60c", "circuit_breaker.outage"},
	} {
		waitUntil(t, found.want+" at "+found.url, func() bool {
			return strings.Contains(fetch(t.Context(), t, found.url), found.want)
		})
	}
}

// fetch returns what a page answers, whatever its status.
func fetch(ctx context.Context, t *testing.T, url string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}
