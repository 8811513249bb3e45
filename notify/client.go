package notify

import (
	"io"
	"net/http"
	"time"
)

// maxAnswer is as much of an answer as is read, in bytes.
const maxAnswer = 64 << 10

// newClient gives what to send by, and what lets go of its connections in the end.
func (s *settings) newClient() (c *http.Client, release func()) {
	c, release = &http.Client{}, func() {}
	if s.client != nil {
		*c = *s.client
	}
	if c.Transport == nil {
		own := ownTransport()
		c.Transport, release = own, own.CloseIdleConnections
	}
	c.Transport = bounded{c.Transport}
	// The body and, by the address, the secret would go wherever an answer says.
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return c, release
}

// ownTransport is as the program's default one, unless that is not net/http's own: one that is instrumented would put the
// secret on its spans, and one that has breakers would tell this notifier of its own failures.
func ownTransport() *http.Transport {
	if shared, plain := http.DefaultTransport.(*http.Transport); plain {
		return shared.Clone()
	}
	return &http.Transport{
		Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true, TLSHandshakeTimeout: 10 * time.Second,
		IdleConnTimeout: 90 * time.Second,
	}
}

// bounded keeps whoever answers from answering for ever.
type bounded struct{ next http.RoundTripper }

func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := b.next.RoundTrip(r)
	if res != nil && res.Body != nil {
		res.Body = struct {
			io.Reader
			io.Closer
		}{io.LimitReader(res.Body, maxAnswer), res.Body}
	}
	return res, err
}
