package main

import (
	"bufio"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/otelbreaker/otelbreaker/cmd/demo/internal/faulty"
)

func startQuick(t *testing.T, change func(*settings)) *app {
	t.Helper()
	s := quick(t)
	if change != nil {
		change(&s)
	}
	a, err := start(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	stopAtEnd(t, a)
	return a
}

// ask makes a request without following redirects, and reads the answer.
func ask(t *testing.T, method, address string, form url.Values, change func(*http.Request)) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, address, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if change != nil {
		change(req)
	}
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(body)
}

func TestPage_Headers(t *testing.T) {
	a := startQuick(t, nil)
	for path, contentType := range map[string]string{
		"/":                        "text/html; charset=utf-8",
		"/app.js":                  "text/javascript; charset=utf-8",
		"/style.css":               "text/css; charset=utf-8",
		"/icon.svg":                "image/svg+xml",
		"/metrics":                 "text/plain; version=0.0.4; charset=utf-8; escaping=underscores",
		"/health/circuit-breakers": "application/json",
	} {
		res, body := ask(t, http.MethodGet, a.url()+path, nil, nil)
		if res.StatusCode != http.StatusOK || body == "" {
			t.Errorf("%s answers %s with %d bytes", path, res.Status, len(body))
		}
		for name, want := range map[string]string{
			"Content-Type":            contentType,
			"Content-Security-Policy": contentSecurityPolicy,
			"X-Content-Type-Options":  "nosniff",
			"Referrer-Policy":         "no-referrer",
			"Cache-Control":           "no-store",
		} {
			if got := res.Header.Get(name); got != want {
				t.Errorf("%s: %s is %q, want %q", path, name, got, want)
			}
		}
	}
	for _, directive := range []string{"default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "form-action 'self'", "base-uri 'none'"} {
		if !slices.Contains(strings.Split(contentSecurityPolicy, "; "), directive) {
			t.Errorf("the policy has no %s", directive)
		}
	}
	for path, status := range map[string]int{"/page/index.html": 404, "/app.go": 404, "/nothing": 404} {
		if res, _ := ask(t, http.MethodGet, a.url()+path, nil, nil); res.StatusCode != status {
			t.Errorf("%s answers %s, want %d", path, res.Status, status)
		}
	}
}

// TestPage_NeedsNothingFromOutside also keeps the policy: nothing inline, nothing foreign.
func TestPage_NeedsNothingFromOutside(t *testing.T) {
	foreign := regexp.MustCompile(`(?i)(src|href|action)="(https?:)?//|@import|url\(`)
	inline := regexp.MustCompile(`(?i)<script>|<style|\sstyle=|\son[a-z]+=|javascript:`)
	asMarkup := regexp.MustCompile(`innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|DOMParser|srcdoc`)
	for _, name := range append(assetNames(), "index.html") {
		text, err := assets.ReadFile("page/" + name)
		if err != nil {
			t.Fatal(err)
		}
		for _, bad := range []*regexp.Regexp{foreign, inline, asMarkup} {
			if found := bad.FindString(strings.ReplaceAll(string(text), `xmlns="http://www.w3.org/2000/svg"`, "")); found != "" {
				t.Errorf("%s has %q", name, found)
			}
		}
	}
}

// nextUpdate reads one event of a stream.
func nextUpdate(t *testing.T, stream *bufio.Reader) (raw string, u update) {
	t.Helper()
	for {
		line, err := stream.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if data, isData := strings.CutPrefix(line, "data: "); isData {
			if err := json.Unmarshal([]byte(data), &u); err != nil {
				t.Fatal(err)
			}
			return data, u
		}
	}
}

func openStream(t *testing.T, a *app) *bufio.Reader {
	t.Helper()
	res, err := http.Get(a.url() + "/events")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { res.Body.Close() })
	if got := res.Header.Get("Content-Type"); res.StatusCode != http.StatusOK || got != "text/event-stream" {
		t.Fatalf("%s, %s", res.Status, got)
	}
	return bufio.NewReader(res.Body)
}

