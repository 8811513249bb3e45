package failsafe_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"reflect"
	"testing"

	"github.com/failsafe-go/failsafe-go/circuitbreaker"
	"github.com/failsafe-go/failsafe-go/failsafehttp"

	"github.com/otelbreaker/otelbreaker/breaker"
	"github.com/otelbreaker/otelbreaker/contrib/failsafe"
	"github.com/otelbreaker/otelbreaker/internal/signals"
	"github.com/otelbreaker/otelbreaker/notify"
	"github.com/otelbreaker/otelbreaker/otelcb"
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
	e := signals.OnPage(t, cb, func() {
		for range 6 {
			cb.RecordError(errDown)
		}
		cb.TryAcquirePermit()
	})
	known := map[string]any{"failure_threshold": 6.0, "recovery_timeout": "1m0s", "success_threshold": 1.0, "max_probes": 1.0}
	if e.Engine != failsafe.Engine || e.State != "open" || e.BlockedCount != 1 || len(e.Last) != 1 || !reflect.DeepEqual(e.Configuration, known) {
		t.Errorf("the page shows %+v", e)
	}
}

func TestControlRefusesIt(t *testing.T) {
	cb := mustBuild(t, newBuilder())
	if signals.ControlRefuses(t, cb, failsafe.Engine); !cb.IsClosed() {
		t.Errorf("it is %v", cb.State())
	}
}

func TestSlackIsToldOfIt(t *testing.T) {
	signals.TellsSlack(t, func(webhook string) (signals.Notifier, otelcb.Source) {
		slack, err := notify.NewSlack(webhook)
		if err != nil {
			t.Fatal(err)
		}
		cb := mustBuild(t, newBuilder().WithFailureThreshold(1))
		cb.Subscribe(slack)
		cb.RecordFailure()
		return slack, cb
	})
}
