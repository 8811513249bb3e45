package transport_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/otelbreaker/otelbreaker/breaker"
	"github.com/otelbreaker/otelbreaker/transport"
)

func TestG10_AFallbackAnswersWhatIsBlocked(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		var served, asked atomic.Int32
		fallback := func(req *http.Request, rejection *breaker.OpenError) (*http.Response, error) {
			asked.Add(1)
			res := response(req, http.StatusOK, text("from the cache: "+rejection.Endpoint+req.URL.Path))
			res.Header.Set("X-Cached", req.Header.Get("X-Custom"))
			return res, nil
		}
		r := w.start(t, func(w http.ResponseWriter, _ *http.Request) {
			served.Add(1)
			_, _ = io.WriteString(w, "from the server")
		}, transport.WithFallback(fallback))
		if got := drain(t, r.get(t, "/")); got != "from the server" || asked.Load() != 0 {
			t.Errorf("with the breaker closed the answer is %q, and the fallback was asked %d times", got, asked.Load())
		}
		r.breaker().ForceOpen("test")

		body := &noted{Reader: text("payload")}
		req := request(t, http.MethodPost, r.server.URL+"/a", body)
		req.Header.Set("X-Custom", "1")
		res, err := r.client.Transport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := drain(t, res), "from the cache: "+r.server.URL+"/a"; got != want || res.Header.Get("X-Cached") != "1" {
			t.Errorf("answer is %q with %v, want %q", got, res.Header, want)
		}
		_ = res.Body.Close()
		_ = res.Body.Close() // as some do
		if reads, closes := body.reads.Load(), body.closes.Load(); reads != 0 || closes != 1 {
			t.Errorf("body: %d reads, %d closes; want 0 and 1", reads, closes)
		}
		if req.Body != body && w.order != under {
			t.Errorf("the request's body became a %T", req.Body)
		}
		if n := served.Load(); n != 1 {
			t.Errorf("the server got %d requests", n)
		}
		expect(t, r.breaker(), "blocked", counts{success: 1, blocked: 1})
	})
}

// blockedBy gives a transport whose breaker for http://a.example is open, with this fallback.
func blockedBy(t *testing.T, fallback transport.Fallback) *transport.Transport {
	t.Helper()
	guarded := mustNew(t, roundTripper(func(*http.Request) (*http.Response, error) {
		return nil, errors.New("it was sent")
	}), transport.WithFallback(fallback))
	guarded.Breakers().Get("http://a.example").ForceOpen("test")
	return guarded
}

func TestG10_AFallbackThatMisbehavesHarmsNobody(t *testing.T) {
	own := errors.New("the fallback's own")
	shared := &http.Response{StatusCode: http.StatusTeapot} // with neither body nor header nor request
	left := &noted{Reader: text("")}
	for _, c := range []struct {
		name     string
		fallback transport.Fallback
		check    func(res *http.Response, err error, recovered any) error
	}{
		{"an error", func(*http.Request, *breaker.OpenError) (*http.Response, error) { return nil, own },
			func(res *http.Response, err error, _ any) error { return expected(res == nil && err == own) }},
		{"an error and a response", func(*http.Request, *breaker.OpenError) (*http.Response, error) {
			return &http.Response{Body: left}, own
		}, func(res *http.Response, err error, _ any) error {
			return expected(res == nil && err == own && left.closes.Load() == 1)
		}},
		{"nothing", func(*http.Request, *breaker.OpenError) (*http.Response, error) { return nil, nil },
			func(res *http.Response, err error, _ any) error {
				var rejection *breaker.OpenError
				return expected(res == nil && errors.Is(err, breaker.ErrOpen) && errors.As(err, &rejection))
			}},
		{"a response that lacks all", func(*http.Request, *breaker.OpenError) (*http.Response, error) { return shared, nil },
			func(res *http.Response, err error, _ any) error {
				return expected(err == nil && res.StatusCode == http.StatusTeapot && res.Body != nil && res.Header != nil &&
					res.Request != nil && shared.Body == nil && shared.Request == nil)
			}},
		{"a body closed twice", func(req *http.Request, _ *breaker.OpenError) (*http.Response, error) {
			_, _ = req.Body.Close(), req.Body.Close()
			return shared, nil
		}, func(_ *http.Response, err error, _ any) error { return expected(err == nil) }},
		{"a body read to its end", func(req *http.Request, _ *breaker.OpenError) (*http.Response, error) {
			_, _ = io.ReadAll(req.Body)
			return shared, nil
		}, func(_ *http.Response, err error, _ any) error { return expected(err == nil) }},
		{"a body begun, and an error", func(req *http.Request, _ *breaker.OpenError) (*http.Response, error) {
			_, _ = req.Body.Read(make([]byte, 1))
			return nil, own
		}, func(_ *http.Response, err error, _ any) error { return expected(err == own) }},
		{"a panic", func(*http.Request, *breaker.OpenError) (*http.Response, error) { panic(own) },
			func(_ *http.Response, _ error, recovered any) error { return expected(recovered == own) }},
		{"a panic with the body begun", func(req *http.Request, _ *breaker.OpenError) (*http.Response, error) {
			_, _ = req.Body.Read(make([]byte, 1))
			panic(own)
		}, func(_ *http.Response, _ error, recovered any) error { return expected(recovered == own) }},
		{"Goexit", func(*http.Request, *breaker.OpenError) (*http.Response, error) { runtime.Goexit(); return nil, nil },
			func(res *http.Response, err error, recovered any) error {
				return expected(res == nil && err == nil && recovered == nil)
			}},
	} {
		guarded := blockedBy(t, c.fallback)
		body := &noted{Reader: text("payload")}
		var res *http.Response
		var err error
		var recovered any
		done := make(chan struct{})
		go func() {
			defer close(done)
			defer func() { recovered = recover() }()
			res, err = guarded.RoundTrip(request(t, http.MethodPost, "http://a.example", body))
		}()
		<-done
		if wrong := c.check(res, err, recovered); wrong != nil {
			t.Errorf("%s: %v: %+v, %v, recovered %v", c.name, wrong, res, err, recovered)
		}
		if n := body.closes.Load(); n != 1 {
			t.Errorf("%s: the request's body was closed %d times", c.name, n)
		}
		expect(t, guarded.Breakers().Get("http://a.example"), c.name, counts{blocked: 1})
	}
}

