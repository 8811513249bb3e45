package transport_test

import (
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

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

// BenchmarkRoundTrip compares otelhttp alone with a breaker over it and under it, with the same SDK behind all three. They
// take turns at every call, in random order, so that whatever else the machine does hits them alike. It gives, for each,
// the median and the 99th percentile of a round trip in ns and the allocations of both its sides, and how much more that
// is than otelhttp alone, in percent and in allocations. otelhttp alone takes part twice, so that one sees what is noise.
func BenchmarkRoundTrip(b *testing.B) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "hello")
	}))
	defer server.Close()
	for _, c := range []struct{ name, path string }{{"plain", "/path"}, {"with a query", "/path?page=2"}} {
		b.Run(c.name, func(b *testing.B) {
			contenders := []*contender{{name: alone}, {name: "alone again"}, {name: over}, {name: under}}
			for _, k := range contenders {
				k.start(b, server.URL+c.path)
			}
			for range 1_000 {
				for _, k := range contenders {
					k.call(b)
				}
			}
			for _, k := range contenders {
				k.count(b)
			}
			turns := slices.Clone(contenders)
			for b.Loop() {
				rand.Shuffle(len(turns), func(i, j int) { turns[i], turns[j] = turns[j], turns[i] })
				for _, k := range turns {
					k.time(b)
				}
			}
			b.ReportMetric(0, "ns/op") // that of four round trips says nothing
			first := contenders[0]
			for _, k := range contenders {
				unit := strings.ReplaceAll(strings.ReplaceAll(k.name, " otelhttp", ""), " ", "-")
				p50, p99 := k.percentile(50), k.percentile(99)
				b.ReportMetric(p50, "p50-ns-"+unit)
				b.ReportMetric(p99, "p99-ns-"+unit)
				b.ReportMetric(k.allocations, "allocs-"+unit)
				if k != first {
					b.ReportMetric(k.above(first, 50), "%p50-"+unit)
					b.ReportMetric(k.above(first, 99), "%p99-"+unit)
					b.ReportMetric(k.allocations-first.allocations, "more-allocs-"+unit)
				}
			}
		})
	}
}

const alone = "alone"

// contender is one of those that BenchmarkRoundTrip compares.
type contender struct {
	name        string
	client      *http.Client
	req         *http.Request
	allocations float64
	took        []time.Duration
}

func (k *contender) start(b *testing.B, url string) {
	b.Helper()
	base := &http.Transport{}
	b.Cleanup(base.CloseIdleConnections)
	tel := newBenchTelemetry()
	top := instrument(base, tel)
	if !strings.HasPrefix(k.name, alone) {
		_, top = stack(b, k.name, base, tel)
	}
	k.client = &http.Client{Transport: top}
	k.req = request(b, http.MethodGet, url, nil)
	k.took = make([]time.Duration, 0, 1<<20)
}

func (k *contender) call(b *testing.B) {
	res, err := k.client.Do(k.req)
	if err != nil {
		b.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, res.Body)
	_ = res.Body.Close()
}

func (k *contender) time(b *testing.B) {
	start := time.Now()
	k.call(b)
	k.took = append(k.took, time.Since(start))
}

func (k *contender) count(b *testing.B) {
	k.allocations = testing.AllocsPerRun(2_000, func() { k.call(b) })
}

const block = 1_000 // calls

func (k *contender) percentile(p int) float64 { return percentile(k.took, p) }

// above gives by how many percent a percentile is above that of another: the median of the blocks of calls, which leaves out
// those that something else on the machine has disturbed.
func (k *contender) above(other *contender, p int) float64 {
	var ratios []float64
	for from := 0; from < len(k.took); from += block {
		to := min(from+block, len(k.took))
		ratios = append(ratios, 100*(percentile(k.took[from:to], p)/percentile(other.took[from:to], p)-1))
	}
	slices.Sort(ratios)
	return ratios[len(ratios)/2]
}

func percentile(took []time.Duration, p int) float64 {
	sorted := slices.Sorted(slices.Values(took))
	return float64(sorted[min(len(sorted)*p/100, len(sorted)-1)])
}
