//go:build unix

package breaker_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"syscall"
	"testing"

	"github.com/otelbreaker/otelbreaker/breaker"
)

func TestNetworkErrorsAreToldApart(t *testing.T) {
	dial := func(errno syscall.Errno) error {
		return &url.Error{Op: "Get", URL: "http://secret", Err: &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", errno)}}
	}
	for _, c := range []struct {
		err  error
		want string
	}{
		{dial(syscall.ECONNREFUSED), "connection_refused"}, {dial(10061), "connection_refused"},
		{dial(syscall.ECONNRESET), "connection_reset"}, {dial(10054), "connection_reset"},
		{dial(syscall.ECONNABORTED), "connection_aborted"}, {dial(10053), "connection_aborted"},
		{dial(syscall.EPIPE), "broken_pipe"},
		{dial(syscall.EHOSTUNREACH), "host_unreachable"}, {dial(10065), "host_unreachable"},
		{dial(syscall.ENETUNREACH), "network_unreachable"}, {dial(10051), "network_unreachable"},
		{dial(syscall.EADDRNOTAVAIL), "address_not_available"}, {dial(10049), "address_not_available"},
		{dial(syscall.EMFILE), "too_many_open_files"}, {dial(syscall.ENFILE), "too_many_open_files"},
		{dial(syscall.ETIMEDOUT), "timeout"},                                        // says so itself
		{dial(syscall.EACCES), "*net.OpError"},                                      // not one of these
		{fmt.Errorf("secret: %w", syscall.ECONNREFUSED), "connection_refused"},      // however it is wrapped
		{errors.Join(errors.New("secret"), syscall.ECONNRESET), "connection_reset"}, // or joined
		{fmt.Errorf("%w: %w", typed("busy"), syscall.ECONNRESET), "busy"},           // its own name goes first
		{&net.OpError{Op: "dial", Err: &net.DNSError{Name: "secret"}}, "dns"},
		{errors.Join(&net.DNSError{Name: "secret"}, errors.New("secret")), "dns"},
		{&net.OpError{Op: "dial", Err: &net.DNSError{IsTimeout: true}}, "timeout"},
		{&url.Error{Op: "Get", Err: io.EOF}, "unexpected_eof"},                      // hung up before it answered
		{fmt.Errorf("secret: %w", io.ErrUnexpectedEOF), "unexpected_eof"},           // or in the midst of a body
		{&url.Error{Op: "Get", Err: http.ErrHandlerTimeout}, "*errors.errorString"}, // nothing of the network
		{&os.PathError{Op: "open", Path: "secret", Err: syscall.ENOENT}, "*fs.PathError"},
	} {
		if got := breaker.ErrorTypeOf(c.err); got != c.want {
			t.Errorf("%T of %v is named %q, want %q", c.err, c.err, got, c.want)
		}
	}
}

// What the system really says: nobody listens there, and no such name.
func TestNetworkErrorsOfTheSystem(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = listener.Close()
	_, err = http.Get("http://" + listener.Addr().String())
	if got := breaker.ErrorTypeOf(err); got != "connection_refused" {
		t.Errorf("%v is named %q", err, got)
	}
	// A resolver of its own, that knows nothing: the name is not asked of the network.
	resolver := net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		return nil, errors.New("secret")
	}}
	_, err = resolver.LookupHost(t.Context(), "nowhere.invalid.")
	if got := breaker.ErrorTypeOf(err); got != "dns" {
		t.Errorf("%v (%T) is named %q", err, err, got)
	}
}
