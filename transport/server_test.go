package transport_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
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
