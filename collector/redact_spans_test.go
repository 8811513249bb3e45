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

	"github.com/otelbreaker/otelbreaker/breaker"
	"github.com/otelbreaker/otelbreaker/collector"
	"github.com/otelbreaker/otelbreaker/health"
	"github.com/otelbreaker/otelbreaker/logs"
	"github.com/otelbreaker/otelbreaker/transport"
)

// outputs makes calls with canaries in every part of the URL that may hold a secret, answered, broken off, refused and
// blocked, and gives all that comes out of the program.
func outputs(t *testing.T, protocol string, under bool, pipelineOptions []collector.Option, options ...transport.Option) map[string]string {
	t.Helper()
	r := newReceiver(t, protocol)
	useOTLP(t, protocol, r.url)
	var own buffer // what the pipeline reports
	p := start(t, append(pipelineOptions, collector.WithLogger(own.logger()))...)

	var arrived atomic.Int32
	server := httptest.NewServer(otelhttp.NewHandler(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if user, password, _ := req.BasicAuth(); user+password+req.URL.RawQuery != `canary-usercanary-passwordtoken=canary-"query` {
			t.Errorf("the server got %s:%s and %s", user, password, req.URL.RawQuery)
		}
		arrived.Add(1)
		switch req.URL.Path {
		case "/503":
			w.WriteHeader(http.StatusServiceUnavailable)
		case "/broken":
			_, _ = io.WriteString(w, "some")
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		case "/aborted":
			panic(http.ErrAbortHandler)
		}
	}), "server", otelhttp.WithTracerProvider(p.TracerProvider()), otelhttp.WithMeterProvider(p.MeterProvider())))
	defer server.Close()

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
	client := &http.Client{Transport: guarded}
	if under {
		client.Transport = instrumented(guarded)
	}
	page := health.Handler(guarded.Breakers())

	var said []string // by errors
	for _, path := range []string{"/200", "/broken", "/503", "/aborted", "/blocked"} {
		ctx, span := p.TracerProvider().Tracer("test").Start(t.Context(), "caller "+path)
		at := strings.Replace(server.URL, "://", "://canary-user:canary-password@", 1)
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, at+path+`?token=canary-"query#canary-fragment`, nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := client.Do(req)
		if err == nil {
			_, _ = io.ReadAll(res.Body)
			_ = res.Body.Close()
		} else { // as users do
			span.RecordError(err)
			span.SetStatus(codes.Error, err.Error())
			said = append(said, transport.RedactError(err).Error())
			if rejection, blocked := errors.AsType[*breaker.OpenError](err); blocked {
				said = append(said, rejection.Error())
			}
		}
		span.SetAttributes(attribute.String("http.target", path+"?token=canary-query"), attribute.String("url.query", "token=canary-query"))
		span.End()
	}
	if n := arrived.Load(); n != 4 || len(said) != 3 {
		t.Fatalf("%d calls arrived, the errors are %q", n, said)
	}
	if err := guarded.Breakers().Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	all := map[string]string{"the page": scrape(t, p, "application/openmetrics-text; version=1.0.0"), "errors": strings.Join(said, "\n")}
	if err := p.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	answer := httptest.NewRecorder()
	page.ServeHTTP(answer, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil))
	all["the health page"] = answer.Body.String()
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
					if strings.Contains(text, "canary") {
						t.Errorf("%s: %s", output, text)
					}
				}
				// What shows that there was something to see.
				for output, want := range map[string]string{"the page": "circuit_breaker_requests_total", "errors": "/blocked",
					"the health page": "127.0.0.1", "slog": "circuit_opened", "spans": "url.full", "metrics": "circuit_breaker.state",
					"log records": "call_failed"} {
					if !strings.Contains(all[output], want) {
						t.Errorf("%s: no %s in %s", output, want, all[output])
					}
				}
				if !strings.Contains(all["spans"], "exception.message") || !strings.Contains(all["spans"], "/aborted") {
					t.Errorf("no exception of the call that was aborted in %s", all["spans"])
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
		if output != "spans" && strings.Contains(text, "canary") {
			t.Errorf("%s: %s", output, text)
		}
	}
}
