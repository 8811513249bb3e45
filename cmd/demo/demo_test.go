package main

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/otelbreaker/otelbreaker/internal/bell"
	"github.com/otelbreaker/otelbreaker/internal/cli"
)

// quick is the demo with an outage of well under a second.
func quick(t *testing.T) settings {
	return settings{
		listen: "127.0.0.1:0", rate: 100, services: []string{"payments", "inventory", "recommendations"},
		recovery: 300 * time.Millisecond, calm: 50 * time.Millisecond, timeout: 2 * time.Second, slow: time.Second,
		poll: 5 * time.Millisecond, deadline: 30 * time.Second, ending: 5 * time.Second,
		out: &lines{t: t}, log: &lines{t: t},
	}
}

// lines keeps what is written.
type lines struct {
	t    *testing.T
	mu   sync.Mutex
	text bytes.Buffer
	rung bell.Bell
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.rung.Ring()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// await waits until all of some texts have been written.
func (l *lines) await(texts ...string) {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(l.t.Context(), 20*time.Second)
	defer cancel()
	for _, text := range texts {
		if err := l.rung.Until(ctx, func() bool { return strings.Contains(l.String(), text) }); err != nil {
			l.t.Fatalf("%q was never said, but:\n%s", text, l)
		}
	}
}

func stopAtEnd(t *testing.T, a *app) {
	t.Cleanup(func() {
		if err := a.stop(); err != nil {
			t.Errorf("the end: %v", err)
		}
	})
}

func TestOnce_TheSignalsTellWhatHappened(t *testing.T) {
	s := quick(t)
	s.once = true
	if code := show(t.Context(), s); code != cli.OK {
		t.Errorf("exit code %d\n%s\n%s", code, s.out, s.log)
	}
	said := s.out.(*lines).String()
	if n := strings.Count(said, "  ok    "); n != 11 || strings.Contains(said, "FAIL") {
		t.Errorf("%d checks passed, want all 11:\n%s", n, said)
	}
	for _, line := range []string{"payments begins to answer 500", "payments: closed -> open, 5 consecutive failures",
		"payments: half_open -> open, the probe failed (500)", "payments is mended", "; recovered after ", "They do."} {
		if !strings.Contains(said, line) {
			t.Errorf("%q is not said:\n%s", line, said)
		}
	}
}

// TestOnce_SignalsThatTellSomethingElse has a call made behind the client's back: the breaker counts it, and the client
// does not.
func TestOnce_SignalsThatTellSomethingElse(t *testing.T) {
	s := quick(t)
	s.once = true
	a, err := start(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	stopAtEnd(t, a)
	if err := a.deps[1].client.get(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := a.prove(); err != errVerdict {
		t.Errorf("the verdict is %v", err)
	}
	said := s.out.(*lines).String()
	if n := strings.Count(said, "FAIL"); n != 1 || !strings.Contains(said, "FAIL  counters") || !strings.Contains(said, `"inventory"`) {
		t.Errorf("it says:\n%s", said)
	}
}

func TestOnce_Deadline(t *testing.T) {
	s := quick(t)
	s.once, s.recovery, s.deadline = true, time.Hour, 300*time.Millisecond
	if code := show(t.Context(), s); code != cli.Failed {
		t.Errorf("exit code %d, want %d", code, cli.Failed)
	}
	if said := s.log.(*lines).String(); !strings.Contains(said, "did not run its course within 300ms") {
		t.Errorf("it says %s", said)
	}
}

func TestOnce_WithoutMetrics(t *testing.T) {
	t.Setenv("OTEL_METRICS_EXPORTER", "none")
	s := quick(t)
	s.once = true
	if code := show(t.Context(), s); code != cli.Failed {
		t.Errorf("exit code %d, want %d", code, cli.Failed)
	}
	if said := s.log.(*lines).String(); !strings.Contains(said, "OTEL_METRICS_EXPORTER") {
		t.Errorf("it says %s", said)
	}
}

// TestShow_Ships has the demo send to a collector, and end in order when it is told to.
func TestShow_Ships(t *testing.T) {
	var mu sync.Mutex
	received := map[string]string{}
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		mu.Lock()
		defer mu.Unlock()
		received[r.URL.Path] += string(body)
	}))
	defer receiver.Close()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.URL)

	s := quick(t)
	ctx, interrupt := context.WithCancel(t.Context())
	code := make(chan int)
	go func() { code <- show(ctx, s) }()
	s.out.(*lines).await("half_open -> closed", "the outage is over")
	interrupt()
	if c := <-code; c != cli.OK {
		t.Errorf("exit code %d\n%s", c, s.log)
	}
	mu.Lock()
	defer mu.Unlock()
	for path, text := range map[string]string{
		"/v1/traces": "circuit_breaker.outage", "/v1/metrics": "circuit_breaker.recovery.duration", "/v1/logs": "circuit_closed",
	} {
		if !strings.Contains(received[path], text) || !strings.Contains(received[path], "otelbreaker-demo") {
			t.Errorf("%s received %d bytes without %s, or without the service's name", path, len(received[path]), text)
		}
	}
	if said := s.log.(*lines).String(); strings.Contains(said, "not all telemetry") {
		t.Errorf("it says %s", said)
	}
}

// TestShow_EndsInTime has a collector that takes connections and never answers.
func TestShow_EndsInTime(t *testing.T) {
	release := make(chan struct{})
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
		case <-r.Context().Done():
		}
	}))
	defer receiver.Close()
	defer close(release)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.URL)

	s := quick(t)
	s.ending = 400 * time.Millisecond
	ctx, interrupt := context.WithCancel(t.Context())
	code := make(chan int)
	go func() { code <- show(ctx, s) }()
	s.out.(*lines).await("closed -> open")
	interrupt()
	before := time.Now()
	if c := <-code; c != cli.OK {
		t.Errorf("exit code %d\n%s", c, s.log)
	}
	if took := time.Since(before); took > 5*time.Second {
		t.Errorf("it took %v to end", took)
	}
	if said := s.log.(*lines).String(); !strings.Contains(said, "not all telemetry was sent") {
		t.Errorf("it does not tell of what was lost: %s", said)
	}
}

// TestScript_UnseenOpening has the outage last for two early probes, and no longer, for one who watches and sees nothing.
func TestScript_UnseenOpening(t *testing.T) {
	a := startQuick(t, nil)
	a.script.sawOpen = func() bool { return false }
	a.load()
	if err := a.script.play(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := a.records.times(0, "payments", "circuit_reopened"); n != 2 {
		t.Errorf("%d early probes, want 2", n)
	}
}
