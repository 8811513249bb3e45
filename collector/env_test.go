package collector_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/otelbreaker/otelbreaker/collector"
)

// TestExporters runs through what may be asked for, with a receiver at hand. The console exporter shares the path of the others
// and would write into the test's output.
func TestExporters(t *testing.T) {
	for name, test := range map[string]struct {
		env    map[string]string // URL stands for the receiver's
		option bool              // with the receiver's URL
		sent   []string
		lost   bool // the receiver does not know the path
		page   bool
	}{
		"nothing":                       {page: true},
		"option":                        {option: true, sent: []string{"logs", "metrics", "traces"}, page: true},
		"option, no traces":             {option: true, env: map[string]string{"OTEL_TRACES_EXPORTER": "none"}, sent: []string{"logs", "metrics"}, page: true},
		"option, metrics otlp":          {option: true, env: map[string]string{"OTEL_METRICS_EXPORTER": "otlp"}, sent: []string{"logs", "metrics", "traces"}},
		"option, logs elsewhere":        {option: true, env: map[string]string{"OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": "URL/elsewhere"}, sent: []string{"metrics", "traces"}, lost: true, page: true},
		"endpoint":                      {env: map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "URL"}, sent: []string{"logs", "metrics", "traces"}, page: true},
		"endpoint of traces":            {env: map[string]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "URL/v1/traces"}, sent: []string{"traces"}, page: true},
		"endpoint of metrics":           {env: map[string]string{"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "URL/v1/metrics"}, sent: []string{"metrics"}, page: true},
		"endpoint of logs":              {env: map[string]string{"OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": "URL/v1/logs"}, sent: []string{"logs"}, page: true},
		"endpoint, no traces":           {env: map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "URL", "OTEL_TRACES_EXPORTER": "none"}, sent: []string{"logs", "metrics"}, page: true},
		"endpoint, metrics prometheus":  {env: map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "URL", "OTEL_METRICS_EXPORTER": "prometheus"}, sent: []string{"logs", "traces"}, page: true},
		"endpoint, metrics otlp":        {env: map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "URL", "OTEL_METRICS_EXPORTER": "otlp"}, sent: []string{"logs", "metrics", "traces"}},
		"endpoint, metrics on two ways": {env: map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "URL", "OTEL_METRICS_EXPORTER": "otlp, prometheus"}, sent: []string{"logs", "metrics", "traces"}, page: true},
		"prometheus alone":              {env: map[string]string{"OTEL_METRICS_EXPORTER": "prometheus"}, page: true},
		"metrics none":                  {env: map[string]string{"OTEL_METRICS_EXPORTER": "none"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newReceiver(t, "http/protobuf")
			for name, value := range test.env {
				t.Setenv(name, strings.Replace(value, "URL", r.url, 1))
			}
			var opts []collector.Option
			if test.option {
				opts = append(opts, collector.WithOTLP("http/protobuf", r.url))
			}
			p := start(t, opts...)
			record(t, p)
			if err := p.Shutdown(t.Context()); (err != nil) != test.lost {
				t.Errorf("something lost: want %t, got %v", test.lost, err)
			}
			var sent []string
			for signal := range r.resources() {
				sent = append(sent, signal)
			}
			slices.Sort(sent)
			if !slices.Equal(sent, test.sent) {
				t.Errorf("sent %q, want %q", sent, test.sent)
			}

			p = start(t, opts...)
			record(t, p)
			page := scrape(t, p, "")
			if got := strings.Contains(page, "\ntest_calls_total 1\n"); got != test.page {
				t.Errorf("page with the counter: %t, want %t:\n%s", got, test.page, page)
			}
			if !test.page && page != "# No metrics here: OTEL_METRICS_EXPORTER does not name prometheus.\n" {
				t.Errorf("page: %q", page)
			}
		})
	}
}

// The variables go before the option, the protocol as well as the endpoint.
func TestOTLPByOption(t *testing.T) {
	for _, protocol := range protocols {
		r := newReceiver(t, protocol)
		for name, test := range map[string]struct {
			protocol, url string
			env           map[string]string
		}{
			"option":    {protocol: protocol, url: r.url},
			"variables": {protocol: "grpc", url: downURL(t), env: map[string]string{"OTEL_EXPORTER_OTLP_PROTOCOL": protocol, endpoint: r.url}},
		} {
			t.Run(protocol+" by "+name, func(t *testing.T) {
				before := len(r.spanNames())
				for name, value := range test.env {
					t.Setenv(name, value)
				}
				p := start(t, collector.WithOTLP(test.protocol, test.url))
				record(t, p)
				if err := p.Shutdown(t.Context()); err != nil || len(r.spanNames()) != before+1 {
					t.Errorf("%d spans have arrived, error %v", len(r.spanNames())-before, err)
				}
			})
		}
	}
}

