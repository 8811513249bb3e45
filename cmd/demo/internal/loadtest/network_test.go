package loadtest

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.opentelemetry.io/otel"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/otelbreaker/otelbreaker/breaker"
	"github.com/otelbreaker/otelbreaker/transport"
)

// brief are settings of a test that goes over the network.
func brief(scenario string) Settings {
	s := settings(scenario)
	s.For, s.Breaker = 2*time.Second, BreakerFor(2*time.Second)
	return s
}

func TestRun_OverTheNetwork(t *testing.T) {
	s := brief("outage")
	s.Expect = []Expectation{ExpectStory(), must(t)(MinBlocked(1)), must(t)(OpenWithin(time.Second)), must(t)(RecoveryWithin(time.Second))}
	r, err := Run(t.Context(), s, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if !r.Passed || !r.OwnUpstream || r.Requests.Answers["connection refused"] == 0 {
		t.Errorf("failed are %q: %+v, %+v", r.Failed(), r.Requests, r.Outages)
	}
}

// TestG15_NoSecretOfTheURLIsToldByALoadTest has a server behind the proxy get what the user gave, and nobody else.
func TestG15_NoSecretOfTheURLIsToldByALoadTest(t *testing.T) {
	spans := tracetest.NewInMemoryExporter()
	before := otel.GetTracerProvider()
	otel.SetTracerProvider(sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans)))
	t.Cleanup(func() { otel.SetTracerProvider(before) })
	var came atomic.Uint64
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if user, word, _ := r.BasicAuth(); user == "geheim" && word == "secret" && r.URL.RawQuery == "token=hidden" && r.URL.Path == "/balance" {
			came.Add(1)
		}
	}))
	defer server.Close()
	address := strings.TrimPrefix(server.URL, "http://")
	for _, scenario := range []string{"healthy", "outage"} {
		s := brief(scenario)
		s.URL = "http://geheim:secret@" + address + "/balance?token=hidden#verborgen"
		came.Store(0)
		var said bytes.Buffer
		r, err := Run(t.Context(), s, &said)
		if err != nil {
			t.Fatal(err)
		}
		if !r.Passed || came.Load() != r.Requests.Answers["200"] || came.Load() == 0 || r.OwnUpstream {
			t.Errorf("%s: %d requests came whole; %+v, failed %q", scenario, came.Load(), r.Requests, r.Failed())
		}
		if r.Target != server.URL+"/balance" || len(r.Breakers) != 1 || r.Breakers[0].Endpoint != server.URL {
			t.Errorf("%s: the target is %s, the breakers %+v", scenario, r.Target, r.Breakers)
		}
		if err := r.WriteText(&said); err != nil {
			t.Fatal(err)
		}
		if err := json.NewEncoder(&said).Encode(r); err != nil {
			t.Fatal(err)
		}
		if err := json.NewEncoder(&said).Encode(spans.GetSpans()); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(said.String(), "url.full") {
			t.Error("there are no spans")
		}
		for _, secret := range []string{"geheim", "secret", "hidden", "verborgen"} {
			if strings.Contains(said.String(), secret) {
				t.Errorf("%s: %q is told", scenario, secret)
			}
		}
	}
}

// TestAnswersAreToldApart has each way a call can end, and both accounts agree on every one.
func TestAnswersAreToldApart(t *testing.T) {
	var n atomic.Uint64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch n.Add(1) % 8 {
		case 0:
			w.WriteHeader(http.StatusNotFound)
		case 1:
			w.WriteHeader(http.StatusTooManyRequests)
		case 2:
			<-r.Context().Done()
		case 3:
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, "some")
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		case 4:
			w.WriteHeader(http.StatusNoContent)
		case 5:
			_, _ = io.WriteString(w, "begins")
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		case 6:
			rejected, err := transport.Unavailable(r, &breaker.OpenError{}) // of a breaker further on
			if err != nil {
				t.Error(err)
				return
			}
			maps.Copy(w.Header(), rejected.Header)
			w.WriteHeader(rejected.StatusCode)
		default:
			_, _ = io.WriteString(w, strings.Repeat("long ", 50_000))
		}
	}))
	defer server.Close()
	s := brief("healthy")
	s.URL, s.Timeout, s.Breaker = server.URL, 150*time.Millisecond, breaker.Config{FailureThreshold: 1000}
	r, err := Run(t.Context(), s, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	for _, answer := range []string{"200", "204", "404", "429", "503", "timeout", "broken off"} {
		if r.Requests.Answers[answer] == 0 {
			t.Errorf("no %s: %v", answer, r.Requests.Answers)
		}
	}
	if !r.Calls.Agree || r.Calls.Client.Ignored != r.Requests.Answers["503"] || r.Calls.Client.total() != r.Requests.Total {
		t.Errorf("%+v", r.Calls)
	}
	if well := r.Requests.Answers["200"] + r.Requests.Answers["204"]; r.Requests.Well != well {
		t.Errorf("%d answered well, want %d", r.Requests.Well, well)
	}
	if r.Latency.Sent.Max < 0.15 || r.Latency.Sent.P99 > 1 {
		t.Errorf("latency is %+v", r.Latency.Sent)
	}
}
