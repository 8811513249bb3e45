package main

import (
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/otelbreaker/otelbreaker/breaker"
)

// TestUpstream_Faults looks at each fault from the other end of a socket.
func TestUpstream_Faults(t *testing.T) {
	const late, patience = 300 * time.Millisecond, 150 * time.Millisecond
	up, err := startUpstream(t.Context(), "payments", late)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(up.close)
	fetch := func(timeout time.Duration) (status int, body string, err error) {
		c := &http.Client{Timeout: timeout}
		defer c.CloseIdleConnections()
		res, err := c.Get(up.url())
		if err != nil {
			return 0, "", err
		}
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		return res.StatusCode, string(b), err
	}
	for _, c := range []struct {
		fault   fault
		timeout time.Duration
		want    func(status int, body string, err error) bool
	}{
		{faultNone, 0, func(status int, body string, err error) bool { return err == nil && status == 200 && body != "" }},
		{faultErrors, 0, func(status int, _ string, err error) bool { return err == nil && status == 500 }},
		{faultLatency, patience, func(_ int, _ string, err error) bool { return os.IsTimeout(err) }},
		{faultLatency, 0, func(status int, body string, err error) bool { return err == nil && status == 200 && body != "" }},
		{faultHang, 2 * late, func(_ int, _ string, err error) bool { return os.IsTimeout(err) }},
		{faultRefuse, 0, func(_ int, _ string, err error) bool { return errors.Is(err, syscall.ECONNREFUSED) }},
		{faultRefuse, 0, func(_ int, _ string, err error) bool { return errors.Is(err, syscall.ECONNREFUSED) }},
		{faultCut, 0, func(status int, body string, err error) bool {
			return status == 200 && body != "" && errors.Is(err, io.ErrUnexpectedEOF)
		}},
		{faultNone, 0, func(status int, _ string, err error) bool { return err == nil && status == 200 }},
	} {
		if err := up.set(t.Context(), c.fault); err != nil {
			t.Fatal(err)
		}
		if got := up.current(); got != c.fault {
			t.Errorf("it is at %s, want %s", got, c.fault)
		}
		before := time.Now()
		status, body, err := fetch(c.timeout)
		if !c.want(status, body, err) {
			t.Errorf("%s, with a timeout of %v: status %d, body %q, error %v", c.fault, c.timeout, status, body, err)
		}
		if took := time.Since(before); c.fault == faultLatency && c.timeout == 0 && took < late {
			t.Errorf("%s took %v, want at least %v", c.fault, took, late)
		}
	}
}

func TestUpstream_RefusingCutsConnectionsThatAreOpen(t *testing.T) {
	up, err := startUpstream(t.Context(), "payments", time.Second)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(up.close)
	if err := up.set(t.Context(), faultHang); err != nil {
		t.Fatal(err)
	}
	failed := make(chan error, 1)
	go func() {
		res, err := http.Get(up.url())
		if err == nil {
			res.Body.Close()
		}
		failed <- err
	}()
	// Refuse until the request, wherever it was on its way, has failed.
	for {
		if err := up.set(t.Context(), faultRefuse); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-failed:
			if err == nil {
				t.Error("the hanging call was answered")
			}
			return
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func TestUpstream_AfterItsEnd(t *testing.T) {
	up, err := startUpstream(t.Context(), "payments", time.Second)
	if err != nil {
		t.Fatal(err)
	}
	up.close()
	up.close()
	if err := up.set(t.Context(), faultNone); err == nil {
		t.Error("it came back to life")
	}
}

func TestParseFault(t *testing.T) {
	for _, f := range faults {
		if got, err := parseFault(string(f.Name)); got != f.Name || err != nil {
			t.Errorf("%s is %s, %v", f.Name, got, err)
		}
	}
	_, err := parseFault("fire")
	if err == nil || !strings.Contains(err.Error(), `"fire"`) || !strings.Contains(err.Error(), "none, errors, latency, hang, refuse, cut") {
		t.Errorf("the error is %v", err)
	}
}

// TestClient_Account has the client judge each fault by itself, and the breaker agree with it.
func TestClient_Account(t *testing.T) {
	up, err := startUpstream(t.Context(), "payments", 20*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(up.close)
	c, guarded, err := newClient("payments", up.url(),
		breaker.Config{Service: "payments", FailureThreshold: 7, RecoveryTimeout: time.Hour}, 300*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.base.CloseIdleConnections(); guarded.Close() })
	call := func(f fault, giveUp bool, want outcome) {
		t.Helper()
		if err := up.set(t.Context(), f); err != nil {
			t.Fatal(err)
		}
		c.call(t.Context(), giveUp)
		last := c.last(1)[0]
		if last.outcome != want {
			t.Errorf("a call with the fault %s came to %c, want %c", f, last.outcome, want)
		}
		if len(last.traceID) != 32 || last.end.Before(last.start) {
			t.Errorf("its account is %+v", last)
		}
	}
	call(faultNone, false, success)
	call(faultLatency, false, success)
	call(faultHang, true, ignored)
	for range 2 { // the seventh failure in a row opens
		call(faultErrors, false, failure)
		call(faultRefuse, false, failure)
		call(faultCut, false, failure)
	}
	call(faultHang, false, failure)
	call(faultNone, false, blocked)
	s := guarded.Breakers().Get(up.url()).Snapshot()
	if s.Success != c.seen(success) || s.Failure != c.seen(failure) || s.Blocked != c.seen(blocked) || s.Ignored != c.seen(ignored) {
		t.Errorf("the breaker counts %d, %d, %d, %d; the client %v", s.Success, s.Failure, s.Blocked, s.Ignored, c.counts)
	}
}

func TestClient_KeepsTheLastCalls(t *testing.T) {
	c := &client{counts: make(map[outcome]uint64), keep: 3}
	for _, o := range "SFBIS" {
		c.account(call{outcome: outcome(o)})
	}
	var kept string
	for _, call := range c.all() {
		kept += string(call.outcome)
	}
	if kept != "BIS" || c.seen(success) != 2 {
		t.Errorf("it keeps %q and has seen %d successes, want BIS and 2", kept, c.seen(success))
	}
	if got := c.last(1); len(got) != 1 || got[0].outcome != success {
		t.Errorf("the last one is %v", got)
	}
}
