package failsafe_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"

	"github.com/failsafe-go/failsafe-go/circuitbreaker"
	"github.com/failsafe-go/failsafe-go/failsafehttp"

	"github.com/otelbreaker/otelbreaker/breaker"
	"github.com/otelbreaker/otelbreaker/contrib/failsafe"
	"github.com/otelbreaker/otelbreaker/control"
	"github.com/otelbreaker/otelbreaker/health"
	"github.com/otelbreaker/otelbreaker/notify"
)

// failsafe-go's own round tripper, and a real server.
func TestUnderFailsafesOwnHTTPClient(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	defer server.Close()
	type key struct{}
	var opened breaker.Event
	cb, err := failsafe.NewBuilder[*http.Response](failsafe.WithEndpoint(server.URL), failsafe.WithListeners(
		breaker.ListenerFunc(func(e breaker.Event) { opened = e }))).
		HandleIf(func(r *http.Response, err error) bool { return err != nil || r.StatusCode >= 500 }).WithFailureThreshold(2).Build()
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: failsafehttp.NewRoundTripper(nil, cb)}
	refused := 0
	for range 3 {
		r := httptest.NewRequest(http.MethodGet, server.URL, nil).WithContext(contextWith(t, key{}, "mine"))
		r.RequestURI = ""
		res, err := client.Do(r)
		switch {
		case errors.Is(err, circuitbreaker.ErrOpen):
			refused++
		case err != nil:
			t.Fatal(err)
		default:
			_ = res.Body.Close()
		}
	}
	flush(t, cb.Breaker())
	if s := cb.Breaker().Snapshot(); refused != 1 || s.Failure != 2 || s.Blocked != 1 || s.Service != "127.0.0.1" {
		t.Errorf("%d refused, %+v", refused, s)
	}
	if opened.Context == nil || opened.Context.Value(key{}) != "mine" || opened.ErrorType != "" {
		t.Errorf("%+v", opened)
	}
}

func TestTheHealthPageShowsItAndWhatIsKnownOfIt(t *testing.T) {
	cb := mustBuild(t, newBuilder())
	page := health.Handler(cb)
	for range 6 {
		cb.RecordError(errDown)
	}
	cb.TryAcquirePermit()
	flush(t, cb.Breaker())
	rec := httptest.NewRecorder()
	page.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/health/circuit-breakers", nil))
	var shown struct {
		CircuitBreakers map[string]map[string]struct {
			Engine, State string
			BlockedCount  int            `json:"blocked_count"`
			Configuration map[string]any `json:"configuration"`
			Last          []any          `json:"last_transitions"`
		} `json:"circuit_breakers"`
	}
	if err := json.Unmarshal(rec.Body.Bytes(), &shown); err != nil {
		t.Fatal(err)
	}
	e := shown.CircuitBreakers[service][endpoint]
	known := map[string]any{"failure_threshold": 6.0, "recovery_timeout": "1m0s", "success_threshold": 1.0, "max_probes": 1.0}
	if e.Engine != failsafe.Engine || e.State != "open" || e.BlockedCount != 1 || len(e.Last) != 1 || !reflect.DeepEqual(e.Configuration, known) {
		t.Errorf("the page shows %+v", e)
	}
}

func TestControlRefusesIt(t *testing.T) {
	cb := mustBuild(t, newBuilder())
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
	if rec.Code != http.StatusConflict || !strings.Contains(rec.Body.String(), failsafe.Engine) || !cb.IsClosed() {
		t.Errorf("%d %s; %v", rec.Code, rec.Body, cb.State())
	}
}

func TestSlackIsToldOfIt(t *testing.T) {
	posts := make(chan string, 10)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var post struct{ Text string }
		_ = json.NewDecoder(r.Body).Decode(&post)
		posts <- post.Text
	}))
	defer server.Close()
	slack, err := notify.NewSlack(server.URL + "/hook")
	if err != nil {
		t.Fatal(err)
	}
	cb := mustBuild(t, newBuilder().WithFailureThreshold(1))
	cb.Subscribe(slack)
	cb.RecordFailure()
	flush(t, cb.Breaker())
	if err := slack.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if post := <-posts; !strings.Contains(post, service) {
		t.Errorf("Slack was told %s", post)
	}
}
