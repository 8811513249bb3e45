package docs_test

import (
	"context"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/attribute"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"

	"github.com/otelbreaker/otelbreaker/breaker"
	"github.com/otelbreaker/otelbreaker/collector"
	"github.com/otelbreaker/otelbreaker/logs"
	"github.com/otelbreaker/otelbreaker/notify"
	"github.com/otelbreaker/otelbreaker/otelcb"
)

// Every instrument is in the document's table as it is, and none is there that is not.
func TestTheMetricsOfTelemetryAreThose(t *testing.T) {
	source, document := map[string]string{}, map[string]string{}
	synctest.Test(t, func(t *testing.T) {
		reader := sdkmetric.NewManualReader()
		b, err := breaker.New(breaker.Config{FailureThreshold: 1, RecoveryTimeout: time.Second, SlowCallDuration: time.Second})
		if err != nil {
			t.Fatal(err)
		}
		r, err := otelcb.Observe(b, otelcb.WithMeterProvider(sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = r.Unregister() }()
		_ = b.Do(t.Context(), func(context.Context) error { return status("500") })
		time.Sleep(time.Second)
		_ = b.Do(t.Context(), func(context.Context) error { return nil })
		if err := b.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		var data metricdata.ResourceMetrics
		if err := reader.Collect(t.Context(), &data); err != nil {
			t.Fatal(err)
		}
		for _, m := range data.ScopeMetrics[0].Metrics {
			kind, sets := pointsOf(m.Data)
			source[prometheusName(m.Name, m.Unit, kind)] = fmt.Sprintln(m.Name, kind, m.Unit, labelsOf(sets), len(sets))
		}
	})
	for _, row := range tableOf(t, "Prometheus name | instrument |") {
		unit := strings.Join(coded(row[3]), "")
		name, instrument := strings.Join(coded(row[0]), " "), strings.Join(coded(row[1]), " ")
		document[name] = fmt.Sprintln(instrument, row[2], unit, coded(row[4]), row[5])
		if row[6] != "stable" {
			t.Errorf("%s is %q, want stable", row[0], row[6])
		}
	}
	same(t, "metrics", source, document)
}

func pointsOf(data metricdata.Aggregation) (kind string, sets []attribute.Set) {
	switch d := data.(type) {
	case metricdata.Sum[int64]:
		return "counter", setsOf(d.DataPoints)
	case metricdata.Sum[float64]:
		return "counter", setsOf(d.DataPoints)
	case metricdata.Gauge[int64]:
		return "gauge", setsOf(d.DataPoints)
	case metricdata.Gauge[float64]:
		return "gauge", setsOf(d.DataPoints)
	case metricdata.Histogram[float64]:
		for _, p := range d.DataPoints {
			sets = append(sets, p.Attributes)
		}
		return "histogram", sets
	}
	return fmt.Sprintf("%T", data), nil
}

func setsOf[N int64 | float64](points []metricdata.DataPoint[N]) (sets []attribute.Set) {
	for _, p := range points {
		sets = append(sets, p.Attributes)
	}
	return sets
}

// labelsOf gives the further labels and all their values.
func labelsOf(sets []attribute.Set) []string {
	seen := map[string]bool{}
	for _, set := range sets {
		for _, a := range set.ToSlice() {
			if a.Key != "service" && a.Key != "endpoint" {
				seen[string(a.Key)], seen[a.Value.AsString()] = true, true
			}
		}
	}
	return slices.Sorted(maps.Keys(seen))
}

func prometheusName(name, unit, kind string) string {
	name = strings.ReplaceAll(name, ".", "_") + map[string]string{"s": "_seconds", "By": "_bytes", "%": "_percent"}[unit]
	if kind == "counter" {
		name += "_total"
	}
	return name
}

// The document's names are those of the page, too.
func TestTheNamesOfTelemetryAreThoseOfThePage(t *testing.T) {
	in(t, func(p *program) {
		p.outage()
		source, document := familyTypes(p.scrape(""), "circuit_breaker_"), map[string]string{}
		for _, row := range tableOf(t, "Prometheus name | instrument |") {
			document[strings.Join(coded(row[0]), " ")] = row[2]
		}
		same(t, "the page", source, document)
	})
}

var typeLine = regexp.MustCompile(`(?m)^# TYPE (\w+) (\w+)$`)

func familyTypes(page, prefix string) map[string]string {
	types := map[string]string{}
	for _, m := range typeLine.FindAllStringSubmatch(page, -1) {
		if strings.HasPrefix(m[1], prefix) {
			types[m[1]] = m[2]
		}
	}
	return types
}

// Every record's type, severity and body is in the document's table, and nothing else.
func TestTheRecordsOfTelemetryAreThose(t *testing.T) {
	in(t, func(p *program) {
		p.everything()
		source, document := map[string]string{}, map[string]string{}
		for _, r := range p.records() {
			source[r.GetEventName()] = r.GetSeverityText() + " " + r.GetBody().GetStringValue()
		}
		for _, row := range tableOf(t, "`event_type` | severity |") {
			document[strings.Join(coded(row[0]), " ")] = row[1] + " " + row[2]
		}
		same(t, "records", source, document)
		limits := fmt.Sprintf("those of transitions to %d a minute, those of failed calls to %d",
			logs.DefaultLimit, logs.DefaultFailureLimit)
		if !strings.Contains(strings.Join(strings.Fields(telemetry(t)), " "), limits) {
			t.Errorf("the document does not say: %s", limits)
		}
	})
}

// Every attribute is in the document's table, with its type and where it is, and nothing else.
func TestTheAttributesOfTelemetryAreThose(t *testing.T) {
	in(t, func(p *program) {
		p.everything()
		places, types := map[string]map[string]bool{}, map[string]string{}
		note := func(place string, all []*commonpb.KeyValue) {
			for _, a := range all {
				if places[a.GetKey()] == nil {
					places[a.GetKey()] = map[string]bool{}
				}
				places[a.GetKey()][place], types[a.GetKey()] = true, kindOf(a.GetValue())
			}
		}
		for _, r := range p.records() {
			if r.GetEventName() == "call_failed" {
				note("call_failed", r.GetAttributes())
			} else {
				note("transition", r.GetAttributes())
			}
		}
		for _, s := range p.allSpans() {
			note(strings.TrimPrefix(s.GetName(), "circuit_breaker."), s.GetAttributes())
			for _, e := range s.GetEvents() {
				note(strings.TrimPrefix(e.GetName(), "circuit_breaker."), e.GetAttributes())
			}
			for _, l := range s.GetLinks() {
				note("link", l.GetAttributes())
			}
		}
		source, document := map[string]string{}, map[string]string{}
		for k := range places {
			source[k] = types[k] + ": " + strings.Join(slices.Sorted(maps.Keys(places[k])), ", ")
		}
		for _, row := range tableOf(t, "key | type | in |") {
			for _, k := range coded(row[0]) {
				document[k] = row[1] + ": " + strings.Join(coded(row[2]), ", ")
			}
		}
		same(t, "attributes", source, document)
	})
}

// What the source writes out as a name is in the document, whether or not the scripts above come by it.
func TestEveryNameInTheSourceIsInTelemetry(t *testing.T) {
	named := map[string]bool{}
	text := regexp.MustCompile("(?s)```.*?```").ReplaceAllString(telemetry(t), "")
	for _, n := range coded(text) {
		named[n] = true
	}
	signal := regexp.MustCompile(`^(circuit_[a-z_]+|call_[a-z]+|circuit_breaker\.[a-z_.]+)$`)
	found := 0
	for _, pattern := range []string{"../otelcb/*.go", "../logs/*.go", "../notify/*.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			for _, text := range literals(t, file) {
				if signal.MatchString(text.value) || text.key {
					found++
					if !named[text.value] {
						t.Errorf("%s: %q is not in the document", file, text.value)
					}
				}
			}
		}
	}
	if found < 40 {
		t.Errorf("found but %d names in the source", found)
	}
	rules := regexp.MustCompile(`(?m)^\s+Rule\w+\s+= "(\w+)"`).FindAllStringSubmatch(read(t, "../breaker/event.go"), -1)
	for _, m := range rules {
		if !named[m[1]] {
			t.Errorf("the rule %s is not in the document", m[1])
		}
	}
	if len(rules) < 10 {
		t.Errorf("found but %d rules in the source", len(rules))
	}
}

