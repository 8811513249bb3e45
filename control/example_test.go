package control_test

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"

	"go.opentelemetry.io/otel/log/noop"

	"github.com/otelbreaker/otelbreaker/breaker"
	"github.com/otelbreaker/otelbreaker/control"
)

// One operator, whose token the program has from a secret store.
func ExampleHandler() {
	const token = "3f1c8e7a90b24d56a1e0c9d8f7b6a543" // 32 characters or more, by chance
	payments, _ := breaker.New(breaker.Config{Service: "payments", Endpoint: "https://payments.example"})
	operate, err := control.Handler([]control.Source{payments},
		control.WithToken("alice", token),
		control.WithSlog(slog.New(slog.NewJSONHandler(io.Discard, nil)))) // the audit
	if err != nil {
		fmt.Println(err)
		return
	}
	mux := http.NewServeMux()
	mux.Handle("/control/circuit-breakers", operate)

	order := func(token string) int {
		request := httptest.NewRequest(http.MethodPost, "/control/circuit-breakers", strings.NewReader(
			`{"action": "force_open", "service": "payments", "endpoint": "https://payments.example", "reason": "migration", "for": "15m"}`))
		request.Header.Set("Content-Type", "application/json")
		request.Header.Set("Authorization", "Bearer "+token)
		response := httptest.NewRecorder()
		mux.ServeHTTP(response, request)
		return response.Code
	}
	fmt.Println(order("a guess"), payments.State())
	fmt.Println(order(token), payments.State())
	// Output:
	// 401 closed
	// 200 open
}

// Tokens that come and go with a file, behind a proxy that tells whom it speaks for.
func ExampleWithTokenFile() {
	group, _ := breaker.NewGroup(breaker.Config{})
	_, err := control.Handler([]control.Source{group},
		control.WithTokenFile("/run/secrets/operators"), // lines of a name and a token
		control.WithClientAddress(func(r *http.Request) string { return r.Header.Get("X-Real-Ip") }),
		control.WithLoggerProvider(noop.NewLoggerProvider())) // audit records elsewhere than by the global provider
	fmt.Println(err != nil) // at first the file must be good
	// Output: true
}
