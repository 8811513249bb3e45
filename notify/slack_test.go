package notify_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/slack-go/slack"

	"github.com/otelbreaker/otelbreaker/breaker"
	"github.com/otelbreaker/otelbreaker/notify"
)

// down is an error that names itself; its text is to stay inside.
type down string

func (d down) Error() string     { return "canary of an error's text" }
func (d down) ErrorType() string { return string(d) }

var links = []notify.Option{
	notify.WithDashboard("https://grafana.example/d/breakers?var-service={service}&var-endpoint={endpoint}"),
	notify.WithRunbook("https://wiki.example/runbooks/{service}#open"),
	notify.WithTrace("https://jaeger.example/trace/{trace}"),
}

// A real breaker's outage, as Slack is told of it.
func TestTheMessagesOfAnOutage(t *testing.T) {
	virtual(t, func(t *testing.T) {
		r := newRig()
		b, err := breaker.New(breaker.Config{
			Service: "payments", Endpoint: "https://pay.example:8443", RecoveryTimeout: 2 * time.Minute,
		}, r.slack(t, links...))
		if err != nil {
			t.Fatal(err)
		}
		call := func(trace byte, err error) { _ = b.Do(traced(trace), func(context.Context) error { return err }) }
		for range 5 {
			call(1, down("503"))
		}
		id := b.Snapshot().OutageID
		later(time.Minute)
		call(2, nil) // blocked, twice
		call(2, nil)
		later(time.Minute)
		call(3, context.DeadlineExceeded) // the probe
		later(2 * time.Minute)
		call(4, down("502"))
		later(time.Minute) // five have passed since the first message
		want(t, r.texts(t), "opened: payments (https://pay.example:8443): 5 consecutive failures", "reopened 2 times: payments")
		later(time.Minute)
		call(5, nil)
		later(0)
		want(t, r.texts(t)[2:], "closed: payments recovered after 6m0s (https://pay.example:8443)")
		for i, file := range []string{"opened.json", "reopened.json", "closed.json"} {
			body := strings.ReplaceAll(r.requests()[i].body, id, "5bd1c9e204a7f836")
			golden(t, file, body)
			keepsToSlacksRules(t, body)
		}
		r.wantCounts(t, "slack", 3, 0, 0)
	})
}

func TestAnOutageOfAShortTimeIsTwoMessagesAtOnce(t *testing.T) {
	virtual(t, func(t *testing.T) {
		r := newRig()
		c := &circuit{to: r.slack(t), service: "payments"}
		c.opens()
		later(0)
		want(t, r.texts(t), "opened")
		later(3 * time.Second)
		c.closes(3*time.Second, 7)
		later(0)
		want(t, r.texts(t), "opened", "recovered after 3s")
		if body := r.requests()[1].body; !strings.Contains(body, `Blocked calls\n7`) {
			t.Errorf("the blocked calls are not told: %s", body)
		}
	})
}

func TestReopeningsAreGathered(t *testing.T) {
	virtual(t, func(t *testing.T) {
		r := newRig()
		c := &circuit{to: r.slack(t, notify.WithInterval(10*time.Minute)), service: "payments"}
		c.opens()
		for range 60 { // for an hour
			later(time.Minute)
			c.reopens()
		}
		later(10 * time.Minute)
		// The first is told ten minutes after the opening, and the last ten after the one before.
		got := r.texts(t)
		want(t, got, "opened", "reopened 9 times", "19 times", "29 times", "39 times", "49 times", "59 times", "60 times")
		for i, q := range r.requests()[1:] {
			if gap := q.at.Sub(r.requests()[i].at); gap < 10*time.Minute {
				t.Errorf("follow-up %d comes after %v", i, gap)
			}
		}
		c.closes(time.Hour, 0)
		later(time.Second)
		want(t, r.texts(t)[8:], "recovered after 1h0m0s")
	})
}

func TestFlappingIsGathered(t *testing.T) {
	virtual(t, func(t *testing.T) {
		r := newRig()
		c := &circuit{to: r.slack(t), service: "payments", endpoint: "db"}
		for range 7 {
			c.opens()
			later(5 * time.Second)
			c.closes(5*time.Second, 2)
			later(25 * time.Second)
		}
		later(10 * time.Minute)
		want(t, r.texts(t), "opened: payments", "recovered", "opened: payments", "recovered",
			"flapping: payments opened 3 times in 1m0s, now open",
			"flapping: payments opened 7 times in 3m5s, now closed")
		golden(t, "flapping.json", strings.ReplaceAll(r.requests()[5].body, "outage-7", "5bd1c9e204a7f836"))
		for _, q := range r.requests() {
			keepsToSlacksRules(t, q.body)
		}
		if body := r.requests()[5].body; !strings.Contains(body, `Blocked calls\n14`) {
			t.Errorf("not all blocked calls are told: %s", body)
		}
		// Calm again, it is told as before.
		c.opens()
		later(time.Minute)
		c.closes(time.Minute, 1)
		later(0)
		want(t, r.texts(t)[6:], "opened: payments", "recovered after 1m0s")
	})
}

