package otelcb_test

import (
	"fmt"
	"iter"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/otelbreaker/otelbreaker/breaker"
	"github.com/otelbreaker/otelbreaker/otelcb"
)

func success(service, endpoint string) string {
	return key("requests", service, endpoint, "outcome=success")
}

func TestObserveRefuses(t *testing.T) {
	_, provider := newReader()
	b := newBreaker(t, config())
	g, empty := newGroup(t, breaker.Config{}), newGroup(t, breaker.Config{})
	g.Get("a")
	other := newBreaker(t, breaker.Config{Service: "other"})
	observe(t, b, provider)
	observe(t, g, provider)
	observe(t, empty, provider)
	observe(t, sourceFunc(other.All), provider)
	for _, c := range []struct {
		name, want string
		src        otelcb.Source
		opts       []otelcb.Option
	}{
		{"nil", "source to observe is nil", nil, nil},
		{"nil pointer", "source to observe is nil (*breaker.Breaker)", (*breaker.Breaker)(nil), nil},
		{"nil option", "option 0 is nil", newBreaker(t, config()), []otelcb.Option{nil}},
		{"breaker twice", "otelcb: this source (*breaker.Breaker) is already observed under this meter provider", b, nil},
		{"group twice", "otelcb: this source (*breaker.Group) is already observed", g, nil},
		{"empty group twice", "otelcb: this source (*breaker.Group) is already observed", empty, nil},
		{"what cannot be compared", `breaker "other"`, sourceFunc(other.All), nil},
		{"one of an observed group", `breaker "default" (a) of this source`, g.Get("a"), nil},
		{"source of observed ones", `breaker "payments"`, &union{[]otelcb.Source{b}}, nil},
		{"nil function", "source to observe is nil (otelcb_test.sourceFunc)", sourceFunc(nil), nil},
		{"panics", "panicked with a string", sourceFunc(func() iter.Seq[*breaker.Breaker] { panic("secret") }), nil},
		{"nil sequence", "nil sequence", sourceFunc(func() iter.Seq[*breaker.Breaker] { return nil }), nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := otelcb.Observe(c.src, append(c.opts, otelcb.WithMeterProvider(provider))...)
			if err == nil || r != nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("gave %v, %v; want an error with %q", r, err, c.want)
			}
			if strings.Contains(err.Error(), "secret") {
				t.Errorf("the error tells what a panic said: %v", err)
			}
		})
	}
}

type sourceFunc func() iter.Seq[*breaker.Breaker]

func (f sourceFunc) All() iter.Seq[*breaker.Breaker] { return f() }

func TestObserveUnderTwoProviders(t *testing.T) {
	b := newBreaker(t, config())
	first, firstProvider := newReader()
	second, secondProvider := newReader()
	observe(t, b, firstProvider)
	observe(t, b, secondProvider)
	call(b, 1, succeed)
	expect(t, collect(t, first), success(service, endpoint), 1)
	expect(t, collect(t, second), success(service, endpoint), 1)
}

// installGlobal installs an SDK, the first time only, since the API's global providers are bound to the first one that
// they get for good.
var installGlobal = sync.OnceValues(func() ([2]*sdkmetric.ManualReader, *sdkmetric.MeterProvider) {
	readers := [2]*sdkmetric.ManualReader{sdkmetric.NewManualReader(), sdkmetric.NewManualReader()}
	provider := sdkmetric.NewMeterProvider(sdkmetric.WithReader(readers[0]), sdkmetric.WithReader(readers[1]))
	otel.SetMeterProvider(provider)
	return readers, provider
})

// The global provider is another value before an SDK is installed than after, and still the same. What was observed
// before is so through types of its own ever after, and tells its readers apart all the same.
func TestG13_GlobalProviderIsOneBeforeAndAfterTheSDK(t *testing.T) {
	before, g := newBreaker(t, config()), newGroup(t, breaker.Config{Service: "global"}, breaker.WithMaxEndpoints(1))
	var observed []*otelcb.Registration
	for _, src := range []otelcb.Source{before, g} {
		r, err := otelcb.Observe(src)
		if err != nil {
			t.Fatal(err)
		}
		observed = append(observed, r)
	}
	call(before, 2, succeed)
	call(g.Get("a"), 2, succeed)
	readers, provider := installGlobal()
	for _, r := range readers {
		values := collect(t, r)
		expect(t, values, success(service, endpoint), 2)
		expect(t, values, success("global", "a"), 2)
	}
	for name, opts := range map[string][]otelcb.Option{
		"default": nil, "explicit": {otelcb.WithMeterProvider(provider)},
	} {
		if _, err := otelcb.Observe(before, opts...); err == nil {
			t.Errorf("%s: the same source was accepted again", name)
		}
	}

	g.Get("b") // drops a
	expectNone(t, collect(t, readers[0]), "endpoint=a")
	call(g.Get("a"), 1, succeed)
	expect(t, collect(t, readers[0]), success("global", "a"), 1)
	expect(t, collect(t, readers[1]), success("global", "a"), 3)

	for _, r := range observed {
		if err := r.Unregister(); err != nil {
			t.Fatal(err)
		}
	}
	for _, r := range readers {
		if left := collect(t, r); len(left) != 0 {
			t.Errorf("after Unregister there are %v", left)
		}
	}
}