func TestG18_BadOTLPOption(t *testing.T) {
	for _, test := range []struct{ protocol, endpoint, want string }{
		{"http/json", "http://localhost:4318", `collector: WithOTLP: protocol "http/json": want one of grpc, http/protobuf`},
		{"grpc", "localhost:4317", `collector: WithOTLP: endpoint="localhost:4317": ` + endpointWant},
		{"grpc", "", `collector: WithOTLP: endpoint="": ` + endpointWant},
		{"grpc", "http://user:hunter2@localhost:4317", `collector: WithOTLP: endpoint="http://localhost:4317": ` + endpointWant},
	} {
		_, err := collector.Start(t.Context(), collector.WithoutGlobals(), collector.WithOTLP(test.protocol, test.endpoint))
		if err == nil || !strings.HasPrefix(err.Error(), test.want) || strings.Contains(err.Error(), "\n") || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("got %v, want one error %s", err, test.want)
		}
	}
}

// What the SDK applies by itself gets through.
func TestVariablesApply(t *testing.T) {
	t.Run("sampler", func(t *testing.T) {
		t.Setenv("OTEL_TRACES_SAMPLER", "always_off")
		_, span := start(t).TracerProvider().Tracer("test").Start(t.Context(), "span")
		defer span.End()
		if span.SpanContext().IsSampled() {
			t.Error("sampled")
		}
	})
	t.Run("exemplar filter", func(t *testing.T) {
		t.Setenv("OTEL_METRICS_EXEMPLAR_FILTER", "always_off")
		p := start(t)
		record(t, p)
		if page := scrape(t, p, openMetrics); strings.Contains(page, "trace_id") {
			t.Errorf("page:\n%s", page)
		}
	})
	t.Run("interval", func(t *testing.T) {
		r := newReceiver(t, "http/protobuf")
		t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", r.url)
		t.Setenv("OTEL_METRIC_EXPORT_INTERVAL", "1")
		t.Setenv("OTEL_BSP_SCHEDULE_DELAY", "1")
		t.Setenv("OTEL_BLRP_SCHEDULE_DELAY", "1")
		record(t, start(t))
		eventually(t, "all three signals", func() bool { return len(r.resources()) == 3 })
	})
}

// eventually waits for what nothing signals.
func eventually(t *testing.T, what string, reached func() bool) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !reached() {
		if time.Now().After(deadline) {
			t.Fatalf("not reached in 10 s: %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

// The exporters leave the timeout to the client, and by HTTP the client is the pipeline's.
func TestTimeoutApplies(t *testing.T) {
	givenUp := make(chan struct{}, 1)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // only then does the server see the client go
		<-r.Context().Done()
		givenUp <- struct{}{}
	}))
	defer server.Close()
	t.Setenv("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", server.URL)
	t.Setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "600000")
	t.Setenv("OTEL_EXPORTER_OTLP_LOGS_TIMEOUT", "20")
	t.Setenv("OTEL_BLRP_SCHEDULE_DELAY", "1")
	t.Setenv("OTEL_BLRP_EXPORT_TIMEOUT", "600000")
	p := start(t)
	emit(t.Context(), p.LoggerProvider(), "body")
	select {
	case <-givenUp:
	case <-time.After(10 * time.Second):
		t.Error("still waiting for the receiver after 10 s")
	}
	if err := p.Shutdown(canceled()); err == nil { // the exporter is about to try again
		t.Error("no error for the record that is lost")
	}
}

func TestCertificates(t *testing.T) {
	var asked string
	server := httptest.NewTLSServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { asked = r.URL.Path }))
	defer server.Close()
	file := filepath.Join(t.TempDir(), "ca.pem")
	writePEM(t, file, "CERTIFICATE", server.Certificate().Raw)
	t.Setenv("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", server.URL+"/v1/logs")
	t.Setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", file)
	p := start(t)
	emit(t.Context(), p.LoggerProvider(), "body")
	if err := p.ForceFlush(t.Context()); err != nil || asked != "/v1/logs" {
		t.Errorf("asked for %q, error %v", asked, err)
	}
}

func writePEM(t *testing.T, file, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}

// badVariable is a variable that Start refuses.
type badVariable struct {
	name, value string
	shown       bool   // the value is in the error
	want        string // so is this
	more        [2]string
}

func (test badVariable) run(t *testing.T) {
	t.Helper()
	t.Run(test.name+"="+strings.ReplaceAll(test.value, "/", "|"), func(t *testing.T) {
		t.Setenv(test.name, test.value)
		if test.more[0] != "" {
			t.Setenv(test.more[0], test.more[1])
		}
		_, err := collector.Start(t.Context(), collector.WithoutGlobals())
		if err == nil {
			t.Fatal("no error")
		}
		if !strings.Contains(err.Error(), test.name) || !strings.Contains(err.Error(), test.want) {
			t.Errorf("want %s and %q in: %v", test.name, test.want, err)
		}
		if shown := strings.Contains(err.Error(), strconv.Quote(test.value)); shown != test.shown {
			t.Errorf("value shown: %t, want %t: %v", shown, test.shown, err)
		}
		if strings.Contains(err.Error(), "\n") {
			t.Errorf("one fault, several errors: %v", err)
		}
		if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("a credential in: %v", err)
		}
	})
}

