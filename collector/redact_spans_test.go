package collector_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/log"
	"go.opentelemetry.io/otel/trace"

	"github.com/otelbreaker/otelbreaker/breaker"
	"github.com/otelbreaker/otelbreaker/collector"
	"github.com/otelbreaker/otelbreaker/health"
	"github.com/otelbreaker/otelbreaker/logs"
	"github.com/otelbreaker/otelbreaker/transport"
)

// canaries is what a request has to bring, and what nothing else may show.
const (
	canaryUser  = "canary-user:canary-password@"
	canaryQuery = `token=canary-"query`
	canaryBody  = "canary-body"
)

// upstream answers in every way that there is, with canaries in what it says.
func upstream(t *testing.T, arrived *atomic.Int32) http.HandlerFunc {
	t.Helper()
	return func(w http.ResponseWriter, req *http.Request) {
		arrived.Add(1)
		user, password, _ := req.BasicAuth()
		body, _ := io.ReadAll(req.Body)
		if user+":"+password+"@" != canaryUser || req.URL.RawQuery != canaryQuery || req.Header.Get("X-Api-Key") != "canary-key" ||
			req.Header.Get("Cookie") != "id=canary" || req.Method == http.MethodPost && string(body) != canaryBody {
			t.Errorf("the server got %s:%s, %s, %s and %v", user, password, req.URL.RawQuery, body, req.Header)
		}
		w.Header().Set("Set-Cookie", "id=canary-cookie")
		switch req.URL.Path {
		case "/redirect", "/stay":
			w.Header().Set("Location", "http://"+canaryUser+req.Host+"/200?"+canaryQuery+"#canary-fragment")
			w.WriteHeader(http.StatusSeeOther)
		case "/nowhere":
			w.Header().Set("Location", "http://user:CAN/ARY@h/?canary")
			w.WriteHeader(http.StatusFound)
		case "/away":
			w.Header().Set("Location", "gopher://"+canaryUser+"h/?canary")
			w.WriteHeader(http.StatusFound)
		case "/503":
			w.WriteHeader(http.StatusServiceUnavailable)
		case "/broken":
			_, _ = io.WriteString(w, "some")
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		case "/aborted":
			panic(http.ErrAbortHandler)
		}
		_, _ = io.WriteString(w, canaryBody)
	}
}

// captured gives what those who capture headers have on their spans.
func captured(of string, h http.Header) (attrs []attribute.KeyValue) {
	for _, name := range []string{"Authorization", "Cookie", "X-Api-Key", "Referer", "Set-Cookie", "Location"} {
		if values := h.Values(name); len(values) > 0 {
			attrs = append(attrs, attribute.StringSlice("http."+of+".header."+strings.ToLower(name), values))
		}
	}
	return attrs
}

