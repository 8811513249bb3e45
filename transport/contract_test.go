package transport_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/otelbreaker/otelbreaker/breaker"
	"github.com/otelbreaker/otelbreaker/transport"
)

// noted is a request body that notes what is done to it.
type noted struct {
	io.Reader
	reads, closes atomic.Int32
}

func (n *noted) Read(p []byte) (int, error) {
	n.reads.Add(1)
	return n.Reader.Read(p)
}

func (n *noted) Close() error {
	n.closes.Add(1)
	return nil
}

func TestG10_ARejectedRequestIsClosedOnceUnreadAndNotSent(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		var served atomic.Int32
		r := w.start(t, func(http.ResponseWriter, *http.Request) { served.Add(1) })
		r.breaker().ForceOpen("test")

		body := &noted{Reader: text("payload")}
		req := request(t, http.MethodPost, r.server.URL+"/orders", body)
		res, err := r.client.Transport.RoundTrip(req)
		if res != nil {
			t.Errorf("a response was made up: %v", res.Status)
		}
		var rejection *breaker.OpenError
		if !errors.As(err, &rejection) || !errors.Is(err, breaker.ErrOpen) {
			t.Fatalf("error is %v (%T)", err, err)
		}
		if rejection.Endpoint != r.server.URL || rejection.State != breaker.Open {
			t.Errorf("blocked by %s, %v", rejection.Endpoint, rejection.State)
		}
		if reads, closes := body.reads.Load(), body.closes.Load(); reads != 0 || closes != 1 {
			t.Errorf("body: %d reads, %d closes; want 0 and 1", reads, closes)
		}
		if n := served.Load(); n != 0 {
			t.Errorf("the server got %d requests", n)
		}
		expect(t, r.breaker(), "blocked", counts{blocked: 1})

		_, err = r.client.Post(r.server.URL, "text/plain", text("payload"))
		if !errors.As(err, &rejection) {
			t.Errorf("through http.Client: %v (%T)", err, err)
		}
		if _, err = r.client.Get(r.server.URL); !errors.As(err, &rejection) {
			t.Errorf("without a body: %v (%T)", err, err)
		}
	})
}

func TestG10_TheRequestIsNotModified(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		r := w.start(t, func(w http.ResponseWriter, req *http.Request) {
			_, _ = io.Copy(w, req.Body)
		})
		body := &noted{Reader: text("payload")}
		req := request(t, http.MethodPut, r.server.URL+"/a%2Fb?q=1#frag", body)
		req.Header.Set("X-Custom", "1")
		before := req.Clone(req.Context())
		res, err := r.guarded.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = res.Body.Close() }()
		if got := drain(t, res); got != "payload" {
			t.Errorf("echo is %q", got)
		}
		if req.Body != body {
			t.Errorf("the request's body became a %T", req.Body)
		}
		after := *req
		after.Body, before.Body = nil, nil // the contents may still be in use
		if !reflect.DeepEqual(&after, before) {
			t.Errorf("the request became %+v, was %+v", &after, before)
		}
	})
}

func TestG10_OfAResponseOnlyTheBodyIsReplaced(t *testing.T) {
	for _, status := range []int{http.StatusOK, http.StatusSwitchingProtocols, http.StatusNoContent, http.StatusInternalServerError} {
		var sent http.Response
		guarded := mustNew(t, roundTripper(func(req *http.Request) (*http.Response, error) {
			res := response(req, status, text("body"))
			res.Header.Set("X-Custom", "1")
			res.Trailer = http.Header{"X-Trailer": nil}
			res.TransferEncoding = []string{"chunked"}
			res.Uncompressed = true
			sent = *res
			return res, nil
		}))
		res, err := guarded.RoundTrip(request(t, http.MethodGet, "http://a.example", nil))
		if err != nil {
			t.Fatal(err)
		}
		if replaced := res.Body != sent.Body; replaced != (status == http.StatusOK) {
			t.Errorf("%d: body replaced: %v", status, replaced)
		}
		if got := drain(t, res); got != "body" {
			t.Errorf("%d: body is %q", status, got)
		}
		got := *res
		got.Body = sent.Body
		if !reflect.DeepEqual(got, sent) {
			t.Errorf("%d: the response became %+v, was %+v", status, got, sent)
		}
	}
}

