package transport_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/otelbreaker/otelbreaker/breaker"
	"github.com/otelbreaker/otelbreaker/transport"
)

// stalling is a server that stalls at /headers before the headers, and elsewhere after the first bytes of the body.
func stalling(w http.ResponseWriter, req *http.Request) {
	if req.URL.Path != "/headers" {
		_, _ = io.WriteString(w, "first")
		_ = http.NewResponseController(w).Flush()
	}
	<-req.Context().Done()
	panic(http.ErrAbortHandler) // a mere return would end the body well, and that might still arrive
}

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

// inMemory is a server on pipes, so that time can be virtual.
func inMemory(t *testing.T, handler http.HandlerFunc) http.RoundTripper {
	t.Helper()
	l := &pipes{accepted: make(chan net.Conn), closed: make(chan struct{})}
	server := &http.Server{Handler: handler}
	served := make(chan struct{})
	go func() {
		_ = server.Serve(l)
		close(served)
	}()
	base := &http.Transport{DialContext: l.dial}
	t.Cleanup(func() {
		base.CloseIdleConnections()
		_ = server.Close()
		<-served
	})
	return base
}

type pipes struct {
	accepted chan net.Conn
	closed   chan struct{}
	once     sync.Once
}

func (l *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-l.accepted:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipes) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "unix"} }

func (l *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	here, there := net.Pipe()
	select {
	case l.accepted <- there:
		return here, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

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
}

func TestG11_TheVerdictByStatus(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		r := w.start(t, func(w http.ResponseWriter, req *http.Request) {
			switch req.URL.Path {
			case "/429":
				w.WriteHeader(http.StatusTooManyRequests)
			case "/500":
				w.WriteHeader(http.StatusInternalServerError)
			case "/599":
				w.WriteHeader(599)
			case "/600":
				w.WriteHeader(600)
			case "/404":
				w.WriteHeader(http.StatusNotFound)
			case "/304":
				w.WriteHeader(http.StatusNotModified)
				return
			}
			_, _ = io.WriteString(w, "some body")
			_ = http.NewResponseController(w).Flush()
		}, transport.WithConfig(breaker.Config{FailureThreshold: 100}))
		for _, call := range []struct {
			path          string
			headers, ends counts // how the totals change at the headers, and further until the body has ended
		}{
			{"/200", counts{}, counts{success: 1}},
			{"/304", counts{success: 1}, counts{}},
			{"/404", counts{}, counts{success: 1}},
			{"/429", counts{failure: 1}, counts{}},
			{"/500", counts{failure: 1}, counts{}},
			{"/599", counts{failure: 1}, counts{}},
			{"/600", counts{}, counts{success: 1}},
		} {
			want := countsOf(r.breaker())
			res := r.get(t, call.path)
			want.success += call.headers.success
			want.failure += call.headers.failure
			expect(t, r.breaker(), call.path+" at the headers", want)
			drain(t, res)
			want.success += call.ends.success
			want.failure += call.ends.failure
			expect(t, r.breaker(), call.path+" at the end", want)
			_ = res.Body.Close()
			expect(t, r.breaker(), call.path+" closed", want)
		}
	})
}

func TestG11_WithoutABodyTheHeadersAreTheEnd(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		r := w.start(t, func(w http.ResponseWriter, req *http.Request) {
			switch req.URL.Path {
			case "/204":
				w.WriteHeader(http.StatusNoContent)
			case "/head":
				w.Header().Set("Content-Length", "100")
			}
		})
		var done uint64
		for _, call := range []struct{ method, path string }{
			{http.MethodGet, "/204"}, {http.MethodGet, "/empty"}, {http.MethodHead, "/head"}, {http.MethodHead, "/"},
		} {
			res, err := r.client.Do(request(t, call.method, r.server.URL+call.path, nil))
			if err != nil {
				t.Fatal(err)
			}
			done++
			expect(t, r.breaker(), call.method+" "+call.path, counts{success: done})
			_ = res.Body.Close()
			expect(t, r.breaker(), call.method+" "+call.path+" closed", counts{success: done})
		}
	})
}

func TestG11_ErrorsAreFailures(t *testing.T) {
	for _, order := range []string{bare, over, under} {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		_ = listener.Close() // so nobody listens there
		guarded, top := stack(t, order, &http.Transport{}, newTelemetry(), transport.WithConfig(tripsAtOnce))
		var event atomic.Pointer[breaker.Event]
		url := "http://" + listener.Addr().String()
		b := guarded.Breakers().Get(url)
		b.Subscribe(breaker.ListenerFunc(func(e breaker.Event) { event.Store(&e) }))
		if _, err := top.RoundTrip(request(t, http.MethodGet, url, nil)); err == nil {
			t.Fatal("no error")
		}
		expect(t, b, order, counts{failure: 1})
		if err := b.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		if e := event.Load(); e == nil || e.To != breaker.Open || e.ErrorType != "*net.OpError" {
			t.Errorf("event is %+v", e)
		}
	}
}

