package logs_test

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	sdklog "go.opentelemetry.io/otel/sdk/log"

	"github.com/otelbreaker/otelbreaker/breaker"
	"github.com/otelbreaker/otelbreaker/logs"
)

// flap has a breaker open and close again, so often, without a pause, and waits until its listeners know. It gives the
// number of transitions.
func flap(t testing.TB, b *breaker.Breaker, times int) int {
	t.Helper()
	for range times {
		b.ForceOpen("")
		b.Reset()
		flush(t, b)
	}
	return 2 * times
}

// toldOf counts the transitions that records tell of, be it only by the number of those held back.
func toldOf(records []sdklog.Record) (n int) {
	for _, r := range records {
		n++
		if held, there := attributes(r)["held_back"].(int64); there {
			n += int(held)
		}
	}
	return n
}

func wantInOrder(t *testing.T, records []sdklog.Record) {
	t.Helper()
	for i := 1; i < len(records); i++ {
		if records[i].Timestamp().Before(records[i-1].Timestamp()) {
			t.Errorf("record %d is of %v, the one before of %v", i, records[i].Timestamp(), records[i-1].Timestamp())
		}
	}
}

// Reopenings every quarter of a second are told to the last one, for as long as it takes.
func TestNoOutageReachesTheDefaultLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		recorded, provider := newRecorder()
		c := config()
		c.RecoveryTimeout = time.Second / 4
		b := newBreaker(t, c, logs.NewListener(logs.WithLoggerProvider(provider)))
		for range 2 {
			call(b, fail)
		}
		const reopenings = 3_000
		for range reopenings {
			time.Sleep(time.Second / 4)
			synctest.Wait()
			call(b, fail)
		}
		flush(t, b)
		got := recorded.take()
		if want := 1 + 2*reopenings; len(got) != want || toldOf(got) != want {
			t.Errorf("%d records tell of %d transitions, want %d of as many", len(got), toldOf(got), want)
		}
		wantInOrder(t, got)
	})
}

func TestFlappingIsBoundedAndCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		recorded, provider := newRecorder()
		b := newBreaker(t, config(), logs.NewListener(logs.WithLoggerProvider(provider), logs.WithLimit(60)))
		var got []sdklog.Record
		transitions := 0
		for minute := range 3 {
			for range 60 {
				transitions += flap(t, b, 50)
				time.Sleep(time.Second)
				synctest.Wait()
			}
			got = append(got, recorded.take()...)
			if most := 60 + 60*(minute+1); len(got) > most || len(got) < most-1 {
				t.Errorf("%d records after %d minutes, want %d at most and not much less", len(got), minute+1, most)
			}
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		got = append(got, recorded.take()...)
		if n := toldOf(got); n != transitions {
			t.Errorf("records tell of %d transitions, want %d", n, transitions)
		}
		wantInOrder(t, got)

		// An hour without any saves up no more than a minute.
		flap(t, b, 50)
		if again := recorded.take(); len(again) != 60 || toldOf(again) != 60 {
			t.Errorf("after a quiet hour, %d records tell of %d transitions, want 60 of as many", len(again), toldOf(again))
		}
	})
}

// However a burst ends, and if nothing ever follows: the log soon tells the state that there is.
func TestTheLastStateIsToldInTime(t *testing.T) {
	for _, last := range []breaker.State{breaker.Open, breaker.Closed} {
		t.Run(last.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				recorded, provider := newRecorder()
				b := newBreaker(t, config(), logs.NewListener(logs.WithLoggerProvider(provider), logs.WithLimit(60)))
				transitions := flap(t, b, 50)
				if last == breaker.Open {
					b.ForceOpen("stays so")
					transitions++
				}
				flush(t, b)
				at := time.Now()
				before := recorded.take()
				if len(before) != 60 {
					t.Fatalf("%d records at once, want 60", len(before))
				}
				time.Sleep(time.Second - 1)
				synctest.Wait()
				if got := recorded.take(); len(got) != 0 {
					t.Fatalf("%d records too early", len(got))
				}
				time.Sleep(time.Nanosecond)
				synctest.Wait()
				got := recorded.take()
				if len(got) != 1 {
					t.Fatalf("%d records in time, want the last one", len(got))
				}
				a := attributes(got[0])
				if a["new_state"] != last.String() || a["held_back"] != int64(transitions-61) || !got[0].Timestamp().Equal(at) {
					t.Errorf("told of %v with %v, want the state of %v with %d held back", got[0].Timestamp(), a, at, transitions-61)
				}
				time.Sleep(time.Hour)
				synctest.Wait()
				if got := recorded.take(); len(got) != 0 {
					t.Errorf("%d records of nothing", len(got))
				}
			})
		})
	}
}

