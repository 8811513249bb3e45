package grpcbreaker_test

import (
	"context"
	"errors"
	"io"
	"math"
	"net"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	pb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/otelbreaker/otelbreaker/breaker"
	"github.com/otelbreaker/otelbreaker/contrib/grpcbreaker"
)

type receiver[T any] interface{ Recv() (*T, error) }

// drain receives until the end; io.EOF is none of an error.
func drain[T any](from receiver[T]) error {
	for {
		switch _, err := from.Recv(); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
	}
}

func TestG11_TheVerdictByCode(t *testing.T) {
	failures := map[codes.Code]string{
		codes.Canceled: "CANCELLED", codes.Unknown: "UNKNOWN", codes.DeadlineExceeded: "DEADLINE_EXCEEDED",
		codes.ResourceExhausted: "RESOURCE_EXHAUSTED", codes.Internal: "INTERNAL", codes.Unavailable: "UNAVAILABLE",
		codes.DataLoss: "DATA_LOSS", 99: "UNKNOWN",
	}
	for code := range codes.Unauthenticated + 2 {
		if code > codes.Unauthenticated {
			code = 99
		}
		var err error
		if code != codes.OK {
			err = status.Error(code, "told by the server")
		}
		trips := make(causes, len(kinds))
		r := start(t, answers(err), tripsAtOnce, grpcbreaker.WithListeners(trips))
		for _, k := range kinds {
			if got := status.Code(k.call(t.Context(), r.client)); got != code {
				t.Fatalf("%s: the caller got %v of %v", k.name, got, code)
			}
			name, fails := failures[code]
			want := breaker.Closed
			if fails {
				want = breaker.Open
			}
			if got := r.breaker().State(); got != want {
				t.Errorf("%s: %v left it %v", k.name, code, got)
			}
			if fails {
				if got := <-trips; got != name {
					t.Errorf("%s: error.type of %v is %q", k.name, code, got)
				}
			}
			r.breaker().Reset()
		}
		want := counts{success: uint64(len(kinds))}
		if _, fails := failures[code]; fails {
			want = counts{failure: uint64(len(kinds))}
		}
		expect(t, r.breaker(), code.String(), want)
		if got := grpcbreaker.DefaultClassify("/a.B/C", err); (got == breaker.Failure) != (want.failure > 0) {
			t.Errorf("DefaultClassify says %v of %v", got, code)
		}
	}
}

// causes tells the error.type of each opening, on the goroutine of the call.
type causes chan string

func (causes) OnTransition(breaker.Event) {}

func (c causes) OnCallTransition(_ context.Context, e breaker.Event) {
	if e.To == breaker.Open {
		c <- e.ErrorType
	}
}

func (causes) OnBlocked(context.Context, *breaker.OpenError) {}

func TestG11_ADeadServerIsAFailure(t *testing.T) {
	tel := newTelemetry()
	guarded := guard(t, tel, neverTrips)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = listener.Close() // so nobody listens there
	conn := dial(t, listener.Addr().String(), guarded.DialOptions()...)
	var failed uint64
	for _, k := range kinds {
		if err := k.call(t.Context(), pb.NewTestServiceClient(conn)); status.Code(err) != codes.Unavailable {
			t.Errorf("%s: %v", k.name, err)
		}
		failed++
		expect(t, breakerOf(guarded, conn), k.name, counts{failure: failed})
	}
}

func TestG11_WithFailureCodesOnlyTheseFail(t *testing.T) {
	for code, want := range map[codes.Code]counts{
		codes.NotFound: {failure: 1}, codes.Aborted: {failure: 1}, codes.Unavailable: {success: 1},
	} {
		r := start(t, answers(status.Error(code, "")), neverTrips,
			grpcbreaker.WithFailureCodes(codes.NotFound, codes.Aborted))
		_ = r.call(t.Context())
		expect(t, r.breaker(), code.String(), want)
	}
}

