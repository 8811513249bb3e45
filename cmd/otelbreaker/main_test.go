package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/otelbreaker/otelbreaker/breaker"
	"github.com/otelbreaker/otelbreaker/control"
	"github.com/otelbreaker/otelbreaker/health"
)

const token = "0123456789abcdef0123456789abcdef"

// program is one that serves what the client needs: the real handlers, with breakers of two services.
type program struct {
	*httptest.Server
	payments, inventory *breaker.Group
	audit               *safe
}

func newProgram(t *testing.T) *program {
	t.Helper()
	for _, variable := range []string{urlVariable, tokenVariable, tokenFileVariable} {
		t.Setenv(variable, "")
	}
	p := &program{payments: newGroup(t, "payments"), inventory: newGroup(t, "inventory"), audit: &safe{}}
	p.payments.Get("https://pay.example")
	p.inventory.Get("https://a.example")
	p.inventory.Get("https://b.example")
	operate, err := control.Handler([]control.Source{p.payments, p.inventory}, control.WithToken("alice", token),
		control.WithSlog(slog.New(slog.NewTextHandler(p.audit, nil))))
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/health/circuit-breakers", health.Handler(p.payments, p.inventory))
	mux.Handle("/control/circuit-breakers", operate)
	p.Server = httptest.NewServer(mux)
	t.Cleanup(p.Close)
	t.Setenv(urlVariable, p.URL)
	t.Setenv(tokenVariable, token)
	return p
}

func newGroup(t *testing.T, service string) *breaker.Group {
	t.Helper()
	g, err := breaker.NewGroup(breaker.Config{Service: service})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func fail(b *breaker.Breaker, n int) {
	for range n {
		_ = b.Do(context.Background(), func(context.Context) error { return errors.New("down") })
	}
	_ = b.Flush(context.Background())
}

// safe is a buffer for several goroutines that can be waited on.
type safe struct {
	mu      sync.Mutex
	text    bytes.Buffer
	written chan struct{}
}

func (s *safe) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.written != nil {
		close(s.written)
		s.written = nil
	}
	return s.text.Write(p)
}

func (s *safe) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// await waits until a text has been written.
func (s *safe) await(t *testing.T, text string) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	for {
		s.mu.Lock()
		if strings.Contains(s.text.String(), text) {
			s.mu.Unlock()
			return
		}
		if s.written == nil {
			s.written = make(chan struct{})
		}
		written := s.written
		s.mu.Unlock()
		select {
		case <-written:
		case <-deadline:
			t.Fatalf("%q was never written, but:\n%s", text, s)
		}
	}
}

func call(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, log safe
	code = run(t.Context(), args, &out, &log)
	return code, out.String(), log.String()
}

// expect runs the client and looks for texts, in standard output where the code is 0, else in standard error.
func expect(t *testing.T, want int, says []string, args ...string) string {
	t.Helper()
	code, stdout, stderr := call(t, args...)
	said := stderr
	if want == 0 || want == exitOpen {
		said = stdout
	}
	for _, text := range says {
		if !strings.Contains(said, text) {
			t.Errorf("%q: %q is not said:\n%s", args, text, said)
		}
	}
	if code != want {
		t.Errorf("%q: exit code %d, want %d\n%s\n%s", args, code, want, stdout, stderr)
	}
	if strings.Contains(stdout+stderr, token) {
		t.Errorf("%q: the token is told", args)
	}
	return stdout
}

func TestHelp(t *testing.T) {
	for _, args := range [][]string{{}, {"--help"}, {"list", "--help"}, {"watch", "-h"}, {"force-open", "--help"}, {"disable", "--help"},
		{"reset", "--help"}, {"reconfigure", "--help"}} {
		expect(t, 0, []string{"Usage:", "--url", "--token-file", "--json", "Exit codes:", "4  there is no such breaker", tokenVariable}, args...)
	}
	expect(t, 0, []string{"What reconfigure has changed stays", "configuration_before"}, "reset", "--help")
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		expect(t, 0, []string{"otelbreaker"}, "completion", shell)
	}
}