// Only an operator's record tells of an override, so transitions that come after one do not stand in for it.
func TestAnOverrideIsToldWhateverFollows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		recorded, provider := newRecorder()
		c := config()
		c.RecoveryTimeout = time.Millisecond
		b := newBreaker(t, c, logs.NewListener(logs.WithLoggerProvider(provider), logs.WithLimit(1)))
		b.ForceOpen("told")
		b.Disable("superseded")
		b.Reset()
		for range 2 {
			call(b, fail) // opens
		}
		for range 10 {
			time.Sleep(time.Millisecond)
			synctest.Wait()
			call(b, fail)
		}
		flush(t, b)
		time.Sleep(2 * time.Minute)
		synctest.Wait() // half-open by then
		var got []string
		for _, r := range recorded.take() {
			a := attributes(r)
			got = append(got, fmt.Sprint(a["reason"], " ", a["new_state"], " ", a["override"], " ", a["held_back"]))
		}
		want := []string{"forced open forced_open <nil>", "reset closed automatic 1", "delay_elapsed half_open <nil> 21"}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("got\n%q, want\n%q", got, want)
		}
	})
}

func TestEachBreakerHasItsOwnLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		recorded, provider := newRecorder()
		g, err := breaker.NewGroup(breaker.Config{Service: service},
			breaker.WithListeners(logs.NewListener(logs.WithLoggerProvider(provider), logs.WithLimit(60))))
		if err != nil {
			t.Fatal(err)
		}
		flap(t, g.Get("flapping"), 100)
		recorded.take()
		flap(t, g.Get("quiet"), 30)
		if got := recorded.take(); len(got) != 60 || toldOf(got) != 60 {
			t.Errorf("%d records tell of %d transitions, want 60 of as many", len(got), toldOf(got))
		}
	})
}

func TestLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, c := range map[string]struct {
			options []logs.Option
			want    int
		}{
			"default":   {nil, logs.DefaultLimit},
			"one":       {[]logs.Option{logs.WithLimit(1)}, 1},
			"off":       {[]logs.Option{logs.WithLimit(0)}, 2000},
			"huge":      {[]logs.Option{logs.WithLimit(math.MaxUint)}, 2000},
			"last wins": {[]logs.Option{logs.WithLimit(0), logs.WithLimit(7)}, 7},
		} {
			recorded, provider := newRecorder()
			b := newBreaker(t, config(), logs.NewListener(append(c.options, logs.WithLoggerProvider(provider))...))
			flap(t, b, 1000)
			if got := recorded.take(); len(got) != c.want {
				t.Errorf("%s: %d records at once, want %d", name, len(got), c.want)
			}
		}
	})
}

// Each log counts what it would have had, and ends on the last of it.
func TestTwoLogsAreLimitedApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		recorded, provider := newRecorder()
		logger, lines := jsonLogger(t, &slog.HandlerOptions{Level: slog.LevelWarn})
		c := config()
		c.FailureThreshold = 1
		b := newBreaker(t, c, logs.NewListener(logs.WithLoggerProvider(provider), logs.WithSlog(logger), logs.WithLimit(1)))
		for range 10 {
			call(b, fail)
			b.Reset() // no warning
			flush(t, b)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		warnings, all := lines(), recorded.take()
		if len(warnings) != 2 || warnings[1]["event_type"] != "circuit_opened" || warnings[1]["held_back"] != 8.0 {
			t.Errorf("warnings are %v, want the first and the last of 10", warnings)
		}
		if n := toldOf(all); len(all) != 2 || n != 20 || all[1].EventName() != "circuit_state_change" {
			t.Errorf("%d records tell of %d, want the first and the last of 20", len(all), n)
		}
	})
}