func TestG11_ABadStatusNamesItselfAndTripsAtTheHeaders(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		release := make(chan struct{})
		r := w.start(t, func(w http.ResponseWriter, req *http.Request) {
			w.WriteHeader(http.StatusServiceUnavailable)
			_ = http.NewResponseController(w).Flush()
			<-release
		}, transport.WithConfig(tripsAtOnce))
		defer close(release)
		var event atomic.Pointer[breaker.Event]
		r.breaker().Subscribe(breaker.ListenerFunc(func(e breaker.Event) { event.Store(&e) }))
		res := r.get(t, "/")
		if s := r.breaker().State(); s != breaker.Open {
			t.Errorf("at the headers the breaker is %v", s)
		}
		if err := r.breaker().Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		if e := event.Load(); e == nil || e.ErrorType != "503" {
			t.Errorf("event is %+v", e)
		}
		_ = res.Body.Close()
		expect(t, r.breaker(), "closed", counts{failure: 1})
	})
}

func TestG11_ABodyThatBreaksOffIsOneFailure(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		r := w.start(t, func(w http.ResponseWriter, req *http.Request) {
			if req.URL.Path == "/promised" {
				w.Header().Set("Content-Length", "100")
			}
			_, _ = io.WriteString(w, "some")
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}, transport.WithConfig(breaker.Config{FailureThreshold: 100}))
		var failed uint64
		for _, path := range []string{"/promised", "/chunked"} {
			res := r.get(t, path)
			expect(t, r.breaker(), path+" at the headers", counts{failure: failed})
			if got, err := io.ReadAll(res.Body); err == nil || string(got) != "some" {
				t.Fatalf("read %q: %v", got, err)
			}
			failed++
			expect(t, r.breaker(), path+" broken off", counts{failure: failed})
			_, _ = res.Body.Read(make([]byte, 1))
			_ = res.Body.Close()
			expect(t, r.breaker(), path+" closed", counts{failure: failed})
		}
	})
}

func TestG11_ABodyClosedEarlyIsASuccess(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		r := w.start(t, stalling, transport.WithConfig(tripsAtOnce))
		res := r.get(t, "/")
		if _, err := io.ReadFull(res.Body, make([]byte, 2)); err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		expect(t, r.breaker(), "closed", counts{success: 1})
		if _, err := res.Body.Read(make([]byte, 1)); err == nil {
			t.Error("read after close")
		}
		expect(t, r.breaker(), "read after close", counts{success: 1})
	})
}

func TestG11_ABodyThatNobodyWantsSettlesAsGarbage(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		r := w.start(t, stalling, transport.WithConfig(breaker.Config{FailureThreshold: 1, RecoveryTimeout: time.Nanosecond}))
		forget := func() {
			res, err := r.client.Get(r.server.URL)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(res.Body, make([]byte, 2)); err != nil {
				t.Fatal(err)
			}
		}
		settles := func(when string, want counts) {
			for countsOf(r.breaker()) != want { // ends by the test's own time limit where it does not happen
				runtime.GC()
				runtime.Gosched()
			}
			expect(t, r.breaker(), when, want)
		}
		forget()
		settles("an ordinary call", counts{success: 1})

		trip(t, r.breaker())
		for r.breaker().State() != breaker.HalfOpen { // in a nanosecond
			runtime.Gosched()
		}
		forget()
		settles("a probe, long before its lease ends", counts{success: 2, failure: 1})
		if s := r.breaker().State(); s != breaker.Closed {
			t.Errorf("then the breaker is %v", s)
		}
	})
}

// The end of the process would be the penalty for looking at the bubble's context from without.
func TestG11_GarbageOfABubbleHarmsNobody(t *testing.T) {
	var b *breaker.Breaker
	synctest.Test(t, func(t *testing.T) {
		guarded := mustNew(t, roundTripper(func(req *http.Request) (*http.Response, error) {
			return response(req, http.StatusOK, text("")), nil
		}))
		b = guarded.Breakers().Get("http://a.example")
		ctx, cancel := context.WithCancel(t.Context())
		if _, err := guarded.RoundTrip(request(t, http.MethodGet, "http://a.example", nil).WithContext(ctx)); err != nil {
			t.Fatal(err)
		}
		cancel()
	})
	for countsOf(b) != (counts{success: 1}) {
		runtime.GC()
		runtime.Gosched()
	}
}

