package breaker

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"
)

// ErrOpen is what the error of every blocked call is, by errors.Is: the call was not made, so this tells nothing of how
// the dependency fares now. errors.As with an [*OpenError] tells which breaker it was, why, and until when.
var ErrOpen = errors.New("circuit breaker is open")

var (
	errNilContext  = errors.New("breaker: the context is nil: pass the caller's, or context.Background()")
	errNilFunction = errors.New("breaker: the function to call is nil")
)

// OpenError is a rejection, the error of a blocked call: it was not made. One immutable value serves a whole open (or
// half-open) period, so a rejection allocates nothing; do not change it.
type OpenError struct {
	Service, Endpoint string    // as in [Config]
	State             State     // Open, or HalfOpen where all probes are in flight
	RetryAt           time.Time // when a probe will be let through; zero where that is unknown (forced open, or half-open)
	OutageID          string    // as in the outage's events
	Reason            Reason    // why the breaker is in this state

	openedBy context.Context
}

// Error names the breaker and when to try again.
func (e *OpenError) Error() string {
	text := fmt.Sprintf("%v: %s (%s)", ErrOpen, e.Service, e.Endpoint)
	switch {
	case e.State == HalfOpen:
		text += " is half-open, and all its probes are in flight"
	case e.Reason.Rule == RuleForced:
		text += " was forced open"
	}
	if after := e.RetryAfter(); after > 0 {
		text += fmt.Sprintf(", retry after %v", after.Round(time.Millisecond))
	}
	return text
}

// Is makes every OpenError an [ErrOpen].
func (e *OpenError) Is(target error) bool { return target == ErrOpen }

// RetryAfter is the time from now until a probe will be let through; never negative. It is 0 where that is unknown: forced
// open, also for a limited time, since that may be lifted earlier; half-open, with all probes in flight; and open in the
// moment that the delay ends. So whoever sleeps that long before another call sleeps a minimum of their own at least.
func (e *OpenError) RetryAfter() time.Duration {
	if e.RetryAt.IsZero() {
		return 0
	}
	return max(0, time.Until(e.RetryAt))
}

// ErrorType names the rejection where an error is named by its type, as on a span of otelhttp.
func (*OpenError) ErrorType() string { return "circuit_open" }

// OpenedBy gives the context of the call that opened the breaker, for its trace; context.Background() where an
// operator did. Never nil and never cancelled.
func (e *OpenError) OpenedBy() context.Context { return e.openedBy }

// The error types that are not taken from an error: see [Event].
const (
	ErrorTypeTimeout = "timeout" // a deadline passed, or a probe's lease ran out
	ErrorTypePanic   = "panic"   // the call panicked, or ended by runtime.Goexit
)

const maxErrorType = 128 // bytes

// errorType names an error by what it is, never by its text, which may hold anything: by its own ErrorType method,
// as "timeout", by what the network said, or by its Go type.
func errorType(err error) string {
	if named, ok := errors.AsType[interface {
		error
		ErrorType() string
	}](err); ok {
		text := named.ErrorType()
		return strings.ToValidUTF8(text[:min(len(text), maxErrorType)], "")
	}
	timeout, ok := errors.AsType[interface {
		error
		Timeout() bool
	}](err)
	if errors.Is(err, context.DeadlineExceeded) || ok && timeout.Timeout() {
		return ErrorTypeTimeout
	}
	if name := networkErrorType(err); name != "" {
		return name
	}
	// Wrappers that say only that they wrap would hide the type that matters.
	for {
		t := reflect.TypeOf(err).String()
		inner := unwrap(err)
		if inner == nil || !strings.HasPrefix(t, "*fmt.") && t != "*url.Error" && t != "*errors.joinError" {
			return t
		}
		err = inner
	}
}

// unwrap gives the error within, the first of them where there are several.
func unwrap(err error) error {
	if several, ok := err.(interface{ Unwrap() []error }); ok {
		for _, inner := range several.Unwrap() {
			if inner != nil {
				return inner
			}
		}
		return nil
	}
	return errors.Unwrap(err)
}

// ErrorTypeOf names an error as [Event] does, never by its text. The first of these that applies is the name:
//
//   - what a method ErrorType() string says, of the error or of one that it wraps: the way to name errors of one's own,
//     by few and short names
//   - timeout, of a deadline that passed and of whatever has a method Timeout that says so
//   - connection_refused, connection_reset, connection_aborted, broken_pipe, host_unreachable, network_unreachable,
//     address_not_available or too_many_open_files, of the system's error numbers; dns, of a *net.DNSError;
//     unexpected_eof, of io.EOF and io.ErrUnexpectedEOF
//   - the error's Go type, such as *tls.CertificateVerificationError; of what only wraps (fmt.Errorf, errors.Join, a
//     *url.Error) the type of the error within
//
// It is for those who report a [Result] or a [Move] and must not have the error's methods called later, under a lock, say. A
// nil error has no name. Should a method of the error panic, the error's Go type is its name.
func ErrorTypeOf(err error) string {
	if err == nil {
		return ""
	}
	r := Result{Err: err}
	r.describe()
	return r.ErrorType
}

// askedDelay is the pause that an error asks for by a RetryAfter method, or 0.
func askedDelay(err error) time.Duration {
	if asks, ok := errors.AsType[interface {
		error
		RetryAfter() time.Duration
	}](err); ok {
		return asks.RetryAfter()
	}
	return 0
}

// describe fills in what a failure's error says of itself. Its methods are somebody else's, so this is done outside every
// lock, and one that panics (a typed nil's, say) costs no more than what it had to say.
func (r *Result) describe() {
	defer func() {
		if recover() != nil && r.ErrorType == "" {
			r.ErrorType = reflect.TypeOf(r.Err).String()
		}
	}()
	r.RetryAfter = max(r.RetryAfter, askedDelay(r.Err))
	if r.ErrorType == "" {
		r.ErrorType = errorType(r.Err)
	}
}
