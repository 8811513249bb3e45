package collector

import (
	"runtime/debug"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
)

func TestServiceVersion(t *testing.T) {
	built := func(version string) *debug.BuildInfo { return &debug.BuildInfo{Main: debug.Module{Version: version}} }
	option := []attribute.KeyValue{semconv.ServiceVersion("by option")}
	for name, test := range map[string]struct {
		build    *debug.BuildInfo
		option   []attribute.KeyValue
		variable string
		want     string
	}{
		"of the main module":   {build: built("v1.2.3"), want: "v1.2.3"},
		"by option":            {build: built("v1.2.3"), option: option, want: "by option"},
		"by variable":          {build: built("v1.2.3"), option: option, variable: "service.version=4", want: "4"},
		"of a working copy":    {build: built("(devel)")},
		"of a test":            {build: built("")},
		"no build information": {},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("OTEL_RESOURCE_ATTRIBUTES", test.variable)
			res := newResource(t.Context(), test.build, test.option, &errorLog{})
			got, found := res.Set().Value(semconv.ServiceVersionKey)
			if got.AsString() != test.want || found != (test.want != "") {
				t.Errorf("got %q, there: %t; want %q", got.AsString(), found, test.want)
			}
		})
	}
}
