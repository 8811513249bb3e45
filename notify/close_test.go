package notify_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"

	"github.com/otelbreaker/otelbreaker/breaker"
	"github.com/otelbreaker/otelbreaker/notify"
)

func TestCloseSendsWhatWaits(t *testing.T) {
	virtual(t, func(t *testing.T) {
		r := newRig()
		s := r.slack(t)
		c := &circuit{to: s, service: "payments"}
		c.opens()
		later(time.Second)
		c.reopens() // due in five minutes
		for i := range 9 {
			(&circuit{to: s, service: fmt.Sprint("s", i)}).opens() // a second apart
		}
		begin := time.Now()
		closeNow(t, s)
		if took := time.Since(begin); took != 0 {
			t.Errorf("it took %v", took)
		}
		if got := r.texts(t); len(got) != 11 {
			t.Errorf("%d messages: %q", len(got), got)
		}
		closeNow(t, s)
		c.closes(time.Minute, 0) // of which only the closing would be told
		later(time.Hour)
		r.wantCounts(t, "slack", 11, 0, 1)
	})
}

func TestCloseSaysWhatWasNotSent(t *testing.T) {
	each(t, func(t *testing.T, r *rig, n notifier, channel string) {
		r.answer = func(int, *http.Request) (*http.Response, error) { return status(500, ""), nil }
		(&circuit{to: n, service: "pay\nments<!channel>", endpoint: "db"}).opens()
		begin := time.Now()
		err := n.Close(context.Background())
		if took := time.Since(begin); took != 5*time.Second {
			t.Errorf("without a deadline it took %v", took)
		}
		if err == nil || !strings.Contains(err.Error(), `1 not sent: "pay ments<!channel>" (db)`) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Close: %v", err)
		}
		r.wantCounts(t, channel, 0, 1, 0)
	})
	each(t, func(t *testing.T, r *rig, n notifier, _ string) { // what has failed for good, within the time
		r.answer = func(int, *http.Request) (*http.Response, error) {
			time.Sleep(time.Second)
			return status(404, ""), nil
		}
		(&circuit{to: n, service: "payments"}).opens()
		if err := n.Close(t.Context()); err == nil || !strings.Contains(err.Error(), "1 not sent") {
			t.Errorf("Close: %v", err)
		}
	})
}

func TestCloseOfOneThatDidNothing(t *testing.T) {
	each(t, func(t *testing.T, r *rig, n notifier, channel string) {
		closeNow(t, n)
		closeNow(t, n)
		var none context.Context
		if err := n.Close(none); err == nil || !strings.Contains(err.Error(), "context is nil") {
			t.Error(err)
		}
		r.wantCounts(t, channel, 0, 0, 0) // they are there from the beginning
	})
}

// The goroutine lives only while there is something to send: the bubble would not end with one that waits.
func TestG19_ANotifierThatIsNeverClosedLeavesNoGoroutine(t *testing.T) {
	virtual(t, func(t *testing.T) {
		r := newRig()
		s, err := notify.NewSlack(address, r.options()...)
		if err != nil {
			t.Fatal(err)
		}
		w, err := notify.NewWebhook(address, r.options()...)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range []breaker.Listener{s, w} {
			c := &circuit{to: n, service: "payments"}
			c.opens()
			later(time.Minute)
			c.reopens()
			later(time.Hour)
		}
		r.wantCounts(t, "slack", 2, 0, 0)
		r.wantCounts(t, "webhook", 3, 0, 0)
	})
}

