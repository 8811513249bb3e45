package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unicode"

	"github.com/otelbreaker/otelbreaker/health"
)

// watching runs watch until the test ends it.
func watching(t *testing.T, args ...string) (out, log *safe, end func() int) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	out, log = &safe{}, &safe{}
	code := make(chan int, 1)
	go func() { code <- run(ctx, append([]string{"watch", "--interval", "100ms"}, args...), out, log) }()
	return out, log, func() int {
		cancel()
		return <-code
	}
}

func TestWatch_PrintsWhatHappens(t *testing.T) {
	p := newProgram(t)
	out, _, end := watching(t)
	out.await(t, "payments https://pay.example  closed\n")
	b := p.payments.Get("https://pay.example")
	fail(b, 6)
	out.await(t, "payments https://pay.example  closed -> open, consecutive_failures (*errors.errorString), outage ")
	b.ForceOpen("migration")
	out.await(t, "payments https://pay.example  open, forced_open: migration\n")
	b.Reset()
	out.await(t, "payments https://pay.example  open -> closed, reset, outage ")
	out.await(t, "payments https://pay.example  closed, automatic\n")
	p.inventory.Get("https://c.example")
	out.await(t, "inventory https://c.example  closed\n")
	if code := end(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if n := strings.Count(out.String(), "closed -> open"); n != 1 {
		t.Errorf("a transition is told %d times:\n%s", n, out)
	}
}

func TestWatch_JSONAndFilters(t *testing.T) {
	p := newProgram(t)
	out, _, end := watching(t, "--json", "--service", "payments")
	out.await(t, "appeared")
	fail(p.payments.Get("https://pay.example"), 5)
	out.await(t, "transition")
	if code := end(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	var events []string
	for line := range strings.Lines(out.String()) {
		var h happening
		if err := json.Unmarshal([]byte(line), &h); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		if h.Service != "payments" || h.Time.IsZero() {
			t.Errorf("it tells %s", line)
		}
		events = append(events, h.Event+h.NewState)
	}
	if got := strings.Join(events, " "); got != "appeared transitionopen" {
		t.Errorf("it tells %s", got)
	}
}

func TestWatch_AsksAgain(t *testing.T) {
	g := newGroup(t, "payments")
	g.Get("https://pay.example")
	page := health.Handler(g)
	var down atomic.Bool
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if down.Load() {
			http.Error(w, "restarting", http.StatusBadGateway)
			return
		}
		page.ServeHTTP(w, r)
	}))
	defer server.Close()
	out, log, end := watching(t, "--url", server.URL)
	out.await(t, "payments")
	down.Store(true)
	log.await(t, "asking again every 100ms")
	g.Get("https://new.example")
	down.Store(false)
	out.await(t, "https://new.example")
	if code := end(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if n := strings.Count(log.String(), "answers 502"); n != 1 {
		t.Errorf("it is said %d times:\n%s", n, log)
	}
}

func TestJournal_GoneAndMoreThanThePageKeeps(t *testing.T) {
	at := func(s int) time.Time { return time.Date(2026, 1, 1, 0, 0, s, 0, time.UTC) }
	of := func(seconds ...int) page {
		e := entry{State: "closed", Override: "automatic"}
		for _, s := range seconds {
			e.LastTransitions = append(e.LastTransitions, transition{Time: at(s), OldState: "open", NewState: "closed", Reason: fmt.Sprint(s)})
		}
		return page{Timestamp: at(0), CircuitBreakers: map[string]map[string]entry{"s": {"e": e}}}
	}
	var out bytes.Buffer
	j := &journal{out: &out, known: map[string]row{}}
	for _, p := range []page{of(), of(1, 2), of(1, 2), of(2, 3), of(8, 9), {Timestamp: at(0)}} {
		j.show(p)
	}
	var got []string
	for line := range strings.Lines(out.String()) {
		got = append(got, strings.TrimSpace(line[strings.LastIndex(line, " "):]))
	}
	if text := strings.Join(got, " "); text != "closed 1 2 3 8 9 gone" {
		t.Errorf("it tells %s", text)
	}
}