// trip has a call of the breaker fail.
func trip(t *testing.T, b *breaker.Breaker) {
	t.Helper()
	if err := b.Do(t.Context(), func(context.Context) error { return errors.New("down") }); err == nil {
		t.Fatal("no error")
	}
}

func TestG11_AStreamOutlivesTheLeaseOfItsProbe(t *testing.T) {
	for _, order := range []string{bare, over, under} {
		synctest.Test(t, func(t *testing.T) {
			line := make(chan string)
			base := inMemory(t, func(w http.ResponseWriter, req *http.Request) {
				for l := range line {
					_, _ = io.WriteString(w, l)
					_ = http.NewResponseController(w).Flush()
				}
			})
			guarded, top := stack(t, order, base, newTelemetry(), transport.WithConfig(breaker.Config{
				FailureThreshold: 1, RecoveryTimeout: time.Second, ProbeTimeout: 10 * time.Second}))
			client := &http.Client{Transport: top}
			b := guarded.Breakers().Get("http://a.example")
			trip(t, b)
			time.Sleep(time.Second)

			go func() { line <- "one\n" }()
			res, err := client.Get("http://a.example/events")
			if err != nil {
				t.Fatal(err)
			}
			read := func(want string) {
				t.Helper()
				got := make([]byte, len(want))
				if _, err := io.ReadFull(res.Body, got); err != nil || string(got) != want {
					t.Fatalf("read %q: %v", got, err)
				}
			}
			read("one\n")
			time.Sleep(8 * time.Second)
			if s := b.State(); s != breaker.HalfOpen {
				t.Errorf("%s: with the lease running the breaker is %v", order, s)
			}
			expect(t, b, order+" with the lease running", counts{failure: 1})
			if _, err := client.Get("http://a.example/other"); !errors.Is(err, breaker.ErrOpen) {
				t.Errorf("%s: a second probe was let through: %v", order, err)
			}
			time.Sleep(2 * time.Second)
			if s := b.State(); s != breaker.Closed {
				t.Errorf("%s: after the lease the breaker is %v", order, s)
			}
			expect(t, b, order+" after the lease", counts{success: 1, failure: 1, blocked: 1})

			line <- "two\n" // the stream itself goes on
			read("two\n")
			close(line)
			drain(t, res)
			_ = res.Body.Close()
			expect(t, b, order+" at the end of the stream", counts{success: 1, failure: 1, blocked: 1})
		})
	}
}

func TestG11_AProbeThatBreaksOffReopens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := inMemory(t, func(w http.ResponseWriter, req *http.Request) {
			_, _ = io.WriteString(w, "some")
			_ = http.NewResponseController(w).Flush()
			time.Sleep(time.Second)
			panic(http.ErrAbortHandler)
		})
		guarded := mustNew(t, base, transport.WithConfig(breaker.Config{FailureThreshold: 1, RecoveryTimeout: time.Second}))
		b := guarded.Breakers().Get("http://a.example")
		trip(t, b)
		time.Sleep(time.Second)
		res, err := guarded.RoundTrip(request(t, http.MethodGet, "http://a.example", nil))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(res.Body); err == nil {
			t.Fatal("no error")
		}
		expect(t, b, "broken off", counts{failure: 2})
		if s := b.State(); s != breaker.Open {
			t.Errorf("the breaker is %v", s)
		}
		time.Sleep(2 * time.Minute) // past the lease: what was settled stays so
		expect(t, b, "past the lease", counts{failure: 2})
		b.ForceOpen("test over")
	})
}

func TestG11_SlowIsJudgedByTheTimeToTheHeaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := inMemory(t, func(w http.ResponseWriter, req *http.Request) {
			if req.URL.Path == "/slow" {
				time.Sleep(2 * time.Second)
			}
			_, _ = io.WriteString(w, "some body")
		})
		guarded := mustNew(t, base, transport.WithConfig(breaker.Config{SlowCallDuration: time.Second}))
		b := guarded.Breakers().Get("http://a.example")
		for i, call := range []struct {
			path string
			read bool
			slow uint64
		}{{"/fast", true, 0}, {"/fast", false, 0}, {"/slow", true, 1}, {"/slow", false, 2}} {
			res, err := guarded.RoundTrip(request(t, http.MethodGet, "http://a.example"+call.path, nil))
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute) // the reader takes its time
			if call.read {
				drain(t, res)
			}
			_ = res.Body.Close()
			if s := b.Snapshot(); s.Slow != call.slow || s.Success != uint64(i+1) {
				t.Errorf("%s: %d slow of %d", call.path, s.Slow, s.Success)
			}
		}
	})
}

