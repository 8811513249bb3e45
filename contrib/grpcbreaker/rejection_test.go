package grpcbreaker_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cenkalti/backoff/v5"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	pb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"

	"github.com/otelbreaker/otelbreaker/breaker"
	"github.com/otelbreaker/otelbreaker/contrib/grpcbreaker"
)

// detail gives the detail of its type, or nil.
func detail[T any](err error) *T {
	for _, d := range status.Convert(err).Details() {
		if d, ok := d.(*T); ok {
			return d
		}
	}
	return nil
}

func TestARejectionIsBothAStatusAndAnOpenError(t *testing.T) {
	s := answers(errDown)
	r := start(t, s, tripsAtOnce)
	_ = r.call(t.Context())
	for i, k := range kinds {
		direct := k.call(t.Context(), r.client)
		for _, err := range []error{direct, fmt.Errorf("charging: %w", direct)} {
			rejection, is := errors.AsType[*breaker.OpenError](err)
			if !is || !errors.Is(err, breaker.ErrOpen) || rejection.State != breaker.Open || rejection.Endpoint != r.conn.CanonicalTarget() {
				t.Errorf("%s: %v is %+v", k.name, err, rejection)
			}
			if code := status.Code(err); code != codes.Unavailable {
				t.Errorf("%s: the code is %v", k.name, code)
			}
			if after := detail[errdetails.RetryInfo](err).GetRetryDelay().AsDuration(); after <= 0 || after > breaker.DefaultRecoveryTimeout {
				t.Errorf("%s: retry after %v", k.name, after)
			}
			if why := detail[errdetails.ErrorInfo](err); why.GetReason() != grpcbreaker.Reason || why.GetDomain() != grpcbreaker.Domain {
				t.Errorf("%s: the reason is %v", k.name, why)
			}
		}
		if text := status.Convert(direct).Message(); text != "circuit breaker is open" {
			t.Errorf("%s: strangers would read %q", k.name, text)
		}
		if rejection, _ := errors.AsType[*breaker.OpenError](direct); direct.Error() != rejection.Error() {
			t.Errorf("%s: the text is %q", k.name, direct)
		}
		expect(t, r.breaker(), k.name, counts{failure: 1, blocked: uint64(i) + 1})
	}
}

func TestARejectionTellsNoPauseThatIsUnknown(t *testing.T) {
	r := start(t, answers(nil))
	r.breaker().ForceOpen("test")
	err := r.call(t.Context())
	if !errors.Is(err, breaker.ErrOpen) || detail[errdetails.RetryInfo](err) != nil || detail[errdetails.ErrorInfo](err) == nil {
		t.Errorf("%v has %v", err, status.Convert(err).Details())
	}
}

func TestARejectionTellsThePauseThatIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		guarded := guard(t, newTelemetry(), oneKey, tripsAtOnce)
		b := guarded.Breakers().Get("key")
		_ = b.Do(t.Context(), func(context.Context) error { return errDown })
		time.Sleep(20 * time.Second)
		err := guarded.Unary()(t.Context(), "/a.B/C", nil, nil, nil, nil)
		if after := detail[errdetails.RetryInfo](err).GetRetryDelay().AsDuration(); after != 10*time.Second {
			t.Errorf("retry after %v", after)
		}
		b.ForceOpen("test over") // stops the timer
	})
}