func TestG16_HostileServiceNameStaysInertOnThePage(t *testing.T) {
	const hostile = `"><script>alert(1)</script><img src=x onerror=alert(2)> ` + "\u2028</template>"
	a := startQuick(t, func(s *settings) { s.services[0] = hostile })
	a.load()
	if err := a.script.play(t.Context()); err != nil {
		t.Fatal(err)
	}
	markup := regexp.MustCompile(`(?i)<script>|<img src=x|</template>.*</template>`)
	_, page := ask(t, http.MethodGet, a.url()+"/", nil, nil)
	if found := markup.FindString(page); found != "" {
		t.Errorf("the page has %q", found)
	}
	if !strings.Contains(page, "&lt;script&gt;alert(1)") {
		t.Error("the page does not show the name")
	}
	raw, u := nextUpdate(t, openStream(t, a))
	if strings.ContainsAny(raw, "<>\u2028") {
		t.Errorf("the stream has markup or a line end in it: %s", raw)
	}
	if u.Circuits[0].Named.Service != hostile || len(u.Records) == 0 || u.Records[0].Service != hostile {
		t.Errorf("the stream does not tell the name: %s", raw)
	}
}

func TestPage_Events(t *testing.T) {
	a := startQuick(t, nil)
	stream := openStream(t, a)
	_, u := nextUpdate(t, stream)
	if len(u.Circuits) != 3 || u.Run != a.run || u.Act != 0 {
		t.Fatalf("the first update is %+v", u)
	}
	for i, c := range u.Circuits {
		if c.Index != i || *c.Named != (named{a.services[i], a.deps[i].upstream.URL(), failureThreshold, a.recovery.Milliseconds()}) ||
			*c.Standing != (standing{State: "closed", Since: a.started.UnixMilli(), Fault: faulty.None}) || *c.Counts != (tally{}) || *c.Streak != 0 {
			t.Errorf("circuit %d is %+v", i, c)
		}
		if len(c.Spans) != 1 || c.Spans[0] != (span{a.started.UnixMilli(), "closed"}) {
			t.Errorf("circuit %d has been %+v", i, c.Spans)
		}
	}
	a.load()
	if err := a.script.play(t.Context()); err != nil {
		t.Fatal(err)
	}
	// Over the whole stream each record comes once, and so does each state and each call; what has not changed does not
	// come.
	var records []shown
	var states, calls string
	var counts tally
	for len(records) == 0 || records[len(records)-1].To != "closed" || !strings.HasSuffix(states, " closed") {
		_, u = nextUpdate(t, stream)
		records = append(records, u.Records...)
		for _, c := range u.Circuits {
			if c.Named != nil || c.Index != 0 && c.Standing != nil {
				t.Errorf("told without a change: %+v", c)
			}
			if c.Index != 0 {
				continue
			}
			calls += c.Calls
			if c.Counts != nil {
				counts = *c.Counts
			}
			for _, s := range c.Spans {
				states += " " + s.State
			}
		}
	}
	if want := strings.Repeat(" open half_open", len(records)/2) + " closed"; states != want {
		t.Errorf("the states are%s, want%s", states, want)
	}
	for i, r := range records {
		if r.Seq != i+1 || r.Service != "payments" || len(r.TraceID) != 32 || r.OutageID != records[0].OutageID || r.Why == "" || r.Time == 0 {
			t.Errorf("record %d is %+v", i, r)
		}
	}
	if last := records[len(records)-1]; last.Recovery == nil || *last.Recovery <= 0 || last.Blocked == nil {
		t.Errorf("the closing is %+v", last)
	}
	for i, letter := range []string{"S", "F", "B"} {
		if told := strings.Count(calls, letter); counts[i] == 0 || told == 0 || told > int(counts[i])+1 { // a call may end between the two
			t.Errorf("calls told as %s: %d, counted %d", letter, told, counts[i])
		}
	}

	if err := a.deps[1].upstream.Set(t.Context(), faulty.Errors); err != nil {
		t.Fatal(err)
	}
	a.deps[1].breaker().ForceOpen("a trial")
	for told := (standing{}); told.Override != "forced_open" || told.State != "open" || told.Fault != faulty.Errors || told.OutageID == "" || told.Note != "a trial"; {
		_, u = nextUpdate(t, stream)
		for _, c := range u.Circuits {
			if c.Index == 1 && c.Standing != nil {
				told = *c.Standing
			}
		}
	}
}

