package loadtest

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/otelbreaker/otelbreaker/cmd/demo/internal/faulty"
)

var update = flag.Bool("update", false, "write the golden files anew")

// dependency stands for the network in virtual time, where no socket can be: it answers each fault as the server on the
// other end of one would. TestRun_OverTheNetwork has the real one.
type dependency struct {
	mu    sync.Mutex
	fault faulty.Fault
	made  int
	slow  time.Duration
}

func (d *dependency) set(_ context.Context, f faulty.Fault) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fault = f
	return nil
}

func (d *dependency) RoundTrip(req *http.Request) (*http.Response, error) {
	d.mu.Lock()
	f := d.fault
	d.made++
	n := d.made
	d.mu.Unlock()
	took, status := 15*time.Millisecond, http.StatusOK
	switch f {
	case faulty.Errors:
		took, status = time.Millisecond, http.StatusInternalServerError
	case faulty.Brownout:
		if n%5%2 == 0 {
			status = http.StatusInternalServerError
		}
	case faulty.Latency:
		took += d.slow
	case faulty.Refuse:
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	}
	select {
	case <-time.After(took):
	case <-req.Context().Done():
		return nil, req.Context().Err()
	}
	return &http.Response{StatusCode: status, ProtoMajor: 1, Header: http.Header{}, ContentLength: -1,
		Body: io.NopCloser(strings.NewReader("some")), Request: req}, nil
}

func settings(scenario string) Settings {
	return Settings{Rate: 50, Concurrency: 50, For: 10 * time.Second, Timeout: time.Second, Scenario: scenario,
		Breaker: BreakerFor(10 * time.Second)}
}

// virtually runs a load test in no time.
func virtually(t *testing.T, ctx func(*testing.T) context.Context, s Settings) (r *Report, said string) {
	t.Helper()
	if err := s.Check(); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		plot, _ := find(s.Scenario)
		target, err := url.Parse("http://payments.example/balance")
		if err != nil {
			t.Fatal(err)
		}
		d := &dependency{slow: s.slowAnswer()}
		st := stage{plot: plot, target: target, url: target, base: d, set: d.set}
		var out bytes.Buffer
		if r, err = st.drive(ctx(t), s, &out); err != nil {
			t.Fatal(err)
		}
		said = out.String()
	})
	return r, said
}

func throughout(t *testing.T) context.Context { return t.Context() }

func TestEachScenarioHasItsStory(t *testing.T) {
	for _, c := range []struct {
		scenario string
		outages  []string // the rules that opened
	}{
		{"healthy", nil},
		{"outage", []string{"consecutive_failures"}},
		{"flapping", []string{"consecutive_failures", "consecutive_failures"}},
		{"slow", nil},
		{"brownout", nil},
	} {
		s := settings(c.scenario)
		s.Expect = []Expectation{ExpectStory()}
		r, said := virtually(t, throughout, s)
		if !r.Passed {
			t.Errorf("%s: failed %q", c.scenario, r.Failed())
		}
		var rules []string
		var blocked uint64
		for _, o := range r.Outages {
			rules = append(rules, o.Rule)
			blocked += o.Blocked
		}
		if plot, _ := find(c.scenario); plot.story.rule == "" && !slices.Equal(rules, c.outages) {
			t.Errorf("%s: opened by %q, want %q", c.scenario, rules, c.outages)
		}
		if blocked != r.Calls.Breaker.Blocked || blocked != r.Requests.Answers["blocked"] {
			t.Errorf("%s: the outages have %d blocked calls, the breaker %d, the client %d",
				c.scenario, blocked, r.Calls.Breaker.Blocked, r.Requests.Answers["blocked"])
		}
		if r.Requests.Total != r.Calls.Client.total() || r.Requests.Total < 490 || !r.Rate.Held {
			t.Errorf("%s: %d requests, %d calls, %+v", c.scenario, r.Requests.Total, r.Calls.Client.total(), r.Rate)
		}
		for _, p := range r.Phases {
			if !strings.Contains(said, `"`+p.Fault+`"`) {
				t.Errorf("%s: %s is not said:\n%s", c.scenario, p.Fault, said)
			}
		}
	}
}

// A scenario that leaves the breaker alone does not pass for one that moves it, and the other way round.
func TestNoStoryPassesForAnother(t *testing.T) {
	for scenario, told := range map[string]string{"outage": "healthy", "healthy": "outage", "flapping": "outage", "slow": "brownout"} {
		r, _ := virtually(t, throughout, settings(scenario))
		r.Scenario = told
		if r.judge([]Expectation{ExpectStory()}); r.Passed {
			t.Errorf("%s passes for %s", scenario, told)
		}
	}
}

var ids = regexp.MustCompile(`("outage_id": )"[0-9a-f]{16}"`)

