package transport_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/otelbreaker/otelbreaker/breaker"
	"github.com/otelbreaker/otelbreaker/transport"
)

func TestG18_EveryBadOptionIsTold(t *testing.T) {
	_, err := transport.New(nil, transport.WithKey(nil), transport.WithMaxEndpoints(-3),
		transport.WithConfig(breaker.Config{FailureRate: -1, Endpoint: "x"}))
	for _, name := range []string{"WithKey", "-3", "FailureRate", "Endpoint"} {
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%v does not say %s", err, name)
		}
	}
}

func TestG18_BadOptionsAreRefusedByName(t *testing.T) {
	for _, c := range []struct {
		option transport.Option
		names  []string
	}{
		{nil, []string{"option 0", "nil"}},
		{transport.WithKey(nil), []string{"WithKey", "nil"}},
		{transport.WithClassify(nil), []string{"WithClassify", "nil"}},
		{transport.WithFallback(nil), []string{"WithFallback", "nil"}},
		{transport.WithMaxEndpoints(0), []string{"WithMaxEndpoints", "0", "1 or more"}},
		{transport.WithListeners(nil), []string{"listener 0", "nil"}},
		{transport.WithConfig(breaker.Config{Endpoint: "http://a.example"}), []string{"Endpoint", "empty"}},
		{transport.WithConfig(breaker.Config{FailureRate: 1.5}), []string{"FailureRate", "1.5", "0 to 1"}},
	} {
		tel := newTelemetry()
		guarded, err := transport.New(nil, append([]transport.Option{c.option}, tel.options()...)...)
		if err == nil || guarded != nil {
			t.Errorf("accepted, though %v", c.names)
			continue
		}
		for _, name := range c.names {
			if !strings.Contains(err.Error(), name) {
				t.Errorf("%v does not say %q", err, name)
			}
		}
		if m := tel.metrics(t); len(m) != 0 {
			t.Errorf("%v, yet observed: %v", err, m)
		}
	}
	_, err := transport.New(nil, transport.WithKey(nil), transport.WithClassify(nil))
	if err == nil || !strings.Contains(err.Error(), "WithKey") || !strings.Contains(err.Error(), "WithClassify") {
		t.Errorf("not all that is wrong is told: %v", err)
	}
}

func TestTheWholeTransportCanBeginDisabled(t *testing.T) {
	calls := 0
	guarded := mustNew(t, roundTripper(func(*http.Request) (*http.Response, error) {
		calls++
		return nil, errors.New("down")
	}), transport.WithConfig(tripsAtOnce), transport.WithDisabled("trial"))
	for range 3 {
		if _, err := guarded.RoundTrip(request(t, http.MethodGet, "http://a.example", nil)); errors.Is(err, breaker.ErrOpen) {
			t.Errorf("blocked: %v", err)
		}
	}
	b, found := guarded.Breakers().Lookup("http://a.example")
	if !found || calls != 3 {
		t.Fatalf("found %t, %d calls", found, calls)
	}
	if s := b.Snapshot(); s.Override != breaker.Disabled || s.OverrideNote != "trial" || s.WouldBlock != 2 {
		t.Errorf("it is %+v", s)
	}
}

func TestANilTransportIsTheDefaultOne(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer server.Close()
	guarded, err := transport.New(nil, newTelemetry().options()...)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = guarded.Close() }()
	for _, top := range []http.RoundTripper{guarded, transport.RedactURL(nil)} {
		res, err := top.RoundTrip(request(t, http.MethodGet, server.URL, nil))
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
	}
}

func TestTheUserKeys(t *testing.T) {
	guarded := mustNew(t, roundTripper(func(req *http.Request) (*http.Response, error) {
		return nil, errors.New("down")
	}), transport.WithConfig(tripsAtOnce), transport.WithKey(func(req *http.Request) string { return req.Header.Get("X-Tenant") }))
	call := func(tenant string) error {
		req := request(t, http.MethodGet, "http://a.example", nil)
		req.Header.Set("X-Tenant", tenant)
		_, err := guarded.RoundTrip(req)
		return err
	}
	_ = call("a")
	if err := call("a"); !errors.Is(err, breaker.ErrOpen) {
		t.Errorf("a: %v", err)
	}
	if err := call("b"); errors.Is(err, breaker.ErrOpen) {
		t.Errorf("b: %v", err)
	}
	for range 3 {
		if err := call(""); errors.Is(err, breaker.ErrOpen) {
			t.Errorf("a request without key: %v", err)
		}
	}
	if n := len(breakersOf(guarded)); n != 2 {
		t.Errorf("%d breakers", n)
	}
}
