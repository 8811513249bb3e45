package gobreaker_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	peer "github.com/sony/gobreaker/v2"

	"github.com/otelbreaker/otelbreaker/breaker"
	"github.com/otelbreaker/otelbreaker/contrib/gobreaker"
)

func good() (int, error) { return 1, nil }
func bad() (int, error)  { return 0, errDown }

func atOnce(c peer.Counts) bool { return c.ConsecutiveFailures >= 1 }

func flush(t testing.TB, b *breaker.Breaker) {
	t.Helper()
	if err := b.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestG07_ListenersMayCallGobreaker(t *testing.T) {
	for _, on := range []string{"execute", "two steps"} {
		synctest.Test(t, func(t *testing.T) {
			one := mustNew(t, peer.Settings{ReadyToTrip: atOnce})
			two := mustTwoStep(t, peer.Settings{ReadyToTrip: atOnce})
			b, look := one.Breaker(), func() { _, _ = one.State(), one.Counts() }
			call := func(err error) {
				_, _ = one.ExecuteContext(t.Context(), func(context.Context) (int, error) { return 0, err })
			}
			if on == "two steps" {
				b, look = two.Breaker(), func() { _, _ = two.State(), two.Counts() }
				call = func(err error) {
					if done, refused := two.AllowContext(t.Context()); refused == nil {
						done(err)
					}
				}
			}
			var seen atomic.Int32
			b.Subscribe(nosy{func() {
				look()
				seen.Add(1)
			}})
			call(errDown)
			call(nil) // blocked
			time.Sleep(time.Minute + time.Second)
			call(nil)
			synctest.Wait()
			if n := seen.Load(); n != 3+2+1 || b.State() != breaker.Closed { // events, on the call, blocked
				t.Errorf("%s: listeners were called %d times; %v", on, n, b.State())
			}
		})
	}
}

// nosy looks at gobreaker whatever it is told.
type nosy struct{ look func() }

func (n nosy) OnTransition(breaker.Event)                      { n.look() }
func (n nosy) OnCallTransition(context.Context, breaker.Event) { n.look() }
func (n nosy) OnBlocked(context.Context, *breaker.OpenError)   { n.look() }
func (n nosy) OnFailure(breaker.FailedCall)                    {}
func (n nosy) FailuresPerMinute() uint                         { return 0 }

// asking is an error that looks at gobreaker when it is asked what it is.
type asking struct{ look func() }

func (asking) Error() string       { return "asking" }
func (a asking) ErrorType() string { a.look(); return "asked" }

func TestG07_ErrorsMayCallGobreaker(t *testing.T) {
	cb := mustNew(t, peer.Settings{ReadyToTrip: atOnce})
	var event breaker.Event
	cb.Subscribe(breaker.ListenerFunc(func(e breaker.Event) { event = e }))
	mine := asking{func() { cb.State() }}
	if _, err := cb.Execute(func() (int, error) { return 0, mine }); reflect.TypeOf(err) != reflect.TypeOf(mine) {
		t.Errorf("the error came back as %v", err)
	}
	flush(t, cb.Breaker())
	if event.ErrorType != "asked" {
		t.Errorf("%+v", event)
	}
}

// gobreaker alone stays open until somebody asks. A panic in its callback must then harm nobody, for no call is there to
// take it.
func TestItIsHalfOpenOnTimeWithoutTraffic(t *testing.T) {
	var complaints bytes.Buffer
	before := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(&complaints, nil)))
	defer slog.SetDefault(before)
	synctest.Test(t, func(t *testing.T) {
		var at []time.Duration
		start := time.Now()
		cb := mustNew(t, peer.Settings{ReadyToTrip: atOnce, Timeout: 10 * time.Second, OnStateChange: func(_ string, from, _ peer.State) {
			at = append(at, time.Since(start).Round(time.Millisecond))
			if from == peer.StateOpen {
				panic("OnStateChange")
			}
		}})
		_, _ = cb.Execute(bad)
		if s := cb.Breaker().Snapshot(); s.State != breaker.Open || s.RetryAfter != 10*time.Second {
			t.Errorf("%+v", s)
		}
		time.Sleep(10*time.Second + time.Millisecond)
		synctest.Wait()
		if s := cb.Breaker().Snapshot(); s.State != breaker.HalfOpen || s.OpenTime.Round(time.Millisecond) != 10*time.Second {
			t.Errorf("%+v", s)
		}
		_, _ = cb.Execute(bad)
		time.Sleep(time.Minute)
		synctest.Wait()
		if want := []time.Duration{0, 10 * time.Second, 10001 * time.Millisecond, 20001 * time.Millisecond}; !slices.Equal(at, want) {
			t.Errorf("the settings were told at %v, want %v", at, want)
		}
		if _, err := cb.Execute(good); err != nil || cb.State() != peer.StateClosed || cb.Breaker().State() != breaker.Closed {
			t.Errorf("%v, %v, %v", err, cb.State(), cb.Breaker().State())
		}
	})
	if text := complaints.String(); strings.Count(text, "OnStateChange panicked") != 2 {
		t.Errorf("the log says %s", text)
	}
}