// outputs makes calls with canaries in every part of a request that may hold a secret, answered, led elsewhere, broken off,
// refused and blocked, and gives all that comes out of the program.
func outputs(t *testing.T, protocol string, under bool, pipelineOptions []collector.Option, options ...transport.Option) map[string]string {
	t.Helper()
	r := newReceiver(t, protocol)
	useOTLP(t, protocol, r.url)
	var own buffer // what the pipeline reports
	p := start(t, append(pipelineOptions, collector.WithLogger(own.logger()))...)

	var arrived atomic.Int32
	server := httptest.NewServer(otelhttp.NewHandler(upstream(t, &arrived), "server",
		otelhttp.WithTracerProvider(p.TracerProvider()), otelhttp.WithMeterProvider(p.MeterProvider())))
	defer server.Close()
	nobody := httptest.NewServer(nil)
	nobody.Close()

	instrumented := func(next http.RoundTripper) http.RoundTripper {
		return otelhttp.NewTransport(next, otelhttp.WithTracerProvider(p.TracerProvider()), otelhttp.WithMeterProvider(p.MeterProvider()))
	}
	var base http.RoundTripper = &http.Transport{DisableKeepAlives: true}
	if !under {
		base = instrumented(base)
	}
	var slogged bytes.Buffer
	guarded, err := transport.New(base, append([]transport.Option{
		transport.WithMeterProvider(p.MeterProvider()), transport.WithTracerProvider(p.TracerProvider()),
		transport.WithLoggerProvider(p.LoggerProvider()), transport.WithSlog(slog.New(slog.NewJSONHandler(&slogged, nil))),
		transport.WithLogs(logs.WithFailures()), transport.WithConfig(breaker.Config{FailureThreshold: 3})}, options...)...)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = guarded.Close() }()
	client := &http.Client{Transport: guarded, CheckRedirect: func(_ *http.Request, via []*http.Request) error {
		if via[0].URL.Path == "/stay" {
			return http.ErrUseLastResponse
		}
		return nil
	}}
	if under {
		client.Transport = instrumented(guarded)
	}

	var said []string // by errors
	logger := p.LoggerProvider().Logger("test")
	call := func(method, at string) {
		ctx, span := p.TracerProvider().Tracer("test").Start(t.Context(), method+" "+at)
		defer span.End()
		failed := func(err error) { // as users do
			span.RecordError(err)
			span.SetStatus(codes.Error, err.Error())
			var record log.Record
			record.SetBody(attribute.StringValue("calling " + at + ": " + err.Error()))
			record.AddAttributes(attribute.String("exception.message", err.Error()))
			logger.Emit(ctx, record)
			said = append(said, transport.RedactError(err).Error(),
				transport.RedactError(errors.Join(errors.New("twice"), fmt.Errorf("%w, %w", err, err))).Error())
			if rejection, blocked := errors.AsType[*breaker.OpenError](err); blocked {
				said = append(said, rejection.Error())
			}
		}
		req, err := http.NewRequestWithContext(ctx, method, at, strings.NewReader(canaryBody))
		if err != nil {
			failed(err)
			return
		}
		req.Header.Set("X-Api-Key", "canary-key")
		req.Header.Set("Cookie", "id=canary")
		req.Header.Set("Referer", "http://referer.example/?canary")
		span.SetAttributes(captured("request", req.Header)...)
		span.SetAttributes(attribute.String("http.target", req.URL.RequestURI()), attribute.String("url.query", req.URL.RawQuery),
			attribute.String("url.original", at))
		span.AddLink(trace.Link{SpanContext: span.SpanContext(), Attributes: []attribute.KeyValue{attribute.String("url.full", at)}})
		res, err := client.Do(req)
		if err != nil {
			failed(err)
			return
		}
		span.SetAttributes(captured("response", res.Header)...)
		_, _ = io.ReadAll(res.Body)
		_ = res.Body.Close()
	}
	withCanaries := func(base, path string) string {
		return strings.Replace(base, "://", "://"+canaryUser, 1) + path + "?" + canaryQuery + "#canary-fragment"
	}
	for _, path := range []string{"/200", "/redirect", "/stay", "/nowhere", "/away", "/broken", "/503", "/aborted", "/blocked"} {
		call(http.MethodPost, withCanaries(server.URL, path))
	}
	call(http.MethodGet, withCanaries(nobody.URL, "/refused"))
	call(http.MethodGet, "http://user:CAN/ARY@h/?canary")
	call(http.MethodGet, "gopher://"+canaryUser+"h/?canary")
	if n := arrived.Load(); n != 9 || len(said) != 15 {
		t.Fatalf("%d calls arrived, the errors are %q", n, said)
	}
	if err := guarded.Breakers().Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	all := map[string]string{"the page": scrape(t, p, "application/openmetrics-text; version=1.0.0"), "errors": strings.Join(said, "\n")}
	if err := p.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, accept := range []string{"application/json", "text/html"} {
		answer, req := httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
		req.Header.Set("Accept", accept)
		health.Handler(guarded.Breakers()).ServeHTTP(answer, req)
		all["the health page, "+accept] = answer.Body.String()
	}
	all["slog"] = slogged.String()
	all["the pipeline's own log"] = own.String()
	r.mu.Lock()
	defer r.mu.Unlock()
	all["spans"], all["metrics"], all["log records"] = fmt.Sprint(r.spans), fmt.Sprint(r.metrics), fmt.Sprint(r.logs)
	return all
}

func TestG15_NoSecretOfAURLLeavesAnywhere(t *testing.T) {
	for _, protocol := range protocols {
		for _, under := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, under otelhttp: %v", protocol, under), func(t *testing.T) {
				all := outputs(t, protocol, under, nil)
				for output, text := range all {
					for _, secret := range []string{"canary", "CAN", "ARY"} {
						if i := strings.Index(text, secret); i >= 0 {
							t.Errorf("%s: %s", output, text[max(0, i-300):min(len(text), i+100)])
						}
					}
				}
				// What shows that there was something to see.
				for output, want := range map[string]string{"the page": "circuit_breaker_requests_total", "errors": "/blocked",
					"the health page, application/json": "127.0.0.1", "the health page, text/html": "127.0.0.1", "slog": "circuit_opened", "spans": "url.full", "metrics": "circuit_breaker.state",
					"log records": "call_failed"} {
					if !strings.Contains(all[output], want) {
						t.Errorf("%s: no %s in %s", output, want, all[output])
					}
				}
				for _, want := range []string{"exception.message", "/aborted", "/redirect", "/refused", "http.response.header.location", "REDACTED"} {
					if !strings.Contains(all["spans"], want) {
						t.Errorf("no %s in %s", want, all["spans"])
					}
				}
				if !strings.Contains(all["log records"], "calling") {
					t.Errorf("the caller's records are not in %s", all["log records"])
				}
			})
		}
	}
}

func TestTheFullURLStaysWhereWanted(t *testing.T) {
	all := outputs(t, "http/protobuf", false, []collector.Option{collector.WithFullURL()}, transport.WithFullURL())
	for _, want := range []string{`token=canary-`, `#canary-fragment`, "/200?", "/aborted?"} {
		if !strings.Contains(all["spans"], want) {
			t.Errorf("no %s in %s", want, all["spans"])
		}
	}
	for output, text := range all {
		if output != "spans" && output != "log records" && strings.Contains(text, "canary") {
			t.Errorf("%s: %s", output, text)
		}
	}
}