func TestG10_NothingIsBuffered(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		r := w.start(t, func(w http.ResponseWriter, req *http.Request) {
			conn := http.NewResponseController(w)
			_ = conn.EnableFullDuplex() // an error where HTTP/2 has it anyway
			for in := bufio.NewScanner(req.Body); in.Scan(); {
				_, _ = fmt.Fprintln(w, in.Text())
				_ = conn.Flush()
			}
			w.Header().Set(http.TrailerPrefix+"X-Sum", "3")
		})
		lines, feed := io.Pipe()
		go func() { _, _ = fmt.Fprintln(feed, 0) }()
		res, err := r.client.Post(r.server.URL, "text/plain", lines)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = res.Body.Close() }()
		answers := bufio.NewReader(res.Body)
		for i := range 3 { // each line is asked only when the one before was answered
			if i > 0 {
				if _, err := fmt.Fprintln(feed, i); err != nil {
					t.Fatal(err)
				}
			}
			if line, err := answers.ReadString('\n'); err != nil || line != fmt.Sprintln(i) {
				t.Fatalf("line %d is %q: %v", i, line, err)
			}
		}
		_ = feed.Close()
		if rest, err := io.ReadAll(answers); err != nil || len(rest) != 0 {
			t.Errorf("then %q: %v", rest, err)
		}
		if got := res.Trailer.Get("X-Sum"); got != "3" {
			t.Errorf("trailer is %q", got)
		}
		expect(t, r.breaker(), "streamed", counts{success: 1})
	})
}

func TestG10_AnUpgradeStaysWritable(t *testing.T) {
	for _, order := range []string{bare, over, under} {
		t.Run(order, func(t *testing.T) {
			r := way{order: order}.start(t, func(w http.ResponseWriter, req *http.Request) {
				conn, buffered, err := http.NewResponseController(w).Hijack()
				if err != nil {
					t.Error(err)
					return
				}
				defer func() { _ = conn.Close() }()
				_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
				line, err := buffered.ReadString('\n')
				if err != nil {
					t.Error(err)
				}
				_, _ = io.WriteString(conn, strings.ToUpper(line))
			})
			req := request(t, http.MethodGet, r.server.URL, nil)
			req.Header.Set("Connection", "Upgrade")
			req.Header.Set("Upgrade", "echo")
			res, err := r.client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			expect(t, r.breaker(), "at the headers", counts{success: 1})
			both, ok := res.Body.(io.ReadWriteCloser)
			if !ok {
				t.Fatalf("body is a %T", res.Body)
			}
			if _, err := io.WriteString(both, "hello\n"); err != nil {
				t.Fatal(err)
			}
			if line, err := bufio.NewReader(both).ReadString('\n'); err != nil || line != "HELLO\n" {
				t.Errorf("echo is %q: %v", line, err)
			}
			_ = both.Close()
			expect(t, r.breaker(), "at the end", counts{success: 1})
		})
	}
}

// duplex is a body that can be written to.
type duplex struct {
	io.Reader
	written bytes.Buffer
}

func (d *duplex) Write(p []byte) (int, error) { return d.written.Write(p) }
func (*duplex) Close() error                  { return nil }

