package grpcbreaker_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/log"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/trace"
	oteltrace "go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	pb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/otelbreaker/otelbreaker/breaker"
	"github.com/otelbreaker/otelbreaker/contrib/grpcbreaker"
	"github.com/otelbreaker/otelbreaker/logs"
)

func recordText(r log.Record) string {
	text := fmt.Sprint(r.EventName(), " ", r.Body(), " ")
	r.WalkAttributes(func(a attribute.KeyValue) bool {
		text += fmt.Sprint(a.Key, "=", a.Value.String(), " ")
		return true
	})
	return text
}

// clients are the spans of otelgrpc among those that have ended.
func (tel *telemetry) clients() (all []trace.ReadOnlySpan) {
	for _, s := range tel.spans.Ended() {
		if s.SpanKind() == oteltrace.SpanKindClient {
			all = append(all, s)
		}
	}
	return all
}

func TestOverOTelGRPCABlockedCallLinksToTheCallThatOpened(t *testing.T) {
	for _, k := range kinds {
		r := start(t, answers(errDown), tripsAtOnce)
		spans := map[string]trace.ReadOnlySpan{}
		for _, name := range []string{"opening", "blocked"} {
			ctx, span := r.tracers.Tracer("caller").Start(t.Context(), name)
			if err := k.call(ctx, r.client); status.Code(err) != codes.Unavailable {
				t.Fatal(err)
			}
			span.End()
			spans[name] = span.(trace.ReadOnlySpan)
		}
		if err := r.breaker().Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := len(r.clients()); n != 1 {
			t.Errorf("%s: %d client spans of the one call that was sent", k.name, n)
		}
		opening, blocked := spans["opening"], spans["blocked"]
		events := fmt.Sprint(opening.Events())
		for _, want := range []string{"circuit_breaker.state_change", "circuit_opened", "UNAVAILABLE", "127.0.0.1"} {
			if !strings.Contains(events, want) {
				t.Errorf("%s: the opening call's span does not say %s: %s", k.name, want, events)
			}
		}
		if e := blocked.Events(); len(e) != 1 || e[0].Name != "circuit_breaker.blocked" {
			t.Errorf("%s: the blocked call's events are %v", k.name, e)
		}
		if l := blocked.Links(); len(l) != 1 || !l[0].SpanContext.Equal(opening.SpanContext()) {
			t.Errorf("%s: the blocked call links to %v", k.name, l)
		}
		all := r.records.List()
		if len(all) != 1 || all[0].EventName() != "circuit_opened" ||
			all[0].TraceID() != opening.SpanContext().TraceID() || all[0].SpanID() != opening.SpanContext().SpanID() {
			t.Errorf("%s: the log records are %v", k.name, all)
		}
		const labels = "service=127.0.0.1"
		points := r.counters(t)
		for name, want := range map[string]int64{
			"circuit_breaker.requests endpoint=%s,outcome=failure,": 1, "circuit_breaker.requests endpoint=%s,outcome=blocked,": 1,
			"circuit_breaker.requests endpoint=%s,outcome=success,": 0, "circuit_breaker.requests endpoint=%s,outcome=ignored,": 0,
			"circuit_breaker.state endpoint=%s,": 2,
		} {
			name = fmt.Sprintf(name, r.conn.CanonicalTarget()) + labels
			if got, there := points[name]; !there || got != want {
				t.Errorf("%s: %s is %d (%v), want %d", k.name, name, got, there, want)
			}
		}
	}
}