const (
	endpoint     = "OTEL_EXPORTER_OTLP_ENDPOINT"
	endpointWant = "want http://host:port or https://host:port"
	headers      = "OTEL_EXPORTER_OTLP_HEADERS"
)

func TestG18_BadVariables(t *testing.T) {
	dir := t.TempDir()
	empty := filepath.Join(dir, "empty.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []badVariable{
		{name: "OTEL_METRICS_EXPORTER", value: "promethus", shown: true, want: "otlp, console, none, prometheus"},
		{name: "OTEL_METRICS_EXPORTER", value: "otlp,", shown: true, want: "otlp, console, none, prometheus"},
		{name: "OTEL_METRICS_EXPORTER", value: "prometheus,prometheus", shown: true, want: "each once"},
		{name: "OTEL_METRICS_EXPORTER", value: "none,prometheus", shown: true, want: "none to stand alone"},
		{name: "OTEL_TRACES_EXPORTER", value: "prometheus", shown: true, want: "otlp, console, none"},
		{name: "OTEL_LOGS_EXPORTER", value: "logging", shown: true, want: "otlp, console, none"},
		{name: "OTEL_EXPORTER_OTLP_PROTOCOL", value: "http/json", shown: true, want: "grpc, http/protobuf"},
		{name: "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", value: "gRPC", shown: true, want: "grpc, http/protobuf"},
		{name: "OTEL_EXPORTER_OTLP_COMPRESSION", value: "zstd", shown: true, want: "gzip, none"},
		{name: "OTEL_EXPORTER_OTLP_TIMEOUT", value: "10s", shown: true, want: "milliseconds"},
		{name: "OTEL_EXPORTER_OTLP_LOGS_INSECURE", value: "yes", shown: true, want: "true, false"},
		{name: endpoint, value: "localhost:4317", shown: true, want: endpointWant},
		{name: endpoint, value: "localhost", shown: true, want: endpointWant},
		{name: endpoint, value: "unix:///run/otel.sock", want: endpointWant},
		{name: endpoint, value: "http://", want: endpointWant},
		{name: endpoint, value: "http://:4318", shown: true, want: endpointWant},
		{name: "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", value: "localhost:4317", shown: true, want: endpointWant},
		{name: "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", value: "deltas", shown: true, want: "cumulative, delta, lowmemory"},
		{name: "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION", value: "native", shown: true, want: "explicit_bucket_histogram"},
		{name: "OTEL_EXPORTER_OTLP_CERTIFICATE", value: filepath.Join(dir, "absent.pem"), shown: true, want: "can be read", more: [2]string{endpoint, "https://localhost:4318"}},
		{name: "OTEL_EXPORTER_OTLP_CERTIFICATE", value: empty, shown: true, want: "PEM", more: [2]string{endpoint, "https://localhost:4318"}},
		{name: "OTEL_EXPORTER_OTLP_CLIENT_KEY", value: empty, shown: true, want: "both or neither", more: [2]string{endpoint, "https://localhost:4318"}},
		{name: "OTEL_METRIC_EXPORT_INTERVAL", value: "10s", shown: true, want: "milliseconds from 1"},
		{name: "OTEL_METRIC_EXPORT_INTERVAL", value: "0", shown: true, want: "milliseconds from 1"},
		{name: "OTEL_METRIC_EXPORT_TIMEOUT", value: "-1", shown: true, want: "milliseconds from 1"},
		{name: "OTEL_METRIC_EXPORT_TIMEOUT", value: "99999999999999999999", shown: true, want: "to 2147483647"},
		{name: "OTEL_METRICS_EXEMPLAR_FILTER", value: "on", shown: true, want: "trace_based, always_on, always_off"},
		{name: "OTEL_TRACES_SAMPLER", value: "ratio", shown: true, want: "parentbased_traceidratio"},
		{name: "OTEL_TRACES_SAMPLER_ARG", value: "10%", shown: true, want: "from 0 to 1", more: [2]string{"OTEL_TRACES_SAMPLER", "traceidratio"}},
		{name: "OTEL_TRACES_SAMPLER_ARG", value: "NaN", shown: true, want: "from 0 to 1", more: [2]string{"OTEL_TRACES_SAMPLER", "parentbased_traceidratio"}},
		{name: "OTEL_BSP_MAX_QUEUE_SIZE", value: "2k", shown: true, want: "whole number from 1"},
		{name: "OTEL_BSP_MAX_EXPORT_BATCH_SIZE", value: "4096", want: "=4096: want at most OTEL_BSP_MAX_QUEUE_SIZE, which is 2048"},
		{name: "OTEL_BLRP_MAX_EXPORT_BATCH_SIZE", value: "11", want: "=11: want at most OTEL_BLRP_MAX_QUEUE_SIZE, which is 10", more: [2]string{"OTEL_BLRP_MAX_QUEUE_SIZE", "10"}},
		{name: "OTEL_BLRP_SCHEDULE_DELAY", value: "0", shown: true, want: "milliseconds from 1"},
		{name: "OTEL_SPAN_EVENT_COUNT_LIMIT", value: "many", shown: true, want: "whole number"},
		{name: "OTEL_GO_X_CARDINALITY_LIMIT", value: "0", shown: true, want: "whole number from 1"},
		{name: "OTEL_RESOURCE_ATTRIBUTES", value: "team", shown: true, want: "key=value"},
		{name: "OTEL_RESOURCE_ATTRIBUTES", value: "team=%zz", shown: true, want: "percent-encoded"},
		{name: "OTEL_PROPAGATORS", value: "b3", shown: true, want: "tracecontext, baggage, none"},
		{name: "OTEL_SDK_DISABLED", value: "yes", shown: true, want: "true, false"},
	} {
		test.run(t)
	}
}

