package transport_test

import (
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/otelbreaker/otelbreaker/breaker"
	"github.com/otelbreaker/otelbreaker/transport"
)

// Whoever lets strangers name the hosts: 200,000 of them, with every kind of answer.
func TestG12_AFloodOfHostsStaysBounded(t *testing.T) {
	for _, c := range []struct {
		name        string
		hosts, most int
		answer      func(i int) (status int, err error) // of the i-th host
	}{
		{"that answer", 5_000, breaker.DefaultMaxEndpoints, func(int) (int, error) { return http.StatusOK, nil }},
		{"that are down", 20_000, breaker.DefaultMaxEndpoints, func(int) (int, error) { return 0, errors.New("no such host") }},
		{"of all kinds", 200_000, 32, func(i int) (int, error) {
			switch i % 4 {
			case 0:
				return http.StatusServiceUnavailable, nil
			case 1:
				return 0, errors.New("no such host")
			}
			return http.StatusOK, nil
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			tel, at := newTelemetry(), 0
			guarded, _ := stack(t, bare, roundTripper(func(req *http.Request) (*http.Response, error) {
				if strings.HasPrefix(req.URL.Host, "down") {
					return nil, errors.New("down")
				}
				status, err := c.answer(at)
				if err != nil {
					return nil, err
				}
				return response(req, status, text("")), nil
			}), tel, transport.WithConfig(breaker.Config{RecoveryTimeout: time.Hour}), transport.WithMaxEndpoints(c.most))
			req := request(t, http.MethodGet, "http://a.example", nil)
			call := func(host string) error {
				req.URL.Host = host
				res, err := guarded.RoundTrip(req)
				if err == nil {
					_ = res.Body.Close()
				}
				return err
			}
			const down = 5
			for i := range down * breaker.DefaultFailureThreshold {
				if err := call(fmt.Sprintf("down%d.example", i%down)); err == nil {
					t.Fatal("no error")
				}
			}

			var memory, series int // as they were after a twentieth of the flood
			for at = range c.hosts {
				_ = call(fmt.Sprintf("h%d.example:%d", at, 1+at%65535))
				if at != c.hosts/20 && at != c.hosts-1 {
					continue
				}
				if n := len(breakersOf(guarded)); n > c.most+1 {
					t.Errorf("after %d hosts there are %d breakers", at+1, n)
				}
				points := len(tel.metrics(t))
				if points == 0 || points > (c.most+1)*20 {
					t.Errorf("after %d hosts there are %d series", at+1, points)
				}
				runtime.GC()
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				if series == 0 {
					memory, series = int(m.HeapAlloc), points
				} else if grown := int(m.HeapAlloc) - memory; grown > 4<<20 || points > 2*series {
					t.Errorf("by the rest of the flood the heap has grown by %d bytes, the series from %d to %d", grown, series, points)
				}
			}
			for i := range down {
				if err := call(fmt.Sprintf("down%d.example", i)); !errors.Is(err, breaker.ErrOpen) {
					t.Errorf("the flood washed away the breaker that was open: %v", err)
				}
			}
		})
	}
}

func TestG12_AFloodSparesTheBreakerOfAStream(t *testing.T) {
	guarded := mustNew(t, roundTripper(func(req *http.Request) (*http.Response, error) {
		return response(req, http.StatusOK, text("")), nil
	}), transport.WithMaxEndpoints(2))
	stream, err := guarded.RoundTrip(request(t, http.MethodGet, "http://stream.example", nil))
	if err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		res, err := guarded.RoundTrip(request(t, http.MethodGet, fmt.Sprintf("http://h%d.example", i), nil))
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
	}
	_ = stream.Body.Close()
	expect(t, guarded.Breakers().Get("http://stream.example"), "the stream's end", counts{success: 1})
}

func TestG12_WhatIsNoHostMakesNoBreaker(t *testing.T) {
	refused := errors.New("no such host")
	guarded := mustNew(t, roundTripper(func(*http.Request) (*http.Response, error) { return nil, refused }),
		transport.WithConfig(tripsAtOnce))
	for range 3 {
		for _, url := range []string{"http://" + strings.Repeat("a", 10_000), "http://a<script>b", "http:///path"} {
			if _, err := guarded.RoundTrip(request(t, http.MethodGet, url, nil)); err != refused {
				t.Errorf("%.30s: %v", url, err)
			}
		}
	}
	for _, b := range breakersOf(guarded) {
		t.Errorf("a breaker was made for %.30s", b.Snapshot().Endpoint)
	}
}
