package control_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/otelbreaker/otelbreaker/breaker"
	"github.com/otelbreaker/otelbreaker/control"
)

func TestHandler_DoesWhatItIsTold(t *testing.T) {
	r := newRig(t)
	for _, step := range []struct {
		body     string
		state    breaker.State
		override breaker.Override
		note     string
	}{
		{order("force_open"), breaker.Open, breaker.ForcedOpen, "migration (by alice)"},
		{order("disable", "reason", "false alarm"), breaker.Closed, breaker.Disabled, "false alarm (by alice)"},
		{order("reset"), breaker.Closed, breaker.Automatic, ""},
	} {
		rec := r.post(alices, step.body)
		s := r.snapshot()
		if rec.Code != http.StatusOK || s.State != step.state || s.Override != step.override || s.OverrideNote != step.note {
			t.Errorf("%s: %d %s, and it is %v, %v, %q", step.body, rec.Code, rec.Body, s.State, s.Override, s.OverrideNote)
		}
		var told struct {
			Action, Service, Endpoint, Operator, State, Override string
			OverrideNote                                         string `json:"override_note"`
			Breakers                                             int
			Configuration                                        breaker.Config
		}
		if err := json.Unmarshal(rec.Body.Bytes(), &told); err != nil {
			t.Fatal(err)
		}
		if told.Service != "s" || told.Endpoint != a || told.Operator != "alice" || told.State != step.state.String() ||
			told.Override != step.override.String() || told.OverrideNote != step.note || told.Breakers != 1 ||
			told.Configuration.FailureThreshold != 5 {
			t.Errorf("it tells %+v", told)
		}
		for name, want := range map[string]string{"Content-Type": "application/json", "Cache-Control": "no-store",
			"X-Content-Type-Options": "nosniff"} {
			if got := rec.Header().Get(name); got != want {
				t.Errorf("%s is %q, want %q", name, got, want)
			}
		}
	}
}

func TestHandler_ReconfigureChangesTheGivenFieldsOnly(t *testing.T) {
	r := newRig(t)
	for _, step := range []struct {
		configuration string
		check         func(breaker.Config) bool
	}{
		{`{"failure_rate":0.5,"window_duration":"10s"}`, func(c breaker.Config) bool {
			return c.FailureRate == 0.5 && c.MinCalls == 10 && c.RecoveryTimeout == 30*time.Second && c.FailureThreshold == 0
		}},
		{`{"recovery_timeout":"1h"}`, func(c breaker.Config) bool {
			return c.FailureRate == 0.5 && c.RecoveryTimeout == time.Hour && c.MaxRecoveryTimeout == 10*time.Hour
		}},
		{`{"window_duration":"0s","window_calls":4}`, func(c breaker.Config) bool { return c.WindowCalls == 4 && c.MinCalls == 4 }},
	} {
		rec := r.post(bobs, order("reconfigure", "configuration", step.configuration))
		if c := r.snapshot().Config; rec.Code != http.StatusOK || !step.check(c) {
			t.Errorf("%s: %d %s, and it is %+v", step.configuration, rec.Code, rec.Body, c)
		}
	}
	before := r.snapshot().Config
	for configuration, says := range map[string]string{
		`{"failure_rate":2}`:          "FailureRate",
		`{"window_duration":"1s"}`:    "not both",
		`{"failures":3}`:              `\"failures\"`,
		`{"service":"other"}`:         "keeps its name",
		`{"recovery_timeout":5}`:      "a duration with its unit",
		`{"max_probes":1e99}`:         "a whole number",
		`{"failure_threshold":"ten"}`: "a whole number",
	} {
		rec := r.post(bobs, order("reconfigure", "configuration", configuration))
		if rec.Code != http.StatusUnprocessableEntity || !strings.Contains(rec.Body.String(), says) {
			t.Errorf("%s: %d %s", configuration, rec.Code, rec.Body)
		}
	}
	if after := r.snapshot().Config; fmt.Sprintf("%+v", after) != fmt.Sprintf("%+v", before) {
		t.Errorf("what was refused has changed it to %+v", after)
	}
}

