package transport_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/log"
	"go.opentelemetry.io/otel/sdk/trace"

	"github.com/otelbreaker/otelbreaker/breaker"
	"github.com/otelbreaker/otelbreaker/logs"
	"github.com/otelbreaker/otelbreaker/transport"
)

// spanText gives all that a span says.
func spanText(s trace.ReadOnlySpan) string {
	return fmt.Sprint(s.Name(), s.Attributes(), s.Events(), s.Links(), s.Status())
}

func recordText(r log.Record) string {
	text := fmt.Sprint(r.EventName(), " ", r.Body(), " ")
	r.WalkAttributes(func(a attribute.KeyValue) bool {
		text += fmt.Sprint(a.Key, "=", a.Value.String(), " ")
		return true
	})
	return text
}

// said gives all that left, one text a signal.
func (tel *telemetry) said(t *testing.T) map[string][]string {
	t.Helper()
	said := map[string][]string{}
	for name, value := range tel.metrics(t) {
		said["metric"] = append(said["metric"], name+"="+value)
	}
	for _, r := range tel.records.List() {
		said["log record"] = append(said["log record"], recordText(r))
	}
	for _, s := range tel.spans.Ended() {
		said["span"] = append(said["span"], spanText(s))
	}
	return said
}

func TestG15_NoSecretOfTheURLLeaves(t *testing.T) {
	const password, token, fragment = "canary-password", "canary-token", "canary-fragment"
	for _, c := range []struct {
		name, order string
		redact      bool // beneath otelhttp
		callFails   bool // without a response
	}{
		{"over otelhttp", over, false, false},
		{"over otelhttp and RedactURL", over, true, false},
		{"over otelhttp and RedactURL, failing", over, true, true},
		{"under otelhttp", under, false, false},
		{"under otelhttp, failing", under, false, true},
		{"without otelhttp, failing", bare, false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			var mu sync.Mutex
			var queries []string
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
				user, pass, _ := req.BasicAuth()
				mu.Lock()
				queries = append(queries, user+":"+pass+"?"+req.URL.RawQuery)
				mu.Unlock()
				switch {
				case c.callFails:
					panic(http.ErrAbortHandler)
				case req.URL.Path == "/503":
					w.WriteHeader(http.StatusServiceUnavailable)
				case req.URL.Path == "/broken":
					_, _ = io.WriteString(w, "some")
					_ = http.NewResponseController(w).Flush()
					panic(http.ErrAbortHandler)
				}
			}))
			defer server.Close()
			var base http.RoundTripper = &http.Transport{DisableKeepAlives: true}
			if c.redact {
				base = transport.RedactURL(base)
			}
			tel := newTelemetry()
			var slogged bytes.Buffer
			guarded, top := stack(t, c.order, base, tel, transport.WithSlog(slog.New(slog.NewJSONHandler(&slogged, nil))),
				transport.WithConfig(breaker.Config{FailureThreshold: 2}))
			client := &http.Client{Transport: top}

			var rejection *breaker.OpenError
			tracer := tel.tracers.Tracer("caller")
			for i, path := range []string{"/200", "/broken", "/503", "/blocked"} {
				ctx, span := tracer.Start(t.Context(), "caller")
				if i == 0 {
					ctx = t.Context() // one whose client span is the first of its trace
				}
				req := request(t, http.MethodGet, strings.Replace(server.URL, "://", "://user:"+password+"@", 1)+
					path+"?token="+token+"#"+fragment, nil).WithContext(ctx)
				res, err := client.Do(req)
				if err == nil {
					_, _ = io.ReadAll(res.Body)
					_ = res.Body.Close()
				}
				errors.As(err, &rejection)
				span.End()
			}
			if rejection == nil {
				t.Fatal("nothing was blocked")
			}
			for _, b := range breakersOf(guarded) {
				b.Reset()
				if err := b.Flush(t.Context()); err != nil {
					t.Fatal(err)
				}
			}

			mu.Lock()
			defer mu.Unlock()
			if len(queries) < 2 {
				t.Errorf("the server got %d requests", len(queries))
			}
			for _, q := range queries {
				if q != "user:"+password+"?token="+token {
					t.Errorf("the server got %q", q)
				}
			}
			said := tel.said(t)
			said["slog record"] = strings.Split(strings.TrimSpace(slogged.String()), "\n")
			said["error"] = []string{rejection.Error()}
			for signal, least := range map[string]int{"metric": 10, "log record": 1, "slog record": 1, "span": 4, "error": 1} {
				if len(said[signal]) < least {
					t.Errorf("there are %d of signal %s", len(said[signal]), signal)
				}
				for _, text := range said[signal] {
					if strings.Contains(text, "canary") {
						t.Errorf("%s: %s", signal, text)
					}
				}
			}
			full := 0
			for _, s := range tel.spans.Ended() {
				if strings.Contains(spanText(s), "url.full") {
					full++
				}
			}
			if c.order != bare && full == 0 {
				t.Error("no span has url.full, so nothing was shown")
			}
		})
	}
}