// A server whose own dependency is blocked answers its callers with the rejection. Their breakers ignore it, and so does
// another breaker of the same call.
func TestARejectionOnTheWayIsIgnored(t *testing.T) {
	inner := start(t, answers(errDown), tripsAtOnce)
	_ = inner.call(t.Context())
	front := answers(nil)
	front.unary = func(ctx context.Context, _ *pb.SimpleRequest) (*pb.SimpleResponse, error) {
		err := inner.call(ctx)
		if !errors.Is(err, breaker.ErrOpen) {
			t.Errorf("not blocked: %v", err)
		}
		return nil, err
	}
	outer := start(t, front, tripsAtOnce)
	for range 3 {
		err := outer.call(t.Context())
		if status.Code(err) != codes.Unavailable || errors.Is(err, breaker.ErrOpen) {
			t.Errorf("it came as %v", err)
		}
		if got := grpcbreaker.DefaultClassify("/a.B/C", err); got != breaker.Ignored {
			t.Errorf("DefaultClassify says %v", got)
		}
	}
	expect(t, outer.breaker(), "on the way", counts{ignored: 3})

	elsewhere, _ := open(t.Context(), t, &fake{})
	elsewhere.ForceOpen("test")
	blocked := elsewhere.Do(t.Context(), func(context.Context) error { return nil }) // no status, but the bare rejection
	if got := grpcbreaker.DefaultClassify("/a.B/C", blocked); got != breaker.Ignored {
		t.Errorf("a rejection that is no status is %v", got)
	}
	marked := info(t, codes.Unavailable, &errdetails.ErrorInfo{Reason: "CIRCUIT_OPEN", Domain: "somebody.else"})
	if got := grpcbreaker.DefaultClassify("/a.B/C", marked); got != breaker.Failure {
		t.Errorf("somebody else's is %v", got)
	}

	above := guard(t, newTelemetry(), tripsAtOnce)
	beneath := guard(t, newTelemetry(), tripsAtOnce, grpcbreaker.WithKey(grpcbreaker.MethodKey))
	conn := dial(t, serve(t, answers(errDown)), append(above.DialOptions(), beneath.DialOptions()...)...)
	beneath.Breakers().Get(conn.CanonicalTarget() + pb.TestService_UnaryCall_FullMethodName).ForceOpen("test")
	if _, err := pb.NewTestServiceClient(conn).UnaryCall(t.Context(), &pb.SimpleRequest{}); !errors.Is(err, breaker.ErrOpen) {
		t.Errorf("not blocked: %v", err)
	}
	expect(t, breakerOf(above, conn), "beneath", counts{ignored: 1})
}

func TestRetriesSeeEachAttemptAndStopAtARejection(t *testing.T) {
	var served atomic.Int32
	s := answers(nil)
	s.unary = func(context.Context, *pb.SimpleRequest) (*pb.SimpleResponse, error) {
		served.Add(1)
		return nil, errDown
	}
	r := start(t, s, grpcbreaker.WithConfig(breaker.Config{FailureThreshold: 3}))
	attempts := 0
	_, err := backoff.Retry(t.Context(), func() (*pb.SimpleResponse, error) {
		attempts++
		res, err := r.client.UnaryCall(t.Context(), &pb.SimpleRequest{})
		if errors.Is(err, breaker.ErrOpen) {
			return nil, backoff.Permanent(err)
		}
		return res, err
	}, backoff.WithBackOff(backoff.NewConstantBackOff(time.Microsecond)), backoff.WithMaxTries(100))
	if !errors.Is(err, breaker.ErrOpen) || status.Code(err) != codes.Unavailable {
		t.Errorf("the retries ended with %v", err)
	}
	if n := served.Load(); attempts != 4 || n != 3 {
		t.Errorf("%d attempts, %d at the server", attempts, n)
	}
	expect(t, r.breaker(), "retried", counts{failure: 3, blocked: 1})
}

// gRPC's own retries are beneath the breaker, which sees one call with its last code.
func TestG08_GRPCsOwnRetriesAreOneCall(t *testing.T) {
	var fails, served atomic.Int32
	s := answers(nil)
	s.unary = func(context.Context, *pb.SimpleRequest) (*pb.SimpleResponse, error) {
		served.Add(1)
		if fails.Add(-1) >= 0 {
			return nil, errDown
		}
		return &pb.SimpleResponse{}, nil
	}
	guarded := guard(t, newTelemetry(), neverTrips)
	conn := dial(t, serve(t, s), append(guarded.DialOptions(), grpc.WithDefaultServiceConfig(`{"methodConfig": [{
		"name": [{"service": "grpc.testing.TestService"}],
		"retryPolicy": {"maxAttempts": 3, "initialBackoff": "0.001s", "maxBackoff": "0.001s", "backoffMultiplier": 1,
			"retryableStatusCodes": ["UNAVAILABLE"]}}]}`))...)
	b := breakerOf(guarded, conn)
	call := func() error {
		_, err := pb.NewTestServiceClient(conn).UnaryCall(t.Context(), &pb.SimpleRequest{})
		return err
	}
	fails.Store(2)
	if err := call(); err != nil {
		t.Error(err)
	}
	expect(t, b, "the third attempt is a success", counts{success: 1})
	fails.Store(3)
	if err := call(); status.Code(err) != codes.Unavailable {
		t.Errorf("with none of three: %v", err)
	}
	expect(t, b, "none of three is", counts{success: 1, failure: 1})
	if n := served.Load(); n != 6 {
		t.Errorf("the server got %d attempts", n)
	}
}
