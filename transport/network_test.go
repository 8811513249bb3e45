package transport_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/otelbreaker/otelbreaker/breaker"
	"github.com/otelbreaker/otelbreaker/transport"
)

func TestG11_ARedirectIsACallOfItsOwn(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		target := way{bare, w.http2}.start(t, func(w http.ResponseWriter, req *http.Request) { _, _ = io.Copy(w, req.Body) })
		r := w.start(t, func(w http.ResponseWriter, req *http.Request) {
			http.Redirect(w, req, target.server.URL+req.URL.Path, http.StatusTemporaryRedirect)
		})
		there := r.guarded.Breakers().Get(target.server.URL)
		post := func() (*http.Response, error) {
			return r.client.Post(r.server.URL+"/path", "text/plain", text("payload"))
		}
		res, err := post()
		if err != nil {
			t.Fatal(err)
		}
		if got := drain(t, res); got != "payload" {
			t.Errorf("answer is %q", got)
		}
		_ = res.Body.Close()
		expect(t, r.breaker(), "which redirects", counts{success: 1})
		expect(t, there, "redirected to", counts{success: 1})

		there.ForceOpen("test")
		if res, err := post(); !errors.Is(err, breaker.ErrOpen) {
			t.Errorf("error is %v", err)
		} else if res != nil {
			_ = res.Body.Close()
		}
		expect(t, r.breaker(), "which redirects to what is blocked", counts{success: 2})
		expect(t, there, "redirected to, blocked", counts{success: 1, blocked: 1})
	})
}

func TestG10_ABodyThatWaitsForContinue(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		r := w.start(t, func(w http.ResponseWriter, req *http.Request) {
			if req.URL.Path == "/refuse" {
				w.WriteHeader(http.StatusExpectationFailed)
				return
			}
			_, _ = io.Copy(w, req.Body)
		})
		r.base.ExpectContinueTimeout = time.Minute // so that a server which is not asked is waited for
		for _, c := range []struct {
			path    string
			blocked bool
			status  int
			sent    bool
			want    counts
		}{
			{"/take", false, http.StatusOK, true, counts{success: 1}},
			{"/refuse", false, http.StatusExpectationFailed, false, counts{success: 2}},
			{"/take", true, 0, false, counts{success: 2, blocked: 1}},
		} {
			if c.blocked {
				r.breaker().ForceOpen("test")
			}
			body := &noted{Reader: text("payload")}
			req := request(t, http.MethodPut, r.server.URL+c.path, body)
			req.Header.Set("Expect", "100-continue")
			res, err := r.client.Transport.RoundTrip(req)
			if errors.Is(err, breaker.ErrOpen) != c.blocked {
				t.Fatalf("%s: %v", c.path, err)
			}
			if err == nil {
				got := drain(t, res)
				_ = res.Body.Close()
				if res.StatusCode != c.status || c.sent && got != "payload" {
					t.Errorf("%s: %d %q", c.path, res.StatusCode, got)
				}
			}
			if read := body.reads.Load() > 0; read != c.sent {
				t.Errorf("%s: body read: %v", c.path, read)
			}
			until(t, c.path+": the body is closed", func() bool { return body.closes.Load() > 0 })
			if n := body.closes.Load(); c.blocked && n != 1 {
				t.Errorf("%s: body closed %d times", c.path, n)
			}
			expect(t, r.breaker(), c.path, c.want)
		}
	})
}

func until(t *testing.T, what string, reached func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !reached(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

func TestG11_InformationalResponsesAreNoVerdict(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		const hints = 3
		release := make(chan struct{})
		r := w.start(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Link", "</style.css>; rel=preload")
			for range hints {
				w.WriteHeader(http.StatusEarlyHints)
			}
			<-release
			w.WriteHeader(http.StatusServiceUnavailable)
		}, transport.WithConfig(tripsAtOnce))
		var seen atomic.Int32
		ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
			Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
				if code != http.StatusEarlyHints || h.Get("Link") == "" {
					t.Errorf("got %d %v", code, h)
				}
				expect(t, r.breaker(), "at the hint", counts{})
				if seen.Add(1) == hints {
					close(release)
				}
				return nil
			}})
		res, err := r.client.Do(request(t, http.MethodGet, r.server.URL, nil).WithContext(ctx))
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if n := seen.Load(); n != hints || res.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("%d hints, then %d", n, res.StatusCode)
		}
		expect(t, r.breaker(), "at the headers", counts{failure: 1})
	})
}

