package e2e

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/attribute"

	"github.com/otelbreaker/otelbreaker/breaker"
	"github.com/otelbreaker/otelbreaker/collector"
	"github.com/otelbreaker/otelbreaker/e2e/internal/bulk"
	"github.com/otelbreaker/otelbreaker/e2e/internal/stack"
	"github.com/otelbreaker/otelbreaker/internal/document"
	"github.com/otelbreaker/otelbreaker/otelcb"
)

// These run the commands of the documents that want the real programs, as they stand. What is not as there: ports are free
// ones, folders are the test's, the names of other machines are backends here. TestTheCommandsRun of docs/ sees to it that
// no block is left out.

// site is a copy of the repository's deploy/, and the programs.
type site struct {
	document.Shell

	root                              string
	grpc, http, page, health, metrics string // of the collector, and of Prometheus
	loki                              string
}

func newSite(t *testing.T, places ...string) *site {
	t.Helper()
	clearEnvironment(t)
	root, err := stack.FindRoot()
	if err != nil {
		t.Fatal(err)
	}
	s := &site{root: root}
	s.Dir = t.TempDir()
	if err := os.CopyFS(filepath.Join(s.Dir, "deploy"), os.DirFS(filepath.Join(root, "deploy"))); err != nil {
		t.Fatal(err)
	}
	addresses := stack.FreeAddresses(t, 8)
	s.grpc, s.http, s.page, s.health, s.metrics, s.loki = addresses[0], addresses[1], addresses[2], addresses[3], addresses[4], addresses[5]
	self, lokiGRPC := port(addresses[6]), port(addresses[7])
	storage := t.TempDir()
	s.Env = []string{
		"COLLECTOR_OTLP_GRPC=" + s.grpc, "COLLECTOR_OTLP_HTTP=" + s.http, "COLLECTOR_PROMETHEUS=" + s.page, "COLLECTOR_HEALTH=" + s.health,
		"COLLECTOR_SELF_PORT=" + self, "COLLECTOR_STORAGE=" + storage,
		"COLLECTOR_PROMETHEUS_OTLP_ENDPOINT=http://" + s.metrics + "/api/v1/otlp", "COLLECTOR_LOGS_ENDPOINT=http://" + s.loki + "/otlp",
		"LOKI_HTTP_PORT=" + port(s.loki), "LOKI_GRPC_PORT=" + lokiGRPC, "LOKI_STORAGE=" + t.TempDir(),
	}
	s.Replace = strings.NewReplacer(append(places, "/var/lib/otelcol", storage,
		":4317", ":"+port(s.grpc), ":4318", ":"+port(s.http), ":8889", ":"+port(s.page), ":13133", ":"+port(s.health))...)
	program := func(name string) string { return "exec " + filepath.Join(root, ".bin", name) + ` "$@"` }
	s.Script(t, "otelcol-contrib", program("otelcol"))
	s.Script(t, "loki", program("loki")+" -ingester.min-ready-duration=0s")
	s.Script(t, "amtool", program("amtool"))
	s.Script(t, "prometheus", program("prometheus")+" --web.listen-address="+s.metrics+" --storage.tsdb.path="+t.TempDir()+
		" --scrape.discovery-reload-interval=100ms")
	return s
}

// Script puts a program of that name first on the shell's path, as a script of bash.
func (s *site) Script(t *testing.T, name, script string) {
	t.Helper()
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, name), []byte("#!/usr/bin/env bash\nset -euo pipefail\n"+script+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	s.Env = append(s.Env, "PATH="+folder+":"+s.path())
}

func (s *site) path() string {
	path := os.Getenv("PATH")
	for _, variable := range s.Env {
		if value, found := strings.CutPrefix(variable, "PATH="); found {
			path = value // the last one counts
		}
	}
	return path
}

func port(address string) string {
	_, port, _ := net.SplitHostPort(address)
	return port
}

// block is the one whose name begins so.
func (s *site) block(t *testing.T, name string) (found document.Block) {
	t.Helper()
	all, err := document.Blocks(s.root)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, b := range all {
		if strings.HasPrefix(b.Name(), name) {
			found = b
			n++
		}
	}
	if n != 1 {
		t.Fatalf("%d blocks are called %q, want 1", n, name)
	}
	return found
}

