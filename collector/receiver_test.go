package collector_test

import (
	"compress/gzip"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	collogs "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	colmetrics "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	coltraces "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	logspb "go.opentelemetry.io/proto/otlp/logs/v1"
	metricspb "go.opentelemetry.io/proto/otlp/metrics/v1"
	resourcepb "go.opentelemetry.io/proto/otlp/resource/v1"
	tracespb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
	_ "google.golang.org/grpc/encoding/gzip" // so that it takes compressed calls
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
)

// receiver takes OTLP by HTTP or by gRPC and keeps what came.
type receiver struct {
	url string

	mu      sync.Mutex
	spans   []*tracespb.ResourceSpans
	metrics []*metricspb.ResourceMetrics
	logs    []*logspb.ResourceLogs
	paths   map[string]int    // requests by HTTP, by path
	header  map[string]string // the test's header as last seen, by signal
	partial *partial          // nil: everything is taken
}

// partial is what a receiver says that does not take everything.
type partial struct {
	rejected int64 // items of each export
	message  string
}

// answer returns the response to the signal's export. Without partial it is empty.
func (r *receiver) answer(signal string) proto.Message {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch signal {
	case "traces":
		response := &coltraces.ExportTraceServiceResponse{}
		if r.partial != nil {
			response.PartialSuccess = &coltraces.ExportTracePartialSuccess{RejectedSpans: r.partial.rejected, ErrorMessage: r.partial.message}
		}
		return response
	case "metrics":
		response := &colmetrics.ExportMetricsServiceResponse{}
		if r.partial != nil {
			response.PartialSuccess = &colmetrics.ExportMetricsPartialSuccess{RejectedDataPoints: r.partial.rejected, ErrorMessage: r.partial.message}
		}
		return response
	default:
		response := &collogs.ExportLogsServiceResponse{}
		if r.partial != nil {
			response.PartialSuccess = &collogs.ExportLogsPartialSuccess{RejectedLogRecords: r.partial.rejected, ErrorMessage: r.partial.message}
		}
		return response
	}
}

func (r *receiver) keep(signal, header string, m proto.Message) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.header[signal] = header
	switch m := m.(type) {
	case *coltraces.ExportTraceServiceRequest:
		r.spans = append(r.spans, m.ResourceSpans...)
	case *colmetrics.ExportMetricsServiceRequest:
		r.metrics = append(r.metrics, m.ResourceMetrics...)
	case *collogs.ExportLogsServiceRequest:
		r.logs = append(r.logs, m.ResourceLogs...)
	}
}

// spanNames, metricNames and logBodies tell what has come so far.
func (r *receiver) spanNames() (names []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, resource := range r.spans {
		for _, scope := range resource.ScopeSpans {
			for _, span := range scope.Spans {
				names = append(names, span.Name)
			}
		}
	}
	return names
}

func (r *receiver) metricNames() (names []string) {
	for _, metric := range r.allMetrics() {
		names = append(names, metric.Name)
	}
	return names
}

// allMetrics returns the metrics of all exports so far, one after the other.
func (r *receiver) allMetrics() (all []*metricspb.Metric) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, resource := range r.metrics {
		for _, scope := range resource.ScopeMetrics {
			all = append(all, scope.Metrics...)
		}
	}
	return all
}

func (r *receiver) logBodies() (bodies []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, resource := range r.logs {
		for _, scope := range resource.ScopeLogs {
			for _, record := range scope.LogRecords {
				bodies = append(bodies, record.Body.GetStringValue())
			}
		}
	}
	return bodies
}

// resources returns the resource of the first batch of each signal, nil where none came.
func (r *receiver) resources() map[string]map[string]string {
	r.mu.Lock()
	defer r.mu.Unlock()
	attributes := func(resource *resourcepb.Resource) map[string]string {
		m := map[string]string{}
		for _, kv := range resource.GetAttributes() {
			m[kv.Key] = kv.Value.GetStringValue()
		}
		return m
	}
	m := map[string]map[string]string{}
	if len(r.spans) > 0 {
		m["traces"] = attributes(r.spans[0].Resource)
	}
	if len(r.metrics) > 0 {
		m["metrics"] = attributes(r.metrics[0].Resource)
	}
	if len(r.logs) > 0 {
		m["logs"] = attributes(r.logs[0].Resource)
	}
	return m
}

