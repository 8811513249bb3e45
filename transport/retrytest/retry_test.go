package retrytest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-retryablehttp"

	"github.com/otelbreaker/otelbreaker/breaker"
	"github.com/otelbreaker/otelbreaker/transport"
)

// retriesUnlessBlocked stops at a rejection: another attempt would only be rejected, too.
func retriesUnlessBlocked(ctx context.Context, res *http.Response, err error) (bool, error) {
	if errors.Is(err, breaker.ErrOpen) {
		return false, err
	}
	return retryablehttp.DefaultRetryPolicy(ctx, res, err)
}

func Example() {
	var attempts atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		attempts.Add(1)
		w.WriteHeader(http.StatusBadGateway)
	}))
	defer server.Close()

	guarded, err := transport.New(nil, transport.WithConfig(breaker.Config{FailureThreshold: 3}))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = guarded.Close() }()
	client := retryablehttp.NewClient()
	client.Logger = nil // it logs URLs whole
	client.HTTPClient = &http.Client{Transport: guarded}
	client.CheckRetry = func(ctx context.Context, res *http.Response, err error) (bool, error) {
		if errors.Is(err, breaker.ErrOpen) { // not sent, and another attempt would not be either
			return false, err
		}
		return retryablehttp.DefaultRetryPolicy(ctx, res, err)
	}
	client.RetryMax, client.RetryWaitMin, client.RetryWaitMax = 10, time.Millisecond, time.Millisecond

	res, err := client.Get(server.URL)
	if err == nil {
		_ = res.Body.Close()
	}
	fmt.Println(attempts.Load(), "attempts, then blocked:", errors.Is(err, breaker.ErrOpen))
	// Output: 3 attempts, then blocked: true
}

// rig is a retrying client, with breakers beneath the retries, of a server.
type rig struct {
	client  *retryablehttp.Client
	breaker *breaker.Breaker
	url     string
	arrived atomic.Int32
	waits   atomic.Int32
}

func newRig(t *testing.T, serve func(n int32, w http.ResponseWriter, req *http.Request), config breaker.Config,
	options ...transport.Option,
) *rig {
	t.Helper()
	r := &rig{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		serve(r.arrived.Add(1), w, req)
	}))
	t.Cleanup(server.Close)
	guarded, err := transport.New(&http.Transport{DisableKeepAlives: true}, append(options, transport.WithConfig(config))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = guarded.Close() })
	r.url, r.breaker = server.URL, guarded.Breakers().Get(server.URL)
	r.client = retryablehttp.NewClient()
	r.client.Logger = nil
	r.client.HTTPClient = &http.Client{Transport: guarded}
	r.client.CheckRetry = retriesUnlessBlocked
	r.client.RetryMax = 10
	r.client.Backoff = func(time.Duration, time.Duration, int, *http.Response) time.Duration {
		r.waits.Add(1)
		return time.Millisecond
	}
	return r
}

func (r *rig) expect(t *testing.T, when string, success, failure, blocked uint64, arrived, waits int32) {
	t.Helper()
	s := r.breaker.Snapshot()
	if s.Success != success || s.Failure != failure || s.Blocked != blocked {
		t.Errorf("%s: %d successes, %d failures, %d blocked; want %d, %d, %d", when, s.Success, s.Failure, s.Blocked, success, failure, blocked)
	}
	if r.arrived.Load() != arrived || r.waits.Load() != waits {
		t.Errorf("%s: %d attempts arrived after %d pauses, want %d and %d", when, r.arrived.Load(), r.waits.Load(), arrived, waits)
	}
}