func TestPage_StreamsAreBounded(t *testing.T) {
	a := startQuick(t, nil)
	for range maxStreams {
		nextUpdate(t, openStream(t, a))
	}
	if res, _ := ask(t, http.MethodGet, a.url()+"/events", nil, nil); res.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("one more is answered by %s", res.Status)
	}
}

// deadlines is an answer that notes until when its request may be read.
type deadlines struct {
	*httptest.ResponseRecorder
	read time.Time
}

func (d *deadlines) SetReadDeadline(t time.Time) error { d.read = t; return nil }

// TestPage_BodiesHaveADeadline: a client that promises a body and sends none shall not keep a connection for ever. A
// stream, whose request has none, may go on.
func TestPage_BodiesHaveADeadline(t *testing.T) {
	handler := withHeaders(http.NotFoundHandler())
	for body, limited := range map[string]bool{"": false, "fault=none": true} {
		w := &deadlines{ResponseRecorder: httptest.NewRecorder()}
		handler.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/fault", strings.NewReader(body)))
		if !w.read.IsZero() != limited || time.Until(w.read) > readTimeout {
			t.Errorf("the body %q may be read until %v", body, w.read)
		}
	}
}

func TestG17_FaultsAreSwitchedFromThePageItselfOnly(t *testing.T) {
	a := startQuick(t, nil)
	form := url.Values{"service": {"inventory"}, "fault": {"errors"}}
	header := func(name, value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(name, value) }
	}
	_, port, err := net.SplitHostPort(a.listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		method string
		form   url.Values
		change func(*http.Request)
		status int
	}{
		{"another site", http.MethodPost, form, header("Sec-Fetch-Site", "cross-site"), http.StatusForbidden},
		{"another site of the domain", http.MethodPost, form, header("Sec-Fetch-Site", "same-site"), http.StatusForbidden},
		{"another origin", http.MethodPost, form, header("Origin", "https://evil.example"), http.StatusForbidden},
		{"no origin at all", http.MethodPost, form, header("Origin", "null"), http.StatusForbidden},
		{"a name that was pointed here", http.MethodPost, form, func(r *http.Request) {
			r.Host = "evil.example:" + port
			r.Header.Set("Origin", "http://evil.example:"+port)
			r.Header.Set("Sec-Fetch-Site", "same-origin")
		}, http.StatusMisdirectedRequest},
		{"GET", http.MethodGet, form, nil, http.StatusMethodNotAllowed},
		{"unknown fault", http.MethodPost, url.Values{"service": {"inventory"}, "fault": {"fire"}}, nil, http.StatusBadRequest},
		{"unknown service", http.MethodPost, url.Values{"service": {"x"}, "fault": {"errors"}}, nil, http.StatusBadRequest},
		{"nothing", http.MethodPost, url.Values{}, nil, http.StatusBadRequest},
		{"far too much", http.MethodPost, url.Values{"service": {strings.Repeat("x", 2*maxForm)}}, nil, http.StatusBadRequest},
	} {
		t.Run(c.name, func(t *testing.T) {
			res, body := ask(t, c.method, a.url()+"/fault", c.form, c.change)
			if res.StatusCode != c.status {
				t.Errorf("answered by %s, want %d: %s", res.Status, c.status, body)
			}
			if got := a.deps[1].upstream.Current(); got != faulty.None {
				t.Errorf("the fault is %s", got)
			}
		})
	}
	res, body := ask(t, http.MethodPost, a.url()+"/fault", form, func(r *http.Request) {
		r.Header.Set("Origin", a.url())
		r.Header.Set("Sec-Fetch-Site", "same-origin")
	})
	if res.StatusCode != http.StatusSeeOther || res.Header.Get("Location") != "/" || a.deps[1].upstream.Current() != faulty.Errors {
		t.Errorf("from the page: %s, fault %s: %s", res.Status, a.deps[1].upstream.Current(), body)
	}
	for _, path := range []string{"/", "/events", "/metrics", "/health/circuit-breakers"} {
		res, _ := ask(t, http.MethodGet, a.url()+path, nil, func(r *http.Request) { r.Host = "evil.example" })
		if res.StatusCode != http.StatusMisdirectedRequest {
			t.Errorf("%s answers to a foreign name: %s", path, res.Status)
		}
	}
}

