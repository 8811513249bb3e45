package transport_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/otelbreaker/otelbreaker/breaker"
	"github.com/otelbreaker/otelbreaker/transport"
)

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

// What is kept of a call is used again for a later one, which must not feel what is done to the body of the first.
func TestG11_ABodyThatHasEndedMovesNoLaterCall(t *testing.T) {
	guarded := mustNew(t, roundTripper(func(req *http.Request) (*http.Response, error) {
		if req.URL.Path == "/broken" {
			return response(req, http.StatusOK, io.MultiReader(text("some"), brokenBy{io.ErrUnexpectedEOF})), nil
		}
		return response(req, http.StatusOK, text("some")), nil
	}), transport.WithConfig(breaker.Config{FailureThreshold: 1_000}))
	b := guarded.Breakers().Get("http://a.example")
	get := func(path string) *http.Response {
		t.Helper()
		res, err := guarded.RoundTrip(request(t, http.MethodGet, "http://a.example"+path, nil))
		if err != nil {
			t.Fatal(err)
		}
		return res
	}
	var want counts
	for range 100 {
		for _, path := range []string{"/good", "/broken"} {
			first := get(path)
			_, _ = io.ReadAll(first.Body)
			if path == "/good" {
				want.success++
			} else {
				want.failure++
			}
			second := get("/broken")
			_, _ = first.Body.Read(make([]byte, 1))
			_ = first.Body.Close()
			expect(t, b, path+" has ended again", want)
			_, _ = io.ReadAll(second.Body)
			_ = second.Body.Close()
			want.failure++
			expect(t, b, "the later call has ended after "+path, want)
		}
	}
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