func expected(ok bool) error {
	if ok {
		return nil
	}
	return errors.New("not what was expected")
}

// A second server is the fallback that needs the body, and may read it after its headers are in.
func TestG10_AFallbackMaySendTheRequestElsewhere(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		spare := way{bare, w.http2}.start(t, func(w http.ResponseWriter, req *http.Request) {
			conn := http.NewResponseController(w)
			_ = conn.EnableFullDuplex() // an error where HTTP/2 has it anyway
			w.WriteHeader(http.StatusOK)
			for piece := make([]byte, 3); ; {
				_ = conn.Flush()
				n, err := io.ReadFull(req.Body, piece)
				_, _ = w.Write(piece[:n])
				if err != nil {
					return
				}
			}
		})
		r := w.start(t, func(http.ResponseWriter, *http.Request) {}, transport.WithFallback(
			func(req *http.Request, _ *breaker.OpenError) (*http.Response, error) {
				there := req.Clone(req.Context())
				there.URL.Host = strings.TrimPrefix(spare.server.URL, "https://")
				return spare.base.RoundTrip(there)
			}))
		r.breaker().ForceOpen("test")

		lines, feed := io.Pipe()
		go func() { _, _ = io.WriteString(feed, "one") }() // so that the body is begun before the headers come
		body := &noted{Reader: lines}
		res, err := r.client.Transport.RoundTrip(request(t, http.MethodPost, r.server.URL, body))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = res.Body.Close() }()
		got := make([]byte, 3)
		if _, err := io.ReadFull(res.Body, got); err != nil || string(got) != "one" {
			t.Fatalf("read %q: %v", got, err)
		}
		if _, err := io.WriteString(feed, "two"); err != nil {
			t.Fatal(err)
		}
		_ = feed.Close()
		if rest := drain(t, res); rest != "two" {
			t.Errorf("then %q", rest)
		}
		for body.closes.Load() == 0 { // by the transport, whenever it sees fit
			runtime.Gosched()
		}
		if n := body.closes.Load(); n != 1 {
			t.Errorf("the body was closed %d times", n)
		}
	})
}

