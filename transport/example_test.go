package transport_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"

	"github.com/otelbreaker/otelbreaker/breaker"
	"github.com/otelbreaker/otelbreaker/transport"
)

func Example() {
	payments := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	defer payments.Close()

	guarded, err := transport.New(otelhttp.NewTransport(http.DefaultTransport))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = guarded.Close() }()
	client := &http.Client{Transport: guarded}

	for range breaker.DefaultFailureThreshold + 1 {
		res, err := client.Get(payments.URL)
		if rejection, blocked := errors.AsType[*breaker.OpenError](err); blocked {
			fmt.Println("not sent, the breaker is", rejection.State)
			continue
		}
		if err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Println(res.Status)
		_ = res.Body.Close()
	}
	// Output:
	// 503 Service Unavailable
	// 503 Service Unavailable
	// 503 Service Unavailable
	// 503 Service Unavailable
	// 503 Service Unavailable
	// not sent, the breaker is open
}

func ExampleWithClassify() {
	// A search that finds nothing answers 404, and too often that means that its index is gone.
	searches := func(res *http.Response, err error) breaker.Outcome {
		if err == nil && res.StatusCode == http.StatusNotFound {
			return breaker.Failure
		}
		return transport.DefaultClassify(res, err)
	}
	guarded, err := transport.New(nil,
		transport.WithConfig(breaker.Config{Service: "search", FailureRate: 0.5}),
		transport.WithClassify(searches))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = guarded.Close() }()
}

func ExampleWithKey() {
	// One breaker a service behind a gateway, rather than one for the gateway.
	guarded, err := transport.New(nil, transport.WithKey(func(req *http.Request) string {
		service, _, _ := strings.Cut(strings.TrimPrefix(req.URL.Path, "/"), "/")
		return req.URL.Scheme + "://" + req.URL.Host + "/" + service
	}))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = guarded.Close() }()
}

func ExampleWithFallback() {
	// A proxy that answers for a server which it does not bother: with a 503 that says when to try again.
	guarded, err := transport.New(otelhttp.NewTransport(http.DefaultTransport),
		transport.WithFallback(transport.Unavailable))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = guarded.Close() }()
	guarded.Breakers().Get("http://payments.example").ForceOpen("maintenance")

	client := &http.Client{Transport: guarded}
	res, err := client.Get("http://payments.example/v1/charges")
	if err != nil {
		fmt.Println(err)
		return
	}
	_ = res.Body.Close()
	fmt.Println(res.Status)
	fmt.Println("Circuit-Breaker:", res.Header.Get("Circuit-Breaker"))
	fmt.Println("Retry-After:", res.Header.Get("Retry-After"))
	// Output:
	// 503 Service Unavailable
	// Circuit-Breaker: open
	// Retry-After: 1
}
