package collector_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"go.opentelemetry.io/otel"

	"github.com/otelbreaker/otelbreaker/breaker"
	"github.com/otelbreaker/otelbreaker/collector"
	"github.com/otelbreaker/otelbreaker/otelcb"
)

// Breakers that pass the pipeline's limit are reported, and those that would only pass the SDK's own are not.
func TestG12_TheLimitIsTheOneThatIsReported(t *testing.T) {
	for name, test := range map[string]struct {
		variable string
		opts     []collector.Option
		breakers int
		reported string
	}{
		"within the default":  {breakers: 1666},
		"beyond the default":  {breakers: 1667, reported: "limit of 10000"},
		"beyond the option":   {opts: []collector.Option{collector.WithCardinalityLimit(60)}, breakers: 10, reported: "limit of 60"},
		"beyond the variable": {variable: "60", breakers: 10, reported: "limit of 60"},
		"within the variable": {variable: "60", breakers: 9},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("OTEL_GO_X_CARDINALITY_LIMIT", test.variable)
			before := otel.GetErrorHandler()
			defer otel.SetErrorHandler(before)
			synctest.Test(t, func(t *testing.T) {
				var reported []string
				otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { reported = append(reported, err.Error()) }))
				p, err := collector.Start(t.Context(), append(test.opts, collector.WithoutGlobals())...)
				if err != nil {
					t.Fatal(err)
				}
				g, err := breaker.NewGroup(breaker.Config{Service: "many"}, breaker.WithMaxEndpoints(test.breakers))
				if err != nil {
					t.Fatal(err)
				}
				for i := range test.breakers {
					g.Get(fmt.Sprint(i))
				}
				r, err := otelcb.Observe(g, otelcb.WithMeterProvider(p.MeterProvider()))
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = r.Unregister() }()
				overflow := strings.Contains(scrape(t, p, ""), "otel_metric_overflow")
				synctest.Wait()
				all := strings.Join(reported, "\n")
				if overflow != (test.reported != "") || !strings.Contains(all, test.reported) || overflow != (all != "") {
					t.Errorf("overflow: %t, reported %q, want %q", overflow, all, test.reported)
				}
				if err := p.Shutdown(t.Context()); err != nil {
					t.Error(err)
				}
			})
		})
	}
}
