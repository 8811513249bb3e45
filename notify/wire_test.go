package notify_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/otelbreaker/otelbreaker/breaker"
	"github.com/otelbreaker/otelbreaker/notify"
	"github.com/otelbreaker/otelbreaker/transport"
)

// over HTTP, with the notifier's own client: the requests as they arrive.
func server(t *testing.T, answer http.HandlerFunc) (address string, got <-chan request) {
	t.Helper()
	arrived := make(chan request, 100)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		if answer != nil {
			answer(w, r)
		}
		arrived <- request{time.Now(), r.Method + " " + r.RequestURI, r.Header, string(body)}
	}))
	t.Cleanup(s.Close)
	return s.URL, arrived
}

func next(t *testing.T, got <-chan request) request {
	t.Helper()
	select {
	case r := <-got:
		return r
	case <-time.After(20 * time.Second):
		t.Fatal("nothing arrived")
		return request{}
	}
}

// A guarded client, a dependency that fails, a Slack and a webhook: as a program has them.
func TestATransportsOutageArrivesOverHTTP(t *testing.T) {
	r := newRig()
	plain := func() []notify.Option { // without the client of the others
		return []notify.Option{notify.WithMeterProvider(r.meters), notify.WithInstance("shop-1")}
	}
	slackURL, toSlack := server(t, nil)
	hookURL, toHook := server(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	s, err := notify.NewSlack(slackURL+"/services/T0/B0/canary", plain()...)
	if err != nil {
		t.Fatal(err)
	}
	w, err := notify.NewWebhook(hookURL+"/hook?key=canary", append(plain(), notify.WithSecret(secret))...)
	if err != nil {
		t.Fatal(err)
	}
	var up atomic.Bool
	dependency := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if !up.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	defer dependency.Close()
	guarded, err := transport.New(nil, transport.WithListeners(s, w),
		transport.WithConfig(breaker.Config{Service: "payments", FailureThreshold: 2, RecoveryTimeout: 50 * time.Millisecond}))
	if err != nil {
		t.Fatal(err)
	}
	defer guarded.Close()
	get := func() {
		q, err := http.NewRequestWithContext(t.Context(), http.MethodGet, dependency.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		if res, err := guarded.RoundTrip(q); err == nil {
			_, _ = io.Copy(io.Discard, res.Body)
			_ = res.Body.Close()
		}
	}
	get()
	get()
	opened := next(t, toSlack)
	if m := message(t, opened.body); !strings.Contains(m.Text, "opened: payments ("+dependency.URL+")") || opened.path != "POST /services/T0/B0/canary" {
		t.Errorf("to Slack: %s %s", opened.path, m.Text)
	}
	keepsToSlacksRules(t, opened.body)
	up.Store(true)
	for range 2 { // to open, to half-open
		q := next(t, toHook)
		if err := notify.VerifySignature(secret, q.header, []byte(q.body), time.Minute); err != nil || q.path != "POST /hook?key=canary" {
			t.Errorf("%s: %v", q.path, err)
		}
	}
	get()
	if m := message(t, next(t, toSlack).body); !strings.Contains(m.Text, "closed: payments recovered after") {
		t.Errorf("to Slack: %s", m.Text)
	}
	if fields := jsonOf(t, next(t, toHook).body); fields["event_type"] != "circuit_closed" || fields["service"] != "payments" {
		t.Errorf("to the webhook: %v", fields)
	}
	for _, n := range []notifier{s, w} {
		closeNow(t, n)
	}
	r.wantCounts(t, "slack", 2, 0, 0)
	r.wantCounts(t, "webhook", 3, 0, 0)
}

func TestG15_NoRedirectIsFollowed(t *testing.T) {
	elsewhere, leaked := server(t, nil)
	redirecting, got := server(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", elsewhere)
		w.WriteHeader(http.StatusTemporaryRedirect)
	})
	r := newRig()
	// One that would follow, if it were asked.
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return nil }}
	s, err := notify.NewSlack(redirecting+"/canary", r.options(notify.WithHTTPClient(client))...)
	if err != nil {
		t.Fatal(err)
	}
	w, err := notify.NewWebhook(redirecting+"/canary", r.options(notify.WithHTTPClient(client))...)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []notifier{s, w} {
		(&circuit{to: n, service: "payments"}).opens()
		next(t, got)
		_ = n.Close(t.Context()) // tells of it, unless it had failed before
	}
	r.wantCounts(t, "slack", 0, 1, 0)
	r.wantCounts(t, "webhook", 0, 1, 0)
	if len(leaked) != 0 {
		t.Error("the redirect was followed")
	}
	silent(t, "the log", strings.Join(r.lines.get(), ""))
}

// Real errors of the network, by their names: nobody listens, no such host, a certificate that nobody knows.
func TestG15_ErrorsOfTheNetworkAreToldWithoutTheAddress(t *testing.T) {
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := l.Addr().String()
	_ = l.Close()
	tls := httptest.NewUnstartedServer(http.NotFoundHandler())
	tls.Config.ErrorLog = log.New(io.Discard, "", 0)
	tls.StartTLS()
	defer tls.Close()
	for where, told := range map[string]string{
		"http://" + nobody + "/canary": "connection refused",
		tls.URL + "/canary":            "error of type x509.UnknownAuthorityError",
	} {
		logged := make(lineChannel, 10)
		r := newRig()
		w, err := notify.NewWebhook(where, notify.WithMeterProvider(r.meters), notify.WithRetryFor(0), notify.WithLogger(logged.logger()))
		if err != nil {
			t.Fatal(err)
		}
		(&circuit{to: w, service: "payments"}).opens()
		select {
		case line := <-logged:
			if !strings.Contains(line, told) || strings.Contains(line, "canary") || strings.Contains(line, "127.0.0.1") {
				t.Errorf("logged: %s", line)
			}
		case <-time.After(20 * time.Second):
			t.Fatal("nothing was logged")
		}
		closeNow(t, w)
	}
}

// An answer without end is not read to its end.
func TestAnEndlessAnswerEnds(t *testing.T) {
	endless, _ := server(t, func(w http.ResponseWriter, r *http.Request) {
		for chunk := strings.Repeat("x", 4<<10); r.Context().Err() == nil; {
			if _, err := fmt.Fprint(w, chunk); err != nil {
				return
			}
		}
	})
	r := newRig()
	w, err := notify.NewWebhook(endless+"/x", notify.WithMeterProvider(r.meters))
	if err != nil {
		t.Fatal(err)
	}
	(&circuit{to: w, service: "payments"}).opens()
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Second) // less than an attempt may take
	defer cancel()
	if err := w.Close(ctx); err != nil {
		t.Error(err)
	}
	r.wantCounts(t, "webhook", 1, 0, 0)
}
