package notify_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/otelbreaker/otelbreaker/breaker"
	"github.com/otelbreaker/otelbreaker/notify"
)

// answers gives them one after the other, and 200 from then on; nil is an error of the network.
func answers(all ...func() *http.Response) func(int, *http.Request) (*http.Response, error) {
	return func(n int, _ *http.Request) (*http.Response, error) {
		switch {
		case n >= len(all):
			return status(200, "ok"), nil
		case all[n] == nil:
			return nil, errNetwork
		}
		return all[n](), nil
	}
}

func code(n int, header ...string) func() *http.Response {
	return func() *http.Response { return status(n, "canary of an answer", header...) }
}

func gaps(all []request) (between []time.Duration) {
	for i := 1; i < len(all); i++ {
		between = append(between, all[i].at.Sub(all[i-1].at))
	}
	return between
}

// each kind of notifier, to which the same holds.
func each(t *testing.T, f func(t *testing.T, r *rig, n notifier, channel string)) {
	t.Helper()
	t.Run("slack", func(t *testing.T) {
		virtual(t, func(t *testing.T) {
			r := newRig()
			f(t, r, r.slack(t, notify.WithQueue(10)), "slack")
		})
	})
	t.Run("webhook", func(t *testing.T) {
		virtual(t, func(t *testing.T) {
			r := newRig()
			f(t, r, r.webhook(t, notify.WithQueue(10)), "webhook")
		})
	})
}

type notifier interface {
	breaker.Listener
	Close(context.Context) error
}

func TestWhatPassesIsTriedAgain(t *testing.T) {
	each(t, func(t *testing.T, r *rig, n notifier, channel string) {
		r.answer = answers(nil, code(500), code(503), code(429))
		(&circuit{to: n, service: "payments"}).opens()
		later(time.Minute)
		got := r.requests()
		if len(got) != 5 {
			t.Fatalf("%d attempts", len(got))
		}
		pause := 500 * time.Millisecond
		for i, gap := range gaps(got) {
			if gap < pause/2 || gap > pause*3/2 {
				t.Errorf("pause %d is %v, want %v, off by up to a half", i, gap, pause)
			}
			pause *= 2
		}
		if channel == "slack" && got[4].body != got[0].body {
			t.Errorf("what is sent again differs:\n%s\n%s", got[0].body, got[4].body)
		}
		r.wantCounts(t, channel, 1, 0, 0)
		if l := r.lines.get(); len(l) != 0 {
			t.Errorf("logged, though it got through: %q", l)
		}
	})
}

func TestRetryAfterIsHonoured(t *testing.T) {
	each(t, func(t *testing.T, r *rig, n notifier, channel string) {
		r.answer = answers(code(429, "Retry-After", "30"))
		c := &circuit{to: n, service: "payments"}
		c.opens()
		later(time.Minute)
		got := r.requests()
		if len(got) != 2 || gaps(got)[0] != 30*time.Second {
			t.Fatalf("%d attempts, %v apart", len(got), gaps(got))
		}
		r.wantCounts(t, channel, 1, 0, 0)
	})
}

// One that asks for more than there is: the message fails, and the next one waits as long as was asked.
func TestRetryAfterBeyondTheBoundHoldsTheNextMessage(t *testing.T) {
	each(t, func(t *testing.T, r *rig, n notifier, channel string) {
		r.answer = answers(code(429, "Retry-After", "600"))
		(&circuit{to: n, service: "payments"}).opens()
		later(time.Minute)
		(&circuit{to: n, service: "stock"}).opens()
		later(10 * time.Minute)
		got := r.requests()
		if len(got) != 2 || gaps(got)[0] != 10*time.Minute {
			t.Fatalf("%d attempts, %v apart", len(got), gaps(got))
		}
		r.wantCounts(t, channel, 1, 1, 0)
	})
}

func TestRetryAfterMayBeADateOrNonsense(t *testing.T) {
	virtual(t, func(t *testing.T) {
		r := newRig()
		date := time.Now().Add(20 * time.Second).UTC().Format(http.TimeFormat)
		r.answer = answers(code(503, "Retry-After", date), code(503, "Retry-After", "-5"), code(429, "Retry-After", "soon"),
			code(429, "Retry-After", "99999999999999999999"))
		(&circuit{to: r.webhook(t), service: "payments"}).opens()
		later(time.Minute)
		got := gaps(r.requests())
		if len(got) != 4 || got[0] != 20*time.Second {
			t.Fatalf("attempts are %v apart", got)
		}
		for _, gap := range got[1:] {
			if gap <= 0 || gap > 10*time.Second {
				t.Errorf("attempts are %v apart", got)
			}
		}
	})
}