func TestG15_BadVariablesKeepTheirCredentials(t *testing.T) {
	for _, test := range []badVariable{
		{name: endpoint, value: "http://user:hunter2@localhost:4318", want: endpointWant},
		{name: endpoint, value: "http://hunter2@localhost:4318", want: endpointWant},
		{name: endpoint, value: "http://user:hunter2%zz@localhost:4318", want: endpointWant},
		{name: endpoint, value: "user:hunter2@localhost:4318", want: endpointWant},
		{name: endpoint, value: "http://localhost:4318/?key=hunter2", want: endpointWant},
		{name: endpoint, value: "http://localhost:4318/#hunter2", want: endpointWant},
		{name: endpoint, value: "http://localhost:hunter2", want: endpointWant},
		{name: endpoint, value: "ftp://localhost/hunter2", want: endpointWant},
		{name: endpoint, value: "hunter2://%", want: endpointWant},
		{name: headers, value: "authorization=Bearer hunter2%zz", want: "name=value pairs"},
		{name: headers, value: "authorization Bearer hunter2", want: "name=value pairs"},
		{name: headers, value: "author ization=hunter2", want: "name=value pairs"},
		{name: "OTEL_EXPORTER_OTLP_TRACES_HEADERS", value: "=hunter2", want: "name=value pairs"},
	} {
		test.run(t)
	}
}

// All faults are told at once, each by an error of its own.
func TestG18_BadVariablesAreToldTogether(t *testing.T) {
	for name, value := range map[string]string{
		"OTEL_METRICS_EXPORTER": "a", "OTEL_TRACES_EXPORTER": "b", "OTEL_PROPAGATORS": "c", "OTEL_SDK_DISABLED": "d", "OTEL_BSP_SCHEDULE_DELAY": "e",
	} {
		t.Setenv(name, value)
	}
	_, err := collector.Start(t.Context(), collector.WithServiceName(""))
	if lines := strings.Split(err.Error(), "\n"); len(lines) != 6 {
		t.Errorf("want 6 lines, have %d:\n%v", len(lines), err)
	}
	if !errors.As(err, new(interface{ Unwrap() []error })) {
		t.Errorf("not joined: %T", err)
	}
}

func TestMutualTLSFiles(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	writePEM(t, certFile, "CERTIFICATE", der)
	writePEM(t, keyFile, "EC PRIVATE KEY", keyDER)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "https://localhost:4318")
	t.Setenv("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", certFile)
	t.Setenv("OTEL_EXPORTER_OTLP_CLIENT_KEY", keyFile)
	for _, protocol := range []string{"http/protobuf", "grpc"} {
		t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
		p := start(t)
		if err := p.Shutdown(canceled()); err == nil {
			t.Error("Shutdown by a canceled context: no error")
		}
	}
	t.Setenv("OTEL_EXPORTER_OTLP_CLIENT_KEY", certFile)
	if _, err := collector.Start(t.Context()); err == nil || !strings.Contains(err.Error(), "want a certificate and its key") {
		t.Errorf("a key that is none: %v", err)
	}
	t.Setenv("OTEL_EXPORTER_OTLP_CLIENT_KEY", keyFile)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4318")
	if _, err := collector.Start(t.Context()); err == nil || !strings.Contains(err.Error(), "want an endpoint with https") {
		t.Errorf("certificates without TLS: %v", err)
	}
}