// Stats handlers are beneath interceptors, whichever option comes first: what is blocked has no client span, and is in none
// of otelgrpc's metrics.
func TestOTelGRPCIsBeneathWhicheverOptionComesFirst(t *testing.T) {
	for name, order := range map[string]func(breaker []grpc.DialOption, instrumented grpc.DialOption) []grpc.DialOption{
		"breaker first": func(b []grpc.DialOption, i grpc.DialOption) []grpc.DialOption { return append(b, i) },
		"otelgrpc first": func(b []grpc.DialOption, i grpc.DialOption) []grpc.DialOption {
			return append([]grpc.DialOption{i}, b...)
		},
	} {
		tel := newTelemetry()
		guarded := guard(t, tel, tripsAtOnce)
		conn := dial(t, serve(t, answers(errDown)), order(guarded.DialOptions(), tel.instrument())...)
		for _, k := range kinds {
			for range 3 { // one is sent
				ctx, span := tel.tracers.Tracer("caller").Start(t.Context(), "caller")
				_ = k.call(ctx, pb.NewTestServiceClient(conn))
				span.End()
			}
			breakerOf(guarded, conn).Reset()
		}
		expect(t, breakerOf(guarded, conn), name, counts{failure: uint64(len(kinds)), blocked: 2 * uint64(len(kinds))})
		if n := len(tel.clients()); n != len(kinds) {
			t.Errorf("%s: %d client spans of %d calls that were sent", name, n, len(kinds))
		}
		if n := tel.measured(t, "rpc.client.call.duration"); n != uint64(len(kinds)) {
			t.Errorf("%s: otelgrpc has measured %d calls of %d that were sent", name, n, len(kinds))
		}
	}
}

// measured gives how many values a histogram has.
func (tel *telemetry) measured(t testing.TB, name string) (n uint64) {
	t.Helper()
	var all metricdata.ResourceMetrics
	if err := tel.reader.Collect(t.Context(), &all); err != nil {
		t.Fatal(err)
	}
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			if h, ok := m.Data.(metricdata.Histogram[float64]); ok && m.Name == name {
				for _, p := range h.DataPoints {
					n += p.Count
				}
			}
		}
	}
	return n
}

// Where the caller has no span, a stream's own will do.
func TestAStreamsRecordHasTheTraceOfItsClientSpan(t *testing.T) {
	for _, k := range kinds[1:] {
		r := start(t, answers(errDown), tripsAtOnce)
		_ = k.call(t.Context(), r.client)
		if err := r.breaker().Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		clients, all := r.clients(), r.records.List()
		if len(clients) != 1 || len(all) != 1 {
			t.Fatalf("%s: %d client spans, %d records", k.name, len(clients), len(all))
		}
		if !all[0].TraceID().IsValid() || all[0].TraceID() != clients[0].SpanContext().TraceID() {
			t.Errorf("%s: the record's trace is %v", k.name, all[0].TraceID())
		}
	}
}

func TestWithoutTracingAllElseIsTheSame(t *testing.T) {
	tel := newTelemetry()
	guarded := guard(t, tel, tripsAtOnce)
	conn := dial(t, serve(t, answers(errDown)), guarded.DialOptions()...) // without otelgrpc
	client := pb.NewTestServiceClient(conn)
	b := breakerOf(guarded, conn)
	for _, k := range kinds {
		before := countsOf(b)
		_ = k.call(t.Context(), client)
		if err := k.call(t.Context(), client); !errors.Is(err, breaker.ErrOpen) {
			t.Errorf("%s: %v", k.name, err)
		}
		expect(t, b, k.name, counts{failure: before.failure + 1, blocked: before.blocked + 1})
		b.Reset()
	}
	if err := b.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := len(tel.records.List()); n != 2*len(kinds) { // opened and reset
		t.Errorf("%d records", n)
	}
}

