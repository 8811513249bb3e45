package breaker_test

import (
	"testing"

	"github.com/otelbreaker/otelbreaker/breaker"
)

func TestAServiceIsNamedForTheHost(t *testing.T) {
	g := mustGroup(t, breaker.Config{})
	for endpoint, want := range map[string]string{
		"https://payments.example:8443":               "payments.example",
		"https://[::1]:8443/path":                     "::1",
		"payments":                                    "default",
		"https://":                                    "default",
		"https://%zz":                                 "default",
		"dns:///payments.example:443":                 "payments.example",
		"dns:///payments.example":                     "payments.example",
		"dns:///payments.example:443/v1.Charges":      "payments.example",
		"passthrough:///[::1]:443":                    "::1",
		"dns:///a b:443":                              "default",
		"unix:///run/payments.sock":                   "default",
		"unix:///run/payments.sock/v1.Charges/Create": "default",
	} {
		if got := g.Get(endpoint).Snapshot().Service; got != want {
			t.Errorf("%s is of service %q, want %q", endpoint, got, want)
		}
	}
}
