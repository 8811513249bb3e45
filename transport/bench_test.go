package transport_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/otelbreaker/otelbreaker/breaker"
	"github.com/otelbreaker/otelbreaker/transport"
)

// endless is a body that costs nothing to make.
type endless struct{}

func (endless) Read(p []byte) (int, error) { return 0, io.EOF }
func (endless) Close() error               { return nil }

func TestACallAllocatesAtMostTwice(t *testing.T) {
	res := &http.Response{StatusCode: http.StatusOK, Body: endless{}, ContentLength: -1}
	next := roundTripper(func(*http.Request) (*http.Response, error) { return res, nil })
	req := request(t, http.MethodGet, "https://a.example:443/path?query", nil)
	allocations := func(guarded *transport.Transport) float64 {
		return testing.AllocsPerRun(200, func() {
			res, err := guarded.RoundTrip(req)
			if err != nil {
				return
			}
			_, _ = res.Body.Read(nil)
			_ = res.Body.Close()
		})
	}
	guarded := mustNew(t, next)
	if n := allocations(guarded); n > 2 {
		t.Errorf("%v allocations a call", n)
	}
	res.ContentLength = 0
	if n := allocations(guarded); n > 0 {
		t.Errorf("%v allocations a call without a body", n)
	}
	guarded.Breakers().Get("https://a.example").ForceOpen("test")
	if n := allocations(guarded); n > 0 {
		t.Errorf("%v allocations a rejection", n)
	}
}

func BenchmarkRejected(b *testing.B) {
	guarded := mustNew(b, http.DefaultTransport)
	guarded.Breakers().Get("https://a.example").ForceOpen("benchmark")
	req := request(b, http.MethodGet, "https://a.example:443/path", nil)
	b.Run("serial", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := guarded.RoundTrip(req); err == nil {
				b.Fatal("let through")
			}
		}
	})
	b.Run("parallel", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if _, err := guarded.RoundTrip(req); err == nil {
					b.Error("let through")
				}
			}
		})
	})
}

// BenchmarkPassed is what the transport itself costs: a call whose transport beneath costs nothing.
func BenchmarkPassed(b *testing.B) {
	for _, c := range []struct {
		name   string
		config breaker.Config
	}{{"consecutive failures", breaker.Config{}}, {"failure rate", breaker.Config{FailureRate: 0.5}}} {
		b.Run(c.name, func(b *testing.B) {
			res := &http.Response{StatusCode: http.StatusOK, Body: endless{}, ContentLength: -1}
			guarded := mustNew(b, roundTripper(func(*http.Request) (*http.Response, error) { return res, nil }),
				transport.WithConfig(c.config))
			req := request(b, http.MethodGet, "https://a.example:443/path", nil)
			b.ReportAllocs()
			for b.Loop() {
				res, err := guarded.RoundTrip(req)
				if err != nil {
					b.Fatal(err)
				}
				_, _ = res.Body.Read(nil)
				_ = res.Body.Close()
			}
		})
	}
}

// BenchmarkLoopback compares otelhttp alone with a breaker over it and under it, with the same SDK behind all three.
func BenchmarkLoopback(b *testing.B) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "hello")
	}))
	defer server.Close()
	for _, c := range []struct {
		name, order string
	}{{"otelhttp alone", ""}, {"breaker over it", over}, {"breaker under it", under}} {
		b.Run(c.name, func(b *testing.B) {
			base := &http.Transport{}
			defer base.CloseIdleConnections()
			tel := newBenchTelemetry()
			top := instrument(base, tel)
			if c.order != "" {
				_, top = stack(b, c.order, base, tel)
			}
			client := &http.Client{Transport: top}
			b.ReportAllocs()
			for b.Loop() {
				res, err := client.Get(server.URL)
				if err != nil {
					b.Fatal(err)
				}
				_, _ = io.Copy(io.Discard, res.Body)
				_ = res.Body.Close()
			}
		})
	}
}
