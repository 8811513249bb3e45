package transport

import (
	"errors"
	"io"
	"net/http"
	"sync/atomic"
)

// upload is the body of a request that may fail by itself: a proxy passes on what a stranger sends it, which may be
// malformed or too long, and must not open the breaker of a server that has no part in it.
type upload struct {
	io.ReadCloser
	failed atomic.Pointer[error] // reading, first of all
}

// noteUpload gives the request to send: a copy with the body noted, where that can fail. One that is in memory, which
// net/http could send again, cannot.
func noteUpload(req *http.Request) (*http.Request, *upload) {
	if req.Body == nil || req.Body == http.NoBody || req.GetBody != nil {
		return req, nil
	}
	u := &upload{ReadCloser: req.Body}
	sent := req.WithContext(req.Context())
	sent.Body = u
	return sent, u
}

func (u *upload) Read(p []byte) (int, error) {
	n, err := u.ReadCloser.Read(p)
	if err != nil && err != io.EOF {
		u.failed.CompareAndSwap(nil, &err)
	}
	return n, err
}

// causes tells whether err comes of the body.
func (u *upload) causes(err error) bool {
	if u == nil {
		return false
	}
	failed := u.failed.Load()
	return failed != nil && errors.Is(err, *failed)
}
