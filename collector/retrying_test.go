package collector

import (
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"syscall"
	"testing"
)

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
	client := http.Client{Transport: retrying{&http.Transport{}}}
	res, err := client.Post("http://"+address, "", nil)
	if err == nil {
		_ = res.Body.Close()
	}
	// By url.Error, which asks what it wraps.
	if _, ok := errors.AsType[*url.Error](err); !ok || !isTemporary(err) || !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("%v: temporary %v", err, isTemporary(err))
	}
}

// What breaks after the request was sent may have arrived.
func TestAnAnswerThatBreaksOffIsNotTemporary(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		panic(http.ErrAbortHandler)
	}))
	defer server.Close()
	client := http.Client{Transport: retrying{&http.Transport{}}}
	defer client.CloseIdleConnections()
	res, err := client.Post(server.URL, "", nil)
	if err == nil {
		_ = res.Body.Close()
	}
	if err == nil || isTemporary(err) {
		t.Errorf("%v: temporary %v", err, isTemporary(err))
	}
}