func TestTheReportIsAsDocumented(t *testing.T) {
	s := settings("outage")
	s.For, s.Breaker = 2*time.Second, BreakerFor(2*time.Second)
	s.Rate = 49 // so that no request is due in the very moment in which something else happens
	s.Expect = []Expectation{must(t)(MinSuccess(0.99)), must(t)(OpenWithin(time.Second))}
	r, _ := virtually(t, throughout, s)
	inJSON, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	if err := r.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	for name, got := range map[string][]byte{"outage.json": append(inJSON, '\n'), "outage.txt": text.Bytes()} {
		got = ids.ReplaceAll(got, []byte(`$1"0123456789abcdef"`)) // outages have random names
		path := filepath.Join("testdata", name)
		if *update {
			if err := os.WriteFile(path, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s has changed (-update writes it anew); it is now\n%s", path, got)
		}
	}
}

func TestAnInterruptedTestReports(t *testing.T) {
	s := settings("outage")
	s.Expect = []Expectation{must(t)(OpenWithin(time.Second))}
	var text bytes.Buffer
	r, _ := virtually(t, func(t *testing.T) context.Context {
		ctx, cancel := context.WithTimeout(t.Context(), 2500*time.Millisecond) // the breaker is open then
		t.Cleanup(cancel)
		return ctx
	}, s)
	if !r.Interrupted || r.Passed || !slices.Equal(r.Failed(), []string{"completed"}) {
		t.Errorf("interrupted is %t, failed are %q", r.Interrupted, r.Failed())
	}
	if r.Requests.Total < 110 || r.Requests.Total > 130 || !r.Calls.Agree || !r.Rate.Held || r.Duration > 4 {
		t.Errorf("in %.1f s %+v, %+v, %+v", r.Duration, r.Requests, r.Calls, r.Rate)
	}
	if len(r.Outages) != 1 || r.Outages[0].Closed != nil || r.Outages[0].Blocked != r.Calls.Client.Blocked || r.Outages[0].Blocked == 0 {
		t.Errorf("outages are %+v", r.Outages)
	}
	if err := r.WriteText(&text); err != nil || !strings.Contains(text.String(), "not over") || !strings.Contains(text.String(), "FAIL  completed") {
		t.Errorf("%v: %s", err, &text)
	}
}

// One that has not begun has nothing to report, and says so rather than divide by it.
func TestATestThatEndsBeforeItsFirstRequest(t *testing.T) {
	s := settings("healthy")
	s.Expect = []Expectation{must(t)(MinSuccess(0.5)), must(t)(MaxP99(time.Second))}
	r, _ := virtually(t, func(t *testing.T) context.Context {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		return ctx
	}, s)
	r.Requests.Answers, r.Latency.Sent, r.Requests.Total = map[string]uint64{}, nil, 0 // vegeta may make one all the same
	r.judge(s.Expect)
	if got := r.Failed(); !slices.Equal(got, []string{"completed", "min-success", "max-p99"}) {
		t.Errorf("failed are %q", got)
	}
	if err := r.WriteText(io.Discard); err != nil {
		t.Error(err)
	}
	if _, err := json.Marshal(r); err != nil {
		t.Error(err)
	}
}

func TestARateThatCannotBeHeldIsTold(t *testing.T) {
	s := settings("slow")
	s.Concurrency, s.Rate = 2, 100
	r, _ := virtually(t, throughout, s)
	var text bytes.Buffer
	if err := r.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	if r.Rate.Held || r.Rate.Peak != 2 || !strings.Contains(text.String(), "not held") || !strings.Contains(text.String(), "--concurrency") {
		t.Errorf("%+v:\n%s", r.Rate, &text)
	}
	sums := &tally{}
	sums.sent.Requests = 10
	if got := sums.rate(50, 20, 3, time.Second); got.Held || !strings.Contains(got.Reason, "busy") {
		t.Errorf("with places free: %+v", got)
	}
}

func TestAFaultThatCannotBeSwitchedEndsTheTest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		plot, _ := find("outage")
		target, err := url.Parse("http://payments.example/")
		if err != nil {
			t.Fatal(err)
		}
		st := stage{plot: plot, target: target, url: target, base: &dependency{}, set: func(_ context.Context, f faulty.Fault) error {
			if f == faulty.Refuse {
				return syscall.EADDRINUSE
			}
			return nil
		}}
		began := time.Now()
		_, err = st.drive(t.Context(), settings("outage"), io.Discard)
		if err == nil || !strings.Contains(err.Error(), "refuse") || time.Since(began) > 5*time.Second {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
	})
}

// must gives what a constructor of an expectation gives, where nothing is wrong.
func must(t *testing.T) func(Expectation, error) Expectation {
	return func(e Expectation, err error) Expectation {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
}

// TestTheKeysAreDocumented compares the report's keys, those that it leaves out too, with what is said of them.
func TestTheKeysAreDocumented(t *testing.T) {
	page, err := os.ReadFile("../../../../docs/load.md")
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	var walk func(reflect.Type)
	walk = func(of reflect.Type) {
		switch of.Kind() {
		case reflect.Pointer, reflect.Slice, reflect.Map:
			walk(of.Elem())
		case reflect.Struct:
			if !strings.HasSuffix(of.PkgPath(), "loadtest") {
				return
			}
			for field := range of.Fields() {
				if key, _, _ := strings.Cut(field.Tag.Get("json"), ","); key != "" {
					if seen++; !bytes.Contains(page, []byte("`"+key+"`")) {
						t.Errorf("%s is not in docs/load.md", key)
					}
				}
				walk(field.Type)
			}
		}
	}
	if walk(reflect.TypeFor[Report]()); seen < 60 {
		t.Errorf("%d keys only", seen)
	}
	for _, p := range plots {
		if !bytes.Contains(page, []byte("| `"+p.name+"` |")) {
			t.Errorf("%s is not in docs/load.md", p.name)
		}
	}
}
