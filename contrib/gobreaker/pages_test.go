package gobreaker_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	peer "github.com/sony/gobreaker/v2"

	"github.com/otelbreaker/otelbreaker/contrib/gobreaker"
	"github.com/otelbreaker/otelbreaker/control"
	"github.com/otelbreaker/otelbreaker/health"
	"github.com/otelbreaker/otelbreaker/internal/signals"
	"github.com/otelbreaker/otelbreaker/notify"
	"github.com/otelbreaker/otelbreaker/otelcb"
)

func TestTheHealthPageShowsItAndWhatIsKnownOfIt(t *testing.T) {
	cb := mustNew(t, peer.Settings{Name: service, MaxRequests: 2}, gobreaker.WithEndpoint(endpoint))
	page := health.Handler(cb)
	for range 7 { // one is blocked
		_, _ = cb.Execute(bad)
	}
	flush(t, cb.Breaker())
	rec := httptest.NewRecorder()
	page.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/health/circuit-breakers", nil))
	var shown struct {
		CircuitBreakers map[string]map[string]struct {
			Engine, State string
			FailureCount  int            `json:"failure_count"`
			BlockedCount  int            `json:"blocked_count"`
			Configuration map[string]any `json:"configuration"`
			Last          []struct {
				NewState string `json:"new_state"`
				Reason   string `json:"reason"`
			} `json:"last_transitions"`
		} `json:"circuit_breakers"`
	}
	if err := json.Unmarshal(rec.Body.Bytes(), &shown); err != nil {
		t.Fatal(err)
	}
	e := shown.CircuitBreakers[service][endpoint]
	if e.Engine != "gobreaker" || e.State != "open" || e.FailureCount != 6 || e.BlockedCount != 1 || len(e.Last) != 1 ||
		e.Last[0].Reason != "consecutive_failures" {
		t.Errorf("the page shows %+v", e)
	}
	known := map[string]any{"failure_threshold": 6.0, "recovery_timeout": "1m0s", "success_threshold": 2.0, "max_probes": 2.0}
	if !reflect.DeepEqual(e.Configuration, known) {
		t.Errorf("the configuration is %v, want %v", e.Configuration, known)
	}
}

func TestControlRefusesIt(t *testing.T) {
	cb := mustNew(t, peer.Settings{Name: service}, gobreaker.WithEndpoint(endpoint))
	const token = "alice-0123456789abcdef0123456789"
	operate, err := control.Handler([]control.Source{cb}, control.WithToken("alice", token))
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest(http.MethodPost, "/control", strings.NewReader(
		`{"action": "force_open", "service": "payments", "endpoint": "https://payments.example", "reason": "migration"}`))
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("Content-Type", "application/json")
	rec := httptest.NewRecorder()
	operate.ServeHTTP(rec, r)
	if rec.Code != http.StatusConflict || !strings.Contains(rec.Body.String(), "gobreaker") || cb.State() != peer.StateClosed {
		t.Errorf("%d %s; %v", rec.Code, rec.Body, cb.State())
	}
}

func TestSlackIsToldOfIt(t *testing.T) {
	posts := make(chan string, 10)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		posts <- string(body)
	}))
	defer server.Close()
	slack, err := notify.NewSlack(server.URL + "/hook")
	if err != nil {
		t.Fatal(err)
	}
	cb := mustNew(t, peer.Settings{Name: service, ReadyToTrip: atOnce}, gobreaker.WithListeners(slack))
	_, _ = cb.Execute(bad)
	flush(t, cb.Breaker())
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := slack.Close(ctx); err != nil {
		t.Fatal(err)
	}
	if post := <-posts; !strings.Contains(post, service) || !strings.Contains(post, "open") {
		t.Errorf("Slack was told %s", post)
	}
}

// Without a context everything is the same but the traces.
func TestWithoutAContextOnlyTracesAreMissing(t *testing.T) {
	with := outage(t, adapted)
	without := outage(t, func(t *testing.T) (otelcb.Source, signals.Call) {
		cb := mustNew(t, peer.Settings{Name: service, IsExcluded: ignores}, gobreaker.WithEndpoint(endpoint))
		return cb, func(ctx context.Context, f func(context.Context) error) error {
			_, err := cb.Execute(func() (int, error) { return 0, f(ctx) })
			return err
		}
	})
	records := 0
	for _, d := range signals.Differences(with, without) {
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
	if named := func(lines []string) (n int) {
		for _, line := range lines {
			if strings.HasPrefix(line, "record ") || strings.HasPrefix(line, "metric ") {
				n++
			}
		}
		return n
	}; named(with) != named(without) {
		t.Errorf("%d records and series, %d with a context", named(without), named(with))
	}
}
