package collector

import (
	"errors"
	"fmt"
	"math"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"

	"go.opentelemetry.io/otel/propagation"
	"golang.org/x/net/http/httpguts"
)

// signal is one kind of telemetry, spelled as in the names of variables.
type signal string

const (
	traces  signal = "TRACES"
	metrics signal = "METRICS"
	logs    signal = "LOGS"
)

var signals = []signal{traces, metrics, logs}

// String returns the signal as in text and attributes: "traces", "metrics", "logs".
func (s signal) String() string { return strings.ToLower(string(s)) }

// index returns the place of s in signals.
func (s signal) index() int { return slices.Index(signals, s) }

// What OTEL_{TRACES,METRICS,LOGS}_EXPORTER may name.
const (
	otlpExporter       = "otlp"
	consoleExporter    = "console"
	prometheusExporter = "prometheus"
	noExporter         = "none"
)

// exporters returns what s is exported by, none of it twice.
func (s signal) exporters(c config) ([]string, error) {
	name := "OTEL_" + string(s) + "_EXPORTER"
	value := os.Getenv(name)
	allowed := []string{otlpExporter, consoleExporter, noExporter}
	if s == metrics {
		allowed = append(allowed, prometheusExporter)
	}
	var names []string
	if value == "" {
		if s == metrics {
			names = append(names, prometheusExporter)
		}
		if _, endpoint := s.otlp("ENDPOINT"); endpoint != "" || c.endpoint != "" {
			names = append(names, otlpExporter)
		}
		if c.console {
			names = append(names, consoleExporter)
		}
		return names, nil
	}
	for item := range strings.SplitSeq(value, ",") {
		item = strings.TrimSpace(item)
		if !slices.Contains(allowed, item) || slices.Contains(names, item) {
			return nil, fmt.Errorf("collector: %s=%q: want a list of %s, each once", name, value, strings.Join(allowed, ", "))
		}
		names = append(names, item)
	}
	if slices.Contains(names, noExporter) {
		if len(names) > 1 {
			return nil, fmt.Errorf("collector: %s=%q: want %s to stand alone", name, value, noExporter)
		}
		return nil, nil
	}
	return names, nil
}

// otlp returns the variable OTEL_EXPORTER_OTLP_{s}_{key} where it is set, else OTEL_EXPORTER_OTLP_{key}.
func (s signal) otlp(key string) (name, value string) {
	name = "OTEL_EXPORTER_OTLP_" + string(s) + "_" + key
	if value = os.Getenv(name); value != "" {
		return name, value
	}
	name = "OTEL_EXPORTER_OTLP_" + key
	return name, os.Getenv(name)
}

func disabled() bool { return strings.EqualFold(os.Getenv("OTEL_SDK_DISABLED"), "true") }

// propagators returns the propagators that OTEL_PROPAGATORS names, by default trace context and baggage.
func propagators() (propagation.TextMapPropagator, error) {
	value := os.Getenv("OTEL_PROPAGATORS")
	if value == "" {
		value = "tracecontext,baggage"
	}
	var list []propagation.TextMapPropagator
	for item := range strings.SplitSeq(value, ",") {
		switch strings.TrimSpace(item) {
		case "tracecontext":
			list = append(list, propagation.TraceContext{})
		case "baggage":
			list = append(list, propagation.Baggage{})
		case "none":
		default:
			return propagation.NewCompositeTextMapPropagator(), fmt.Errorf(
				"collector: OTEL_PROPAGATORS=%q: want a list of tracecontext, baggage, none", value)
		}
	}
	return propagation.NewCompositeTextMapPropagator(list...), nil
}

// rule says what a variable may hold that the SDK reads for itself, and replaces by a default where it cannot.
type rule struct {
	want   string
	ok     func(string) bool
	secret bool // the value is not to be repeated
}

var (
	boolean      = oneOf("true", "false")
	integer      = rule{want: "a whole number", ok: func(v string) bool { _, err := strconv.Atoi(v); return err == nil }}
	count        = rule{want: "a whole number from 1 to 2147483647", ok: isCount}
	milliseconds = rule{want: "a whole number of milliseconds from 1 to 2147483647", ok: isCount}
)