func TestUsage(t *testing.T) {
	newProgram(t)
	for _, c := range []struct {
		args []string
		says string
	}{
		{[]string{"now"}, `"now"`},
		{[]string{"list", "payments"}, `"payments"`},
		{[]string{"list", "--what"}, "--what"},
		{[]string{"list", "--state", "half-open"}, "closed, half_open, open"},
		{[]string{"list", "--url", "shop.example"}, "http://host[:port]"},
		{[]string{"list", "--url", "ftp://shop.example"}, "http://host[:port]"},
		{[]string{"list", "--url", "http://shop.example/?a=b"}, "http://host[:port]"},
		{[]string{"list", "--url", "http://alice:hunter2@shop.example"}, "a user or a password"},
		{[]string{"watch", "--interval", "1ms"}, "100ms or more"},
		{[]string{"reset"}, "0 arguments"},
		{[]string{"reset", "a", "b", "c"}, "3 arguments"},
		{[]string{"reset", "payments"}, "--reason is missing"},
		{[]string{"reset", "payments", "--reason", " "}, "--reason is missing"},
		{[]string{"reset", "payments", "--for", "1m"}, "--for"},
		{[]string{"force-open", "payments", "--reason", "x", "--for", "10ms"}, "1s or more"},
		{[]string{"force-open", "inventory", "--reason", "x"}, "https://b.example"},
		{[]string{"reconfigure", "payments", "--reason", "x"}, "--set is missing"},
		{[]string{"reconfigure", "payments", "--reason", "x", "--set", "max_probes"}, "field=value"},
		{[]string{"reconfigure", "payments", "--reason", "x", "--set", "probes=2"}, "max_probes"},
		{[]string{"reconfigure", "payments", "--reason", "x", "--set", "max_probes=2", "--set", "max_probes=3"}, "given twice"},
		{[]string{"reset", "payments", "--reason", "x", "--token-file", "/nowhere/token"}, "/nowhere/token"},
		{[]string{"reset", "payments", "e", "--reason", "x", "--url", "http://shop.example"}, "--insecure"},
	} {
		code, stdout, stderr := call(t, c.args...)
		if code != 2 || !strings.Contains(stderr, c.says) || !strings.Contains(stderr, "--help lists") || stdout != "" || strings.Contains(stderr, "hunter2") {
			t.Errorf("%q: exit code %d, want 2 and %q:\n%s%s", c.args, code, c.says, stdout, stderr)
		}
	}
}

func TestList(t *testing.T) {
	p := newProgram(t)
	fail(p.payments.Get("https://pay.example"), 7)
	p.inventory.Get("https://b.example").Disable("trial")
	out := expect(t, 0, nil, "list")
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if len(lines) != 4 || !strings.HasPrefix(lines[0], "SERVICE") {
		t.Fatalf("it lists\n%s", out)
	}
	for i, want := range []string{"", "payments https://pay.example open", "inventory https://b.example closed", "inventory https://a.example closed"} {
		if got := strings.Join(strings.Fields(lines[i]), " "); !strings.HasPrefix(got, want) {
			t.Errorf("line %d is %s, want %s", i, got, want)
		}
	}
	if !strings.HasSuffix(lines[2], "disabled: trial") {
		t.Errorf("it lists\n%s", out)
	}
	if got := strings.Join(strings.Fields(lines[0]), " "); got != "SERVICE ENDPOINT STATE REQ/S 1M BLOCKED 1M FAILED TOTAL LAST FAILURE NEXT PROBE OVERRIDE" {
		t.Errorf("the columns are %s", got)
	}
	// A pipe gets everything: names of any length, and the end of a note, which says until when it holds.
	long := strings.Repeat("long.", 30) + "example"
	p.inventory.Get("https://" + long).ForceOpen("migration of all that there is (by somebody with a name, until 2026-11-25T00:51:11Z)")
	for _, whole := range []string{"https://" + long + " ", "until 2026-11-25T00:51:11Z)\n"} {
		if out := expect(t, 0, nil, "list", "--service", "inventory"); !strings.Contains(out, whole) {
			t.Errorf("%q is not whole in\n%s", whole, out)
		}
	}
	p.inventory.Get("https://" + long).Reset()
	if strings.Contains(out, "\x1b") {
		t.Errorf("what is no terminal gets colours: %q", out)
	}
	expect(t, exitOpen, []string{"pay.example"}, "list", "--fail-open")
	if out := expect(t, 0, []string{"a.example"}, "list", "--fail-open", "--service", "inventory"); strings.Contains(out, "pay.example") {
		t.Errorf("it lists\n%s", out)
	}
	expect(t, 0, []string{"a.example"}, "list", "--state", "closed", "--state", "half_open", "--fail-open")
	var got page
	if err := json.Unmarshal([]byte(expect(t, 0, nil, "list", "--json", "--service", "payments")), &got); err != nil ||
		len(got.CircuitBreakers) != 1 || got.CircuitBreakers["payments"]["https://pay.example"].BlockedCount != 2 {
		t.Errorf("%v, %+v", err, got)
	}
	if code, stdout, stderr := call(t, "list", "--service", "none"); code != 0 || stdout != "" || !strings.Contains(stderr, "there is no breaker") {
		t.Errorf("%d %s %s", code, stdout, stderr)
	}
}