func TestG10_TrailersArrive(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		r := w.start(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Trailer", "X-Announced")
			_, _ = io.WriteString(w, "body")
			_ = http.NewResponseController(w).Flush()
			w.Header().Set("X-Announced", "1")
			w.Header().Set(http.TrailerPrefix+"X-Not-Announced", "2")
		})
		res := r.get(t, "/")
		if _, announced := res.Trailer["X-Announced"]; !announced {
			t.Errorf("at the headers the trailers are %v", res.Trailer)
		}
		expect(t, r.breaker(), "at the headers", counts{})
		drain(t, res)
		if res.Trailer.Get("X-Announced") != "1" || res.Trailer.Get("X-Not-Announced") != "2" {
			t.Errorf("at the end the trailers are %v", res.Trailer)
		}
		expect(t, r.breaker(), "at the end", counts{success: 1})
	})
}

func TestG11_RetryAfterOfARealServer(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		r := w.start(t, func(w http.ResponseWriter, req *http.Request) {
			switch req.URL.Path {
			case "/seconds":
				w.Header().Set("Retry-After", "60")
				w.WriteHeader(http.StatusTooManyRequests)
			case "/date":
				w.Header().Set("Retry-After", time.Now().Add(time.Minute).UTC().Format(http.TimeFormat))
				w.WriteHeader(http.StatusServiceUnavailable)
			}
		}, transport.WithConfig(breaker.Config{FailureThreshold: 1, RecoveryTimeout: time.Second}))
		for _, path := range []string{"/seconds", "/date"} {
			r.get(t, path)
			// A date has no fractions of a second, and some time has gone by.
			if got := r.breaker().Snapshot().RetryAfter; got > time.Minute || got < 30*time.Second {
				t.Errorf("%s: open for %v", path, got)
			}
			r.breaker().Reset()
		}
	})
}

func TestG10_CloseIdleConnectionsOfHTTP2(t *testing.T) {
	var closed, opened atomic.Int32
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	server.EnableHTTP2 = true
	server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		switch s {
		case http.StateNew:
			opened.Add(1)
		case http.StateClosed:
			closed.Add(1)
		}
	}
	server.StartTLS()
	defer server.Close()
	client := &http.Client{Transport: mustNew(t, server.Client().Transport)}
	for i := range int32(2) {
		res, err := client.Get(server.URL)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		client.CloseIdleConnections()
		until(t, "the connection is closed", func() bool { return closed.Load() == i+1 })
	}
	if n := opened.Load(); n != 2 {
		t.Errorf("%d connections", n)
	}
}

// rawServer accepts connections, with TLS and HTTP/2 on request, and leaves each to a function, with its number.
func rawServer(t *testing.T, h2 bool, serve func(n int, c net.Conn)) (url string, base *http.Transport) {
	t.Helper()
	var config net.ListenConfig
	listener, err := config.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	scheme := "http"
	base = &http.Transport{}
	if h2 {
		scheme = "https"
		lender := httptest.NewTLSServer(nil) // of its certificate
		defer lender.Close()
		base = lender.Client().Transport.(*http.Transport).Clone()
		base.ForceAttemptHTTP2 = true
		listener = tls.NewListener(listener, &tls.Config{Certificates: lender.TLS.Certificates, NextProtos: []string{"h2"}})
	}
	t.Cleanup(func() { _ = listener.Close() })
	t.Cleanup(base.CloseIdleConnections)
	go func() {
		for n := 0; ; n++ {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			go serve(n, c)
		}
	}()
	return scheme + "://" + listener.Addr().String(), base
}