func TestG17_NoSwitchesOnce(t *testing.T) {
	a := startQuick(t, func(s *settings) { s.once = true })
	for _, path := range []string{"/fault", "/script"} {
		res, _ := ask(t, http.MethodPost, a.url()+path, url.Values{"service": {"inventory"}, "fault": {"errors"}}, nil)
		if res.StatusCode != http.StatusNotFound && res.StatusCode != http.StatusMethodNotAllowed {
			t.Errorf("%s is answered by %s", path, res.Status)
		}
	}
	if _, page := ask(t, http.MethodGet, a.url()+"/", nil, nil); strings.Count(page, "<fieldset disabled>") != 3 {
		t.Error("the page offers switches")
	}
}

func TestForLoopback(t *testing.T) {
	answered := forLoopback(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }))
	for host, want := range map[string]int{
		"localhost": 204, "LOCALHOST:8090": 204, "127.0.0.1": 204, "127.0.0.1:8090": 204, "[::1]": 204, "[::1]:8090": 204,
		"evil.example": 421, "evil.example:8090": 421, "localhost.evil.example": 421, "127.0.0.1.evil.example": 421, "": 421,
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Host = host
		rec := httptest.NewRecorder()
		answered.ServeHTTP(rec, r)
		if rec.Code != want {
			t.Errorf("the host %q is answered by %d, want %d", host, rec.Code, want)
		}
	}
}

// TestPage_TakingOverBeforeTheOutage switches a fault while all is healthy: what the script had in mind must not come.
func TestPage_TakingOverBeforeTheOutage(t *testing.T) {
	s := quick(t)
	said := s.out.(*lines)
	a := startQuick(t, func(changed *settings) {
		*changed = s
		changed.calm = time.Hour // until somebody takes over
	})
	a.load()
	played := make(chan struct{})
	go func() {
		defer close(played)
		a.perform()
	}()
	said.await("every dependency is healthy")
	payments := a.deps[0].client // has had the calls that the script waits for besides the time
	if err := payments.changed.Until(t.Context(), func() bool { return payments.seen(success) > 5 }); err != nil {
		t.Fatal(err)
	}
	ask(t, http.MethodPost, a.url()+"/fault", url.Values{"service": {"inventory"}, "fault": {"latency"}}, nil)
	<-played
	if got := a.deps[0].upstream.Current(); got != faulty.None {
		t.Errorf("payments was switched to %s by a script that was over", got)
	}
}

// TestPage_TakingOver switches a fault while the script plays, and then has it played again.
func TestPage_TakingOver(t *testing.T) {
	s := quick(t)
	said := s.out.(*lines)
	a := startQuick(t, func(changed *settings) { *changed = s })
	a.load()
	played := make(chan struct{})
	go func() {
		defer close(played)
		a.perform()
	}()
	said.await("payments begins to answer 500", "closed -> open")
	if res, _ := ask(t, http.MethodPost, a.url()+"/script", url.Values{}, nil); res.StatusCode != http.StatusSeeOther {
		t.Errorf("a click too many is answered by %s", res.Status)
	}
	ask(t, http.MethodPost, a.url()+"/fault", url.Values{"service": {"payments"}, "fault": {"refuse"}}, nil)
	<-played
	said.await("by hand: payments, fault refuse", "somebody has taken over")
	if act, ended := a.script.progress(); act != 0 || !strings.Contains(ended, "taken over") || a.deps[0].upstream.Current() != faulty.Refuse {
		t.Errorf("act %d, %q, fault %s", act, ended, a.deps[0].upstream.Current())
	}
	ask(t, http.MethodPost, a.url()+"/script", url.Values{}, nil)
	said.await("the outage is over")
	if got := a.deps[0].upstream.Current(); got != faulty.None {
		t.Errorf("payments is left with the fault %s", got)
	}
	if strings.Contains(said.String(), "ended early") {
		t.Errorf("it says %s", said)
	}
}