// However a breaker behaves, its messages are few, and the last one says how it is.
func TestG07_AFloodOfTransitionsIsNoFloodOfMessages(t *testing.T) {
	for _, open := range []time.Duration{time.Millisecond, time.Second, 20 * time.Second, 4 * time.Minute} {
		t.Run(open.String(), func(t *testing.T) {
			virtual(t, func(t *testing.T) {
				r := newRig()
				c := &circuit{to: r.slack(t), service: "payments"}
				begin := time.Now()
				for range 500 {
					c.opens()
					later(open / 2)
					c.reopens()
					later(open / 2)
					c.closes(open, 1)
					later(open / 10)
				}
				c.opens()
				took := time.Since(begin)
				later(5 * time.Minute)
				got := r.texts(t)
				// Two of each outage before the third, and then one in five minutes.
				if most := 6 + int(took/(5*time.Minute)) + 1; len(got) > most {
					t.Errorf("%d messages in %v, want at most %d", len(got), took, most)
				}
				if last := got[len(got)-1]; !strings.Contains(last, "opened 501 times") || !strings.Contains(last, "now open") {
					t.Errorf("the last message is %q", last)
				}
			})
		})
	}
}

func TestWhatWaitsIsToldAsItIsWhenItIsSent(t *testing.T) {
	virtual(t, func(t *testing.T) {
		r := newRig()
		release := make(chan struct{})
		r.answer = func(n int, _ *http.Request) (*http.Response, error) {
			if n == 0 {
				<-release
			}
			return status(200, "ok"), nil
		}
		s := r.slack(t, notify.WithTimeout(time.Minute))
		first := &circuit{to: s, service: "first"}
		first.opens()
		later(0)
		second := &circuit{to: s, service: "second"}
		second.opens()
		later(10 * time.Second)
		second.closes(10*time.Second, 3)
		third := &circuit{to: s, service: "third"}
		third.opens()
		third.closes(time.Second, 0)
		third.opens()
		close(release)
		later(5 * time.Second)
		want(t, r.texts(t), "opened: first", "closed: second recovered after 10s", "of third opened 2 times")
	})
}

func TestMessagesKeepASecondApart(t *testing.T) {
	virtual(t, func(t *testing.T) {
		r := newRig()
		s := r.slack(t)
		for i := range 20 {
			(&circuit{to: s, service: fmt.Sprintf("service-%02d", i)}).opens()
		}
		later(30 * time.Second)
		got := r.requests()
		if len(got) != 20 {
			t.Fatalf("%d messages", len(got))
		}
		for i, q := range got {
			if !strings.Contains(q.body, fmt.Sprintf("service-%02d", i)) {
				t.Errorf("message %d is out of order: %s", i, q.body)
			}
			if i > 0 && q.at.Sub(got[i-1].at) < time.Second {
				t.Errorf("message %d comes after %v", i, q.at.Sub(got[i-1].at))
			}
		}
	})
}

func TestWhatAnOperatorDidIsToldAsSuch(t *testing.T) {
	virtual(t, func(t *testing.T) {
		r := newRig()
		b, err := breaker.New(breaker.Config{Service: "payments", Endpoint: "db"}, r.slack(t))
		if err != nil {
			t.Fatal(err)
		}
		b.ForceOpen("maintenance <!channel> of the *database*")
		later(time.Minute)
		b.Reset()
		later(time.Minute)
		b.ForceOpen("")
		later(time.Minute)
		b.Disable("trying")
		later(time.Minute)
		want(t, r.texts(t), "forced open: payments (db): forced open by an operator: maintenance &lt;!channel&gt; of the ∗database∗",
			"reset: payments", "forced open: payments", "disabled: payments")
	})
}

func TestWhoListensLateIsToldTheRest(t *testing.T) {
	virtual(t, func(t *testing.T) {
		r := newRig()
		s := r.slack(t)
		a, b, c := &circuit{to: s, service: "a"}, &circuit{to: s, service: "b"}, &circuit{to: s, service: "c"}
		a.reopens()
		b.closes(time.Minute, 4)
		c.probes()
		later(10 * time.Second)
		want(t, r.texts(t), "reopened once: a", "closed: b recovered after 1m0s")
	})
}