func TestG11_AConnectionResetIsOneFailure(t *testing.T) {
	for _, order := range orders {
		for _, head := range []string{"", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nsome",
			"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nsome\r\n"} {
			received := make(chan struct{}) // what is sent before a reset may get lost
			url, base := rawServer(t, false, func(_ int, c net.Conn) {
				if _, err := c.Read(make([]byte, 4096)); err != nil {
					t.Error(err)
				}
				_, _ = io.WriteString(c, head)
				if strings.Contains(head, "some") {
					<-received
				}
				_ = c.(*net.TCPConn).SetLinger(0)
				_ = c.Close()
			})
			guarded, top := stack(t, order, base, newTelemetry(), transport.WithConfig(breaker.Config{FailureThreshold: 10}))
			res, err := top.RoundTrip(request(t, http.MethodPost, url, text("payload")))
			b := guarded.Breakers().Get(url)
			if err == nil {
				expect(t, b, "at the headers", counts{})
				if _, err := io.ReadFull(res.Body, make([]byte, 4)); err != nil {
					t.Fatal(err)
				}
				close(received)
				if _, err := io.ReadAll(res.Body); err == nil {
					t.Error("the body ended well")
				}
				_ = res.Body.Close()
			}
			expect(t, b, fmt.Sprintf("%s: reset after %q", order, head), counts{failure: 1})
		}
	}
}

// A connection that the server closed while it was idle is net/http's to see to: what it sends again is one call.
func TestG11_WhatNetHTTPSendsAgainIsOneCall(t *testing.T) {
	url, base := rawServer(t, false, func(n int, c net.Conn) {
		_, _ = c.Read(make([]byte, 4096))
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nsome")
		if n == 0 {
			_, _ = c.Read(make([]byte, 4096)) // the next request, which has no answer
		}
		_ = c.Close()
	})
	guarded := mustNew(t, base, transport.WithConfig(tripsAtOnce))
	for range 2 {
		res, err := guarded.RoundTrip(request(t, http.MethodGet, url, nil))
		if err != nil {
			t.Fatal(err)
		}
		drain(t, res)
		_ = res.Body.Close()
	}
	expect(t, guarded.Breakers().Get(url), "sent again", counts{success: 2})
}

// stream is a server's side of one HTTP/2 connection.
type stream struct {
	*http2.Framer
	conn net.Conn
	id   uint32 // of the newest request
}

// awaitRequest gives the connection when a request has come.
func awaitRequest(c net.Conn) (*stream, error) {
	if _, err := io.ReadFull(c, make([]byte, len(http2.ClientPreface))); err != nil {
		return nil, err
	}
	s := &stream{Framer: http2.NewFramer(c, c), conn: c}
	if err := s.WriteSettings(); err != nil {
		return nil, err
	}
	for {
		f, err := s.ReadFrame()
		if err != nil {
			return nil, err
		}
		switch f := f.(type) {
		case *http2.SettingsFrame:
			if !f.IsAck() {
				_ = s.WriteSettingsAck()
			}
		case *http2.HeadersFrame:
			s.id = f.StreamID
			return s, nil
		}
	}
}

func (s *stream) answer(data string, end bool) {
	var block bytes.Buffer
	_ = hpack.NewEncoder(&block).WriteField(hpack.HeaderField{Name: ":status", Value: "200"})
	_ = s.WriteHeaders(http2.HeadersFrameParam{StreamID: s.id, BlockFragment: block.Bytes(), EndHeaders: true})
	_ = s.WriteData(s.id, end, []byte(data))
}

// rest takes what still comes, until the client hangs up.
func (s *stream) rest() {
	for {
		if _, err := s.ReadFrame(); err != nil {
			_ = s.conn.Close()
			return
		}
	}
}