// start starts commands in one shell, and shows what they wrote if the test fails.
func (s *site) start(t *testing.T, commands ...string) (stop func()) {
	t.Helper()
	written, err := os.Create(filepath.Join(t.TempDir(), "output"))
	if err != nil {
		t.Fatal(err)
	}
	stop = s.Start(t, written, commands...)
	t.Cleanup(func() {
		stop()
		if t.Failed() {
			text, err := os.ReadFile(written.Name())
			t.Logf("%q wrote (%v)\n%s", commands, err, text)
		}
		_ = written.Close()
	})
	return stop
}

// collector waits until the collector is ready.
func (s *site) collector(t *testing.T) *stack.Collector {
	t.Helper()
	document.Get(t, "http://"+s.health+"/", contains("Server available"))
	return &stack.Collector{GRPC: s.grpc, HTTP: "http://" + s.http}
}

// elsewhere tells whether a port is open to others than this machine: 127.0.0.2 stands for those.
func elsewhere(t *testing.T, address string) bool {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", "127.0.0.2:"+port(address))
	if err != nil {
		return false
	}
	_ = conn.Close()
	return true
}

func TestDocuments_Collector(t *testing.T) {
	t.Run("sidecar", func(t *testing.T) {
		arrived := make(chan string, 8)
		backend := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			what, err := decode(r)
			if err != nil {
				t.Error(err)
			}
			arrived <- r.URL.Path + " " + what
		}))
		defer backend.Close()
		s := newSite(t, "http://loki:3100", backend.URL, "http://jaeger:4318", backend.URL)
		s.start(t, s.block(t, "docs/deployment.md: export COLLECTOR_LOGS_EXPORTER").Commands...)
		c := s.collector(t)
		for path, what := range map[string][2]string{
			"/v1/logs": {oneRecord, "/otlp/v1/logs Circuit breaker opened"}, "/v1/traces": {oneSpan, "/v1/traces circuit_breaker.outage"},
		} {
			send(t, c, path, what[0])
			if got := <-arrived; got != what[1] {
				t.Errorf("%s has led to %q, want %q", path, got, what[1])
			}
		}
		if elsewhere(t, s.http) || elsewhere(t, s.grpc) || elsewhere(t, s.page) {
			t.Error("others can reach it")
		}
	})
	t.Run("gateway", func(t *testing.T) {
		s := newSite(t)
		s.start(t, s.block(t, "docs/deployment.md: export COLLECTOR_OTLP_GRPC").Commands...)
		send(t, s.collector(t), "/v1/logs", oneRecord)
		for _, address := range []string{s.grpc, s.http, s.page, s.health} {
			if !elsewhere(t, address) {
				t.Errorf("others cannot reach %s", address)
			}
		}
	})
	t.Run("Elasticsearch", func(t *testing.T) {
		var documents bulk.Server // a stand-in
		backend := httptest.NewServer(&documents)
		defer backend.Close()
		s := newSite(t)
		s.Env = append(s.Env, "COLLECTOR_ELASTICSEARCH_ENDPOINT="+backend.URL)
		stop := s.start(t, s.block(t, "docs/log-search-setup.md: otelcol-contrib").Commands...)
		send(t, s.collector(t), "/v1/logs", oneRecord)
		stop() // and it sends what it has
		if got := documents.Documents(); len(got) != 1 || got[0].Field("attributes.event_type") != "circuit_opened" {
			t.Errorf("got %v", got)
		}
	})
}

func TestDocuments_Loki(t *testing.T) {
	s := newSite(t)
	for _, command := range s.block(t, "docs/log-search-setup.md: loki ").Commands {
		s.start(t, command)
	}
	document.Get(t, "http://"+s.loki+"/ready", contains("ready"))
	c := s.collector(t)
	startProcess(t, "http/protobuf", c.HTTP).lastingOutage(t)
	query := url.Values{"query": {`{service_name="checkout"} | event_type="circuit_opened"`}}
	document.Get(t, "http://"+s.loki+"/loki/api/v1/query_range?"+query.Encode(), contains("Circuit breaker opened"))
}

