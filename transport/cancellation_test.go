package transport_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/otelbreaker/otelbreaker/breaker"
	"github.com/otelbreaker/otelbreaker/transport"
)

func TestG09_TheCallersCancellationIsIgnored(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		arrived := make(chan struct{}, 1)
		r := w.start(t, func(w http.ResponseWriter, req *http.Request) {
			arrived <- struct{}{}
			stalling(w, req)
		}, transport.WithConfig(tripsAtOnce))

		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			<-arrived
			cancel()
		}()
		_, err := r.client.Do(request(t, http.MethodGet, r.server.URL+"/headers", nil).WithContext(ctx))
		if !errors.Is(err, context.Canceled) {
			t.Fatalf("error is %v", err)
		}
		expect(t, r.breaker(), "before the headers", counts{ignored: 1})

		ctx, cancel = context.WithCancel(t.Context())
		res, err := r.client.Do(request(t, http.MethodGet, r.server.URL+"/body", nil).WithContext(ctx))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(res.Body, make([]byte, len("first"))); err != nil {
			t.Fatal(err)
		}
		cancel()
		if _, err := io.ReadAll(res.Body); !errors.Is(err, context.Canceled) {
			t.Fatalf("reading gives %v", err)
		}
		_ = res.Body.Close()
		expect(t, r.breaker(), "while reading", counts{ignored: 2})

		ctx, cancel = context.WithCancel(t.Context())
		<-arrived
		res, err = r.client.Do(request(t, http.MethodGet, r.server.URL+"/body", nil).WithContext(ctx))
		if err != nil {
			t.Fatal(err)
		}
		cancel()
		_ = res.Body.Close()
		expect(t, r.breaker(), "closed unread", counts{ignored: 3})
		if s := r.breaker().State(); s != breaker.Closed {
			t.Errorf("the breaker is %v", s)
		}
	})
}

func TestG09_ADeadlineThatPassedIsAFailure(t *testing.T) {
	const patience = 30 * time.Millisecond // real, for a socket knows no other
	eachWay(t, func(t *testing.T, w way) {
		r := w.start(t, stalling)
		var events sync.Map
		defer r.breaker().Subscribe(breaker.ListenerFunc(func(e breaker.Event) { events.Store(e.To, e.ErrorType) }))()

		var failed uint64
		timesOut := func(what string, call func() error) {
			t.Helper()
			var timeout net.Error
			if err := call(); !errors.As(err, &timeout) || !timeout.Timeout() {
				t.Fatalf("%s: error is %v", what, err)
			}
			failed++
			expect(t, r.breaker(), what, counts{failure: failed})
		}
		get := func(ctx context.Context, client *http.Client, path string) error {
			res, err := client.Do(request(t, http.MethodGet, r.server.URL+path, nil).WithContext(ctx))
			if err != nil {
				return err
			}
			defer func() { _ = res.Body.Close() }()
			_, err = io.ReadAll(res.Body)
			return err
		}
		impatient := *r.client
		impatient.Timeout = patience
		for _, path := range []string{"/headers", "/body"} {
			timesOut("the context's, "+path, func() error {
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				return get(ctx, r.client, path)
			})
			timesOut("Client.Timeout, "+path, func() error { return get(t.Context(), &impatient, path) })
		}
		timesOut("a cause of its own", func() error {
			ctx, cancel := context.WithTimeoutCause(t.Context(), patience, errTimedOut{})
			defer cancel()
			return get(ctx, r.client, "/headers")
		})

		if state := r.breaker().State(); state != breaker.Open {
			t.Fatalf("after %d timeouts the breaker is %v", failed, state)
		}
		if err := r.breaker().Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got, _ := events.Load(breaker.Open); got != "timeout" {
			t.Errorf("error.type is %v", got)
		}
	})
}

// errTimedOut is what somebody calls their deadline.
type errTimedOut struct{}

func (errTimedOut) Error() string { return "patience is over" }
func (errTimedOut) Timeout() bool { return true }

