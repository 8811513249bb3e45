package breaker_test

import (
	"testing"

	"github.com/otelbreaker/otelbreaker/breaker"
)

func TestAServiceIsNamedForTheHost(t *testing.T) {
	g := mustGroup(t, breaker.Config{})
	for endpoint, want := range map[string]string{
		"https://payments.example:8443":                "payments.example",
		"https://[::1]:8443/path":                      "::1",
		"payments":                                     "default",
		"https://":                                     "default",
		"https://%zz":                                  "default",
		"dns:///payments.example:443":                  "payments.example",
		"dns:///payments.example":                      "payments.example",
		"dns:///payments.example:443/v1.Charges":       "payments.example",
		"passthrough:///[::1]:443":                     "::1",
		"dns://192.0.2.53/payments.example:443":        "payments.example",
		"dns://r.example:53/payments.example:443/v1.C": "payments.example",
		"dns://192.0.2.53/[2001:db8::1]:443":           "2001:db8::1",
		"dns:///[fe80::1%25eth0]:443":                  "fe80::1%eth0",
		"dns://192.0.2.53/":                            "default",
		"xds://control.example/payments.example":       "payments.example",
		"dns:///a b:443":                               "default",
		"unix:///run/payments.sock":                    "default",
		"unix:///run/payments.sock/v1.Charges/Create":  "default",
	} {
		if got := g.Get(endpoint).Snapshot().Service; got != want {
			t.Errorf("%s is of service %q, want %q", endpoint, got, want)
		}
	}
}