func TestOperate(t *testing.T) {
	p := newProgram(t)
	b := p.payments.Get("https://pay.example")
	expect(t, 0, []string{"payments https://pay.example is open, forced_open until 20", "by alice"},
		"force-open", "payments", "--reason", "migration", "--for", "15m")
	if s := b.Snapshot(); s.Override != breaker.ForcedOpen || !strings.HasPrefix(s.OverrideNote, "migration (by alice, until ") {
		t.Errorf("it is %v, %q", s.Override, s.OverrideNote)
	}
	expect(t, 0, []string{"is closed, disabled, by alice"}, "disable", "payments", "https://pay.example", "--reason", "false alarm")
	expect(t, 0, []string{`"override": "automatic"`, `"operator": "alice"`}, "reset", "payments", "--reason", "done", "--json")
	expect(t, 0, []string{"in force:", `"recovery_timeout":"5s"`}, "reconfigure", "payments", "--reason", "nervous",
		"--set", "failure_rate=0.5", "--set", "recovery_timeout=5s", "--set", "window_calls=20")
	if c := b.Snapshot().Config; c.FailureRate != 0.5 || c.WindowCalls != 20 || c.RecoveryTimeout != 5*time.Second {
		t.Errorf("it is %+v", c)
	}
	expect(t, 1, []string{"FailureRate", "0 to 1"}, "reconfigure", "payments", "--reason", "x", "--set", "failure_rate=2")
	expect(t, 1, []string{"recovery_timeout", "with its unit"}, "reconfigure", "payments", "--reason", "x", "--set", "recovery_timeout=5")
	expect(t, 1, []string{"1s to 720h0m0s"}, "disable", "payments", "--reason", "x", "--for", "1000h")
	expect(t, exitNotFound, []string{`"paiments"`, "otelbreaker list"}, "reset", "paiments", "--reason", "x")
	expect(t, exitNotFound, []string{"no breaker has service"}, "reset", "payments", "https://pay.exmaple", "--reason", "x")
	if n := strings.Count(p.audit.String(), "circuit_control"); n != 8 {
		t.Errorf("%d audit records, want 8:\n%s", n, p.audit)
	}
}

// TestOperate_EveryField has each field of the client be one of the configuration.
func TestOperate_EveryField(t *testing.T) {
	newProgram(t)
	for _, field := range configurationFields {
		code, _, stderr := call(t, "reconfigure", "payments", "--reason", "x", "--set", field+"=0")
		if code == 1 && strings.Contains(stderr, "with its unit") {
			code, _, stderr = call(t, "reconfigure", "payments", "--reason", "x", "--set", field+"=0s")
		}
		if code != 0 {
			t.Errorf("%s: %d %s", field, code, stderr)
		}
	}
	text, err := json.Marshal(breaker.Config{FailureThreshold: 1, FailureRate: 1, SlowCallRate: 1, SlowCallDuration: 1, WindowCalls: 1,
		WindowDuration: 1, MinCalls: 1, RecoveryTimeout: 1, BackoffFactor: 1, MaxRecoveryTimeout: 1, Jitter: 1, SuccessThreshold: 1, MaxProbes: 1, ProbeTimeout: 1})
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]any{}
	if err := json.Unmarshal(text, &all); err != nil || len(all) != len(configurationFields) {
		t.Errorf("the configuration has %d fields, the client knows %d", len(all), len(configurationFields))
	}
}

