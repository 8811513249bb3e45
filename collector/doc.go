// Package collector ships what a program records: it builds the OpenTelemetry SDK's three providers, a Prometheus
// page for scraping, and OTLP exporters where the environment asks for them.
//
//	pipeline, err := collector.Start(ctx)
//	if err != nil {
//		return err
//	}
//	defer pipeline.Shutdown(context.Background())
//	http.Handle("/metrics", pipeline.MetricsHandler())
//
// Start also makes the providers and the propagators (W3C trace context and baggage) the global ones, so that
// instrumentation such as otelhttp finds them without being told; [WithoutGlobals] leaves the globals alone.
//
// # What is exported
//
// Without any OTEL_* variable the page works and nothing is sent anywhere. A signal is sent by OTLP as soon as
// OTEL_EXPORTER_OTLP_ENDPOINT or its own OTEL_EXPORTER_OTLP_{TRACES,METRICS,LOGS}_ENDPOINT is set.
// OTEL_{TRACES,METRICS,LOGS}_EXPORTER overrides both: a comma-separated list of otlp, console, none and, for metrics,
// prometheus. In a program [WithOTLP] and [WithConsole] do the same where no variable says otherwise. The value
// prometheus stands for [Pipeline.MetricsHandler]; no port is ever opened, whatever OTEL_EXPORTER_PROMETHEUS_PORT
// says. A list without it leaves the page empty, so that an operator can take a process from scraping to OTLP without
// both counting. OTEL_SDK_DISABLED=true turns all three signals off.
//
// OTEL_EXPORTER_OTLP_PROTOCOL is http/protobuf (the default) or grpc. An endpoint is a full URL with the scheme http
// or https; without one, otlp means http://localhost:4318, or port 4317 by gRPC. All further variables of the
// specification that the Go SDK knows apply: OTEL_EXPORTER_OTLP_*, OTEL_RESOURCE_ATTRIBUTES, OTEL_SERVICE_NAME,
// OTEL_TRACES_SAMPLER, OTEL_METRIC_EXPORT_INTERVAL, OTEL_BSP_*, OTEL_BLRP_*, OTEL_PROPAGATORS and so on. The SDK
// replaces a value that it cannot read by a default and goes on; Start refuses it, naming the variable, the value and
// what is allowed. What may hold a credential is not repeated: of an endpoint at most scheme and host, of headers
// nothing.
//
// Everything carries a resource: service.name, service.version where it is known, a service.instance.id of its own
// for each Start, the host, the process and the SDK. Options add to it, and the variables go before the options.
//
// The exporters leave user info, query and fragment of URLs out of spans and log records; [WithFullURL] has them written.
//
// # The price
//
// So that the cost of what is measured can be seen, the pipeline also measures the Go runtime (go.memory.used,
// go.goroutine.count and so on, by OpenTelemetry's own instrumentation) and the process: process.cpu.time and
// process.memory.usage, which is the resident memory. On the page they are go_memory_used_bytes,
// process_cpu_time_seconds_total, process_memory_usage_bytes. That is eleven series and about 0.1 ms a collection;
// [WithoutRuntimeMetrics] leaves them out.
//
// # When the receiver is down
//
// Start does not connect, and recording never waits: spans and log records wait in queues of bounded length
// (OTEL_BSP_MAX_QUEUE_SIZE, OTEL_BLRP_MAX_QUEUE_SIZE, 2048 each), and what finds its queue full is dropped. Two
// metrics of the pipeline itself tell, for each signal and exporter that is sent, from 0 on:
//
//   - otelbreaker.export.failures, on the page otelbreaker_export_failures_total: exports that failed, after the
//     exporter's own retries, or of which the receiver rejected a part
//   - otelbreaker.export.dropped, on the page otelbreaker_export_dropped_total: spans, log records and data points
//     lost, because the queue was full, because their export failed, or because the receiver rejected them. Metrics
//     are cumulative by default, and the next export then makes up for lost data points
//
// The same goes to [log/slog], with what else the SDK has to report: one line a minute, with the newest error, how
// many were held back, and how much of each signal was lost since the last line. A handler that the program gave to
// otel.SetErrorHandler before Start stays in place, and is told by the SDK as well.
package collector