func TestG11_TheUserClassifies(t *testing.T) {
	errFrom := status.Error(codes.NotFound, "no such index")
	var asked atomic.Int32
	classify := func(o breaker.Outcome) grpcbreaker.Option {
		return grpcbreaker.WithClassify(func(method string, err error) breaker.Outcome {
			asked.Add(1)
			if !strings.HasPrefix(method, "/grpc.testing.TestService/") || status.Code(err) != codes.NotFound {
				t.Errorf("asked of %v of %s", err, method)
			}
			return o
		})
	}
	all := uint64(len(kinds))
	for name, c := range map[string]struct {
		option grpcbreaker.Option
		want   counts
	}{
		"a failure":     {classify(breaker.Failure), counts{failure: all}},
		"ignored":       {classify(breaker.Ignored), counts{ignored: all}},
		"a success":     {classify(breaker.Success), counts{success: all}},
		"no outcome":    {classify(42), counts{failure: all}},
		"by the config": {grpcbreaker.WithConfig(breaker.Config{Classify: func(error) breaker.Outcome { return breaker.Ignored }}), counts{ignored: all}},
	} {
		r := start(t, answers(errFrom), neverTrips, c.option)
		asked.Store(0)
		for _, k := range kinds {
			if err := k.call(t.Context(), r.client); status.Code(err) != codes.NotFound {
				t.Errorf("%s, %s: %v", name, k.name, err)
			}
		}
		expect(t, r.breaker(), name, c.want)
		if n := asked.Load(); name != "by the config" && n != int32(all) {
			t.Errorf("%s: asked %d times of %d calls", name, n, all)
		}
		unasked := start(t, answers(nil), neverTrips, c.option)
		for _, k := range kinds {
			if err := k.call(t.Context(), unasked.client); err != nil {
				t.Errorf("%s: %v", k.name, err)
			}
		}
		expect(t, unasked.breaker(), name+", all well", counts{success: all})
	}
}

// info is a status with a RetryInfo.
func info(t testing.TB, code codes.Code, details ...protoadapt.MessageV1) error {
	t.Helper()
	st, err := status.New(code, "later").WithDetails(details...)
	if err != nil {
		t.Fatal(err)
	}
	return st.Err()
}

func TestG11_RetryInfoLengthensTheOpenDelay(t *testing.T) {
	retry := func(d *durationpb.Duration) protoadapt.MessageV1 { return &errdetails.RetryInfo{RetryDelay: d} }
	other := &errdetails.QuotaFailure{}
	for _, c := range []struct {
		name    string
		err     error
		trailer string // grpc-retry-pushback-ms
		want    time.Duration
	}{
		{"none", errDown, "", 10 * time.Second},
		{"a minute", info(t, codes.Unavailable, retry(durationpb.New(time.Minute))), "", time.Minute},
		{"behind another detail", info(t, codes.ResourceExhausted, other, retry(durationpb.New(time.Minute))), "", time.Minute},
		{"shorter than the delay", info(t, codes.Unavailable, retry(durationpb.New(time.Second))), "", 10 * time.Second},
		{"over the cap", info(t, codes.Unavailable, retry(durationpb.New(2*time.Hour))), "", 30 * time.Minute},
		{"more than there is", info(t, codes.Unavailable, retry(&durationpb.Duration{Seconds: math.MaxInt64})), "", 30 * time.Minute},
		{"negative", info(t, codes.Unavailable, retry(durationpb.New(-time.Minute))), "", 10 * time.Second},
		{"without a delay", info(t, codes.Unavailable, retry(nil)), "", 10 * time.Second},
		{"pushback", errDown, "60000", time.Minute},
		{"pushback, shorter", errDown, "10", 10 * time.Second},
		{"pushback: do not", errDown, "-1", 10 * time.Second},
		{"pushback, nonsense", errDown, "soon", 10 * time.Second},
		{"pushback, more than there is", errDown, "99999999999999999999999", 30 * time.Minute},
		{"pushback, less than there is", errDown, "-99999999999999999999999", 10 * time.Second},
		{"the longer of both", info(t, codes.Unavailable, retry(durationpb.New(time.Minute))), "90000", 90 * time.Second},
	} {
		trailer := func() metadata.MD {
			if c.trailer == "" {
				return nil
			}
			return metadata.Pairs("grpc-retry-pushback-ms", c.trailer)
		}
		s := answers(c.err)
		s.unary = func(ctx context.Context, _ *pb.SimpleRequest) (*pb.SimpleResponse, error) {
			_ = grpc.SetTrailer(ctx, trailer())
			return nil, c.err
		}
		s.download = func(_ *pb.StreamingOutputCallRequest, to pb.TestService_StreamingOutputCallServer) error {
			to.SetTrailer(trailer())
			return c.err
		}
		r := start(t, s, grpcbreaker.WithConfig(breaker.Config{FailureThreshold: 1, RecoveryTimeout: 10 * time.Second,
			MaxRecoveryTimeout: 30 * time.Minute}))
		for _, k := range kinds[:2] {
			before := time.Now()
			_ = k.call(t.Context(), r.client)
			s := r.breaker().Snapshot()
			if got := s.RetryAfter; s.State != breaker.Open || got > c.want || got < c.want-time.Since(before) {
				t.Errorf("%s, %s: %v for %v, want %v", c.name, k.name, s.State, got, c.want)
			}
			r.breaker().Reset()
		}
	}
}

