package transport

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"reflect"
	"strings"
	"sync/atomic"
)

// upload is the body of a request that may fail by itself: a proxy passes on what a stranger sends it, which may be
// malformed or too long, and must not open the breaker of a server that has no part in it.
type upload struct {
	io.ReadCloser
	failed atomic.Pointer[error] // reading, first of all
}

// noteUpload gives the request to send: a copy with the body noted, where that can fail.
func noteUpload(req *http.Request) (*http.Request, *upload) {
	if req.Body == nil || req.Body == http.NoBody || inMemory(req.Body) {
		return req, nil
	}
	noted := new(struct { // in one piece, to cost one allocation
		upload upload
		sent   http.Request
	})
	noted.upload.ReadCloser = req.Body
	noted.sent = *req
	noted.sent.Body = &noted.upload
	return &noted.sent, &noted.upload
}

// What io.NopCloser makes, and http.NewRequest of a body that is in memory.
var (
	nopCloser         = reflect.TypeOf(io.NopCloser(nil))
	nopCloserWriterTo = reflect.TypeOf(io.NopCloser((*bytes.Reader)(nil)))
)

// inMemory tells whether a body is there as a whole, and so cannot fail.
func inMemory(body io.ReadCloser) bool {
	if of := reflect.TypeOf(body); of != nopCloser && of != nopCloserWriterTo {
		return false
	}
	switch reflect.ValueOf(body).Field(0).Interface().(type) {
	case *bytes.Buffer, *bytes.Reader, *strings.Reader:
		return true
	}
	return false
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
