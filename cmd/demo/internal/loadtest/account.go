package loadtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/otelbreaker/otelbreaker/breaker"
	"github.com/otelbreaker/otelbreaker/transport"
)

// sequence is the header in which vegeta numbers its requests. A redirect keeps it.
const sequence = "X-Vegeta-Seq"

// Counts are calls by what came of them.
type Counts struct {
	Success uint64 `json:"success"`
	Failure uint64 `json:"failure"`
	Blocked uint64 `json:"blocked"`
	Ignored uint64 `json:"ignored"`
}

func (c Counts) total() uint64 { return c.Success + c.Failure + c.Blocked + c.Ignored }

// answer is what came of a call: of a request that was redirected, of the last one.
type answer struct {
	label   string // a status, or the kind of an error; never its text, which has the URL
	status  int
	blocked bool
}

// account is the client's own of the calls that it makes: it sits over the breakers, sees what any caller sees, judges it by
// the rules that are promised, and asks the breakers nothing.
type account struct {
	next http.RoundTripper

	mu       sync.Mutex
	counts   Counts
	answers  map[string]answer // by number
	underway int
	peak     int // of those under way at once
}

func newAccount(next http.RoundTripper) *account {
	return &account{next: next, answers: make(map[string]answer)}
}

// RoundTrip makes the call and notes what comes of it, which may be known only when the body has ended.
func (a *account) RoundTrip(req *http.Request) (*http.Response, error) {
	a.mu.Lock()
	a.underway++
	a.peak = max(a.peak, a.underway)
	a.mu.Unlock()
	number := req.Header.Get(sequence)
	res, err := a.next.RoundTrip(req)
	switch {
	case errors.Is(err, breaker.ErrOpen):
		a.note(number, answer{label: "blocked", blocked: true}, breaker.Ignored)
	case err != nil:
		a.note(number, answer{label: kind(err)}, transport.DefaultClassify(nil, err))
	default:
		got := answer{label: strconv.Itoa(res.StatusCode), status: res.StatusCode}
		outcome := transport.DefaultClassify(res, nil)
		if outcome != breaker.Success || res.StatusCode == http.StatusSwitchingProtocols {
			a.note(number, got, outcome)
			return res, nil
		}
		res.Body = &watched{ReadCloser: res.Body, ended: func(err error) {
			if err != nil {
				a.note(number, answer{label: kind(err)}, breaker.Failure)
			} else {
				a.note(number, got, breaker.Success)
			}
		}}
	}
	return res, err
}

func (a *account) note(number string, got answer, outcome breaker.Outcome) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.underway--
	switch {
	case got.blocked:
		a.counts.Blocked++
	case outcome == breaker.Success:
		a.counts.Success++
	case outcome == breaker.Ignored:
		a.counts.Ignored++
	default:
		a.counts.Failure++
	}
	a.answers[number] = got
}

// take gives what came of a request that is over, and forgets it.
func (a *account) take(number uint64) (answer, bool) {
	key := strconv.FormatUint(number, 10)
	a.mu.Lock()
	defer a.mu.Unlock()
	got, has := a.answers[key]
	delete(a.answers, key)
	return got, has
}

func (a *account) sum() (Counts, int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.counts, a.peak
}

// watched is a body that tells how it ends: at its end or when it is closed, well; else with the error.
type watched struct {
	io.ReadCloser
	ended func(error)
	told  atomic.Bool
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.ReadCloser.Read(p)
	switch err {
	case nil:
	case io.EOF:
		w.tell(nil)
	default:
		w.tell(err)
	}
	return n, err
}

func (w *watched) Close() error {
	w.tell(nil)
	return w.ReadCloser.Close()
}

func (w *watched) tell(err error) {
	if !w.told.Swap(true) {
		w.ended(err)
	}
}

// kind names an error without its text.
func kind(err error) string {
	var network net.Error
	switch {
	case errors.Is(err, ErrRemote):
		return "not on loopback"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &network) && network.Timeout():
		return "timeout"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "connection reset"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "broken off"
	}
	for inner := err; inner != nil; inner = errors.Unwrap(inner) {
		err = inner
	}
	return fmt.Sprintf("%T", err)
}