func TestTheCallersOwnTrailerIsFilledToo(t *testing.T) {
	s := answers(nil)
	s.unary = func(ctx context.Context, _ *pb.SimpleRequest) (*pb.SimpleResponse, error) {
		return &pb.SimpleResponse{}, grpc.SetTrailer(ctx, metadata.Pairs("told", "yes"))
	}
	r := start(t, s)
	options := make([]grpc.CallOption, 0, 20)
	var trailer metadata.MD
	for range 10 { // more than there is room for in the call's own place
		options = append(options, grpc.Trailer(&trailer))
	}
	if _, err := r.client.UnaryCall(t.Context(), &pb.SimpleRequest{}, options...); err != nil {
		t.Fatal(err)
	}
	if got := trailer.Get("told"); len(got) != 1 {
		t.Errorf("the trailer is %v", trailer)
	}
	if rest := options[len(options):cap(options)]; rest[0] != nil {
		t.Error("the caller's options were written to")
	}
}

func TestG11_SlowIsJudgedByTheWaitForTheFirstAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		guarded := guard(t, newTelemetry(), oneKey, grpcbreaker.WithConfig(breaker.Config{SlowCallDuration: time.Second}))
		b := guarded.Breakers().Get("key")
		call := func(what string, desc grpc.StreamDesc, opening, header, first, later time.Duration, slow bool) {
			before := b.Snapshot().Slow
			received := 0
			s, err := guarded.Stream()(t.Context(), &desc, nil, "/a.B/C", func(context.Context, *grpc.StreamDesc,
				*grpc.ClientConn, string, ...grpc.CallOption) (grpc.ClientStream, error) {
				time.Sleep(opening)
				return &fake{
					header: func() (metadata.MD, error) { time.Sleep(header); return metadata.MD{}, nil },
					recv: func() error {
						if received++; received == 1 {
							time.Sleep(first)
							return nil
						}
						time.Sleep(later)
						return io.EOF
					},
				}, nil
			})
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute) // the caller takes its time
			if header > 0 {
				_, _ = s.Header()
			}
			for s.RecvMsg(nil) == nil && desc.ServerStreams {
				time.Sleep(time.Minute)
			}
			if got := b.Snapshot().Slow - before; (got == 1) != slow {
				t.Errorf("%s: %d slow", what, got)
			}
		}
		down, up, both := grpc.StreamDesc{ServerStreams: true}, grpc.StreamDesc{ClientStreams: true},
			grpc.StreamDesc{ServerStreams: true, ClientStreams: true}
		const short, long = time.Millisecond, 2 * time.Second
		call("all at once", down, short, 0, short, short, false)
		call("slow to open", down, long, 0, short, short, true)
		call("a slow first message", down, short, 0, long, short, true)
		call("opening and first message together", down, long/3, 0, long/3, short, true)
		call("slow headers", down, short, long, short, short, true)
		call("headers, then a pause", down, short, short, long, short, false)
		call("a pause later", down, short, 0, short, long, false)
		call("a slow answer to an upload", up, short, 0, long, short, true)
		call("an upload", up, short, 0, short, short, false)
		call("a conversation's pause", both, short, 0, long, short, false)
		call("a conversation slow to open", both, long, 0, short, short, true)
		expect(t, b, "all", counts{success: 11})

		before := b.Snapshot().Slow
		s := openWith(t.Context(), t, guarded, &fake{recv: func() error { return errDown }})
		time.Sleep(time.Minute)
		_ = s.RecvMsg(nil)
		if got := b.Snapshot().Slow - before; got != 0 {
			t.Errorf("a failure that the caller came late for: %d slow", got)
		}
	})
}