func TestUnavailableTellsWhenToTryAgain(t *testing.T) {
	for _, order := range []string{bare, over, under} {
		synctest.Test(t, func(t *testing.T) {
			guarded, top := stack(t, order, roundTripper(func(*http.Request) (*http.Response, error) {
				return nil, errors.New("down")
			}), newTelemetry(), transport.WithFallback(transport.Unavailable),
				transport.WithConfig(breaker.Config{FailureThreshold: 1, RecoveryTimeout: 10 * time.Second}))
			b := guarded.Breakers().Get("http://a.example")
			ask := func(method, when, want string) {
				t.Helper()
				res, err := top.RoundTrip(request(t, method, "http://a.example", nil))
				if err != nil {
					t.Fatalf("%s: %v", when, err)
				}
				defer func() { _ = res.Body.Close() }()
				if res.StatusCode != http.StatusServiceUnavailable || res.Status != "503 Service Unavailable" ||
					res.Header.Get("Circuit-Breaker") != "open" || res.Header.Get("Cache-Control") != "no-store" {
					t.Errorf("%s: %+v", when, res)
				}
				if got := res.Header.Get("Retry-After"); got != want {
					t.Errorf("%s: Retry-After: %q, want %q", when, got, want)
				}
				if got := drain(t, res); got != "" {
					t.Errorf("%s: body %q", when, got)
				}
			}
			trip(t, b)
			ask(http.MethodGet, "at once", "10")
			time.Sleep(time.Millisecond)
			ask(http.MethodHead, "a millisecond later", "10")
			time.Sleep(8 * time.Second)
			ask(http.MethodGet, "two seconds before", "2")
			time.Sleep(1500 * time.Millisecond)
			ask(http.MethodPost, "half a second before", "1")
			time.Sleep(time.Second)
			probe, err := b.Acquire(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			ask(http.MethodGet, "while the probe is out", "1")
			probe.Done(t.Context(), breaker.Ignored)
			b.ForceOpen("test")
			ask(http.MethodGet, "forced open", "1")
		})
	}
}

// chain is a client of a proxy of a server, each of the two with a breaker before what it calls.
func chain(t *testing.T, serve http.HandlerFunc) (client *http.Client, toProxy, toServer *breaker.Breaker, at string) {
	t.Helper()
	server := httptest.NewServer(serve)
	t.Cleanup(server.Close)
	base := &http.Transport{}
	t.Cleanup(base.CloseIdleConnections)
	behind := mustNew(t, base, transport.WithConfig(tripsAtOnce), transport.WithFallback(transport.Unavailable))
	to, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httptest.NewServer(&httputil.ReverseProxy{Transport: behind,
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(to) }})
	t.Cleanup(proxy.Close)
	before := mustNew(t, base, transport.WithConfig(breaker.Config{FailureThreshold: 2}))
	return &http.Client{Transport: before}, before.Breakers().Get(proxy.URL), behind.Breakers().Get(server.URL), proxy.URL
}

func TestARejectionBehindAProxyIsNoFailureOfTheProxy(t *testing.T) {
	client, toProxy, toServer, at := chain(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusServiceUnavailable) // its own
	})
	get := func() *http.Response {
		t.Helper()
		res, err := client.Get(at)
		if err != nil {
			t.Fatal(err)
		}
		drain(t, res)
		_ = res.Body.Close()
		return res
	}
	if res := get(); res.StatusCode != http.StatusServiceUnavailable || res.Header.Get(transport.RejectionHeader) != "" {
		t.Errorf("the server's own 503: %v", res.Header)
	}
	expect(t, toProxy, "by the server", counts{failure: 1})
	for range 10 {
		if res := get(); res.StatusCode != http.StatusServiceUnavailable || res.Header.Get("Retry-After") != "30" {
			t.Errorf("blocked: %d %v", res.StatusCode, res.Header)
		}
	}
	expect(t, toServer, "behind the proxy", counts{failure: 1, blocked: 10})
	expect(t, toProxy, "before the proxy", counts{failure: 1, ignored: 10})
	if s := toProxy.State(); s != breaker.Closed {
		t.Errorf("the breaker before the proxy is %v", s)
	}
}

func TestTheMarkCountsOnAllOfItOnly(t *testing.T) {
	mark := func(status int, value string) *http.Response {
		return &http.Response{StatusCode: status, Header: http.Header{transport.RejectionHeader: {value}}}
	}
	for _, c := range []struct {
		res  *http.Response
		err  error
		want breaker.Outcome
	}{
		{mark(503, "open"), nil, breaker.Ignored},
		{mark(503, "closed"), nil, breaker.Failure},
		{mark(503, ""), nil, breaker.Failure},
		{&http.Response{StatusCode: http.StatusServiceUnavailable}, nil, breaker.Failure},
		{mark(500, "open"), nil, breaker.Failure},
		{mark(429, "open"), nil, breaker.Failure},
		{mark(200, "open"), nil, breaker.Success},
		{nil, fmt.Errorf("beneath: %w", &breaker.OpenError{}), breaker.Ignored},
		{nil, errors.New("down"), breaker.Failure},
		{nil, context.DeadlineExceeded, breaker.Failure},
	} {
		if got := transport.DefaultClassify(c.res, c.err); got != c.want {
			t.Errorf("%+v, %v is %v, want %v", c.res, c.err, got, c.want)
		}
	}
}