func TestEachAttemptIsJudged(t *testing.T) {
	r := newRig(t, func(n int32, w http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		switch n {
		case 1:
			w.WriteHeader(http.StatusServiceUnavailable)
		case 2:
			panic(http.ErrAbortHandler)
		default:
			_, _ = w.Write(body)
		}
	}, breaker.Config{})
	res, err := r.client.Post(r.url, "text/plain", []byte("payload"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	if got, err := io.ReadAll(res.Body); err != nil || string(got) != "payload" {
		t.Errorf("answer is %q: %v", got, err)
	}
	r.expect(t, "the third attempt", 1, 2, 0, 3, 2)
}

// closes counts how often a body that is sent anew for each attempt is closed.
type closes struct {
	io.Reader
	n *atomic.Int32
}

func (c closes) Close() error { c.n.Add(1); return nil }

func TestARejectionStopsTheRetries(t *testing.T) {
	r := newRig(t, func(_ int32, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) },
		breaker.Config{FailureThreshold: 3, RecoveryTimeout: time.Hour})
	var made, closed atomic.Int32
	req, err := retryablehttp.NewRequestWithContext(t.Context(), http.MethodPost, r.url, retryablehttp.ReaderFunc(func() (io.Reader, error) {
		made.Add(1)
		return closes{bytes.NewReader([]byte("payload")), &closed}, nil
	}))
	if err != nil {
		t.Fatal(err)
	}
	made.Store(0) // it looked at one for its length
	closed.Store(0)
	for i, want := range []struct {
		failure, blocked uint64
		arrived, waits   int32
	}{{3, 1, 3, 3}, {3, 2, 3, 3}} { // within the retries, and at once
		res, err := r.client.Do(req)
		var rejection *breaker.OpenError
		if !errors.Is(err, breaker.ErrOpen) || !errors.As(err, &rejection) || rejection.RetryAfter() < 30*time.Minute {
			t.Errorf("%d: %v", i, err)
		}
		if res != nil {
			t.Errorf("%d: there is a response: %v", i, res.Status)
			_ = res.Body.Close()
		}
		r.expect(t, fmt.Sprint("call ", i), 0, want.failure, want.blocked, want.arrived, want.waits)
	}
	if n := made.Load(); n != 5 { // an attempt
		t.Errorf("%d bodies were made", n)
	}
	for deadline := time.Now().Add(10 * time.Second); closed.Load() < 5 && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond) // net/http closes in its own time
	}
	if n := closed.Load(); n != 5 {
		t.Errorf("%d of 5 bodies were closed", n)
	}
}

// The policy as it comes takes a rejection for an error like any other, which is why it is told.
func TestWithoutThePolicyARejectionIsRetried(t *testing.T) {
	r := newRig(t, func(int32, http.ResponseWriter, *http.Request) {}, breaker.Config{})
	r.client.CheckRetry, r.client.RetryMax = retryablehttp.DefaultRetryPolicy, 3
	r.breaker.ForceOpen("test")
	if res, err := r.client.Get(r.url); !errors.Is(err, breaker.ErrOpen) {
		t.Errorf("error is %v", err)
		if err == nil {
			_ = res.Body.Close()
		}
	}
	r.expect(t, "forced open", 0, 0, 4, 0, 3)
}

// A 503 in the server's place is retried after its Retry-After, as the server's own would be.
func TestTheRetriesHonourThePreparedAnswer(t *testing.T) {
	r := newRig(t, func(int32, http.ResponseWriter, *http.Request) {}, breaker.Config{}, transport.WithFallback(transport.Unavailable))
	r.client.RetryMax, r.client.ErrorHandler = 1, retryablehttp.PassthroughErrorHandler
	var asked time.Duration
	r.client.Backoff = func(low, high time.Duration, attempt int, res *http.Response) time.Duration {
		asked = retryablehttp.DefaultBackoff(low, high, attempt, res)
		return time.Millisecond
	}
	r.breaker.ForceOpen("test")
	res, err := r.client.Get(r.url)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusServiceUnavailable || asked != time.Second {
		t.Errorf("%s, to be asked again in %v", res.Status, asked)
	}
	r.expect(t, "forced open", 0, 0, 2, 0, 0)
}