func TestG17_ATypoMakesNoBreaker(t *testing.T) {
	r := newRig(t)
	for _, body := range []string{
		order("force_open", "endpoint", "https://a.exmaple"), order("force_open", "service", "S"),
		order("reset", "endpoint", a+"/"), order("disable", "endpoint", "other"),
		order("reconfigure", "endpoint", "none", "configuration", `{"max_probes":2}`),
	} {
		rec := r.post(alices, body)
		if rec.Code != http.StatusNotFound || !strings.Contains(rec.Body.String(), "health page") {
			t.Errorf("%s: %d %s", body, rec.Code, rec.Body)
		}
	}
	n := 0
	for b := range r.group.All() {
		n++
		if s := b.Snapshot(); s.Override != breaker.Automatic {
			t.Errorf("%s is %v", s.Endpoint, s.Override)
		}
	}
	if n != 1 {
		t.Errorf("there are %d breakers, want 1", n)
	}
}

func TestHandler_ANameIsCleanedAsTheGroupCleansIt(t *testing.T) {
	r := newRig(t)
	if rec := r.post(alices, order("force_open", "endpoint", "https://user:hunter2@a.example?x=1")); rec.Code != http.StatusOK ||
		r.snapshot().Override != breaker.ForcedOpen || strings.Contains(rec.Body.String(), "hunter2") {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
}

func TestHandler_AllOfOneNameAreMeant(t *testing.T) {
	r := newRig(t)
	twin := newGroup(t, breaker.Config{Service: "s"})
	twin.Get(a)
	r.handle([]control.Source{r.group, twin, r.group, r.group.Get(a)})
	rec := r.post(alices, order("force_open"))
	if rec.Code != http.StatusOK || !strings.Contains(rec.Body.String(), `"breakers":2`) ||
		twin.Get(a).State() != breaker.Open || r.snapshot().State != breaker.Open {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
}

func TestG17_WithoutAGoodTokenNothingHappens(t *testing.T) {
	r := newRig(t)
	var answers []string
	for i, change := range []func(*http.Request){
		with("Authorization"),
		with("Authorization", ""),
		with("Authorization", "Bearer"),
		with("Authorization", "Bearer "),
		with("Authorization", alices),
		with("Authorization", "Basic "+alices),
		with("Authorization", "Bearer  "+alices),
		with("Authorization", "Bearer "+alices+" "),
		with("Authorization", "Bearer "+alices[1:]),
		with("Authorization", "Bearer "+alices+"x"),
		with("Authorization", "Bearer "+strings.ToUpper(alices)),
		with("Authorization", "Bearer "+strings.Repeat("x", 100_000)),
		with("Authorization", "Bearer "+alices, "Bearer "+alices),
		with("Authorization", "Bearer alice"),
		func(q *http.Request) { q.Header.Del("Authorization"); q.URL.RawQuery = "token=" + alices },
		func(q *http.Request) { q.Header.Del("Authorization"); q.SetBasicAuth("alice", alices) },
		func(q *http.Request) {
			q.Header.Del("Authorization")
			q.AddCookie(&http.Cookie{Name: "token", Value: alices})
		},
	} {
		rec := r.post(alices, order("force_open"), from(fmt.Sprintf("192.0.2.%d:1", i)), change)
		answers = append(answers, fmt.Sprint(rec.Code, rec.Header(), rec.Body))
		if rec.Code != http.StatusUnauthorized || answers[i] != answers[0] { // no hint at what is wrong
			t.Errorf("%d: %s, want %s", i, answers[i], answers[0])
		}
	}
	if s := r.snapshot(); s.Override != breaker.Automatic || s.Transitions != 0 {
		t.Errorf("it is %+v", s)
	}
	if rec := r.post("", order("force_open"), with("Authorization", "bearer "+bobs)); rec.Code != http.StatusOK {
		t.Errorf("the scheme has no case, and yet: %d %s", rec.Code, rec.Body)
	}
}

func TestG17_PostOfTheSameOriginOnly(t *testing.T) {
	r := newRig(t)
	for name, c := range map[string]struct {
		change func(*http.Request)
		status int
	}{
		"GET":                   {by(http.MethodGet), 405},
		"HEAD":                  {by(http.MethodHead), 405},
		"PUT":                   {by(http.MethodPut), 405},
		"OPTIONS, a preflight":  {by(http.MethodOptions), 405},
		"another site":          {with("Sec-Fetch-Site", "cross-site"), 403},
		"a sister":              {with("Sec-Fetch-Site", "same-site"), 403},
		"an older browser":      {with("Origin", "https://evil.example"), 403},
		"a page without origin": {with("Origin", "null"), 403},
		"the same":              {with("Sec-Fetch-Site", "same-origin"), 200},
		"the same, older":       {with("Origin", "http://example.com"), 200}, // httptest's own host
		"no browser":            {func(*http.Request) {}, 200},
	} {
		rec := r.post(alices, order("reset"), c.change)
		if rec.Code != c.status {
			t.Errorf("%s: %d %s, want %d", name, rec.Code, rec.Body, c.status)
		}
		if got := rec.Header().Get("Allow"); (got == "POST") != (c.status == 405) {
			t.Errorf("%s: Allow is %q", name, got)
		}
		for header := range rec.Header() {
			if strings.HasPrefix(header, "Access-Control-") {
				t.Errorf("%s: it has %s", name, header)
			}
		}
		if u := r.one(); (u["result"] == "applied") != (c.status == 200) || u["http.response.status_code"] != float64(c.status) {
			t.Errorf("%s: the audit has %v", name, u)
		}
	}
}

func TestG17_TheBodyIsStrictAndBounded(t *testing.T) {
	r := newRig(t)
	good := order("force_open")
	for _, c := range []struct {
		body   string
		status int
		says   string
	}{
		{"", 400, "one JSON object"},
		{"null", 400, "one JSON object"},
		{"[" + good + "]", 400, "one JSON object"},
		{good + good, 400, "one JSON object"},
		{good[:len(good)-1], 400, "one JSON object"},
		{"{}", 400, "action is missing"},
		{order("force_open", "why", "x"), 400, `unknown field \"why\"`},
		{strings.Replace(good, `"action"`, `"Action"`, 1), 400, `unknown field \"Action\"`},
		{strings.Replace(good, `{`, `{"action":"reset",`, 1), 400, `\"action\" is there twice`},
		{order("force-open"), 400, "allowed is force_open, disable, reset, reconfigure"},
		{order("force_open", "reason", ""), 400, "reason is missing"},
		{order("force_open", "reason", " \t"), 400, "reason is missing"},
		{order("force_open", "reason", strings.Repeat("ü", 501)), 400, "1 to 500 characters"},
		{strings.Replace(good, `"migration"`, "7", 1), 400, "reason: allowed is a text"},
		{strings.Replace(good, `"migration"`, "null", 1), 400, "reason: allowed is a text"},
		{order("force_open", "for", "soon"), 400, `for is \"soon\"`},
		{order("force_open", "for", "999ms"), 400, "1s to 720h0m0s"},
		{order("force_open", "for", "721h"), 400, "1s to 720h0m0s"},
		{order("reset", "for", "1h"), 400, "only with force_open and disable"},
		{order("force_open", "configuration", `{"max_probes":2}`), 400, "only with reconfigure"},
		{order("reconfigure"), 400, "only with reconfigure"},
		{order("reconfigure", "configuration", `{}`), 400, "one field of it, or more"},
		{order("reconfigure", "configuration", `[]`), 400, "configuration: allowed is one JSON object"},
		{order("reconfigure", "configuration", `{"max_probes":2,"max_probes":3}`), 400, "there twice"},
		{`{"f":1` + manyFields(1000) + "}", 400, "…"},
		{`{"action":"reset","reason":"` + strings.Repeat("x", 16<<10) + `"}`, 413, "16384 bytes"},
	} {
		rec := r.post(alices, c.body)
		if rec.Code != c.status || !strings.Contains(rec.Body.String(), c.says) || !json.Valid(rec.Body.Bytes()) || rec.Body.Len() > 4000 {
			t.Errorf("%.80s: %d %s, want %d, %s", c.body, rec.Code, rec.Body, c.status, c.says)
		}
	}
	for _, media := range []string{"", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/jsonp"} {
		if rec := r.post(alices, good, with("Content-Type", media)); rec.Code != http.StatusUnsupportedMediaType {
			t.Errorf("%s: %d %s", media, rec.Code, rec.Body)
		}
	}
	if s := r.snapshot(); s.Override != breaker.Automatic || s.Transitions != 0 {
		t.Errorf("it is %+v", s)
	}
	rec := r.post(alices, order("force_open", "reason", strings.Repeat("ü", 500)), with("Content-Type", "application/json; charset=utf-8"))
	if rec.Code != http.StatusOK {
		t.Errorf("500 characters: %d %s", rec.Code, rec.Body)
	}
}

func manyFields(n int) string {
	var text strings.Builder
	for i := range n {
		fmt.Fprintf(&text, `,"f%d":1`, i)
	}
	return text.String()
}

// TestG17_ByARealServer has what net/http adds: a body that breaks off, and one that never ends.
func TestG17_ByARealServer(t *testing.T) {
	r := newRig(t)
	server := httptest.NewServer(r.handler)
	defer server.Close()
	post := func(body io.Reader) (int, string) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL, body)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Authorization", "Bearer "+alices)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			return 0, err.Error()
		}
		defer res.Body.Close()
		text, _ := io.ReadAll(res.Body)
		return res.StatusCode, string(text)
	}
	if code, text := post(strings.NewReader(order("force_open"))); code != 200 {
		t.Errorf("%d %s", code, text)
	}
	if u := r.one(); u["client.address"] != "127.0.0.1" {
		t.Errorf("the audit has %v", u)
	}
	if code, text := post(endless{}); code != 413 && code != 0 { // 0: the connection was closed while it was still being sent
		t.Errorf("an endless body: %d %s", code, text)
	}
	if u := r.one(); u["http.response.status_code"] != 413.0 {
		t.Errorf("the audit has %v", u)
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}

