package grpcbreaker

import (
	"errors"
	"math"
	"strconv"
	"time"

	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/otelbreaker/otelbreaker/breaker"
)

const maxCode = codes.Unauthenticated // of those that gRPC knows

// codeSet has a bit for each code.
type codeSet uint32

func setOf(all ...codes.Code) (set codeSet) {
	for _, c := range all {
		set |= 1 << c
	}
	return set
}

var defaultFailures = setOf(codes.Unavailable, codes.DeadlineExceeded, codes.ResourceExhausted, codes.Internal,
	codes.Unknown, codes.DataLoss, codes.Canceled)

// DefaultClassify is how failed calls are judged where no option says otherwise: Unavailable, DeadlineExceeded,
// ResourceExhausted, Internal, Unknown, DataLoss and Canceled are failures, all other codes are successes. It is here for
// others to build on.
//
// A rejection by another breaker on the way is ignored, for nothing was sent to the server: the error itself, where that
// breaker is in the same process, and the status that a server has passed on. Any server can mark its status so and go
// unjudged, as it could by answering OK; a classification that does not trust it asks for the code alone.
func DefaultClassify(_ string, err error) breaker.Outcome { return defaultFailures.classify("", err) }

func (failures codeSet) classify(_ string, err error) breaker.Outcome {
	c, _ := codeOf(err)
	switch {
	case failures&setOf(c) == 0:
		return breaker.Success
	case isRejection(err):
		return breaker.Ignored
	}
	return breaker.Failure
}

// codeOf gives the code of an error, and whether it says so itself.
func codeOf(err error) (c codes.Code, says bool) {
	st, says := status.FromError(err)
	if !says {
		st = status.FromContextError(err)
		says = st.Code() != codes.Unknown
	}
	if c = st.Code(); c > maxCode {
		c = codes.Unknown
	}
	return c, says
}

// failed judges an error, of a call or of a stream. Where there was a stream to the server, the trailer is not nil.
func (i *Interceptors) failed(sent *request, err error, trailer metadata.MD) breaker.Result {
	r := breaker.Result{Outcome: i.classify(sent.method, err)}
	switch {
	case sent.unsent(err, trailer): // no success either, or one's own credentials could close the breaker
		r.Outcome = breaker.Ignored
		return r
	case r.Outcome == breaker.Success, r.Outcome == breaker.Ignored:
		return r
	case sent.givenUp(), sent.refused(err, trailer):
		r.Outcome = breaker.Ignored
		return r
	}
	r.Outcome = breaker.Failure // also what is no outcome, as for a breaker
	if c, says := codeOf(err); says {
		r.ErrorType = code.Code(c).String()
	} else {
		r.Err = err
	}
	r.RetryAfter = max(retryInfo(err), pushback(trailer))
	return r
}

// retryInfo gives the pause that a status asks for; 0 or less where it asks for none.
func retryInfo(err error) time.Duration {
	st, _ := status.FromError(err)
	for _, d := range st.Details() {
		if info, ok := d.(*errdetails.RetryInfo); ok {
			return info.GetRetryDelay().AsDuration()
		}
	}
	return 0
}

// pushback gives the pause that a trailer asks for, in the way of gRPC's own retries; 0 where it asks for none.
func pushback(trailer metadata.MD) time.Duration {
	asked := trailer.Get("grpc-retry-pushback-ms")
	if len(asked) != 1 {
		return 0
	}
	ms, err := strconv.ParseInt(asked[0], 10, 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) {
		return 0
	}
	return time.Duration(max(0, min(ms, math.MaxInt64/int64(time.Millisecond)))) * time.Millisecond
}