// A server that marks its own 503 goes unjudged, and gains no more.
func TestAServerThatMarksItself(t *testing.T) {
	for _, trusted := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			marks, status := true, http.StatusServiceUnavailable
			options := []transport.Option{transport.WithConfig(breaker.Config{FailureThreshold: 2, RecoveryTimeout: time.Second})}
			if !trusted {
				options = append(options, transport.WithClassify(func(res *http.Response, err error) breaker.Outcome {
					if err == nil && res.StatusCode == http.StatusServiceUnavailable {
						return breaker.Failure
					}
					return transport.DefaultClassify(res, err)
				}))
			}
			guarded := mustNew(t, roundTripper(func(req *http.Request) (*http.Response, error) {
				res := response(req, status, text(""))
				if marks {
					res.Header.Set(transport.RejectionHeader, "open")
					res.Header.Set("Retry-After", "3600")
				}
				return res, nil
			}), options...)
			b := guarded.Breakers().Get("http://a.example")
			call := func() {
				if res, err := guarded.RoundTrip(request(t, http.MethodGet, "http://a.example", nil)); err == nil {
					_ = res.Body.Close()
				}
			}
			for range 10 {
				call()
			}
			if !trusted {
				expect(t, b, "by its status", counts{failure: 2, blocked: 8})
				return
			}
			expect(t, b, "marked", counts{ignored: 10})
			marks = false
			call()
			call()
			time.Sleep(time.Second + time.Millisecond)
			marks = true
			call()
			call() // each gives the probe's place back
			if s := b.Snapshot(); s.State != breaker.HalfOpen || s.Ignored != 12 {
				t.Errorf("marked probes: %v, %d ignored", s.State, s.Ignored)
			}
			marks, status = false, http.StatusOK
			call()
			if s := b.State(); s != breaker.Closed {
				t.Errorf("after a good answer it is %v", s)
			}
		})
	}
}

// Breakers above each other in one process, by tenant and by host, say.
func TestARejectionBeneathIsNoFailureAbove(t *testing.T) {
	for _, options := range [][]transport.Option{nil, {transport.WithFallback(transport.Unavailable)}} {
		inner := mustNew(t, roundTripper(func(*http.Request) (*http.Response, error) { return nil, errors.New("down") }),
			append(options, transport.WithConfig(tripsAtOnce))...)
		outer := mustNew(t, inner, transport.WithConfig(breaker.Config{FailureThreshold: 2}))
		for range 10 {
			if res, err := outer.RoundTrip(request(t, http.MethodGet, "http://a.example", nil)); err == nil {
				_ = res.Body.Close()
			}
		}
		expect(t, inner.Breakers().Get("http://a.example"), "beneath", counts{failure: 1, blocked: 9})
		expect(t, outer.Breakers().Get("http://a.example"), "above", counts{failure: 1, ignored: 9})
	}
}

// A spare server may answer before it reads any of the request.
func TestG10_AFallbackMaySendTheBodyWhileItIsAnswered(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		spare := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			c := http.NewResponseController(w)
			_ = c.EnableFullDuplex()
			w.WriteHeader(http.StatusOK)
			_ = c.Flush()
			_, _ = io.Copy(w, req.Body)
		}))
		spare.EnableHTTP2 = http2
		spare.StartTLS()
		defer spare.Close()
		guarded := blockedBy(t, func(req *http.Request, _ *breaker.OpenError) (*http.Response, error) {
			elsewhere := req.Clone(req.Context())
			elsewhere.URL, _ = url.Parse(spare.URL)
			elsewhere.Host = ""
			return spare.Client().Transport.RoundTrip(elsewhere)
		})
		reader, writer := io.Pipe()
		body := &noted{Reader: reader}
		res, err := guarded.RoundTrip(request(t, http.MethodPost, "http://a.example", body))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(writer, "payload"); err != nil {
			t.Errorf("HTTP/2 %v: the body was closed under it: %v", http2, err)
		}
		_ = writer.Close()
		if got := drain(t, res); got != "payload" {
			t.Errorf("HTTP/2 %v: the spare server got %q", http2, got)
		}
		_ = res.Body.Close()
		if n := body.closes.Load(); n != 1 {
			t.Errorf("HTTP/2 %v: the body was closed %d times", http2, n)
		}
	}
}