func TestUnregister(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reader, provider := newReader()
		c := config()
		b, other := newBreaker(t, c), newBreaker(t, breaker.Config{Service: "other"})
		r := observe(t, b, provider)
		observe(t, other, provider)
		call(b, 3, succeed)
		expect(t, collect(t, reader), success(service, endpoint), 3)

		for range 2 {
			if err := r.Unregister(); err != nil {
				t.Fatal(err)
			}
		}
		outage(b, c)
		flush(t, b)
		values := collect(t, reader)
		expectNone(t, values, "service="+service)
		expect(t, values, success("other", "default"), 0)

		observe(t, b, provider) // may be observed again
		outage(b, c)
		flush(t, b)
		values = collect(t, reader)
		expect(t, values, success(service, endpoint), 1) // its series had ended, and is another one now
		expect(t, values, key("recovery.duration", service, endpoint), 1)
		if err := (*otelcb.Registration)(nil).Unregister(); err != nil {
			t.Error(err)
		}
	})
}

func TestG13_EvictedBreakerVanishes(t *testing.T) {
	reader, provider := newReader()
	g := newGroup(t, breaker.Config{Service: service}, breaker.WithMaxEndpoints(2))
	observe(t, g, provider)
	for i := range 50 {
		name := fmt.Sprintf("host-%d", i)
		call(g.Get(name), 1, succeed)
		values := collect(t, reader)
		expect(t, values, success(service, name), 1)
		series := 0
		for k := range values {
			if strings.HasPrefix(k, "circuit_breaker.state{") {
				series++
			}
		}
		if series > 3 { // two, and the overflow breaker
			t.Fatalf("%d series of one instrument after %d hosts", series, i+1)
		}
	}
}

// To a reader, a breaker that was dropped and made anew between two collections is one series, whose counters may not fall.
func TestG13_CountersGoOnWhenABreakerIsMadeAnew(t *testing.T) {
	for _, temporality := range []metricdata.Temporality{metricdata.CumulativeTemporality, metricdata.DeltaTemporality} {
		t.Run(temporality.String(), func(t *testing.T) {
			reader, provider := newReader(sdkmetric.WithTemporalitySelector(
				func(sdkmetric.InstrumentKind) metricdata.Temporality { return temporality }))
			g := newGroup(t, breaker.Config{Service: service}, breaker.WithMaxEndpoints(1))
			observe(t, g, provider)
			call(g.Get("a"), 1, succeed)
			expect(t, collect(t, reader), success(service, "a"), 1)
			for round := range 5 {
				call(g.Get("a"), 10, succeed)
				call(g.Get("b"), 1, succeed) // drops a
				call(g.Get("a"), 2, succeed) // made anew
				want := 12.0
				if temporality == metricdata.CumulativeTemporality {
					want = 1 + 12*float64(round+1)
				}
				expect(t, collect(t, reader), success(service, "a"), want)
			}
		})
	}
}

func TestG13_BreakersOfOneNameAreFolded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		errs := handleErrors(t)
		reader, provider := newReader()
		c := config()
		good, bad, alike := newBreaker(t, c), newBreaker(t, c), newBreaker(t, c)
		observe(t, good, provider)
		r := observe(t, bad, provider)
		observe(t, alike, provider) // the worst is neither the first nor the last
		call(good, 3, succeed)
		call(bad, 4, succeed)
		call(alike, 1, fail)
		time.Sleep(time.Second)
		call(bad, 2, fail)
		time.Sleep(3 * time.Second)
		for range 3 {
			values := collect(t, reader)
			expect(t, values, success(service, endpoint), 7)
			expect(t, values, key("requests", service, endpoint, "outcome=failure"), 3)
			expect(t, values, key("state", service, endpoint), 2)
			expect(t, values, key("failures.current", service, endpoint), 2)
			expect(t, values, key("open", service, endpoint), 3)
			expect(t, values, key("last_failure_time", service, endpoint), float64(time.Now().Unix()-3))
		}
		synctest.Wait()
		if all := errs.take(); len(all) != 1 || !strings.Contains(all[0].Error(), `service "payments"`) {
			t.Errorf("reported %v; want once that there are several", all)
		}

		// When one goes, what it counted stays.
		call(bad, 2, succeed) // blocked, after the last collection
		bad.ForceOpen("drill")
		expect(t, collect(t, reader), key("override", service, endpoint), 1)
		if err := r.Unregister(); err != nil {
			t.Fatal(err)
		}
		call(good, 1, succeed)
		for range 3 {
			values := collect(t, reader)
			expect(t, values, success(service, endpoint), 8)
			expect(t, values, key("requests", service, endpoint, "outcome=blocked"), 2)
			expect(t, values, key("open", service, endpoint), 3)
			expect(t, values, key("state", service, endpoint), 0)
			expect(t, values, key("override", service, endpoint), 0)
		}

		// When it comes back, it is not counted twice.
		observe(t, bad, provider)
		values := collect(t, reader)
		expect(t, values, success(service, endpoint), 8)
		expect(t, values, key("requests", service, endpoint, "outcome=blocked"), 2)
		expect(t, values, key("open", service, endpoint), 3)
		expect(t, values, key("state", service, endpoint), 2)
	})
}