func breakersOf(guarded *transport.Transport) (all []*breaker.Breaker) {
	for b := range guarded.Breakers().All() {
		all = append(all, b)
	}
	return all
}

func TestG15_AKeyThatIsTheWholeURLHasNoSecretEither(t *testing.T) {
	guarded := mustNew(t, roundTripper(func(req *http.Request) (*http.Response, error) {
		return response(req, http.StatusOK, text("")), nil
	}), transport.WithKey(func(req *http.Request) string { return req.URL.String() }))
	_, err := guarded.RoundTrip(request(t, http.MethodGet, "https://user:canary@a.example/path?canary=1#canary", nil))
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range breakersOf(guarded) {
		if s := b.Snapshot(); s.Endpoint != "https://a.example/path" || s.Service != "a.example" {
			t.Errorf("service %q, endpoint %q", s.Service, s.Endpoint)
		}
	}
}

func TestTheFullURLStaysWhereWanted(t *testing.T) {
	for _, order := range []string{over, under} {
		tel := newTelemetry()
		_, top := stack(t, order, roundTripper(func(req *http.Request) (*http.Response, error) {
			return response(req, http.StatusNoContent, text("")), nil
		}), tel, transport.WithFullURL())
		res, err := top.RoundTrip(request(t, http.MethodGet, "https://a.example/?page=2", nil))
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if text := spanText(tel.spans.Ended()[0]); !strings.Contains(text, "page=2") {
			t.Errorf("%s: %s", order, text)
		}
	}
}

func TestABlockedCallLinksToTheCallThatOpened(t *testing.T) {
	for _, order := range []string{over, under} {
		tel := newTelemetry()
		_, top := stack(t, order, roundTripper(func(req *http.Request) (*http.Response, error) {
			return response(req, http.StatusServiceUnavailable, text("")), nil
		}), tel, transport.WithConfig(tripsAtOnce))
		call := func(name string) {
			ctx, span := tel.tracers.Tracer("caller").Start(t.Context(), name)
			defer span.End()
			if res, err := top.RoundTrip(request(t, http.MethodGet, "http://a.example", nil).WithContext(ctx)); err == nil {
				_ = res.Body.Close()
			}
		}
		call("opening")
		call("blocked")

		named := map[string]trace.ReadOnlySpan{}
		clients := 0
		for _, s := range tel.spans.Ended() {
			if s.Name() == "HTTP GET" {
				clients++
				name := "client of opening"
				if clients == 2 {
					name = "client of blocked"
				}
				named[name] = s
				continue
			}
			named[s.Name()] = s
		}
		opening, blocked := named["opening"], named["blocked"]
		if order == under {
			opening, blocked = named["client of opening"], named["client of blocked"]
		} else if clients != 1 {
			t.Errorf("%s: %d client spans, want none for the blocked call", order, clients)
		}
		if e := opening.Events(); len(e) != 1 || e[0].Name != "circuit_breaker.state_change" {
			t.Errorf("%s: on the opening call's span: %v", order, e)
		}
		if e := blocked.Events(); len(e) != 1 || e[0].Name != "circuit_breaker.blocked" {
			t.Errorf("%s: on the blocked call's span: %v", order, e)
		}
		if l := blocked.Links(); len(l) != 1 || l[0].SpanContext.SpanID() != opening.SpanContext().SpanID() {
			t.Errorf("%s: the blocked call's span has the links %v", order, l)
		}
		if order == under {
			want := attribute.String("error.type", "circuit_open")
			if text := fmt.Sprint(blocked.Attributes()); !strings.Contains(text, fmt.Sprint(want)) {
				t.Errorf("the blocked client span has %v", text)
			}
		}
		inMetrics := 0
		for series, count := range tel.metrics(t) {
			if strings.HasPrefix(series, "http.client.request.duration ") && strings.Contains(series, "error.type=github.com/otelbreaker/otelbreaker/breaker.OpenError") {
				inMetrics++
				if count != "1" {
					t.Errorf("%s: %s blocked calls in %s", order, count, series)
				}
			}
		}
		if (inMetrics == 1) != (order == under) {
			t.Errorf("%s: %d series of http.client.request.duration have the blocked call", order, inMetrics)
		}
	}
}