func TestG11_RetryAfterLengthensTheOpenDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now().UTC()
		at := func(d time.Duration) string { return start.Add(d).Format(http.TimeFormat) }
		for _, c := range []struct {
			name       string
			status     int
			retryAfter string
			date       string
			want       time.Duration
		}{
			{"none", 503, "", "", 10 * time.Second},
			{"seconds", 503, "60", "", time.Minute},
			{"seconds with 429", 429, "60", "", time.Minute},
			{"shorter than the delay", 503, "1", "", 10 * time.Second},
			{"over the cap", 503, "7200", "", 30 * time.Minute},
			{"more than there are", 503, "99999999999999999999999", "", 30 * time.Minute},
			{"negative", 503, "-60", "", 10 * time.Second},
			{"nonsense", 503, "soon", "", 10 * time.Second},
			{"a date", 503, at(time.Minute), "", time.Minute},
			{"a date that is over", 503, at(-time.Minute), "", 10 * time.Second},
			{"a date by a clock an hour ahead", 503, at(time.Hour + time.Minute), at(time.Hour), time.Minute},
			{"with another status", 500, "60", "", 10 * time.Second},
		} {
			guarded := mustNew(t, roundTripper(func(req *http.Request) (*http.Response, error) {
				res := response(req, c.status, text(""))
				if c.retryAfter != "" {
					res.Header.Set("Retry-After", c.retryAfter)
				}
				if c.date != "" {
					res.Header.Set("Date", c.date)
				}
				return res, nil
			}), transport.WithConfig(breaker.Config{FailureThreshold: 1, RecoveryTimeout: 10 * time.Second,
				MaxRecoveryTimeout: 30 * time.Minute}))
			_, err := guarded.RoundTrip(request(t, http.MethodGet, "http://a.example", nil))
			if err != nil {
				t.Fatal(err)
			}
			b := guarded.Breakers().Get("http://a.example")
			if got := b.Snapshot().RetryAfter; got != c.want {
				t.Errorf("%s: open for %v, want %v", c.name, got, c.want)
			}
			b.ForceOpen("test over") // stops the timer
		}
	})
}

func TestG11_PanicAndGoexitAreFailuresAndGoOn(t *testing.T) {
	goodbye := errors.New("goodbye")
	var closed atomic.Int32
	answer := roundTripper(func(req *http.Request) (*http.Response, error) {
		res := response(req, http.StatusOK, nil)
		res.Body = &noted{Reader: io.MultiReader(text("some"), brokenBy{io.ErrUnexpectedEOF})}
		res.Body = closing{res.Body, &closed}
		return res, nil
	})
	classifyPanics := func(on func(*http.Response, error) bool) transport.Option {
		return transport.WithClassify(func(res *http.Response, err error) breaker.Outcome {
			if on(res, err) {
				panic(goodbye)
			}
			return transport.DefaultClassify(res, err)
		})
	}
	for _, c := range []struct {
		name    string
		next    http.RoundTripper
		option  transport.Option
		goexits bool
	}{
		{"a panic beneath", roundTripper(func(*http.Request) (*http.Response, error) { panic(goodbye) }),
			transport.WithConfig(tripsAtOnce), false},
		{"Goexit beneath", roundTripper(func(*http.Request) (*http.Response, error) { runtime.Goexit(); return nil, nil }),
			transport.WithConfig(tripsAtOnce), true},
		{"a panic of the classification of a response", answer,
			classifyPanics(func(res *http.Response, _ error) bool { return res != nil }), false},
		{"a panic of the classification of a body", answer,
			classifyPanics(func(_ *http.Response, err error) bool { return err != nil }), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			closed.Store(0)
			guarded := mustNew(t, c.next, c.option)
			var recovered any
			done := make(chan struct{})
			go func() {
				defer close(done)
				defer func() { recovered = recover() }()
				res, err := guarded.RoundTrip(request(t, http.MethodGet, "http://a.example", nil))
				if err != nil {
					t.Error(err)
					return
				}
				defer func() { _ = res.Body.Close() }()
				_, _ = io.ReadAll(res.Body)
			}()
			<-done
			if !c.goexits && recovered != goodbye {
				t.Errorf("recovered %v", recovered)
			}
			expect(t, guarded.Breakers().Get("http://a.example"), c.name, counts{failure: 1})
			if n := closed.Load(); n != 1 && c.name != "a panic beneath" && !c.goexits {
				t.Errorf("the body was closed %d times", n)
			}
		})
	}
}