const testHeader = "x-tenant"

// newReceiver starts a receiver for the protocol, which ends with the test.
func newReceiver(t *testing.T, protocol string) *receiver {
	t.Helper()
	r := &receiver{paths: map[string]int{}, header: map[string]string{}}
	if protocol == "grpc" {
		listener := listen(t)
		server := grpc.NewServer()
		coltraces.RegisterTraceServiceServer(server, traceService{r: r})
		colmetrics.RegisterMetricsServiceServer(server, metricsService{r: r})
		collogs.RegisterLogsServiceServer(server, logsService{r: r})
		served := make(chan error, 1)
		go func() { served <- server.Serve(listener) }()
		t.Cleanup(func() {
			server.Stop()
			if err := <-served; err != nil {
				t.Error(err)
			}
		})
		r.url = "http://" + listener.Addr().String()
		return r
	}
	server := httptest.NewServer(http.HandlerFunc(r.serveHTTP))
	t.Cleanup(server.Close)
	r.url = server.URL
	return r
}

func (r *receiver) serveHTTP(w http.ResponseWriter, req *http.Request) {
	body := req.Body
	if req.Header.Get("Content-Encoding") == "gzip" {
		var err error
		if body, err = gzip.NewReader(req.Body); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
	}
	data, err := io.ReadAll(body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	r.mu.Lock()
	r.paths[req.URL.Path]++
	r.mu.Unlock()
	messages := map[string]proto.Message{
		"traces":  &coltraces.ExportTraceServiceRequest{},
		"metrics": &colmetrics.ExportMetricsServiceRequest{},
		"logs":    &collogs.ExportLogsServiceRequest{},
	}
	signal := strings.TrimPrefix(req.URL.Path, "/v1/")
	message := messages[signal]
	if message == nil {
		http.NotFound(w, req)
		return
	}
	if err := proto.Unmarshal(data, message); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	r.keep(signal, req.Header.Get(testHeader), message)
	response, err := proto.Marshal(r.answer(signal))
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/x-protobuf")
	_, _ = w.Write(response) // the exporter's going away is its own affair
}

type traceService struct {
	coltraces.UnimplementedTraceServiceServer
	r *receiver
}

func (s traceService) Export(ctx context.Context, m *coltraces.ExportTraceServiceRequest) (*coltraces.ExportTraceServiceResponse, error) {
	s.r.keep("traces", incoming(ctx), m)
	return s.r.answer("traces").(*coltraces.ExportTraceServiceResponse), nil
}

type metricsService struct {
	colmetrics.UnimplementedMetricsServiceServer
	r *receiver
}

func (s metricsService) Export(ctx context.Context, m *colmetrics.ExportMetricsServiceRequest) (*colmetrics.ExportMetricsServiceResponse, error) {
	s.r.keep("metrics", incoming(ctx), m)
	return s.r.answer("metrics").(*colmetrics.ExportMetricsServiceResponse), nil
}

type logsService struct {
	collogs.UnimplementedLogsServiceServer
	r *receiver
}

func (s logsService) Export(ctx context.Context, m *collogs.ExportLogsServiceRequest) (*collogs.ExportLogsServiceResponse, error) {
	s.r.keep("logs", incoming(ctx), m)
	return s.r.answer("logs").(*collogs.ExportLogsServiceResponse), nil
}

func incoming(ctx context.Context) string {
	if values := metadata.ValueFromIncomingContext(ctx, testHeader); len(values) > 0 {
		return values[0]
	}
	return ""
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return listener
}

// downURL is the address of a receiver that refuses connections.
func downURL(t *testing.T) string {
	t.Helper()
	listener := listen(t)
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	return "http://" + listener.Addr().String()
}

// blackHoleURL is the address of a receiver that accepts connections and never answers.
func blackHoleURL(t *testing.T) string {
	t.Helper()
	listener := listen(t)
	accepted := make(chan []net.Conn)
	go func() {
		var conns []net.Conn // kept open, or they would be collected and closed
		for {
			conn, err := listener.Accept()
			if err != nil {
				accepted <- conns
				return
			}
			conns = append(conns, conn)
		}
	}()
	t.Cleanup(func() {
		if err := listener.Close(); err != nil {
			t.Error(err)
		}
		for _, conn := range <-accepted {
			_ = conn.Close()
		}
	})
	return "http://" + listener.Addr().String()
}
