package grpcbreaker

import (
	"context"
	"errors"
	"math"
	"strconv"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

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

// request is what was, or should have been, sent.
type request struct {
	ctx     context.Context
	cc      *grpc.ClientConn
	method  string
	message any // of a unary call
	options []grpc.CallOption
}

// failed judges an error, of a call or of a stream.
func (i *Interceptors) failed(sent *request, err error, trailer metadata.MD) breaker.Result {
	r := breaker.Result{Outcome: i.classify(sent.method, err)}
	switch {
	case r.Outcome == breaker.Success, r.Outcome == breaker.Ignored:
		return r
	case sent.givenUp(), sent.malformed(err):
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

// givenUp tells whether the caller itself ended the call, by its context or by closing the connection.
func (r *request) givenUp() bool {
	return errors.Is(r.ctx.Err(), context.Canceled) || r.cc != nil && r.cc.GetState() == connectivity.Shutdown
}

// malformed tells whether a call failed because it could not be sent as it was. Users' input may end up in metadata and
// messages, and must not open the breaker of a server that never saw it. gRPC's errors do not tell these from a
// server's, so what it checked is checked again, and only where it may have been at fault.
func (r *request) malformed(err error) bool {
	st, _ := status.FromError(err)
	switch {
	case st.Code() == codes.Internal && strings.HasPrefix(st.Message(), "grpc: error while marshaling"):
		message, ok := r.message.(proto.Message)
		if !ok {
			return false
		}
		_, err := proto.Marshal(message)
		return err != nil
	case st.Code() == codes.Internal:
		md, _ := metadata.FromOutgoingContext(r.ctx)
		for name, values := range md {
			if !wellFormed(name, values) {
				return true
			}
		}
	case st.Code() == codes.ResourceExhausted:
		message, ok := r.message.(proto.Message)
		return ok && proto.Size(message) > r.maxSize()
	}
	return false
}

// wellFormed tells whether gRPC sends such metadata.
func wellFormed(name string, values []string) bool {
	if name == "" {
		return false
	}
	for _, c := range []byte(name) {
		if name[0] != ':' && (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '.' && c != '-' && c != '_' {
			return false
		}
	}
	if strings.HasSuffix(name, "-bin") {
		return true
	}
	for _, v := range values {
		for _, c := range []byte(v) {
			if c < 0x20 || c > 0x7E {
				return false
			}
		}
	}
	return true
}

// maxSize is the size in bytes up to which messages are sent.
func (r *request) maxSize() int {
	most := math.MaxInt32
	for _, o := range r.options {
		if limit, ok := o.(grpc.MaxSendMsgSizeCallOption); ok {
			most = limit.MaxSendMsgSize
		}
	}
	return most
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
