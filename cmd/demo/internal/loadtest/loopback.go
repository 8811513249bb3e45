package loadtest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"syscall"
	"time"
)

// ErrRemote is why a target is refused: it is not on this machine, and nobody has allowed that.
var ErrRemote = errors.New("only loopback addresses are called, unless --allow-remote is given")

// reach is how far requests may go.
type reach struct {
	remote   bool
	resolver *net.Resolver // nil is the default one
}

// allows checks a host by what its name stands for now: every address has to be a loopback one.
func (r reach) allows(ctx context.Context, host string) error {
	if r.remote {
		return nil
	}
	resolver := r.resolver
	if resolver == nil {
		resolver = net.DefaultResolver
	}
	addresses, err := resolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return fmt.Errorf("host %q: %w", host, err)
	}
	for _, a := range addresses {
		if !a.Unmap().IsLoopback() {
			return fmt.Errorf("host %q is at %v: %w", host, a, ErrRemote)
		}
	}
	return nil
}

// transport gives one that connects only to what may be reached. It looks at the very address that is being connected
// to, so that a name which stands for another by then (DNS rebinding) leads nowhere, and it knows no proxy.
func (r reach) transport(connections int) *http.Transport {
	dialer := &net.Dialer{Timeout: MaxTimeout, Resolver: r.resolver}
	if !r.remote {
		dialer.ControlContext = func(_ context.Context, _, address string, _ syscall.RawConn) error {
			to, err := netip.ParseAddrPort(address)
			if err != nil || !to.Addr().Unmap().IsLoopback() {
				return fmt.Errorf("%s: %w", address, ErrRemote)
			}
			return nil
		}
	}
	return &http.Transport{
		DialContext: dialer.DialContext, ForceAttemptHTTP2: true,
		MaxIdleConns: 2 * connections, MaxIdleConnsPerHost: connections, IdleConnTimeout: 30 * time.Second,
		TLSHandshakeTimeout: MaxTimeout,
	}
}

// redirect is the CheckRedirect of a client: what may be called directly may be redirected to.
func (r reach) redirect(req *http.Request, via []*http.Request) error {
	switch {
	case len(via) >= 10:
		return errors.New("stopped after 10 redirects")
	case req.URL.Scheme != "http" && req.URL.Scheme != "https":
		return errors.New("redirected to what is not HTTP")
	}
	return r.allows(req.Context(), req.URL.Hostname())
}