func TestItSaysWhyItMoved(t *testing.T) {
	for _, c := range []struct {
		name     string
		settings peer.Settings
		calls    string // good or bad ones
		want     breaker.Reason
		failures uint64
		good     uint64
	}{
		{"by default", peer.Settings{}, "gbgbbbbbb", breaker.Reason{Rule: "consecutive_failures", Observed: 6, Threshold: 6}, 6, 0},
		{"by the user's rule", peer.Settings{ReadyToTrip: func(c peer.Counts) bool { return c.TotalFailures > 2 }}, "gbgbb",
			breaker.Reason{Rule: gobreaker.RuleReadyToTrip, Observed: 3}, 3, 2},
	} {
		synctest.Test(t, func(t *testing.T) {
			var told []breaker.Event
			cb := mustNew(t, c.settings, gobreaker.WithListeners(breaker.ListenerFunc(func(e breaker.Event) { told = append(told, e) })))
			for _, call := range c.calls {
				if call == 'g' {
					_, _ = cb.Execute(good)
				} else {
					_, _ = cb.Execute(bad)
				}
			}
			synctest.Wait()
			if len(told) != 1 || told[0].Reason != c.want || told[0].FailureCount != c.failures || told[0].SuccessCount != c.good ||
				told[0].ErrorType != "*errors.errorString" {
				t.Errorf("%s: %+v", c.name, told)
			}
		})
	}
}

func TestMoreProbesThanOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var closed breaker.Event
		cb := mustTwoStep(t, peer.Settings{ReadyToTrip: atOnce, MaxRequests: 2}, gobreaker.WithListeners(
			breaker.ListenerFunc(func(e breaker.Event) { closed = e })))
		late, _ := cb.Allow()
		done, _ := cb.Allow()
		done(errDown)
		done(errDown) // gobreaker does not mind, and neither is it counted again
		time.Sleep(2 * time.Minute)
		first, _ := cb.Allow()
		second, _ := cb.Allow()
		if _, err := cb.Allow(); !errors.Is(err, peer.ErrTooManyRequests) {
			t.Errorf("a third probe: %v", err)
		}
		late(errDown)
		first(nil)
		second(nil)
		synctest.Wait()
		if want := (breaker.Reason{Rule: "probes_succeeded", Observed: 2, Threshold: 2}); closed.Reason != want || closed.SuccessCount != 2 ||
			closed.FailureCount != 0 || closed.BlockedCount != 1 {
			t.Errorf("%+v", closed)
		}
		if s := cb.Breaker().Snapshot(); s.Success != 2 || s.Failure != 2 || s.Blocked != 1 || s.ConsecutiveFailures != 0 {
			t.Errorf("%+v", s)
		}
	})
}

func TestAPanicComesBackAndIsAFailure(t *testing.T) {
	type key struct{}
	var event breaker.Event
	cb := mustNew(t, peer.Settings{ReadyToTrip: atOnce}, gobreaker.WithListeners(breaker.ListenerFunc(func(e breaker.Event) { event = e })))
	thrown := &struct{ int }{7}
	func() {
		defer func() {
			if p := recover(); p != any(thrown) {
				t.Errorf("what came back is %v", p)
			}
		}()
		_, _ = cb.ExecuteContext(context.WithValue(t.Context(), key{}, "mine"), func(context.Context) (int, error) { panic(thrown) })
	}()
	flush(t, cb.Breaker())
	if event.ErrorType != breaker.ErrorTypePanic || event.Context.Value(key{}) != "mine" || cb.State() != peer.StateOpen {
		t.Errorf("%+v", event)
	}
}

// gobreaker never hears of a call that ends by runtime.Goexit. A probe that does keeps it half-open for good, and it shows
// so; the call is counted all the same.
func TestGoexitIsCountedThoughGobreakerIsStuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cb := mustNew(t, peer.Settings{ReadyToTrip: atOnce})
		_, _ = cb.Execute(bad)
		time.Sleep(2 * time.Minute)
		var ended sync.WaitGroup
		ended.Go(func() {
			_, _ = cb.Execute(func() (int, error) {
				runtime.Goexit()
				return 0, nil
			})
		})
		ended.Wait()
		time.Sleep(24 * time.Hour)
		if _, err := cb.Execute(good); !errors.Is(err, peer.ErrTooManyRequests) {
			t.Errorf("gobreaker is not stuck any more: %v", err)
		}
		if s := cb.Breaker().Snapshot(); s.State != breaker.HalfOpen || s.Failure != 2 || s.Blocked != 1 {
			t.Errorf("%+v", s)
		}
	})
}