func TestG15_NoTextOfAStatusAndNoUserInfoLeaves(t *testing.T) {
	tel := newTelemetry()
	var slogged bytes.Buffer
	guarded := guard(t, tel, grpcbreaker.WithConfig(breaker.Config{FailureThreshold: 1}),
		grpcbreaker.WithSlog(slog.New(slog.NewJSONHandler(&slogged, nil))), grpcbreaker.WithLogs(logs.WithFailures()))
	secret := status.Error(codes.Internal, "canary-text")
	s := answers(secret)
	s.unary = func(ctx context.Context, _ *pb.SimpleRequest) (*pb.SimpleResponse, error) {
		_ = grpc.SetTrailer(ctx, metadata.Pairs("grpc-retry-pushback-ms", "canary-trailer"))
		return nil, secret
	}
	address := serve(t, s)
	var all []string
	for _, target := range []string{
		"passthrough:///" + address, "passthrough:///canary:canary-password@" + address,
		"passthrough://canary:canary-password@authority/" + address, "passthrough:///" + address + "?token=canary-query#canary-fragment",
	} {
		// Without otelgrpc, whose span has the text.
		conn := dial(t, target, append(guarded.DialOptions(), grpc.WithContextDialer(dialOnly(address)))...)
		for _, k := range kinds {
			for range 2 {
				ctx, span := tel.tracers.Tracer("caller").Start(t.Context(), "caller")
				ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "canary-token")
				err := k.call(ctx, pb.NewTestServiceClient(conn))
				span.End()
				if rejection, blocked := errors.AsType[*breaker.OpenError](err); blocked {
					all = append(all, err.Error(), rejection.Error(), status.Convert(err).String(), fmt.Sprint(status.Convert(err).Details()))
				}
			}
			for b := range guarded.Breakers().All() {
				b.Reset()
			}
		}
	}
	if err := guarded.Breakers().Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(all) == 0 {
		t.Error("nothing was blocked")
	}
	for name := range tel.counters(t) {
		all = append(all, name)
	}
	for _, r := range tel.records.List() {
		all = append(all, recordText(r))
	}
	for _, s := range tel.spans.Ended() {
		all = append(all, fmt.Sprint(s.Name(), s.Attributes(), s.Events(), s.Links(), s.Status()))
	}
	all = append(all, slogged.String())
	if text := strings.Join(all, "\n"); !strings.Contains(text, "INTERNAL") || !strings.Contains(text, "call_failed") {
		t.Errorf("the failures are not told of at all: %s", text)
	}
	for _, text := range all {
		if strings.Contains(text, "canary") {
			t.Errorf("left: %s", text)
		}
	}
}

func TestCloseEndsTheTelemetryAndNotTheGuard(t *testing.T) {
	tel := newTelemetry()
	told := make(causes, 1)
	guarded := guard(t, tel, tripsAtOnce, oneKey, grpcbreaker.WithListeners(told))
	if len(tel.counters(t)) != 0 {
		t.Error("there are metrics before the first call")
	}
	_ = guarded.Breakers().Get("key")
	if len(tel.counters(t)) == 0 {
		t.Error("there are no metrics")
	}
	for range 2 {
		if err := guarded.Close(); err != nil {
			t.Error(err)
		}
	}
	call := func() error {
		return guarded.Unary()(t.Context(), "/a.B/C", nil, nil, nil, func(context.Context, string, any, any, *grpc.ClientConn,
			...grpc.CallOption) error {
			return errDown
		})
	}
	_ = call()
	if err := call(); !errors.Is(err, breaker.ErrOpen) {
		t.Errorf("not guarded any more: %v", err)
	}
	if got := <-told; got != "UNAVAILABLE" {
		t.Errorf("the listener was told %q", got)
	}
	if err := guarded.Breakers().Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if m, r := tel.counters(t), tel.records.List(); len(m) != 0 || len(r) != 0 {
		t.Errorf("telemetry goes on: %v, %v", m, r)
	}
}

func TestTheGlobalProvidersAreTheDefault(t *testing.T) {
	tel := newTelemetry()
	meters, tracers := otel.GetMeterProvider(), otel.GetTracerProvider()
	loggers := otel.GetLoggerProvider()
	otel.SetMeterProvider(tel.meters)
	otel.SetTracerProvider(tel.tracers)
	otel.SetLoggerProvider(tel.loggers)
	t.Cleanup(func() {
		otel.SetMeterProvider(meters)
		otel.SetTracerProvider(tracers)
		otel.SetLoggerProvider(loggers)
	})
	guarded, err := grpcbreaker.New()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = guarded.Close() }()
	b := guarded.Breakers().Get("dns:///payments.example:443")
	b.ForceOpen("test")
	if err := b.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := tel.counters(t)["circuit_breaker.state endpoint=dns:///payments.example:443,service=payments.example"]; got != 2 {
		t.Errorf("the state is %d", got)
	}
	if n := len(tel.records.List()); n != 1 {
		t.Errorf("%d records", n)
	}
}
