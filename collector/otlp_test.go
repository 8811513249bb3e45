package collector

import "testing"

func TestEndpoint(t *testing.T) {
	for _, test := range []struct{ protocol, all, own, want string }{
		{want: "http://localhost:4318/v1/logs"},
		{protocol: "grpc", want: "http://localhost:4317"},
		{all: "https://otel.example", want: "https://otel.example/v1/logs"},
		{all: " http://otel.example:80/base/\n", want: "http://otel.example:80/base/v1/logs"},
		{all: "http://[::1]:4318", want: "http://[::1]:4318/v1/logs"},
		{all: "http://otel.example", own: "http://logs.example/own", want: "http://logs.example/own"},
		{own: "http://logs.example", want: "http://logs.example"},
		{protocol: "grpc", all: "https://otel.example:4317", want: "https://otel.example:4317"},
	} {
		t.Run(test.protocol+" "+test.all+" "+test.own, func(t *testing.T) {
			t.Setenv("OTEL_LOGS_EXPORTER", "otlp")
			t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", test.protocol)
			t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", test.all)
			t.Setenv("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", test.own)
			plan, err := logs.plan(config{}, &errorLog{})
			if err != nil || plan.url != test.want || plan.grpc != (test.protocol == "grpc") {
				t.Errorf("got %q, gRPC %t, error %v; want %q", plan.url, plan.grpc, err, test.want)
			}
		})
	}
}
