package loadtest

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

func TestOnlyLoopbackIsReached(t *testing.T) {
	here := reach{}
	for host, allowed := range map[string]bool{
		"127.0.0.1": true, "127.9.9.9": true, "::1": true, "::ffff:127.0.0.1": true, "localhost": true,
		"192.0.2.1": false, "0.0.0.0": false, "::": false, "10.0.0.1": false, "169.254.169.254": false, "2001:db8::1": false, "::ffff:192.0.2.1": false,
	} {
		if err := here.allows(t.Context(), host); (err == nil) != allowed || !allowed && !errors.Is(err, ErrRemote) {
			t.Errorf("%s: %v", host, err)
		}
		if err := (reach{remote: true}).allows(t.Context(), host); err != nil {
			t.Errorf("%s, all allowed: %v", host, err)
		}
	}
	for _, address := range []string{"192.0.2.1:80", "0.0.0.0:80", "[2001:db8::1]:80", "[::ffff:192.0.2.1]:80"} {
		conn, err := here.transport(1).DialContext(t.Context(), "tcp", address)
		if err == nil {
			conn.Close()
		}
		if !errors.Is(err, ErrRemote) {
			t.Errorf("%s is dialed: %v", address, err)
		}
	}
	if tr := here.transport(1); tr.Proxy != nil {
		t.Error("a proxy could lead anywhere")
	}
}

// fickle is a DNS server whose answers for a name change from one query to the next.
func fickle(t *testing.T, answers ...[4]byte) *net.Resolver {
	t.Helper()
	server, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	go func() {
		query := make([]byte, 512)
		for asked := 0; ; {
			n, from, err := server.ReadFrom(query)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(query[:n]) != nil {
				continue
			}
			m.Response, m.Additionals = true, nil
			if q := m.Questions[0]; q.Type == dnsmessage.TypeA {
				m.Answers = []dnsmessage.Resource{{Header: dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class},
					Body: &dnsmessage.AResource{A: answers[min(asked, len(answers)-1)]}}}
				asked++
			}
			if packed, err := m.Pack(); err == nil {
				_, _ = server.WriteTo(packed, from)
			}
		}
	}()
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "udp", server.LocalAddr().String())
	}}
}

func TestANameThatChangesItsMindLeadsNowhere(t *testing.T) {
	rebinding := reach{resolver: fickle(t, [4]byte{127, 0, 0, 1}, [4]byte{192, 0, 2, 1})}
	if err := rebinding.allows(t.Context(), "rebound.example."); err != nil {
		t.Fatalf("at first it is here: %v", err)
	}
	conn, err := rebinding.transport(1).DialContext(t.Context(), "tcp", "rebound.example.:80")
	if err == nil {
		conn.Close()
	}
	if !errors.Is(err, ErrRemote) {
		t.Errorf("then it is elsewhere, and is dialed: %v", err)
	}
	s := settings("healthy")
	s.URL = "http://elsewhere.example.:80/?token=secret"
	elsewhere := reach{resolver: fickle(t, [4]byte{192, 0, 2, 1})}
	if _, err := run(t.Context(), s, elsewhere, io.Discard); !errors.Is(err, ErrRemote) || strings.Contains(err.Error(), "secret") ||
		!strings.Contains(err.Error(), "--url") || !strings.Contains(err.Error(), "--allow-remote") {
		t.Errorf("the run says %v", err)
	}
}

func TestRedirects(t *testing.T) {
	here := reach{}
	to := func(address string) *http.Request { return httptest.NewRequest(http.MethodGet, address, nil) }
	if err := here.redirect(to("http://127.0.0.1:1/x"), nil); err != nil {
		t.Error(err)
	}
	if err := here.redirect(to("http://192.0.2.1/"), nil); !errors.Is(err, ErrRemote) {
		t.Errorf("away: %v", err)
	}
	if here.redirect(to("ftp://127.0.0.1/"), nil) == nil || here.redirect(to("http://127.0.0.1/"), make([]*http.Request, 10)) == nil {
		t.Error("what is not HTTP, or goes round in circles, is followed")
	}
}

// TestRedirectsInARun follows one on loopback, which has a breaker of its own, and refuses the other.
func TestRedirectsInARun(t *testing.T) {
	var once sync.Once
	away := "http://192.0.2.1/"
	second := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		once.Do(func() { http.Redirect(w, r, away, http.StatusFound) })
	}))
	defer second.Close()
	first := httptest.NewServer(http.RedirectHandler(second.URL, http.StatusFound))
	defer first.Close()
	s := settings("healthy")
	s.For, s.URL = time.Second, first.URL
	r, err := Run(t.Context(), s, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if n := r.Requests.Total; r.Requests.Answers["redirect refused"] != 1 || r.Requests.Well != n-1 || r.Calls.Client.Success != 2*n ||
		len(r.Breakers) != 2 || !r.Passed {
		t.Errorf("%+v, %+v, %+v", r.Requests, r.Calls, r.Breakers)
	}
}
