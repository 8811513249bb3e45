package signals

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/otelbreaker/otelbreaker/breaker"
	"github.com/otelbreaker/otelbreaker/control"
	"github.com/otelbreaker/otelbreaker/health"
	"github.com/otelbreaker/otelbreaker/otelcb"
)

// Shown is what the health page has of a breaker.
type Shown struct {
	Engine, State string
	FailureCount  int            `json:"failure_count"`
	BlockedCount  int            `json:"blocked_count"`
	Configuration map[string]any `json:"configuration"`
	Last          []struct {
		NewState string `json:"new_state"`
		Reason   string `json:"reason"`
	} `json:"last_transitions"`
}

// OnPage gives what the health page shows of the breaker of src when use has used it.
func OnPage(t *testing.T, src otelcb.Source, use func()) Shown {
	t.Helper()
	page := health.Handler(src)
	use()
	flush(t, src)
	rec := httptest.NewRecorder()
	page.ServeHTTP(rec, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/health/circuit-breakers", nil))
	var shown struct {
		CircuitBreakers map[string]map[string]Shown `json:"circuit_breakers"`
	}
	if err := json.Unmarshal(rec.Body.Bytes(), &shown); err != nil {
		t.Fatal(err)
	}
	return shown.CircuitBreakers[Service][Endpoint]
}

// ControlRefuses has package control refuse to open the breaker of src, and say that it is of this make.
func ControlRefuses(t *testing.T, src control.Source, engine string) {
	t.Helper()
	const token = "alice-0123456789abcdef0123456789"
	operate, err := control.Handler([]control.Source{src}, control.WithToken("alice", token))
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/control", strings.NewReader(
		`{"action": "force_open", "service": "`+Service+`", "endpoint": "`+Endpoint+`", "reason": "migration"}`))
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("Content-Type", "application/json")
	rec := httptest.NewRecorder()
	operate.ServeHTTP(rec, r)
	if rec.Code != http.StatusConflict || !strings.Contains(rec.Body.String(), engine) {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
}

// Notifier is what package notify has for Slack.
type Notifier interface {
	breaker.Listener
	Close(ctx context.Context) error
}

// TellsSlack has open make a breaker with the notifier that posts to this address, and open the breaker, and Slack be told.
func TellsSlack(t *testing.T, open func(webhook string) (Notifier, otelcb.Source)) {
	t.Helper()
	posts := make(chan string, 10)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		posts <- string(body)
	}))
	defer server.Close()
	slack, src := open(server.URL + "/hook")
	flush(t, src)
	if err := slack.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if post := <-posts; !strings.Contains(post, Service) || !strings.Contains(post, "open") {
		t.Errorf("Slack was told %s", post)
	}
}

func flush(t *testing.T, src otelcb.Source) {
	t.Helper()
	for b := range src.All() {
		if err := b.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// OnlyTracesDiffer has the lines of two outages be the same, but that those without contexts have no trace in records, nor
// events and links on spans.
func OnlyTracesDiffer(t *testing.T, with, without []string) {
	t.Helper()
	records := 0
	for _, d := range Differences(with, without) {
		switch {
		case strings.HasPrefix(d, "+ record ") && strings.Contains(d, ` of "": `):
			records++
		case strings.HasPrefix(d, "- record "):
		case strings.HasPrefix(d, "- span ") && (strings.Contains(d, ", event circuit_breaker.") || strings.Contains(d, ", link to ")):
		default:
			t.Errorf("this differs as well: %s", d)
		}
	}
	if records == 0 {
		t.Error("nothing differs")
	}
	if n, m := kept(without), kept(with); n != m {
		t.Errorf("%d records and series, %d with a context", n, m)
	}
}

// kept is the number of lines that need no trace.
func kept(lines []string) (n int) {
	for _, line := range lines {
		if strings.HasPrefix(line, "record ") || strings.HasPrefix(line, "metric ") {
			n++
		}
	}
	return n
}

// AreTheSame has what leaves in an outage of a breaker of ours leave of the others as well.
func AreTheSame(t *testing.T, own []string, others map[string][]string) {
	t.Helper()
	if len(own) < 60 {
		t.Fatalf("only %d lines:\n%s", len(own), strings.Join(own, "\n"))
	}
	for name, lines := range others {
		if d := Differences(own, lines); len(d) > 0 {
			t.Errorf("%s:\n%s", name, strings.Join(d, "\n"))
		}
	}
}
