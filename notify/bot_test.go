package notify_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/otelbreaker/otelbreaker/notify"
)

// api answers as Slack's Web API does; the real one cannot be reached from a test.
func api(refuse func(n int, method string, form url.Values) string) func(*rig) func(int, *http.Request) (*http.Response, error) {
	return func(r *rig) func(int, *http.Request) (*http.Response, error) {
		return func(n int, q *http.Request) (*http.Response, error) {
			form, _ := url.ParseQuery(r.requests()[n].body)
			method := strings.TrimPrefix(q.URL.Path, "/api/")
			if refuse != nil {
				if code := refuse(n, method, form); code != "" {
					return status(200, fmt.Sprintf(`{"ok":false,"error":%q}`, code)), nil
				}
			}
			ts := form.Get("ts")
			if ts == "" {
				ts = fmt.Sprintf("17.%d", n)
			}
			return status(200, fmt.Sprintf(`{"ok":true,"channel":"C0123","ts":%q}`, ts)), nil
		}
	}
}

func (r *rig) bot(t *testing.T, refuse func(int, string, url.Values) string) *notify.Slack {
	t.Helper()
	r.answer = api(refuse)(r)
	s, err := notify.NewSlackBot(token, "#on-call", r.options()...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close(t.Context()) })
	return s
}

// calls are those of the Web API: method, channel, message, thread, and the text.
func (r *rig) calls(t *testing.T) (all []string) {
	t.Helper()
	for _, q := range r.requests() {
		form, err := url.ParseQuery(q.body)
		if err != nil {
			t.Fatal(err)
		}
		if form.Get("token") != token && q.header.Get("Authorization") != "Bearer "+token {
			t.Errorf("without the token: %s", q.body)
		}
		if form.Get("parse") != "none" || form.Get("link_names") != "false" || form.Get("mrkdwn") != "false" {
			t.Errorf("mentions and links may be found: %v", form)
		}
		text := strings.ReplaceAll(form.Get("text"), "\u200b", "")
		all = append(all, fmt.Sprintf("%s %s ts=%s thread=%s %s", strings.TrimPrefix(q.path, "/api/"),
			form.Get("channel"), form.Get("ts"), form.Get("thread_ts"), text))
	}
	return all
}

func TestABotChangesTheMessageOfAnOutage(t *testing.T) {
	virtual(t, func(t *testing.T) {
		r := newRig()
		c := &circuit{to: r.bot(t, nil), service: "payments"}
		c.opens()
		later(time.Minute)
		c.reopens()
		later(10 * time.Minute)
		c.closes(11*time.Minute, 3)
		later(time.Minute)
		c.opens() // another outage has another message
		later(0)
		want(t, r.calls(t),
			"chat.postMessage #on-call ts= thread= Circuit breaker opened: payments",
			"chat.update C0123 ts=17.0 thread= Circuit breaker reopened once: payments",
			"chat.update C0123 ts=17.0 thread= Circuit breaker closed: payments recovered after 11m0s",
			"chat.postMessage C0123 ts= thread=17.0 Circuit breaker closed: payments recovered after 11m0s",
			"chat.postMessage #on-call ts= thread= Circuit breaker opened: payments")
		r.wantCounts(t, "slack", 4, 0, 0)
	})
}

func TestABotsFlappingIsOneMessage(t *testing.T) {
	virtual(t, func(t *testing.T) {
		r := newRig()
		c := &circuit{to: r.bot(t, nil), service: "payments"}
		for range 20 {
			c.opens()
			later(5 * time.Second)
			c.closes(5*time.Second, 0)
			later(5 * time.Second)
		}
		later(10 * time.Minute)
		got := r.calls(t)
		posts := 0
		for _, call := range got {
			if strings.Contains(call, "chat.postMessage #on-call") {
				posts++
			}
		}
		if posts != 2 || !strings.Contains(got[len(got)-1], "chat.update C0123 ts=17.3 thread= Circuit breaker flapping: payments opened 20 times") {
			t.Errorf("%d messages: %q", posts, got)
		}
	})
}

func TestABotIsRefused(t *testing.T) {
	virtual(t, func(t *testing.T) {
		r := newRig()
		c := &circuit{service: "payments"}
		c.to = r.bot(t, func(n int, method string, _ url.Values) string {
			switch {
			case n == 0:
				return "ratelimited" // passes
			case n == 2:
				return "message_not_found" // somebody deleted it: it is posted anew
			case method == "chat.postMessage" && n > 5:
				return "channel_not_found"
			}
			return ""
		})
		c.opens()
		later(time.Minute)
		c.closes(time.Minute, 0)
		later(time.Minute)
		c.opens()
		later(time.Minute)
		c.closes(time.Minute, 0)
		later(time.Minute)
		want(t, r.calls(t), "chat.postMessage #on-call ts= thread= Circuit breaker opened", "chat.postMessage #on-call ts= thread= Circuit breaker opened",
			"chat.update C0123 ts=17.1", "chat.postMessage #on-call ts= thread= Circuit breaker closed",
			"chat.postMessage #on-call ts= thread= Circuit breaker opened", "chat.update C0123 ts=17.4", "chat.postMessage C0123 ts= thread=17.4")
		r.wantCounts(t, "slack", 3, 1, 0)
		logged := strings.Join(r.lines.get(), "")
		if !strings.Contains(logged, "refused by Slack: channel_not_found") {
			t.Errorf("logged: %s", logged)
		}
	})
}

// A reply that fails is tried again after the message was changed once more, which changes nothing.
func TestABotsReplyIsTriedAgain(t *testing.T) {
	virtual(t, func(t *testing.T) {
		r := newRig()
		c := &circuit{to: r.bot(t, func(n int, _ string, form url.Values) string {
			if n == 2 && form.Get("thread_ts") != "" {
				return "internal_error"
			}
			return ""
		}), service: "payments"}
		c.opens()
		later(time.Minute)
		c.closes(time.Minute, 0)
		later(time.Minute)
		want(t, r.calls(t), "chat.postMessage #on-call", "chat.update", "chat.postMessage C0123 ts= thread=17.0",
			"chat.update", "chat.postMessage C0123 ts= thread=17.0")
		r.wantCounts(t, "slack", 2, 0, 0)
	})
}

// An outage that begins while the end of the one before is being told has a message of its own.
func TestABotsMessagesAreNotMixedUp(t *testing.T) {
	virtual(t, func(t *testing.T) {
		r := newRig()
		release := make(chan struct{})
		c := &circuit{to: r.bot(t, func(n int, _ string, _ url.Values) string {
			if n == 1 {
				<-release
			}
			return ""
		}), service: "payments"}
		c.opens()
		later(2 * time.Second)
		c.closes(2*time.Second, 0)
		later(2 * time.Second)
		c.opens()
		close(release)
		later(2 * time.Second)
		c.closes(2*time.Second, 0)
		later(2 * time.Second)
		want(t, r.calls(t), "chat.postMessage #on-call", "chat.update C0123 ts=17.0", "chat.postMessage C0123 ts= thread=17.0",
			"chat.postMessage #on-call ts= thread= Circuit breaker opened", "chat.update C0123 ts=17.3", "chat.postMessage C0123 ts= thread=17.3")
	})
}