// rules holds for each variable what it may be. OTLP variables are here by their key: each goes without a signal
// and with one.
var rules = map[string]rule{
	"OTEL_SDK_DISABLED":            boolean,
	"OTEL_RESOURCE_ATTRIBUTES":     {want: "key=value pairs, separated by commas and percent-encoded", ok: isPairs},
	"OTEL_TRACES_SAMPLER":          oneOf("always_on", "always_off", "traceidratio", "parentbased_always_on", "parentbased_always_off", "parentbased_traceidratio"),
	"OTEL_TRACES_SAMPLER_ARG":      {want: "a number from 0 to 1", ok: isSamplerArg},
	"OTEL_METRICS_EXEMPLAR_FILTER": oneOf("trace_based", "always_on", "always_off"),
	"OTEL_METRIC_EXPORT_INTERVAL":  milliseconds,
	"OTEL_METRIC_EXPORT_TIMEOUT":   milliseconds,
	"OTEL_GO_X_CARDINALITY_LIMIT":  count,

	"OTEL_BSP_SCHEDULE_DELAY":         milliseconds,
	"OTEL_BSP_EXPORT_TIMEOUT":         milliseconds,
	"OTEL_BSP_MAX_QUEUE_SIZE":         count,
	"OTEL_BSP_MAX_EXPORT_BATCH_SIZE":  count,
	"OTEL_BLRP_SCHEDULE_DELAY":        milliseconds,
	"OTEL_BLRP_EXPORT_TIMEOUT":        milliseconds,
	"OTEL_BLRP_MAX_QUEUE_SIZE":        count,
	"OTEL_BLRP_MAX_EXPORT_BATCH_SIZE": count,

	"OTEL_ATTRIBUTE_COUNT_LIMIT":                  integer,
	"OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT":           integer,
	"OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT":             integer,
	"OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT":      integer,
	"OTEL_SPAN_EVENT_COUNT_LIMIT":                 integer,
	"OTEL_SPAN_LINK_COUNT_LIMIT":                  integer,
	"OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT":            integer,
	"OTEL_LINK_ATTRIBUTE_COUNT_LIMIT":             integer,
	"OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT":        integer,
	"OTEL_LOGRECORD_ATTRIBUTE_VALUE_LENGTH_LIMIT": integer,

	"OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE":        oneOf("cumulative", "delta", "lowmemory"),
	"OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION": oneOf("explicit_bucket_histogram", "base2_exponential_bucket_histogram"),

	"PROTOCOL":    {want: "one of grpc, http/protobuf", ok: func(v string) bool { return v == grpcProtocol || v == httpProtocol }},
	"COMPRESSION": {want: "one of gzip, none", ok: func(v string) bool { return v == "gzip" || v == "none" }},
	"INSECURE":    boolean,
	"TIMEOUT":     milliseconds,
	"HEADERS":     {want: "name=value pairs, separated by commas and percent-encoded", ok: isHeaders, secret: true},
}

// checkRules reports every variable that breaks its rule, in the order of their names.
func checkRules() error {
	var faults []error
	check := func(name string, r rule) {
		switch value := os.Getenv(name); {
		case value == "" || r.ok(value):
		case r.secret:
			faults = append(faults, fmt.Errorf("collector: %s (value not shown): want %s", name, r.want))
		default:
			faults = append(faults, fmt.Errorf("collector: %s=%q: want %s", name, value, r.want))
		}
	}
	for name, r := range rules {
		if strings.HasPrefix(name, "OTEL_") {
			check(name, r)
			continue
		}
		check("OTEL_EXPORTER_OTLP_"+name, r)
		for _, s := range signals {
			check("OTEL_EXPORTER_OTLP_"+string(s)+"_"+name, r)
		}
	}
	for _, prefix := range []string{"OTEL_BSP", "OTEL_BLRP"} {
		batch, queue := prefix+"_MAX_EXPORT_BATCH_SIZE", prefix+"_MAX_QUEUE_SIZE"
		if size, limit := intVar(batch, 0), intVar(queue, queueSize); size > limit {
			faults = append(faults, fmt.Errorf("collector: %s=%d: want at most %s, which is %d", batch, size, queue, limit))
		}
	}
	slices.SortFunc(faults, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errors.Join(faults...)
}

// oneOf allows the values in upper and lower case, as the SDK does.
func oneOf(values ...string) rule {
	return rule{want: "one of " + strings.Join(values, ", "), ok: func(v string) bool {
		return slices.Contains(values, strings.ToLower(v))
	}}
}

func isCount(v string) bool {
	n, err := strconv.Atoi(v)
	return err == nil && n >= 1 && n <= math.MaxInt32
}

// isSamplerArg allows anything where the sampler takes no argument.
func isSamplerArg(v string) bool {
	if !strings.HasSuffix(strings.ToLower(os.Getenv("OTEL_TRACES_SAMPLER")), "traceidratio") {
		return true
	}
	ratio, err := strconv.ParseFloat(v, 64)
	return err == nil && ratio >= 0 && ratio <= 1 // which NaN is not
}

func isPairs(v string) bool {
	for pair := range strings.SplitSeq(v, ",") {
		key, value, found := strings.Cut(pair, "=")
		if _, err := url.PathUnescape(value); !found || strings.TrimSpace(key) == "" || err != nil {
			return false
		}
	}
	return true
}

// isHeaders is as strict as the exporters, some of which write out the whole value when they refuse it.
func isHeaders(v string) bool {
	for pair := range strings.SplitSeq(v, ",") {
		name, _, _ := strings.Cut(pair, "=")
		if !httpguts.ValidHeaderFieldName(strings.TrimSpace(name)) {
			return false
		}
	}
	return isPairs(v)
}

// queueSize is how many spans or log records a queue holds by default, as the specification has it.
const queueSize = 2048

// intVar returns the value of a variable whose rule is count, or def where it is not set.
func intVar(name string, def int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil {
		return n
	}
	return def
}
