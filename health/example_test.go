package health_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/otelbreaker/otelbreaker/breaker"
	"github.com/otelbreaker/otelbreaker/health"
)

// A transport's Breakers, a gRPC client's, a group or a single breaker: all of them on one page.
func ExampleHandler() {
	payments, _ := breaker.New(breaker.Config{Service: "payments", Endpoint: "https://payments.example"})
	shards, _ := breaker.NewGroup(breaker.Config{Service: "shards"})
	shards.Get("shard-17").ForceOpen("moving")

	mux := http.NewServeMux()
	mux.Handle("GET /health/circuit-breakers", health.Handler(payments, shards))

	response := httptest.NewRecorder()
	mux.ServeHTTP(response, httptest.NewRequest(http.MethodGet, "/health/circuit-breakers?state=open", nil))
	var page struct {
		Breakers map[string]map[string]struct {
			State   string
			Healthy bool
		} `json:"circuit_breakers"`
	}
	if err := json.Unmarshal(response.Body.Bytes(), &page); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(response.Code, page.Breakers)
	// Output: 200 map[shards:map[shard-17:{open false}]]
}
