package docs_test

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/otelbreaker/otelbreaker/breaker"
	"github.com/otelbreaker/otelbreaker/control"
)

// The audit records of operations.md are what comes out, to the byte.
func TestTheAuditOfOperationsIsWhatComesOut(t *testing.T) {
	parts := example.FindStringSubmatch(read(t, "operations.md"))
	if parts == nil || parts[2] != "audit" {
		t.Fatal("there is no example")
	}
	var lines bytes.Buffer
	synctest.Test(t, func(t *testing.T) {
		const token = "0123456789abcdef0123456789abcdef"
		group, err := breaker.NewGroup(breaker.Config{Service: "payments"})
		if err != nil {
			t.Fatal(err)
		}
		group.Get("https://payments.example")
		operate, err := control.Handler([]control.Source{group}, control.WithToken("alice", token),
			control.WithSlog(slog.New(slog.NewJSONHandler(&lines, nil))))
		if err != nil {
			t.Fatal(err)
		}
		traced := otelhttp.NewHandler(operate, "control", otelhttp.WithTracerProvider(
			sdktrace.NewTracerProvider(sdktrace.WithIDGenerator(sameIDs{}))))
		post := func(handler http.Handler, r *http.Request, token, address string) {
			r.Header.Set("Content-Type", "application/json")
			r.Header.Set("Authorization", "Bearer "+token)
			r.RemoteAddr = address
			handler.ServeHTTP(httptest.NewRecorder(), r)
		}
		request := func() *http.Request {
			return httptest.NewRequest(http.MethodPost, "/", strings.NewReader(`{"action":"force_open","service":"payments",`+
				`"endpoint":"https://payments.example","reason":"migration","for":"15m"}`))
		}
		post(traced, request(), token, "192.0.2.7:1234")
		post(operate, request(), "a wrong one", "192.0.2.66:1234")
	})
	if got := lines.String(); got != parts[3] {
		t.Errorf("the example is not what comes out:\n%s", got)
	}
}

// sameIDs gives each span those of the example.
type sameIDs struct{}

func (sameIDs) NewIDs(ctx context.Context) (trace.TraceID, trace.SpanID) {
	id, _ := trace.TraceIDFromHex("4bf92f3577b34da6a3ce929d0e0e4736")
	return id, sameIDs{}.NewSpanID(ctx, id)
}

func (sameIDs) NewSpanID(context.Context, trace.TraceID) trace.SpanID {
	id, _ := trace.SpanIDFromHex("00f067aa0ba902b7")
	return id
}