// http.Client ends a call at its Timeout in two ways at once, by the context and by Request.Cancel, and which one the
// transport beneath sees first is chance. In virtual time both come at the same instant.
func TestG09_ClientTimeoutIsAFailureWhicheverWayItComes(t *testing.T) {
	for _, order := range []string{bare, over, under} {
		for _, path := range []string{"/headers", "/body"} {
			synctest.Test(t, func(t *testing.T) {
				guarded, top := stack(t, order, inMemory(t, stalling), newTelemetry(), transport.WithConfig(tripsAtOnce))
				b := guarded.Breakers().Get("http://a.example")
				trips := causes{}
				b.Subscribe(trips)
				client := &http.Client{Transport: top, Timeout: time.Second}
				const calls = 200
				for range calls {
					res, err := client.Get("http://a.example" + path)
					if err == nil {
						_, err = io.ReadAll(res.Body)
						_ = res.Body.Close()
					}
					var timeout net.Error
					if !errors.As(err, &timeout) || !timeout.Timeout() {
						t.Fatalf("error is %v", err)
					}
					b.Reset()
				}
				expect(t, b, order+" "+path, counts{failure: calls})
				if len(trips) != 1 || trips["timeout"] != calls {
					t.Errorf("%s %s: tripped by %v", order, path, trips)
				}
			})
		}
	}
}

// causes counts the openings by error.type.
type causes map[string]int

func (causes) OnTransition(breaker.Event) {}

func (c causes) OnCallTransition(_ context.Context, e breaker.Event) { c[e.ErrorType]++ }

func (causes) OnBlocked(context.Context, *breaker.OpenError) {}

func TestG09_RequestCancelIsTheCallersOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		guarded := mustNew(t, inMemory(t, stalling), transport.WithConfig(tripsAtOnce))
		for _, timeout := range []time.Duration{0, time.Minute} {
			for _, path := range []string{"/headers", "/body"} {
				req := request(t, http.MethodGet, "http://a.example"+path, nil)
				cancel := make(chan struct{})
				req.Cancel = cancel //nolint:staticcheck // what it does to the verdict is the question
				time.AfterFunc(time.Second, func() { close(cancel) })
				client := &http.Client{Transport: guarded, Timeout: timeout}
				res, err := client.Do(req)
				if err == nil {
					_, err = io.ReadAll(res.Body)
					_ = res.Body.Close()
				}
				if err == nil {
					t.Fatal("no error")
				}
			}
		}
		expect(t, guarded.Breakers().Get("http://a.example"), "cancelled", counts{ignored: 4})
	})
}

func TestG09_TheCalleesOwnCancellationIsAFailure(t *testing.T) {
	guarded := mustNew(t, roundTripper(func(*http.Request) (*http.Response, error) { return nil, context.Canceled }))
	_, _ = guarded.RoundTrip(request(t, http.MethodGet, "http://a.example", nil))
	expect(t, guarded.Breakers().Get("http://a.example"), "cancelled beneath", counts{failure: 1})
}

func TestG09_ARequestThatCannotBeSentIsIgnored(t *testing.T) {
	var served atomic.Int32
	r := way{order: over}.start(t, func(http.ResponseWriter, *http.Request) { served.Add(1) },
		transport.WithConfig(tripsAtOnce))
	malformed := []func(*http.Request){
		func(r *http.Request) { r.Header["Bad Name"] = []string{"v"} },
		func(r *http.Request) { r.Header.Set("X-Value", "a\r\nb") },
		func(r *http.Request) { r.Trailer = http.Header{"X-Trailer": {"a\x00b"}} },
		func(r *http.Request) { r.Method = "GET IT" },
		func(r *http.Request) { r.URL.Scheme = strings.ToUpper(r.URL.Scheme) },
		func(r *http.Request) { r.URL.RawQuery = "q=a\nb" },
		func(r *http.Request) { r.URL.Opaque = "/a\x7fb" },
	}
	for i, spoil := range malformed {
		req := request(t, http.MethodGet, r.server.URL, nil)
		spoil(req)
		if _, err := r.guarded.RoundTrip(req); err == nil {
			t.Fatalf("%d was sent", i)
		}
	}
	if n := served.Load(); n != 0 {
		t.Errorf("the server got %d requests", n)
	}
	expect(t, r.breaker(), "malformed", counts{ignored: uint64(len(malformed))})

	proxy := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { served.Add(1) }))
	defer proxy.Close()
	at, _ := url.Parse(proxy.URL)
	guarded := mustNew(t, &http.Transport{Proxy: http.ProxyURL(at), DisableKeepAlives: true})
	req := request(t, http.MethodGet, "http://a.example", nil)
	req.Host = "a host"
	if _, err := guarded.RoundTrip(req); err == nil || served.Load() != 0 {
		t.Errorf("the proxy got it: %v", err)
	}
	expect(t, guarded.Breakers().Get("http://a.example"), "a host that is none", counts{ignored: 1})
}