func TestOperate_Tokens(t *testing.T) {
	newProgram(t)
	file := filepath.Join(t.TempDir(), "token")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	reset := []string{"reset", "payments", "--reason", "x"}
	t.Setenv(tokenVariable, "")
	expect(t, exitRefused, []string{"there is no token", "--token-file", tokenVariable}, reset...)
	write(token + "\n")
	expect(t, 0, nil, append(reset, "--token-file", file)...)
	t.Setenv(tokenFileVariable, file)
	expect(t, 0, nil, reset...)
	write("alice " + token)
	expect(t, 2, []string{"one token alone, without a name"}, reset...)
	write("")
	expect(t, 2, []string{"one token alone"}, reset...)
	write(strings.Repeat("x", 32))
	for range 10 {
		expect(t, exitRefused, []string{"was not accepted"}, reset...)
	}
	expect(t, exitRefused, []string{"too many attempts", "in a minute"}, reset...)
}

func TestG15_TheTokenGoesNowhereElse(t *testing.T) {
	newProgram(t)
	asked := make(chan *http.Request, 10)
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { asked <- r }))
	defer elsewhere.Close()
	redirecting := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, elsewhere.URL, http.StatusTemporaryRedirect)
	}))
	defer redirecting.Close()
	expect(t, 1, []string{"answers 307"}, "reset", "payments", "https://pay.example", "--reason", "x", "--url", redirecting.URL)
	if n := len(asked); n != 0 {
		t.Errorf("%d requests went where the program has sent us", n)
	}
	// Only a resolver that knows better keeps a name under localhost from going to a name server.
	for _, far := range []string{"http://192.0.2.1", "http://shop.example", "http://shop.localhost", "http://localhost.example"} {
		expect(t, 2, []string{"unencrypted", "--insecure"}, "reset", "payments", "https://pay.example", "--reason", "x", "--url", far,
			"--timeout", "1ms")
	}
	seen := make(chan http.Header, 1)
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen <- r.Header
		http.NotFound(w, r)
	}))
	defer page.Close()
	expect(t, 1, nil, "list", "--url", page.URL)
	if h := <-seen; h.Get("Authorization") != "" {
		t.Error("the health page is asked with the token")
	}
}

func TestWhatIsNoProgramOfOurs(t *testing.T) {
	newProgram(t)
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		says   string
	}{
		"not found": {http.NotFound, "answers 404"},
		"a page":    {func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>hello") }, "does not answer with a health page"},
		"other JSON": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprint(w, `{"status":"UP"}`)
		}, "does not answer with a health page"},
		"broken off": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			fmt.Fprint(w, `{`)
		}, "unexpected EOF"},
		"silent, for now": {func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body) // or the server would not see the client leave
			<-r.Context().Done()
		}, "no answer within 300ms"},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(c.answer)
			defer server.Close()
			expect(t, 1, []string{server.URL, c.says}, "list", "--url", server.URL, "--timeout", "300ms")
			operated := c.says
			if name == "a page" || name == "other JSON" {
				operated = ""
			}
			code, _, stderr := call(t, "reset", "payments", "e", "--reason", "x", "--url", server.URL, "--timeout", "300ms")
			if name != "other JSON" && (code != 1 || !strings.Contains(stderr, operated)) {
				t.Errorf("reset: %d %s", code, stderr)
			}
		})
	}
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	expect(t, 1, []string{"connection refused", "is the program running", urlVariable}, "list", "--url", gone.URL)
	expect(t, 1, []string{"connection refused"}, "watch", "--url", gone.URL)
}

func TestCompletion(t *testing.T) {
	p := newProgram(t)
	for _, c := range []struct {
		args []string
		says []string
	}{
		{[]string{"reset", ""}, []string{"payments", "inventory"}},
		{[]string{"force-open", "inventory", ""}, []string{"https://a.example", "https://b.example"}},
		{[]string{"list", "--state", ""}, []string{"closed", "half_open", "open"}},
		{[]string{"list", "--service", ""}, []string{"payments"}},
		{[]string{"reconfigure", "payments", "--set", ""}, []string{"failure_threshold="}},
		{[]string{""}, []string{"list", "watch", "force-open", "reconfigure"}},
	} {
		_, stdout, _ := call(t, append([]string{"__complete"}, c.args...)...)
		for _, text := range c.says {
			if !strings.Contains(stdout, text) {
				t.Errorf("%q: %q is not offered:\n%s", c.args, text, stdout)
			}
		}
	}
	p.Close()
	if code, stdout, _ := call(t, "__complete", "reset", ""); code != 0 || strings.Contains(stdout, "payments") {
		t.Errorf("without a program: %d %s", code, stdout)
	}
}
