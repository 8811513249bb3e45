package notify

import (
	"io"
	"net/http"
)

// maxAnswer is as much of an answer as is read, in bytes.
const maxAnswer = 64 << 10

// newClient gives what to send by, and what lets go of its connections in the end.
func (s *settings) newClient() (c *http.Client, release func()) {
	c, release = &http.Client{}, func() {}
	switch shared, standard := http.DefaultTransport.(*http.Transport); {
	case s.client != nil:
		*c = *s.client
	case standard:
		own := shared.Clone()
		c.Transport, release = own, own.CloseIdleConnections
	}
	if c.Transport == nil {
		c.Transport = http.DefaultTransport
	}
	c.Transport = bounded{c.Transport}
	// The body and, by the address, the secret would go wherever an answer says.
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return c, release
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