type literal struct {
	value string
	key   bool // of an attribute
}

// literals gives the texts in a file, and which of them are keys: the first argument of what makes an attribute.
func literals(t *testing.T, file string) (all []literal) {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	keys := map[ast.Expr]bool{}
	ast.Inspect(parsed, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CallExpr:
			maker := ""
			switch f := n.Fun.(type) {
			case *ast.SelectorExpr:
				if x, ok := f.X.(*ast.Ident); ok && (x.Name == "attribute" || x.Name == "slog") {
					maker = f.Sel.Name
				}
			case *ast.Ident:
				maker = f.Name
			}
			switch maker {
			case "String", "Int64", "Float64", "Bool", "text":
				keys[n.Args[0]] = true
			}
		case *ast.BasicLit:
			if n.Kind == token.STRING {
				value, err := strconv.Unquote(n.Value)
				if err != nil {
					t.Fatal(err)
				}
				all = append(all, literal{value, keys[n]})
			}
		}
		return true
	})
	return all
}

// What package collector adds to the page is in the document's table, with its kind and labels, and nothing else.
func TestTheMetricsOfThePipelineAreThose(t *testing.T) {
	t.Setenv("OTEL_METRICS_EXPORTER", "otlp,prometheus")
	for _, signal := range []string{"TRACES", "LOGS"} {
		t.Setenv("OTEL_"+signal+"_EXPORTER", "otlp")
	}
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1") // where nobody is
	before := debug.SetMemoryLimit(1 << 40)                       // for there is no go.memory.limit without one
	defer debug.SetMemoryLimit(before)
	pipeline, err := collector.Start(t.Context(), collector.WithoutGlobals(),
		collector.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		t.Fatal(err)
	}
	p := &program{t: t, pipeline: pipeline}
	page := p.scrape("")
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	_ = pipeline.Shutdown(ctx) // which tells of what could not be sent

	source, document := familyTypes(page, ""), map[string]string{}
	delete(source, "target_info")
	for name, kind := range source {
		labels := map[string]bool{}
		for _, m := range regexp.MustCompile(`(?m)^`+name+`\{(.*)\} `).FindAllStringSubmatch(page, -1) {
			for _, l := range regexp.MustCompile(`(\w+)="`).FindAllStringSubmatch(m[1], -1) {
				labels[l[1]] = true
			}
		}
		source[name] = fmt.Sprint(kind, slices.Sorted(maps.Keys(labels)))
	}
	for _, row := range tableOf(t, "on the page | instrument |") {
		name := prometheusName(strings.Join(coded(row[1]), " "), strings.Join(coded(row[3]), ""), row[2])
		if shown := strings.Join(coded(row[0]), " "); shown != name {
			t.Errorf("%s would be %s on the page, not %s", row[1], name, shown)
		}
		document[name] = fmt.Sprint(row[2], coded(row[4]))
	}
	same(t, "the pipeline's metrics", source, document)
}