func TestG11_GoAwayAndResetOfAStream(t *testing.T) {
	for _, order := range orders {
		for _, c := range []struct {
			name  string
			serve func(n int, s *stream, read <-chan struct{})
			want  counts
		}{
			{"a request that GOAWAY leaves out is sent again, as one call", func(n int, s *stream, _ <-chan struct{}) {
				if n == 0 {
					_ = s.WriteGoAway(0, http2.ErrCodeNo, nil)
					return
				}
				s.answer("some", true)
			}, counts{success: 1}},
			{"an answer goes on after GOAWAY", func(_ int, s *stream, read <-chan struct{}) {
				s.answer("some", false)
				<-read
				_ = s.WriteGoAway(s.id, http2.ErrCodeNo, nil)
				_ = s.WriteData(s.id, true, []byte("more"))
			}, counts{success: 1}},
			{"GOAWAY with an error ends the call", func(_ int, s *stream, _ <-chan struct{}) {
				_ = s.WriteGoAway(s.id, http2.ErrCodeInternal, nil)
				_ = s.conn.Close()
			}, counts{failure: 1}},
			{"GOAWAY with an error ends the body", func(_ int, s *stream, read <-chan struct{}) {
				s.answer("some", false)
				<-read
				_ = s.WriteGoAway(s.id, http2.ErrCodeInternal, nil)
				_ = s.conn.Close()
			}, counts{failure: 1}},
			{"a stream is reset before the headers", func(_ int, s *stream, _ <-chan struct{}) {
				_ = s.WriteRSTStream(s.id, http2.ErrCodeInternal)
			}, counts{failure: 1}},
			{"a stream is reset within the body", func(_ int, s *stream, read <-chan struct{}) {
				s.answer("some", false)
				<-read
				_ = s.WriteRSTStream(s.id, http2.ErrCodeInternal)
			}, counts{failure: 1}},
		} {
			t.Run(order+": "+c.name, func(t *testing.T) {
				read := make(chan struct{})
				url, base := rawServer(t, true, func(n int, conn net.Conn) {
					s, err := awaitRequest(conn)
					if err != nil {
						t.Error(err)
						return
					}
					c.serve(n, s, read)
					s.rest()
				})
				guarded, top := stack(t, order, base, newTelemetry(), transport.WithConfig(breaker.Config{FailureThreshold: 10}))
				res, err := top.RoundTrip(request(t, http.MethodGet, url, nil))
				if err == nil {
					if _, err := io.ReadFull(res.Body, make([]byte, len("some"))); err != nil {
						t.Fatal(err)
					}
					close(read)
					_, err = io.ReadAll(res.Body)
					_ = res.Body.Close()
					if (err == nil) != (c.want.failure == 0) {
						t.Errorf("reading: %v", err)
					}
				} else if c.want.failure == 0 {
					t.Error(err)
				}
				expect(t, guarded.Breakers().Get(url), "judged", c.want)
			})
		}
	}
}

func TestG11_ANameThatIsNotThereIsAFailure(t *testing.T) {
	names, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = names.Close() })
	go func() {
		for query := make([]byte, 512); ; {
			n, from, err := names.ReadFromUDP(query)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if err := m.Unpack(query[:n]); err != nil {
				t.Error(err)
				continue
			}
			m.Response, m.RCode, m.Additionals = true, dnsmessage.RCodeNameError, nil
			if answer, err := m.Pack(); err == nil {
				_, _ = names.WriteToUDP(answer, from)
			}
		}
	}()
	resolver := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", names.LocalAddr().String())
	}}
	base := &http.Transport{DialContext: (&net.Dialer{Resolver: resolver}).DialContext}
	for _, order := range orders {
		guarded, top := stack(t, order, base, newTelemetry(), transport.WithConfig(tripsAtOnce))
		var missing *net.DNSError
		if res, err := top.RoundTrip(request(t, http.MethodGet, "http://shop.example.", nil)); !errors.As(err, &missing) || !missing.IsNotFound {
			t.Errorf("%s: %v", order, err)
			if err == nil {
				_ = res.Body.Close()
			}
		}
		b := guarded.Breakers().Get("http://shop.example.")
		expect(t, b, order, counts{failure: 1})
		if s := b.State(); s != breaker.Open {
			t.Errorf("%s: the breaker is %v", order, s)
		}
	}
}