func TestJournal_TellsInOrderOfTimeNotOfName(t *testing.T) {
	at := func(s int) time.Time { return time.Date(2026, 1, 1, 0, 0, s, 0, time.UTC) }
	of := func(now int, times map[string][]int) page {
		endpoints := make(map[string]entry)
		for name, seconds := range times {
			e := entry{State: "closed", Override: "automatic"}
			for _, s := range seconds {
				e.LastTransitions = append(e.LastTransitions, transition{Time: at(s), OldState: "open", NewState: "closed", Reason: fmt.Sprint(s)})
			}
			endpoints[name] = e
		}
		return page{Timestamp: at(now), CircuitBreakers: map[string]map[string]entry{"s": endpoints}}
	}
	var out bytes.Buffer
	j := &journal{out: &out, known: map[string]row{}}
	j.show(of(0, map[string][]int{"a": nil, "b": nil}))
	out.Reset()
	j.show(of(9, map[string][]int{"a": {1, 4}, "b": {2, 3}, "c": nil}))
	var got []string
	for line := range strings.Lines(out.String()) {
		words := strings.Fields(line)
		got = append(got, words[2]+words[len(words)-1])
	}
	if text := strings.Join(got, " "); text != "a1 b2 b3 a4 cclosed" {
		t.Errorf("it tells %s", text)
	}
}

func TestPainting(t *testing.T) {
	p := page{Timestamp: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), CircuitBreakers: map[string]map[string]entry{"s": {}}}
	for i := range 10 {
		p.CircuitBreakers["s"][fmt.Sprintf("https://%d.example", i)] = entry{State: "closed", Override: "automatic"}
	}
	p.CircuitBreakers["s"]["https://9.example"] = entry{State: "open", Override: "automatic"}
	var out bytes.Buffer
	s := &painting{out: &out, size: func() (int, int) { return 40, 8 }, colour: true}
	s.show(p)
	first := out.String()
	if !strings.HasPrefix(first, "\x1b[2J\x1b[H2026-01-01T00:00:00Z  Ctrl-C ends\x1b[K\n") || !strings.HasSuffix(first, "\x1b[J") {
		t.Errorf("it paints %q", first)
	}
	lines := strings.Split(first, "\n")
	if len(lines) != 8 || !strings.Contains(lines[2], "9.example") || !strings.Contains(lines[6], "and 6 more") {
		t.Errorf("it paints %q", lines)
	}
	for _, line := range lines[1:] {
		if n := visible(line); n > 40 {
			t.Errorf("%d characters on a screen of 40: %q", n, line)
		}
	}
	out.Reset()
	s.failed(nil)
	if again := out.String(); strings.Contains(again, "\x1b[2J") || !strings.Contains(again, "no answer since") || !strings.Contains(again, "9.example") {
		t.Errorf("then it paints %q", again)
	}
}

// visible counts what a line takes on the screen.
func visible(line string) (n int) {
	inEscape := false
	for _, r := range line {
		switch {
		case r == '\x1b':
			inEscape = true
		case inEscape:
			inEscape = !unicode.IsLetter(r)
		default:
			n++
		}
	}
	return n
}

func TestG16_HostileNamesAreInertOnATerminal(t *testing.T) {
	const hostile = "\x1b[2J\x1b]0;owned\x07\u009b31m\u202egnp\r\n\U000e0041"
	p := newProgram(t)
	b := p.payments.Get(hostile)
	out, _, end := watching(t)
	out.await(t, "gnp")
	b.ForceOpen(hostile)
	out.await(t, "forced_open")
	end()
	said := out.String()
	for _, args := range [][]string{{"list"}, {"list", "--json"}, {"watch", "--json"}, {"reset", "payments", "--reason", "x"},
		{"reset", "payments", hostile, "--reason", "x"}, {"reset", "payments", hostile, "--reason", "x", "--json"},
		{"reset", "payments", hostile + "x", "--reason", "x"}, {"__complete", "reset", "payments", ""}} {
		if args[0] == "watch" {
			out, _, end := watching(t, "--json")
			out.await(t, "gnp")
			end()
			said += out.String()
			continue
		}
		_, stdout, stderr := call(t, args...)
		said += stdout + stderr
	}
	var raw bytes.Buffer
	screen := &painting{out: &raw, size: func() (int, int) { return 200, 50 }}
	screen.show(page{CircuitBreakers: map[string]map[string]entry{hostile: {hostile: {State: hostile, Override: hostile, OverrideNote: hostile}}}})
	said += strings.NewReplacer("\x1b[2J\x1b[H", "", "\x1b[K", "", "\x1b[J", "").Replace(raw.String())
	for _, r := range said {
		if r != '\n' && r != '\t' && !unicode.IsPrint(r) {
			t.Errorf("%q comes out as it is in\n%q", r, said)
			break
		}
	}
	if !strings.Contains(said, `\u001b[2J`) {
		t.Error("nothing of it is shown at all")
	}
	var got page
	_, stdout, _ := call(t, "list", "--json")
	if err := json.Unmarshal([]byte(stdout), &got); err != nil {
		t.Fatal(err)
	}
	if _, found := got.CircuitBreakers["payments"][b.Snapshot().Endpoint]; !found {
		t.Errorf("JSON has another name: %s", stdout)
	}
}