// TestDocuments_Prometheus scrapes twice a second, not every 15.
func TestDocuments_Prometheus(t *testing.T) {
	s := newSite(t)
	pipeline, err := collector.Start(t.Context(), collector.WithoutGlobals(), collector.WithResourceAttributes(attribute.String("service.name", "shop")))
	if err != nil {
		t.Fatal(err)
	}
	defer shutDown(t, pipeline)
	b, err := breaker.New(breaker.Config{Service: "payments", Endpoint: "https://payments.example"})
	if err != nil {
		t.Fatal(err)
	}
	observed, err := otelcb.Observe(b, otelcb.WithMeterProvider(pipeline.MeterProvider()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := observed.Unregister(); err != nil {
			t.Error(err)
		}
	}()
	shop := httptest.NewServer(pipeline.MetricsHandler())
	defer shop.Close()

	s.scrapeOften(t)
	s.Script(t, "editor", `echo "[{targets: ['`+strings.TrimPrefix(shop.URL, "http://")+`'], labels: {job: shop}}]" >"$1"`)
	s.Env = append(s.Env, "EDITOR=editor")
	s.start(t, s.block(t, "docs/deployment.md: $EDITOR deploy/prometheus/targets").Commands...)
	s.awaits(t, `circuit_breaker_state{job="shop",service="payments",endpoint="https://payments.example"}`)
	document.Get(t, "http://"+s.metrics+"/api/v1/rules", contains("CircuitBreakerOpen", "circuit_breaker_recording.yml"))
}

func TestDocuments_MetricsByOTLP(t *testing.T) {
	s := newSite(t)
	for _, command := range s.block(t, "docs/deployment.md: otelcol-contrib").Commands {
		s.start(t, command)
	}
	c := s.collector(t)
	document.Get(t, "http://"+s.metrics+"/-/ready", contains("Ready"))
	startProcess(t, "http/protobuf", c.HTTP).lastingOutage(t)
	s.awaits(t, `circuit_breaker_state{job="checkout",service="inventory"} == 2`)
}

// scrapeOften changes the interval, for the first scrape comes within one.
func (s *site) scrapeOften(t *testing.T) {
	t.Helper()
	file := filepath.Join(s.Dir, "deploy", "prometheus", "prometheus.yml")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	const often = "scrape_interval: 15s"
	if strings.Count(string(text), often) != 1 {
		t.Fatalf("%s has no %q", file, often)
	}
	text = []byte(strings.Replace(string(text), often, "scrape_interval: 500ms", 1))
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// awaits returns when Prometheus has an answer to a query.
func (s *site) awaits(t *testing.T, query string) {
	t.Helper()
	document.Get(t, "http://"+s.metrics+"/api/v1/query?"+url.Values{"query": {query}}.Encode(), contains(`"metric":`))
}

func contains(words ...string) func(string) error {
	return func(body string) error {
		for _, word := range words {
			if !strings.Contains(body, word) {
				return fmt.Errorf("there is no %q", word)
			}
		}
		return nil
	}
}

func TestDocuments_Silence(t *testing.T) {
	address := stack.FreeAddresses(t, 1)[0]
	s := newSite(t, "127.0.0.1:9093", address)
	nobody := filepath.Join(s.Dir, "alertmanager.yml")
	if err := os.WriteFile(nobody, []byte("route: {receiver: nobody}\nreceivers: [{name: nobody}]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.start(t, "exec "+filepath.Join(s.root, ".bin", "alertmanager")+" --config.file="+nobody+" --storage.path="+t.TempDir()+
		" --web.listen-address="+address+" --cluster.listen-address=")
	document.Get(t, "http://"+address+"/-/ready", contains("OK"))
	s.Run(t, s.block(t, "docs/faq.md: amtool ").Commands...)
	document.Get(t, "http://"+address+"/api/v2/silences", contains(`"CircuitBreakerOverrideLeftOn"`, `"payments"`, `"alice"`, `"trial of thresholds"`, `"active"`))
}

// TestDocuments_Load: the second command for three seconds, not thirty.
func TestDocuments_Load(t *testing.T) {
	well := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/balance" {
			http.NotFound(w, r)
		}
	}))
	defer well.Close()
	s := newSite(t, "http://127.0.0.1:8080", well.URL, "--for 30s", "--for 3s")
	s.Dir = s.root
	for _, command := range s.block(t, "docs/load.md: go run ./cmd/demo load").Commands {
		if !strings.HasPrefix(command, "make ") { // CI's own
			s.Run(t, command)
		}
	}
}

// TestDocuments_Fuzzing runs a few inputs, and no test.
func TestDocuments_Fuzzing(t *testing.T) {
	s := newSite(t)
	s.Dir = s.root
	ran := 0
	for _, command := range s.block(t, "docs/quality.md: make schedules").Commands {
		if strings.HasPrefix(command, "go test ") {
			s.Run(t, command+" -run '^$' -fuzztime 10x")
			ran++
		}
	}
	if ran == 0 {
		t.Error("there is nothing to fuzz")
	}
}