// brokenBy is a body's end that is none.
type brokenBy struct{ err error }

func (b brokenBy) Read([]byte) (int, error) { return 0, b.err }

type closing struct {
	io.ReadCloser
	count *atomic.Int32
}

func (c closing) Close() error {
	c.count.Add(1)
	return c.ReadCloser.Close()
}

func TestG11_NeitherResponseNorErrorIsAFailure(t *testing.T) {
	guarded := mustNew(t, roundTripper(func(*http.Request) (*http.Response, error) { return nil, nil }))
	if _, err := guarded.RoundTrip(request(t, http.MethodGet, "http://a.example", nil)); err == nil ||
		!strings.Contains(err.Error(), "neither") {
		t.Errorf("error is %v", err)
	}
	expect(t, guarded.Breakers().Get("http://a.example"), "nothing", counts{failure: 1})
}

func TestG11_TheUserClassifies(t *testing.T) {
	errBroken := errors.New("broken off")
	for _, c := range []struct {
		name     string
		classify func(*http.Response, error) breaker.Outcome
		headers  counts
		end      counts
	}{
		{"not found is a failure", func(res *http.Response, err error) breaker.Outcome {
			if err == nil && res.StatusCode == http.StatusNotFound {
				return breaker.Failure
			}
			return transport.DefaultClassify(res, err)
		}, counts{failure: 1}, counts{failure: 1}},
		{"not found is ignored", func(res *http.Response, err error) breaker.Outcome {
			if err == nil && res.StatusCode == http.StatusNotFound {
				return breaker.Ignored
			}
			return transport.DefaultClassify(res, err)
		}, counts{ignored: 1}, counts{ignored: 1}},
		{"what breaks off is a success", func(res *http.Response, err error) breaker.Outcome {
			if (res == nil) == (err == nil) {
				t.Errorf("classified are %v and %v", res, err)
			}
			if errors.Is(err, errBroken) {
				return breaker.Success
			}
			return transport.DefaultClassify(res, err)
		}, counts{}, counts{success: 1}},
		{"what breaks off is ignored", func(res *http.Response, err error) breaker.Outcome {
			if err != nil {
				return breaker.Ignored
			}
			return breaker.Success
		}, counts{}, counts{ignored: 1}},
		{"no outcome at all is a failure", func(*http.Response, error) breaker.Outcome { return 42 },
			counts{failure: 1}, counts{failure: 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			asked := 0
			guarded := mustNew(t, roundTripper(func(req *http.Request) (*http.Response, error) {
				return response(req, http.StatusNotFound, io.MultiReader(text("some"), brokenBy{errBroken})), nil
			}), transport.WithClassify(func(res *http.Response, err error) breaker.Outcome {
				asked++
				return c.classify(res, err)
			}))
			res, err := guarded.RoundTrip(request(t, http.MethodGet, "http://a.example", nil))
			if err != nil {
				t.Fatal(err)
			}
			b := guarded.Breakers().Get("http://a.example")
			expect(t, b, "at the headers", c.headers)
			if _, err := io.ReadAll(res.Body); err != errBroken {
				t.Errorf("reading gives %v", err)
			}
			expect(t, b, "at the end", c.end)
			before := asked
			if _, err := res.Body.Read(make([]byte, 1)); err != errBroken || asked != before {
				t.Errorf("reading on gives %v and asks for %d more verdicts", err, asked-before)
			}
		})
	}
}

func TestG11_TheConfigurationClassifiesErrors(t *testing.T) {
	harmless := errors.New("harmless")
	guarded := mustNew(t, roundTripper(func(req *http.Request) (*http.Response, error) {
		if req.URL.Path == "/503" {
			return response(req, http.StatusServiceUnavailable, text("")), nil
		}
		return nil, harmless
	}), transport.WithConfig(breaker.Config{Classify: func(err error) breaker.Outcome {
		if errors.Is(err, harmless) {
			return breaker.Ignored
		}
		return breaker.Failure
	}}))
	b := guarded.Breakers().Get("http://a.example")
	_, _ = guarded.RoundTrip(request(t, http.MethodGet, "http://a.example", nil))
	expect(t, b, "an error", counts{ignored: 1})
	_, _ = guarded.RoundTrip(request(t, http.MethodGet, "http://a.example/503", nil))
	expect(t, b, "a status", counts{ignored: 1, failure: 1})
}