func TestReasonsAreToldWithTheirNumbers(t *testing.T) {
	virtual(t, func(t *testing.T) {
		r := newRig()
		s := r.slack(t)
		for i, reason := range []breaker.Reason{
			{Rule: breaker.RuleFailureRate, Observed: 0.625, Threshold: 0.5},
			{Rule: breaker.RuleSlowCallRate, Observed: 1, Threshold: 0.333333},
			{Rule: breaker.RuleProbeTimeout, Observed: 1, Threshold: 1},
			{Rule: breaker.RuleFleetQuorum, Observed: 0.6, Threshold: 0.5},
			{Rule: breaker.RuleFleetLeader, Observed: 1, Threshold: 1},
			{Rule: breaker.RuleFleetRecovered, Observed: 1, Threshold: 1},
			{Rule: "a rule to come"},
		} {
			c := &circuit{to: s, service: fmt.Sprint("s", i)}
			c.event(breaker.Closed, breaker.Open, reason.Rule, func(e *breaker.Event) { e.Reason = reason })
		}
		later(10 * time.Second)
		want(t, r.texts(t), "failure rate 62.5 % (threshold 50 %)", "slow calls 100 % (threshold 33.33 %)",
			"the probe did not end in time", "60 % of the replicas have opened (threshold 50 %)", "another replica has opened",
			"another replica's probe succeeded", "a rule to come")
	})
}

func TestButtonsAreLeftOutWhereThereIsNothingToLinkTo(t *testing.T) {
	virtual(t, func(t *testing.T) {
		r := newRig()
		c := &circuit{to: r.slack(t, append(links, notify.WithRunbook("https://wiki.example/{outage}"))...), service: "a/b c&d?e=f#..", endpoint: ".."}
		c.event(breaker.Closed, breaker.Open, breaker.RuleForced, func(e *breaker.Event) { e.OutageID = "" })
		later(0)
		var urls []string
		for _, b := range message(t, r.requests()[0].body).Attachments[0].Blocks.BlockSet {
			if a, ok := b.(*slack.ActionBlock); ok {
				for _, e := range a.Elements.ElementSet {
					urls = append(urls, e.(*slack.ButtonBlockElement).URL)
				}
			}
		}
		if got := fmt.Sprint(urls); got != "[https://grafana.example/d/breakers?var-service=a%2Fb%20c%26d%3Fe%3Df%23..&var-endpoint=__]" {
			t.Errorf("buttons to %s", got)
		}
	})
}

// Whatever a breaker does and however Slack answers: in the end the last message says how the breaker is, and messages
// that could wait kept their distance.
func TestG07_TheLastMessageIsTrueForAnySchedule(t *testing.T) {
	for seed := range uint64(120) {
		virtual(t, func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 7))
			openings := 2 + random.IntN(4)
			interval := time.Duration(1+random.IntN(10)) * time.Minute
			within := time.Duration(1+random.IntN(20)) * time.Minute
			r := newRig()
			var mu sync.Mutex
			r.answer = func(int, *http.Request) (*http.Response, error) {
				mu.Lock()
				defer mu.Unlock()
				switch random.IntN(10) {
				case 0:
					return nil, errNetwork
				case 1:
					return status(429, "", "Retry-After", strconv.Itoa(random.IntN(40))), nil
				}
				return status(200, "ok"), nil
			}
			c := &circuit{to: r.slack(t, notify.WithInterval(interval), notify.WithFlapping(openings, within)), service: "payments"}
			closed, reopened := true, 0
			for range 5 + random.IntN(60) {
				mu.Lock()
				which, pause := random.IntN(3), time.Duration(random.ExpFloat64()*float64(random.IntN(4))*float64(time.Minute))
				mu.Unlock()
				switch {
				case closed:
					c.opens()
					closed, reopened = false, 0
				case which == 0:
					c.closes(time.Minute, 1)
					closed = true
				default:
					c.reopens()
					reopened++
				}
				later(pause)
			}
			later(interval + 3*time.Minute)
			got := r.texts(t)
			last := got[len(got)-1]
			if n := strings.Count(last, "closed"); (n > 0) != closed {
				t.Fatalf("seed %d: closed is %v, and the last message %q", seed, closed, last)
			}
			if !closed && reopened > 0 && !strings.Contains(last, "opened") {
				t.Fatalf("seed %d: reopened %d times, and the last message is %q", seed, reopened, last)
			}
			if n := strings.Index(last, "reopened "); n >= 0 && !strings.Contains(last, "reopened once") &&
				!strings.Contains(last, fmt.Sprintf("reopened %d times", reopened)) {
				t.Fatalf("seed %d: reopened %d times, and the last message is %q", seed, reopened, last)
			}
			var before time.Time
			for i, q := range r.requests() {
				if i > 0 && got[i] == got[i-1] { // sent again
					continue
				}
				if waits := strings.Contains(got[i], "reopened"); waits && !before.IsZero() && q.at.Sub(before) < interval-2*time.Minute-10*time.Second {
					t.Fatalf("seed %d: %q comes %v after the message before", seed, got[i], q.at.Sub(before))
				}
				before = q.at
			}
			if sent, failed, dropped := r.counts(t, "slack"); sent == 0 || failed+dropped > 0 && failed > sent {
				t.Errorf("seed %d: sent %d, failed %d, dropped %d", seed, sent, failed, dropped)
			}
		})
	}
}
