package collector

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"syscall"
	"testing"
	"time"
)

func quietLog() *errorLog { return &errorLog{logger: slog.New(slog.DiscardHandler)} }

// What the exporters ask of an error before they try again.
func isTemporary(err error) bool {
	t, ok := errors.AsType[interface {
		error
		Temporary() bool
	}](err)
	return ok && t.Temporary()
}

func TestARefusedConnectionIsTriedAgain(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	_ = listener.Close()
	client := http.Client{Transport: &retrying{log: quietLog(), Transport: &http.Transport{}}}
	res, err := client.Post("http://"+address, "", nil)
	if err == nil {
		_ = res.Body.Close()
	}
	// By url.Error, which asks what it wraps.
	if _, ok := errors.AsType[*url.Error](err); !ok || !isTemporary(err) || !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("%v: temporary %v", err, isTemporary(err))
	}
}

func TestAProxyThatIsDownIsTriedAgain(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	proxy := &url.URL{Scheme: "http", Host: listener.Addr().String()}
	_ = listener.Close()
	for _, target := range []string{"http://collector.example:4318", "https://collector.example:4318"} {
		client := http.Client{Transport: &retrying{log: quietLog(), Transport: &http.Transport{Proxy: http.ProxyURL(proxy)}}}
		res, err := client.Post(target, "", nil)
		if err == nil {
			_ = res.Body.Close()
		}
		if !isTemporary(err) {
			t.Errorf("%s: %v is not temporary", target, err)
		}
	}
}

// The exporters' own client is such a one, and tells of the first attempt that finds nobody.
func TestTheFirstRefusalIsTold(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	_ = listener.Close()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://"+address)
	lines := make(lineWriter, 10)
	p, err := Start(t.Context(), WithoutGlobals(), WithLogger(slog.New(slog.NewTextHandler(lines, nil))))
	if err != nil {
		t.Fatal(err)
	}
	_, span := p.TracerProvider().Tracer("test").Start(t.Context(), "span")
	span.End()
	flushed := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { flushed <- p.ForceFlush(ctx) }()
	select {
	case line := <-lines:
		if !strings.Contains(line, "refused") || strings.Contains(line, "dropped") {
			t.Errorf("the line is %s", line)
		}
	case err := <-flushed:
		t.Errorf("nothing was told before the export was given up: %v", err)
	}
	cancel()
	over, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if err := p.Shutdown(over); err == nil {
		t.Error("Shutdown does not tell what was lost")
	}
}

type lineWriter chan string

func (w lineWriter) Write(p []byte) (int, error) {
	w <- string(p)
	return len(p), nil
}

// What breaks after the request was sent may have arrived.
func TestAnAnswerThatBreaksOffIsNotTemporary(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		panic(http.ErrAbortHandler)
	}))
	defer server.Close()
	client := http.Client{Transport: &retrying{log: quietLog(), Transport: &http.Transport{}}}
	defer client.CloseIdleConnections()
	res, err := client.Post(server.URL, "", nil)
	if err == nil {
		_ = res.Body.Close()
	}
	if err == nil || isTemporary(err) {
		t.Errorf("%v: temporary %v", err, isTemporary(err))
	}
}