func TestHandler_ConcurrentSafe(t *testing.T) {
	r := newRig(t)
	var all sync.WaitGroup
	for i := range 4 {
		all.Go(func() {
			for n := range 50 {
				address := from(fmt.Sprintf("192.0.2.%d:1", i))
				r.post(alices, order([]string{"force_open", "disable", "reset"}[n%3]), address)
				r.post(bobs, order("reconfigure", "configuration", fmt.Sprintf(`{"failure_threshold":%d}`, n+1)), address)
				r.post(alices, order("disable", "for", "1h"), address)
				_ = r.group.Get(a).Do(context.Background(), func(context.Context) error { return errDown })
			}
		})
	}
	all.Wait()
	if n, lines := len(r.records), strings.Count(r.lines.String(), "\n"); n != 600 || lines != 600 {
		t.Errorf("%d and %d audit records, want 600", n, lines)
	}
	if rec := r.post(alices, order("reset")); rec.Code != http.StatusOK || r.snapshot().State != breaker.Closed {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
}

type oddSource struct{}

func (oddSource) All() iter.Seq[*breaker.Breaker] { panic("odd") }

func TestG18_BadOptionsAreRefusedByName(t *testing.T) {
	group := newGroup(t, breaker.Config{})
	for _, c := range []struct {
		groups  []control.Source
		options []control.Option
		says    []string
	}{
		{nil, []control.Option{control.WithToken("alice", alices)}, []string{"no group"}},
		{[]control.Source{group, nil}, []control.Option{control.WithToken("alice", alices)}, []string{"group 1 is nil"}},
		{[]control.Source{(*breaker.Group)(nil)}, []control.Option{control.WithToken("alice", alices)}, []string{"group 0 is nil"}},
		{[]control.Source{oddSource{}}, []control.Option{control.WithToken("alice", alices)}, []string{"cannot be listed"}},
		{[]control.Source{group}, nil, []string{"no token", "WithToken", "WithTokenFile"}},
		{[]control.Source{group}, []control.Option{nil}, []string{"option 0 is nil"}},
		{[]control.Source{group}, []control.Option{control.WithClientAddress(nil)}, []string{"WithClientAddress is nil"}},
		{[]control.Source{group}, []control.Option{control.WithToken("", "short")}, []string{`name is ""`, "1 to 64", "5 characters", "32 to 512"}},
		{[]control.Source{group}, []control.Option{control.WithToken("a\nb", alices)}, []string{`"a\nb"`, "printable"}},
		{[]control.Source{group}, []control.Option{control.WithToken(alices, "alice")}, []string{"the name first, and then the token"}},
		{[]control.Source{group}, []control.Option{control.WithToken("bob", strings.Repeat("x", 513))}, []string{"513"}},
		{[]control.Source{group}, []control.Option{control.WithToken("bob", strings.Repeat("ü", 32))}, []string{"letters, digits"}},
		{[]control.Source{group}, []control.Option{control.WithToken("alice", alices), control.WithToken("bob", alices)}, []string{"the same token", "alice", "bob"}},
		{[]control.Source{group}, []control.Option{control.WithTokenFile("/nowhere/tokens")}, []string{"WithTokenFile", "/nowhere/tokens"}},
	} {
		h, err := control.Handler(c.groups, c.options...)
		if err == nil || h != nil {
			t.Errorf("accepted, though %q", c.says)
			continue
		}
		for _, text := range c.says {
			if !strings.Contains(err.Error(), text) {
				t.Errorf("%v does not say %q", err, text)
			}
		}
		for _, secret := range []string{alices, "short", "xxxx", "üüü"} {
			if strings.Contains(err.Error(), secret) {
				t.Errorf("%v tells a token", err)
			}
		}
	}
}

func TestHandler_TheClientsAddressCanComeFromAProxy(t *testing.T) {
	r := newRig(t)
	forwarded := with("X-Forwarded-For", "198.51.100.1")
	r.post(alices, order("reset"), forwarded)
	if u := r.one(); u["client.address"] != "192.0.2.7" {
		t.Errorf("a header that anyone can send was believed: %v", u)
	}
	r.handle([]control.Source{r.group}, control.WithClientAddress(func(q *http.Request) string { return q.Header.Get("X-Forwarded-For") }))
	r.post(alices, order("reset"), forwarded)
	if u := r.one(); u["client.address"] != "198.51.100.1" {
		t.Errorf("the audit has %v", u)
	}
	for range 10 {
		r.post("wrong", "", forwarded)
	}
	if code := r.post("wrong", order("reset"), forwarded).Code; code != 429 {
		t.Errorf("the limit is not on the client's address: %d", code)
	}
	if code := r.post("wrong", order("reset"), with("X-Forwarded-For", "198.51.100.2")).Code; code != 401 {
		t.Errorf("the limit is on the proxy's address: %d", code)
	}
}

func traced(q *http.Request) {
	*q = *q.WithContext(trace.ContextWithSpanContext(q.Context(), trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: trace.TraceID{15: 1}, SpanID: trace.SpanID{7: 2}, TraceFlags: trace.FlagsSampled,
	})))
}