func TestOtherAnswersAreFinal(t *testing.T) {
	each(t, func(t *testing.T, r *rig, n notifier, channel string) {
		for i, status := range []int{400, 401, 403, 404, 410, 301, 302, 307, 308} {
			r.answer = func(int, *http.Request) (*http.Response, error) {
				return code(status, "Location", "https://elsewhere.example/", "Retry-After", "60")(), nil
			}
			(&circuit{to: n, service: fmt.Sprint("s", i)}).opens()
			later(10 * time.Second)
			if got := len(r.requests()); got != i+1 {
				t.Fatalf("%d attempts after status %d", got, status)
			}
			r.wantCounts(t, channel, 0, int64(i+1), 0)
		}
	})
}

func TestG07_ADeadWebhookSlowsNobodyAndItsQueueIsBounded(t *testing.T) {
	each(t, func(t *testing.T, r *rig, n notifier, channel string) {
		r.answer = func(_ int, q *http.Request) (*http.Response, error) {
			<-q.Context().Done() // a black hole
			return nil, q.Context().Err()
		}
		begin := time.Now()
		for i := range 500 {
			(&circuit{to: n, service: fmt.Sprint("s", i)}).opens()
		}
		if took := time.Since(begin); took != 0 {
			t.Errorf("the listener took %v", took)
		}
		later(0)
		// One is on its way, at most, and ten wait.
		_, _, dropped := r.counts(t, channel)
		if dropped < 489 || dropped > 490 {
			t.Errorf("%d dropped", dropped)
		}
		later(time.Hour)
		_, failed, dropped := r.counts(t, channel)
		if failed+dropped != 500 {
			t.Errorf("%d failed and %d dropped of 500", failed, dropped)
		}
		// It is told once a minute at most, and by what it is.
		logged := r.lines.get()
		if len(logged) < 2 || len(logged) > 61 {
			t.Errorf("%d lines: %q", len(logged), logged)
		}
		if last := logged[len(logged)-1]; !strings.Contains(last, `"error":"timeout"`) || !strings.Contains(last, `"channel":"`+channel) {
			t.Errorf("logged: %s", last)
		}
		r.answer = nil
		(&circuit{to: n, service: "after"}).opens()
		later(0)
		r.wantCounts(t, channel, 1, failed, dropped)
	})
}

// A client that does not even mind its context holds up nothing but the messages.
func TestG07_AClientThatHangsHoldsNobodyUp(t *testing.T) {
	each(t, func(t *testing.T, r *rig, n notifier, channel string) {
		free := make(chan struct{})
		r.answer = func(int, *http.Request) (*http.Response, error) {
			<-free
			return status(200, "ok"), nil
		}
		for i := range 30 {
			(&circuit{to: n, service: fmt.Sprint("s", i)}).opens()
			synctest.Wait()
		}
		begin := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		err := n.Close(ctx)
		if took := time.Since(begin); took != 3*time.Second {
			t.Errorf("Close took %v", took)
		}
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "11 not sent") ||
			!strings.Contains(err.Error(), "and 6 more") {
			t.Errorf("Close: %v", err)
		}
		r.wantCounts(t, channel, 0, 1, 29)
		close(free)
		later(0)
		r.wantCounts(t, channel, 0, 1, 29) // the one that came too late is not counted again
		closeNow(t, n)
	})
}

func TestG07_PanicAndGoexitInTheClientHarmNobody(t *testing.T) {
	each(t, func(t *testing.T, r *rig, n notifier, channel string) {
		r.answer = func(n int, _ *http.Request) (*http.Response, error) {
			switch n {
			case 0:
				panic(address)
			case 1:
				runtime.Goexit()
			}
			return status(200, "ok"), nil
		}
		for i := range 3 {
			(&circuit{to: n, service: fmt.Sprint("s", i)}).opens()
		}
		later(5 * time.Second)
		r.wantCounts(t, channel, 1, 2, 0)
		closeNow(t, n)
	})
}

// What is dropped is a follow-up as long as there is one.
func TestTheOldestFollowUpIsDroppedFirst(t *testing.T) {
	virtual(t, func(t *testing.T) {
		r := newRig()
		s := r.slack(t, notify.WithQueue(3))
		for _, name := range []string{"a", "b"} {
			c := &circuit{to: s, service: name}
			c.opens()
			later(2 * time.Second)
			c.reopens() // waits for five minutes
		}
		for _, name := range []string{"c", "d", "e", "f"} { // the first at once, and the others a second apart
			(&circuit{to: s, service: name}).opens()
			synctest.Wait()
		}
		later(10 * time.Minute)
		want(t, r.texts(t), "opened: a", "opened: b", "opened: c", "opened: d", "opened: e", "opened: f")
		r.wantCounts(t, "slack", 6, 0, 2)

		w := r.webhook(t, notify.WithQueue(3))
		release := make(chan struct{})
		r.answer = func(n int, _ *http.Request) (*http.Response, error) {
			if n == 6 {
				<-release
			}
			return status(200, ""), nil
		}
		c := &circuit{to: w, service: "g"}
		c.opens()
		synctest.Wait() // it is on its way
		c.closes(time.Second, 0)
		c.opens()
		c.reopens() // two too many
		close(release)
		later(0)
		var got []string
		for _, q := range r.requests()[6:] {
			got = append(got, jsonOf(t, q.body)["event_type"].(string))
		}
		want(t, got, "circuit_opened", "circuit_closed", "circuit_opened", "circuit_reopened")
		r.wantCounts(t, "webhook", 4, 0, 2)
	})
}

