package transport_test

import (
	"errors"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/otelbreaker/otelbreaker/breaker"
	"github.com/otelbreaker/otelbreaker/transport"
)

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
		if e := event.Load(); e == nil || e.To != breaker.Open || e.ErrorType != "connection_refused" {
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
		opens   int32 // bodies
	}{
		{"a panic beneath", roundTripper(func(*http.Request) (*http.Response, error) { panic(goodbye) }),
			transport.WithConfig(tripsAtOnce), false, 0},
		{"Goexit beneath", roundTripper(func(*http.Request) (*http.Response, error) { runtime.Goexit(); return nil, nil }),
			transport.WithConfig(tripsAtOnce), true, 0},
		{"a panic of the classification of a response", answer,
			classifyPanics(func(res *http.Response, _ error) bool { return res != nil }), false, 1},
		{"a panic of the classification of a body", answer,
			classifyPanics(func(_ *http.Response, err error) bool { return err != nil }), false, 1},
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
			if opened, n := c.opens, closed.Load(); n != opened {
				t.Errorf("of %d bodies %d were closed", opened, n)
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