// Over HTTP/2 net/http refuses further requests, and a proxy may have limited the body that it passes on.
func TestG09_WhatTheCallersRequestIsRefusedForIsIgnored(t *testing.T) {
	r := way{order: over, http2: true}.start(t, func(_ http.ResponseWriter, req *http.Request) {
		_, _ = io.Copy(io.Discard, req.Body)
	}, transport.WithConfig(tripsAtOnce))
	for name, spoil := range map[string]func(*http.Request){
		"upgrade": func(r *http.Request) {
			r.Header.Set("Connection", "Upgrade")
			r.Header.Set("Upgrade", "foo")
		},
		"length": func(r *http.Request) {
			r.Body, r.ContentLength = io.NopCloser(strings.NewReader("longer")), 3
		},
		"limit": func(r *http.Request) {
			r.Body = http.MaxBytesReader(httptest.NewRecorder(), io.NopCloser(strings.NewReader("longer")), 3)
			r.ContentLength = -1
		},
	} {
		t.Run(name, func(t *testing.T) {
			before := r.breaker().Snapshot()
			req := request(t, http.MethodPost, r.server.URL, nil)
			spoil(req)
			res, err := r.guarded.RoundTrip(req)
			if err == nil {
				_ = res.Body.Close()
				t.Fatal("it was answered")
			}
			if s := r.breaker().Snapshot(); s.Ignored != before.Ignored+1 || s.Failure != 0 {
				t.Errorf("%v: ignored %d, failed %d", err, s.Ignored-before.Ignored, s.Failure)
			}
		})
	}
}

// Over HTTP/1.1 what is longer or shorter than it was said to be is noticed when it has been sent in part.
func TestG09_ABodyOfAnotherLengthIsIgnored(t *testing.T) {
	r := way{order: over}.start(t, func(_ http.ResponseWriter, req *http.Request) {
		_, _ = io.Copy(io.Discard, req.Body)
	}, transport.WithConfig(tripsAtOnce))
	for i, length := range []int64{3, 30} {
		req := request(t, http.MethodPost, r.server.URL, nil)
		req.Body, req.ContentLength = io.NopCloser(strings.NewReader("longer")), length
		res, err := r.guarded.RoundTrip(req)
		if err == nil {
			_ = res.Body.Close()
			t.Fatal("it was answered")
		}
		expect(t, r.breaker(), err.Error(), counts{ignored: uint64(i + 1)})
	}
	// The same words from a server are none of ours.
	liar := mustNew(t, roundTripper(func(*http.Request) (*http.Response, error) {
		return nil, errors.New(`malformed HTTP response "http: ContentLength=30 with Body length 6"`)
	}))
	_, _ = liar.RoundTrip(request(t, http.MethodGet, "http://a.example", nil))
	expect(t, liar.Breakers().Get("http://a.example"), "a malformed answer", counts{failure: 1})
}

// A stranger's upload that fails of itself says nothing of the server that it is passed on to.
func TestG09_ABodyThatFailsOfItselfIsIgnored(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		r := w.start(t, func(_ http.ResponseWriter, req *http.Request) {
			_, _ = io.Copy(io.Discard, req.Body)
		}, transport.WithConfig(tripsAtOnce))
		proxy := httptest.NewServer(&httputil.ReverseProxy{
			Rewrite: func(p *httputil.ProxyRequest) {
				target, _ := url.Parse(r.server.URL)
				p.SetURL(target)
			},
			Transport: r.client.Transport,
			ErrorLog:  log.New(io.Discard, "", 0),
		})
		defer proxy.Close()
		conn, err := net.Dial("tcp", proxy.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		_, _ = io.WriteString(conn, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n")
		res, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != http.StatusBadGateway {
			t.Errorf("the proxy answers %d", res.StatusCode)
		}
		expect(t, r.breaker(), "after a malformed upload", counts{ignored: 1})
	})
}

// Neither is a body safe for being one that can be had again, as a file can, or as a client that retries makes of any.
func TestG09_ABodyThatFailsOfItselfMayBeHadAgain(t *testing.T) {
	gone := errors.New("the disk is gone")
	eachWay(t, func(t *testing.T, w way) {
		r := w.start(t, func(_ http.ResponseWriter, req *http.Request) {
			_, _ = io.Copy(io.Discard, req.Body)
		}, transport.WithConfig(tripsAtOnce))
		req := request(t, http.MethodPost, r.server.URL, nil)
		req.ContentLength = -1
		req.GetBody = func() (io.ReadCloser, error) {
			return io.NopCloser(io.MultiReader(strings.NewReader("begun"), iotest.ErrReader(gone))), nil
		}
		req.Body, _ = req.GetBody()
		if res, err := r.client.Transport.RoundTrip(req); !errors.Is(err, gone) {
			_ = res.Body.Close()
			t.Fatalf("error is %v", err)
		}
		expect(t, r.breaker(), "the body failed", counts{ignored: 1})
	})
}
