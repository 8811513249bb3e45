package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
)

// listen takes the address of the page, and tells how to choose another where it cannot be had.
func listen(ctx context.Context, address string) (net.Listener, error) {
	var config net.ListenConfig
	l, err := config.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("cannot listen on %s: %w\nChoose another address with --listen, "+
			"on any free port for example: go run ./cmd/demo --listen 127.0.0.1:0", address, err)
	}
	return l, nil
}

// checkAddress tells what is wrong with a host:port to listen on.
func checkAddress(address string) error {
	_, port, err := net.SplitHostPort(address)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		return fmt.Errorf("--listen is %q: allowed is host:port with a port from 0 to 65535, for example %s",
			address, defaultListen)
	}
	return nil
}

func (a *app) addrPort() netip.AddrPort {
	return netip.MustParseAddrPort(a.listener.Addr().String())
}

// url is where the page can be opened on this machine.
func (a *app) url() string {
	at := a.addrPort()
	host := at.Addr().String()
	if at.Addr().IsUnspecified() {
		host = "localhost"
	}
	return "http://" + net.JoinHostPort(host, strconv.Itoa(int(at.Port())))
}

func (a *app) onLoopback() bool { return a.addrPort().Addr().Unmap().IsLoopback() }

// forLoopback refuses requests that came to a loopback address under a foreign name: so does a page on the Internet
// whose name was made to point here (DNS rebinding), and to the browser it is then of the same origin.
func forLoopback(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := r.Host
		if name, _, err := net.SplitHostPort(host); err == nil {
			host = name
		}
		if _, err := netip.ParseAddr(strings.Trim(host, "[]")); err != nil && !strings.EqualFold(host, "localhost") {
			http.Error(w, "this demo answers to localhost and to IP addresses only", http.StatusMisdirectedRequest)
			return
		}
		next.ServeHTTP(w, r)
	})
}