func TestG11_PanicAndGoexitAreFailuresAndGoOn(t *testing.T) {
	goodbye := errors.New("goodbye")
	panics := grpcbreaker.WithClassify(func(string, error) breaker.Outcome { panic(goodbye) })
	invoke := func(f func() error) func(*grpcbreaker.Interceptors) {
		return func(guarded *grpcbreaker.Interceptors) {
			_ = guarded.Unary()(t.Context(), "/a.B/C", nil, nil, nil, func(context.Context, string, any, any, *grpc.ClientConn,
				...grpc.CallOption) error {
				return f()
			})
		}
	}
	open := func(f func() (grpc.ClientStream, error)) func(*grpcbreaker.Interceptors) {
		return func(guarded *grpcbreaker.Interceptors) {
			s, err := guarded.Stream()(t.Context(), &grpc.StreamDesc{ServerStreams: true}, nil, "/a.B/C", func(context.Context,
				*grpc.StreamDesc, *grpc.ClientConn, string, ...grpc.CallOption) (grpc.ClientStream, error) {
				return f()
			})
			if err == nil {
				_ = s.RecvMsg(nil)
			}
		}
	}
	for _, c := range []struct {
		name    string
		call    func(*grpcbreaker.Interceptors)
		options []grpcbreaker.Option
		goexits bool
	}{
		{"a panic beneath", invoke(func() error { panic(goodbye) }), nil, false},
		{"Goexit beneath", invoke(func() error { runtime.Goexit(); return nil }), nil, true},
		{"a panic of the classification", invoke(func() error { return errDown }), []grpcbreaker.Option{panics}, false},
		{"a panic of what opens", open(func() (grpc.ClientStream, error) { panic(goodbye) }), nil, false},
		{"Goexit of what opens", open(func() (grpc.ClientStream, error) { runtime.Goexit(); return nil, nil }), nil, true},
		{"a panic of the classification of a stream that does not open",
			open(func() (grpc.ClientStream, error) { return nil, errDown }), []grpcbreaker.Option{panics}, false},
		{"a panic of the classification of a stream that breaks off",
			open(func() (grpc.ClientStream, error) { return &fake{recv: func() error { return errDown }}, nil }),
			[]grpcbreaker.Option{panics}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			trips := make(causes, 1)
			guarded := guard(t, newTelemetry(), append(c.options, tripsAtOnce, oneKey, grpcbreaker.WithListeners(trips))...)
			var recovered any
			done := make(chan struct{})
			go func() {
				defer close(done)
				defer func() { recovered = recover() }()
				c.call(guarded)
			}()
			<-done
			if !c.goexits && recovered != goodbye {
				t.Errorf("recovered %v", recovered)
			}
			expect(t, guarded.Breakers().Get("key"), c.name, counts{failure: 1})
			if got := <-trips; got != "panic" {
				t.Errorf("error.type is %q", got)
			}
		})
	}
}

// oneKey puts all calls under one breaker, called key.
var oneKey = grpcbreaker.WithKey(func(context.Context, string, *grpc.ClientConn) string { return "key" })

func TestG11_NeitherStreamNorErrorIsAFailure(t *testing.T) {
	guarded := guard(t, newTelemetry(), oneKey)
	s, err := guarded.Stream()(t.Context(), &grpc.StreamDesc{ServerStreams: true}, nil, "/a.B/C", func(context.Context,
		*grpc.StreamDesc, *grpc.ClientConn, string, ...grpc.CallOption) (grpc.ClientStream, error) {
		return nil, nil
	})
	if s != nil || status.Code(err) != codes.Internal || !strings.Contains(err.Error(), "neither") {
		t.Errorf("%v, %v", s, err)
	}
	expect(t, guarded.Breakers().Get("key"), "nothing", counts{failure: 1})
}

func TestAnErrorThatIsNoStatusIsNamedByItsType(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{errors.New("canary"), "*errors.errorString"}, {context.DeadlineExceeded, "DEADLINE_EXCEEDED"},
		{context.Canceled, "CANCELLED"}, {io.ErrUnexpectedEOF, "unexpected_eof"},
	} {
		trips := make(causes, 1)
		guarded := guard(t, newTelemetry(), oneKey, tripsAtOnce, grpcbreaker.WithListeners(trips))
		err := guarded.Unary()(t.Context(), "/a.B/C", nil, nil, nil, func(context.Context, string, any, any, *grpc.ClientConn,
			...grpc.CallOption) error {
			return c.err
		})
		if err != c.err {
			t.Errorf("%v came back as %v", c.err, err)
		}
		if got := <-trips; got != c.want {
			t.Errorf("%v is %q, want %q", c.err, got, c.want)
		}
	}
}