// A crowd of strange hosts takes no more than a set amount of memory, and nothing is lost of what each of them says.
func TestG12_TheLimiterIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		recorded, provider := newRecorder()
		l := logs.NewListener(logs.WithLoggerProvider(provider), logs.WithLimit(60))
		tell := func(host int) {
			l.OnTransition(breaker.Event{Service: service, Endpoint: fmt.Sprint(host), To: breaker.Open, At: time.Now(),
				Context: t.Context(), OpenedBy: t.Context()})
		}
		const hosts = logs.MaxAccounts + 100
		for host := range hosts {
			tell(host)
		}
		if n, got := logs.Accounts(l), len(recorded.take()); n != logs.MaxAccounts || got != hosts {
			t.Errorf("%d accounts and %d records, want %d and %d", n, got, logs.MaxAccounts, hosts)
		}
		// Those that are as good as new make room for others; the one that has a record to come does not.
		for range 100 {
			tell(0)
		}
		time.Sleep(time.Second - 1)
		tell(hosts)
		if n := logs.Accounts(l); n != logs.MaxAccounts {
			t.Errorf("%d accounts, want %d", n, logs.MaxAccounts)
		}
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		tell(hosts + 1)
		if n := logs.Accounts(l); n != 2 {
			t.Errorf("%d accounts, want those of 2 hosts", n)
		}
		if got := toldOf(recorded.take()); got != 102 {
			t.Errorf("records tell of %d, want 102", got)
		}
	})
}

// A logger that panics at a late record harms neither the program nor the records to come.
func TestG07_PanicAtALateRecordHarmsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		logger, lines := jsonLogger(t, nil)
		before := slog.Default()
		slog.SetDefault(logger)
		defer slog.SetDefault(before)
		h := &fragileHandler{}
		b := newBreaker(t, config(), logs.NewListener(logs.WithSlog(slog.New(h)), logs.WithLimit(60)))
		flap(t, b, 31)
		if n := h.handled.Load(); n != 60 {
			t.Fatalf("%d records, want 60", n)
		}
		h.broken.Store(true)
		time.Sleep(time.Second)
		synctest.Wait()
		if got := lines(); len(got) != 1 || got[0]["panic_type"] != "string" {
			t.Errorf("complaints are %v, want one", got)
		}
		h.broken.Store(false)
		flap(t, b, 1)
		time.Sleep(time.Second)
		synctest.Wait()
		if n := h.handled.Load(); n != 61 {
			t.Errorf("%d records, want 61", n)
		}
	})
}

type fragileHandler struct {
	slog.Handler
	broken  atomic.Bool
	handled atomic.Int64
}

func (*fragileHandler) Enabled(context.Context, slog.Level) bool { return true }

func (h *fragileHandler) Handle(context.Context, slog.Record) error {
	if h.broken.Load() {
		panic("token=secret")
	}
	h.handled.Add(1)
	return nil
}

// Many breakers at once, of one name and of several, in real time: not one transition is lost count of.
func TestFlappingIsCountedConcurrentSafe(t *testing.T) {
	recorded, provider := newRecorder()
	l := logs.NewListener(logs.WithLoggerProvider(provider), logs.WithLimit(600)) // the last ones are 100 ms away
	var all sync.WaitGroup
	const breakers, times = 8, 500
	for i := range breakers {
		all.Go(func() {
			flap(t, newBreaker(t, breaker.Config{Service: service, Endpoint: fmt.Sprint(i / 2)}, l), times)
		})
	}
	all.Wait()
	told := 0
	for deadline := time.Now().Add(10 * time.Second); told != 2*breakers*times && time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		told += toldOf(recorded.take())
	}
	if told != 2*breakers*times {
		t.Errorf("records tell of %d transitions, want %d", told, 2*breakers*times)
	}
}