// poison are settings whose functions panic when they are asked about a certain error.
func poison(err error) bool {
	if errors.Is(err, errExcluded) {
		panic("poison")
	}
	return err == nil
}

func TestPanicsOfTheSettingsAreCountedOnce(t *testing.T) {
	for name, st := range map[string]peer.Settings{"IsSuccessful": {IsSuccessful: poison},
		"IsExcluded": {IsExcluded: func(err error) bool { poison(err); return false }}} {
		one, two := mustNew(t, st), mustTwoStep(t, st)
		func() {
			defer func() { _ = recover() }()
			_, _ = one.Execute(func() (int, error) { return 0, errExcluded })
		}()
		done, _ := two.Allow()
		func() {
			defer func() { _ = recover() }()
			done(errExcluded)
		}()
		for kind, b := range map[string]*breaker.Breaker{"Execute": one.Breaker(), "two steps": two.Breaker()} {
			if s := b.Snapshot(); s.Failure != 1 || s.Success+s.Ignored+s.Blocked != 0 {
				t.Errorf("%s, %s: %+v", name, kind, s)
			}
		}
	}
}

// A late result is not asked about by gobreaker, and by the adapter only for the totals: it must not harm the call.
func TestALateResultIsCountedAsTheSettingsJudgeIt(t *testing.T) {
	cb := mustTwoStep(t, peer.Settings{ReadyToTrip: atOnce, IsSuccessful: poison, IsExcluded: func(err error) bool { return err == errExcludedToo }})
	var late []func(error)
	for range 4 {
		done, _ := cb.Allow()
		late = append(late, done)
	}
	done, _ := cb.Allow()
	done(errDown)
	for i, err := range []error{nil, errDown, errExcluded, errExcludedToo} {
		late[i](err)
	}
	if s := cb.Breaker().Snapshot(); s.Success != 1 || s.Failure != 3 || s.Ignored != 1 || s.ConsecutiveFailures != 1 {
		t.Errorf("%+v", s)
	}
}

var errExcludedToo = errors.New("excluded as well")

func TestG18_BadNamesAndOptionsAreRefused(t *testing.T) {
	_, err := gobreaker.New[int](peer.Settings{Name: "payments"}, nil, gobreaker.WithListeners(nil),
		gobreaker.WithEndpoint("https://user:secret@pay.example/?token=secret"))
	_, other := gobreaker.NewTwoStep[int](peer.Settings{Name: "a\xff"})
	if err == nil || other == nil {
		t.Fatal("no error")
	}
	for _, part := range []string{"option 0 is nil", "listener 0 is nil", "Endpoint"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%v does not tell of %s", err, part)
		}
	}
	if strings.Contains(err.Error(), "secret") || !strings.Contains(other.Error(), "Service") {
		t.Errorf("%v; %v", err, other)
	}
}

func TestWhatIsBeyondOurWordsIsLeftOut(t *testing.T) {
	cb := mustNew(t, peer.Settings{MaxRequests: 1 << 31, ReadyToTrip: atOnce, Timeout: 1<<63 - 1}, gobreaker.WithService("payments"))
	if c := cb.Breaker().Snapshot(); c.Service != "payments" || c.Config.MaxProbes != 0 || c.Config.FailureThreshold != 0 || c.Engine != gobreaker.Engine {
		t.Errorf("%+v", c)
	}
	_, _ = cb.Execute(bad)
	if cb.State() != peer.StateOpen { // for a while: no duration overflows
		t.Error("it is not open")
	}
}

// What nobody holds any more goes, once the open period is over.
func TestG19_NothingIsLeftOfABreakerThatIsGone(t *testing.T) {
	gone := func() weak.Pointer[gobreaker.CircuitBreaker[int]] {
		cb := mustNew(t, peer.Settings{ReadyToTrip: atOnce, Timeout: time.Millisecond})
		_, _ = cb.Execute(bad)
		flush(t, cb.Breaker())
		return weak.Make(cb)
	}()
	for deadline := time.Now().Add(time.Minute); gone.Value() != nil; runtime.GC() {
		if time.Now().After(deadline) {
			t.Fatal("it is still there")
		}
		runtime.Gosched()
	}
}