// A source of one's own may overlap with another later on: what both have is counted once, and told of once.
func TestG13_OverlappingSourcesCountOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		errs := handleErrors(t)
		reader, provider := newReader()
		c := config()
		g := newGroup(t, breaker.Config{
			Service: service, FailureThreshold: c.FailureThreshold, RecoveryTimeout: c.RecoveryTimeout})
		observe(t, &union{[]otelcb.Source{g}}, provider)
		observe(t, &union{[]otelcb.Source{g}}, provider)
		observe(t, g, provider)
		b := g.Get("a")
		for range 2 {
			outage(b, c)
			flush(t, b)
			values := collect(t, reader)
			expect(t, values, success(service, "a"), values[key("recovery.duration", service, "a")])
		}
		values := collect(t, reader)
		expect(t, values, success(service, "a"), 2)
		expect(t, values, key("recovery.duration", service, "a"), 2)
		synctest.Wait()
		if all := errs.take(); len(all) != 0 {
			t.Errorf("reported %v", all)
		}
	})
}

// facade is a second source of a group's breakers that can be subscribed to as well.
type facade struct{ *breaker.Group }

func TestOverlappingSubscriptionsAreReportedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		errs := handleErrors(t)
		reader, provider := newReader()
		g := newGroup(t, breaker.Config{Service: service})
		observe(t, g, provider)
		observe(t, facade{g}, provider)
		call(g.Get("a"), 1, succeed)
		for range 2 {
			expect(t, collect(t, reader), success(service, "a"), 1)
		}
		synctest.Wait()
		if all := errs.take(); len(all) != 1 || !strings.Contains(all[0].Error(), "came by two sources") {
			t.Errorf("reported %v; want once that it came by two", all)
		}
	})
}

// A source that cannot be subscribed to is followed breaker by breaker.
func TestSourceWithoutSubscribe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reader, provider := newReader()
		c := config()
		first, second := newBreaker(t, c), newBreaker(t, breaker.Config{
			Service: "second", FailureThreshold: c.FailureThreshold, RecoveryTimeout: c.RecoveryTimeout})
		u := &union{[]otelcb.Source{first}}
		r := observe(t, u, provider)
		outage(first, c) // before any collection
		flush(t, first)
		u.sources = append(u.sources, second)
		expect(t, collect(t, reader), key("recovery.duration", service, endpoint), 1)

		u.sources = u.sources[1:]
		collect(t, reader)
		for _, b := range []*breaker.Breaker{first, second} {
			outage(b, c)
			flush(t, b)
		}
		values := collect(t, reader)
		expect(t, values, key("recovery.duration", service, endpoint), 1) // not followed any more
		expect(t, values, key("recovery.duration", "second", "default"), 1)
		expectNone(t, values, key("state", service, endpoint))

		if err := r.Unregister(); err != nil {
			t.Fatal(err)
		}
		outage(second, c)
		flush(t, second)
		expect(t, collect(t, reader), key("recovery.duration", "second", "default"), 1)
	})
}

// Unregister may come while a collection reads the source: what that still finds is not followed.
func TestUnregisterDuringCollection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reader, provider := newReader()
		c := config()
		b := newBreaker(t, c)
		reading := false
		unregister := make(chan struct{})
		observe(t, newBreaker(t, breaker.Config{Service: "other"}), provider)
		r := observe(t, sourceFunc(func() iter.Seq[*breaker.Breaker] {
			return func(yield func(*breaker.Breaker) bool) {
				if reading {
					<-unregister
					yield(b)
				}
			}
		}), provider)
		reading = true
		collected := make(chan map[string]float64)
		go func() { collected <- collect(t, reader) }()
		synctest.Wait()
		if err := r.Unregister(); err != nil {
			t.Fatal(err)
		}
		close(unregister)
		expectNone(t, <-collected, "recovery")
		outage(b, c)
		flush(t, b)
		values := collect(t, reader)
		expectNone(t, values, "recovery")
		expectNone(t, values, "service="+service)
	})
}