func TestG19_ManyBreakersAtOnceConcurrentSafe(t *testing.T) {
	each(t, func(t *testing.T, r *rig, n notifier, channel string) {
		const breakers, outages = 8, 20
		r.answer = func(n int, _ *http.Request) (*http.Response, error) {
			if n%7 == 3 {
				return nil, errNetwork
			}
			return status(200, "ok"), nil
		}
		done := make(chan struct{})
		for i := range breakers {
			go func() {
				c := &circuit{to: n, service: fmt.Sprint("s", i)}
				for range outages {
					c.opens()
					time.Sleep(time.Duration(i+1) * 13 * time.Millisecond)
					c.reopens()
					c.closes(time.Second, 1)
				}
				done <- struct{}{}
			}()
		}
		for range breakers {
			<-done
		}
		_ = n.Close(t.Context())
		sent, failed, dropped := r.counts(t, channel)
		if channel == "webhook" && sent+failed+dropped != breakers*outages*5 {
			t.Errorf("sent %d, failed %d, dropped %d of %d", sent, failed, dropped, breakers*outages*5)
		}
		if channel == "slack" { // the last of each says that it is closed
			last := map[string]string{}
			for _, text := range r.texts(t) {
				for i := range breakers {
					if name := fmt.Sprint("s", i); strings.Contains(text, name) {
						last[name] = text
					}
				}
			}
			for name, text := range last {
				if !strings.Contains(text, "closed") {
					t.Errorf("the last of %s is %q", name, text)
				}
			}
		}
	})
}

func TestG12_TheBreakersThatAreRememberedAreBounded(t *testing.T) {
	virtual(t, func(t *testing.T) {
		r := newRig()
		s := r.slack(t, notify.WithQueue(1))
		for i := range 5000 {
			c := &circuit{to: s, service: fmt.Sprint("s", i)}
			c.opens()
			c.closes(time.Second, 0)
			time.Sleep(time.Second)
		}
		later(time.Minute)
		if n := notify.Remembered(s); n > notify.MaxStories {
			t.Errorf("%d are remembered, want at most %d", n, notify.MaxStories)
		}
	})
}

func TestTheCounterOutlivesItsNotifiers(t *testing.T) {
	virtual(t, func(t *testing.T) {
		r := newRig()
		for i := range 3 {
			s := r.slack(t)
			other := r.slack(t)
			(&circuit{to: s, service: "a"}).opens()
			(&circuit{to: other, service: "b"}).opens()
			later(0)
			closeNow(t, s)
			r.wantCounts(t, "slack", int64(2*(i+1)), 0, 0)
			closeNow(t, other)
		}
		named := r.slack(t, notify.WithName("#on-call"))
		(&circuit{to: named, service: "a"}).opens()
		later(0)
		r.wantCounts(t, "#on-call", 1, 0, 0)
		r.wantCounts(t, "slack", 6, 0, 0)
	})
}

func TestG12_BreakersThatStayOpenMakeRoomToo(t *testing.T) {
	virtual(t, func(t *testing.T) {
		r := newRig()
		s := r.slack(t, notify.WithQueue(1))
		for i := range notify.MaxStories + 50 {
			(&circuit{to: s, service: fmt.Sprint("s", i)}).opens()
		}
		if n := notify.Remembered(s); n != notify.MaxStories {
			t.Errorf("%d are remembered, want %d", n, notify.MaxStories)
		}
		later(time.Minute)
		sent, _, dropped := r.counts(t, "slack")
		if sent+dropped != notify.MaxStories+50 {
			t.Errorf("%d sent and %d dropped of %d", sent, dropped, notify.MaxStories+50)
		}
	})
}

type refusing struct{ noop.MeterProvider }

func (refusing) Meter(string, ...metric.MeterOption) metric.Meter { return refusingMeter{} }

type refusingMeter struct{ noop.Meter }

func (refusingMeter) Int64ObservableCounter(string, ...metric.Int64ObservableCounterOption) (metric.Int64ObservableCounter, error) {
	return nil, errors.New("no more instruments")
}

func TestAMeterProviderThatRefusesIsTold(t *testing.T) {
	_, err1 := notify.NewSlack(address, notify.WithMeterProvider(refusing{}))
	_, err2 := notify.NewWebhook(address, notify.WithMeterProvider(refusing{}))
	for _, err := range []error{err1, err2} {
		if err == nil || !strings.Contains(err.Error(), "no more instruments") {
			t.Errorf("refused: %v", err)
		}
	}
}