// So is the metric of package notify.
func TestTheMetricOfNotificationsIsThat(t *testing.T) {
	reader := sdkmetric.NewManualReader()
	provider := sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))
	for _, err := range []error{
		second(notify.NewSlack("http://127.0.0.1:1/", notify.WithMeterProvider(provider))),
		second(notify.NewWebhook("http://127.0.0.1:1/", notify.WithMeterProvider(provider))),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	var data metricdata.ResourceMetrics
	if err := reader.Collect(t.Context(), &data); err != nil {
		t.Fatal(err)
	}
	source, document := map[string]string{}, map[string]string{}
	for _, m := range data.ScopeMetrics[0].Metrics {
		kind, sets := pointsOf(m.Data)
		source[prometheusName(m.Name, m.Unit, kind)] = fmt.Sprintln(m.Name, kind, m.Unit, labelsOf(sets))
	}
	for _, row := range tableOf(t, "of notifications | instrument |") {
		document[strings.Join(coded(row[0]), " ")] = fmt.Sprintln(strings.Join(coded(row[1]), " "), row[2],
			strings.Join(coded(row[3]), ""), coded(row[4]))
	}
	same(t, "the metric of notifications", source, document)
}

func second[T any](_ T, err error) error { return err }

// The document names tests, configurations and other documents: they exist.
func TestWhatTelemetryNamesExists(t *testing.T) {
	text := telemetry(t)
	for _, m := range regexp.MustCompile(`\]\(([^)#:]+)\)`).FindAllStringSubmatch(text, -1) {
		if _, err := os.Stat(m[1]); err != nil {
			t.Error(err)
		}
	}
	for _, m := range regexp.MustCompile("`(otel-collector[a-z-]*\\.yaml)`|deploy/(otel-collector[a-z-]*\\.yaml)").FindAllStringSubmatch(text, -1) {
		if _, err := os.Stat("../deploy/" + m[1] + m[2]); err != nil {
			t.Error(err)
		}
	}
	tests := declaredTests(t)
	for _, m := range regexp.MustCompile("`(Test\\w+)`").FindAllStringSubmatch(text, -1) {
		if !tests[m[1]] {
			t.Errorf("it names %s, which does not exist", m[1])
		}
	}
}