func TestACallWithoutASpanHasTheTraceOfTheClientSpan(t *testing.T) {
	tel := newTelemetry()
	guarded, top := stack(t, over, roundTripper(func(req *http.Request) (*http.Response, error) {
		return response(req, http.StatusServiceUnavailable, text("")), nil
	}), tel, transport.WithConfig(tripsAtOnce))
	res, err := top.RoundTrip(request(t, http.MethodGet, "http://a.example", nil))
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if err := guarded.Breakers().Get("http://a.example").Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	records, spans := tel.records.List(), tel.spans.Ended()
	if len(records) != 1 || len(spans) != 1 {
		t.Fatalf("%d records, %d spans", len(records), len(spans))
	}
	if got, want := records[0].SpanID(), spans[0].SpanContext().SpanID(); got != want {
		t.Errorf("the record has span %v, want %v", got, want)
	}
}

func TestFailedCallsAreLoggedOnRequest(t *testing.T) {
	tel := newTelemetry()
	guarded, top := stack(t, over, roundTripper(func(req *http.Request) (*http.Response, error) {
		return response(req, http.StatusServiceUnavailable, text("")), nil
	}), tel, transport.WithConfig(tripsAtOnce), transport.WithLogs(logs.WithFailures()), transport.WithLogs(logs.WithLimit(0)))
	res, err := top.RoundTrip(request(t, http.MethodGet, "http://a.example", nil))
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if err := guarded.Breakers().Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	records, spans := tel.records.List(), tel.spans.Ended()
	if len(records) != 2 || len(spans) != 1 || records[0].EventName() != "call_failed" || records[1].EventName() != "circuit_opened" {
		t.Fatalf("%d records, %d spans, want a failed call and an opening of one", len(records), len(spans))
	}
	if said := recordText(records[0]); !strings.Contains(said, "error.type=503") || !strings.Contains(said, "endpoint=http://a.example ") {
		t.Errorf("the failed call has %s", said)
	}
	if got, want := records[0].SpanID(), spans[0].SpanContext().SpanID(); got != want {
		t.Errorf("the failed call has span %v, want %v", got, want)
	}
}

func TestCloseEndsTheTelemetryAndNothingElse(t *testing.T) {
	tel := newTelemetry()
	var told []breaker.State
	guarded, _ := stack(t, bare, roundTripper(func(*http.Request) (*http.Response, error) {
		return nil, errors.New("down")
	}), tel, transport.WithConfig(tripsAtOnce),
		transport.WithListeners(breaker.ListenerFunc(func(e breaker.Event) { told = append(told, e.To) })))
	b := guarded.Breakers().Get("http://a.example")
	_, _ = guarded.RoundTrip(request(t, http.MethodGet, "http://a.example", nil))
	if err := b.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(tel.metrics(t)) == 0 || len(tel.records.List()) != 1 {
		t.Fatalf("before: %d metrics, %d records", len(tel.metrics(t)), len(tel.records.List()))
	}
	for range 2 {
		if err := guarded.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := guarded.RoundTrip(request(t, http.MethodGet, "http://a.example", nil)); !errors.Is(err, breaker.ErrOpen) {
		t.Errorf("calls are guarded no longer: %v", err)
	}
	b.Reset()
	if err := b.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if m := tel.metrics(t); len(m) != 0 {
		t.Errorf("metrics go on: %v", m)
	}
	if n := len(tel.records.List()); n != 1 {
		t.Errorf("records go on: %d", n)
	}
	if len(told) != 2 {
		t.Errorf("the listener was told of %v", told)
	}
}

func TestTheGlobalProvidersAreTheDefault(t *testing.T) {
	tel := newTelemetry()
	meters, tracers, loggers := otel.GetMeterProvider(), otel.GetTracerProvider(), otel.GetLoggerProvider()
	otel.SetMeterProvider(tel.meters)
	otel.SetTracerProvider(tel.tracers)
	otel.SetLoggerProvider(tel.loggers)
	t.Cleanup(func() {
		otel.SetMeterProvider(meters)
		otel.SetTracerProvider(tracers)
		otel.SetLoggerProvider(loggers)
	})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer server.Close()
	guarded, err := transport.New(otelhttp.NewTransport(http.DefaultTransport))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = guarded.Close() }()
	res, err := (&http.Client{Transport: guarded}).Get(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	b := guarded.Breakers().Get(server.URL)
	b.ForceOpen("test")
	if err := b.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := tel.metrics(t)["circuit_breaker.state endpoint="+server.URL+",service=127.0.0.1"]; got != "2" {
		t.Errorf("the state is %q", got)
	}
	if n := len(tel.records.List()); n != 1 {
		t.Errorf("%d records", n)
	}
}