func TestG10_ABodyIsWritableWhereItWas(t *testing.T) {
	inner := &duplex{Reader: text("in")}
	guarded := mustNew(t, roundTripper(func(req *http.Request) (*http.Response, error) {
		res := response(req, http.StatusOK, nil)
		res.Body = inner
		return res, nil
	}))
	res, err := guarded.RoundTrip(request(t, http.MethodConnect, "http://proxy.example", nil))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(res.Body.(io.Writer), "out"); err != nil || inner.written.String() != "out" {
		t.Errorf("wrote %q: %v", inner.written.String(), err)
	}
	if got := drain(t, res); got != "in" {
		t.Errorf("read %q", got)
	}
	expect(t, guarded.Breakers().Get("http://proxy.example"), "read to the end", counts{success: 1})

	inner = nil
	plain := mustNew(t, roundTripper(func(req *http.Request) (*http.Response, error) {
		return response(req, http.StatusOK, text("in")), nil
	}))
	res, err = plain.RoundTrip(request(t, http.MethodGet, "http://a.example", nil))
	if err != nil {
		t.Fatal(err)
	}
	if _, writable := res.Body.(io.Writer); writable {
		t.Error("a body that could not be written to became writable")
	}
}

func TestG10_CloseIdleConnectionsPassesThrough(t *testing.T) {
	closed := make(chan struct{}, 1)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateClosed {
			closed <- struct{}{}
		}
	}
	server.Start()
	defer server.Close()
	client := &http.Client{Transport: mustNew(t, transport.RedactURL(&http.Transport{}))}
	res, err := client.Get(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	drain(t, res)
	_ = res.Body.Close()
	client.CloseIdleConnections()
	<-closed

	mustNew(t, roundTripper(nil)).CloseIdleConnections() // one that cannot: nothing happens
}

func TestG10_ARequestThatCannotBeKeyedGoesToTheTransportBeneath(t *testing.T) {
	refused := errors.New("nil URL")
	guarded := mustNew(t, roundTripper(func(*http.Request) (*http.Response, error) { return nil, refused }))
	if _, err := guarded.RoundTrip(&http.Request{}); err != refused {
		t.Errorf("error is %v", err)
	}
	for b := range guarded.Breakers().All() {
		t.Errorf("a breaker was made: %s", b.Snapshot().Endpoint)
	}
}

func TestG10_ReadAndCloseConcurrentSafe(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		r := w.start(t, func(w http.ResponseWriter, req *http.Request) {
			for i := 0; req.Context().Err() == nil && (i < 10 || req.URL.Path != "/short"); i++ {
				if _, err := w.Write(make([]byte, 1<<10)); err != nil {
					return
				}
				_ = http.NewResponseController(w).Flush()
			}
			w.Header().Set(http.TrailerPrefix+"X-Trailer", "1")
		}, transport.WithConfig(tripsAtOnce))
		const calls = 20
		for _, path := range []string{"/short", "/endless"} {
			before := countsOf(r.breaker())
			for range calls {
				readAndCloseAtOnce(r.get(t, path), path == "/endless")
			}
			expect(t, r.breaker(), path, counts{success: before.success + calls})
		}
	})
}

// readAndCloseAtOnce has two goroutines read and two close: to stop the reading, or when one has read to the end.
func readAndCloseAtOnce(res *http.Response, stop bool) {
	var all sync.WaitGroup
	reading := make(chan struct{})
	var once sync.Once
	for range 2 {
		all.Go(func() {
			for {
				_, err := res.Body.Read(make([]byte, 64))
				if stop || err != nil {
					once.Do(func() { close(reading) })
				}
				if err != nil {
					return
				}
			}
		})
		all.Go(func() {
			<-reading
			_ = res.Body.Close()
		})
	}
	all.Wait()
}

func TestThePackageImportsTheOpenTelemetryAPIOnly(t *testing.T) {
	out, err := exec.CommandContext(context.Background(), "go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, dependency := range strings.Fields(string(out)) {
		if strings.HasPrefix(dependency, "go.opentelemetry.io/otel/sdk") ||
			strings.HasPrefix(dependency, "go.opentelemetry.io/otel/exporters") ||
			strings.HasPrefix(dependency, "go.opentelemetry.io/contrib") {
			t.Errorf("imports %s", dependency)
		}
	}
}