// A logger that panics or hangs is nobody's problem.
func TestG07_ALoggerThatMisbehavesHarmsNobody(t *testing.T) {
	virtual(t, func(t *testing.T) {
		r := newRig()
		r.answer = func(int, *http.Request) (*http.Response, error) { return status(404, ""), nil }
		s := r.slack(t, notify.WithLogger(slog.New(slog.NewTextHandler(panics{}, nil))))
		(&circuit{to: s, service: "payments"}).opens()
		later(time.Second)
		r.wantCounts(t, "slack", 0, 1, 0)
	})
}

type panics struct{}

func (panics) Write([]byte) (int, error) { panic("a logger's") }

func TestTheOrderIsKeptThroughRetries(t *testing.T) {
	virtual(t, func(t *testing.T) {
		r := newRig()
		r.answer = func(n int, _ *http.Request) (*http.Response, error) {
			switch n % 4 {
			case 1:
				return nil, errNetwork
			case 2:
				return status(429, "", "Retry-After", "3"), nil
			}
			return status(200, ""), nil
		}
		w := r.webhook(t)
		c := &circuit{to: w, service: "payments"}
		for range 30 {
			c.opens()
			c.closes(time.Second, 0)
			later(2 * time.Second)
		}
		later(10 * time.Minute)
		var got, wanted []string
		for _, q := range r.requests() {
			fields := jsonOf(t, q.body)
			if id := fmt.Sprint(fields["outage_id"], fields["event_type"]); len(got) == 0 || got[len(got)-1] != id {
				got = append(got, id)
			}
		}
		for i := range 30 {
			for _, what := range []string{"circuit_opened", "circuit_half_open", "circuit_closed"} {
				wanted = append(wanted, fmt.Sprintf("outage-%d%s", i+1, what))
			}
		}
		if fmt.Sprint(got) != fmt.Sprint(wanted) {
			t.Errorf("they arrived as %v", got)
		}
		r.wantCounts(t, "webhook", 90, 0, 0)
	})
}

// What is not made by a breaker may have no contexts.
func TestAnEventWithoutContextsIsTold(t *testing.T) {
	each(t, func(t *testing.T, r *rig, n notifier, channel string) {
		n.OnTransition(breaker.Event{Service: "payments", To: breaker.Open})
		later(0)
		r.wantCounts(t, channel, 1, 0, 0)
	})
}

func TestAFollowUpIsDroppedBeforeAnOlderBeginning(t *testing.T) {
	for range 20 { // for breakers are kept without order
		virtual(t, func(t *testing.T) {
			r := newRig()
			release := make(chan struct{})
			r.answer = func(n int, _ *http.Request) (*http.Response, error) {
				if n == 1 {
					<-release
				}
				return status(200, "ok"), nil
			}
			s := r.slack(t, notify.WithQueue(2))
			a := &circuit{to: s, service: "a"}
			a.opens()
			later(2 * time.Second)
			for _, name := range []string{"b", "c"} { // b is on its way, and c waits
				(&circuit{to: s, service: name}).opens()
				synctest.Wait()
			}
			a.reopens()
			(&circuit{to: s, service: "d"}).opens()
			close(release)
			later(10 * time.Minute)
			want(t, r.texts(t), "opened: a", "opened: b", "opened: c", "opened: d")
			r.wantCounts(t, "slack", 4, 0, 1)
		})
	}
}

func TestTheLogIsALineAMinute(t *testing.T) {
	each(t, func(t *testing.T, r *rig, n notifier, channel string) {
		r.answer = func(int, *http.Request) (*http.Response, error) { return status(404, ""), nil }
		for i := range 600 { // in ten minutes
			(&circuit{to: n, service: fmt.Sprint("s", i)}).opens()
			later(time.Second)
		}
		later(time.Minute)
		total := 0.0
		for _, l := range r.lines.get() {
			fields := jsonOf(t, l)
			total += fields["failed"].(float64)
			if fields["error"] != "status 404" || fields["channel"] != channel || fields["level"] != "WARN" {
				t.Errorf("logged: %s", l)
			}
		}
		if lines := len(r.lines.get()); lines != 11 || total != 600 {
			t.Errorf("%d lines of %v failures", lines, total)
		}
	})
}
