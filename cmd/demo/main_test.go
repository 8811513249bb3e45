package main

import (
	"net"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/otelbreaker/otelbreaker/internal/cli"
)

// TestMain runs the demo itself where a test has started this binary as such.
func TestMain(m *testing.M) {
	if os.Getenv("DEMO_TEST_AS_PROGRAM") != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

func TestRun_Usage(t *testing.T) {
	for _, c := range []struct {
		args []string
		code int
		says []string // on standard output where help was asked for, else on standard error
	}{
		{[]string{"--help"}, cli.OK, []string{"demo [flags]", "--listen host:port", "--once", "--rate", "OTEL_EXPORTER_OTLP_ENDPOINT", "Ctrl-C", defaultListen, "Exit codes:"}},
		{[]string{"-help"}, cli.OK, []string{"--listen host:port"}},
		{[]string{"-h"}, cli.OK, []string{"--listen host:port"}},
		{[]string{"completion", "bash"}, cli.OK, []string{"bash completion"}},
		{[]string{"__complete", "--o"}, cli.OK, []string{"--once"}},
		{[]string{"--rate", "0"}, cli.Usage, []string{"--rate is 0", "1 to 200", "demo --help"}},
		{[]string{"-rate", "201"}, cli.Usage, []string{"--rate is 201", "1 to 200"}},
		{[]string{"-rate", "many"}, cli.Usage, []string{"many"}},
		{[]string{"-rate=-5"}, cli.Usage, []string{"--rate is -5"}},
		{[]string{"--listen", "8090"}, cli.Usage, []string{`--listen is "8090"`, "host:port", defaultListen}},
		{[]string{"-listen", "localhost:http"}, cli.Usage, []string{`"localhost:http"`, "0 to 65535"}},
		{[]string{"-listen", "localhost:65536", "-rate", "-1"}, cli.Usage, []string{"65536", "--rate is -1"}},
		{[]string{"--once", "--token-file", "x"}, cli.Usage, []string{"--token-file and --once"}},
		{[]string{"--service", "a", "--service", "b", "--service", "a"}, cli.Usage, []string{`--service is "a"`, "each once"}},
		{[]string{"--service", ""}, cli.Usage, []string{`--service is ""`, "1 to 200 bytes"}},
		{slices.Repeat([]string{"--service", "x"}, 201), cli.Usage, []string{"--service is given 201 times"}},
		{[]string{"now"}, cli.Usage, []string{`"now"`, "--help"}},
		{[]string{"--", "-once"}, cli.Usage, []string{`"-once"`}},
		{[]string{"-what"}, cli.Usage, []string{"--what", "demo --help"}},
	} {
		out, log := &lines{t: t}, &lines{t: t}
		if code := run(t.Context(), c.args, out, log); code != c.code {
			t.Errorf("%q: exit code %d, want %d", c.args, code, c.code)
		}
		said, silent := log, out
		if c.code == cli.OK {
			said, silent = out, log
		}
		for _, text := range c.says {
			if !strings.Contains(said.String(), text) {
				t.Errorf("%q: %q is not said:\n%s", c.args, text, said)
			}
		}
		if silent.String() != "" && c.args[0] != "__complete" { // which says on standard error how it got there
			t.Errorf("%q: the other output has %s", c.args, silent)
		}
	}
}

func TestCheck_Listen(t *testing.T) {
	for _, c := range []struct {
		s     settings
		given bool
		want  string
	}{
		{settings{listen: defaultListen}, false, defaultListen},
		{settings{listen: defaultListen, once: true}, false, "127.0.0.1:0"},
		{settings{listen: defaultListen, once: true}, true, defaultListen},
		{settings{listen: "[::1]:0"}, true, "[::1]:0"},
	} {
		c.s.rate = 1
		if err := c.s.check(c.given); err != nil || c.s.listen != c.want {
			t.Errorf("listens on %q, %v; want %q", c.s.listen, err, c.want)
		}
	}
}

func TestRun_PortIsTaken(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	out, log := &lines{t: t}, &lines{t: t}
	if code := run(t.Context(), []string{"-listen", taken.Addr().String()}, out, log); code != cli.Failed {
		t.Errorf("exit code %d, want %d", code, cli.Failed)
	}
	for _, text := range []string{taken.Addr().String(), "address already in use", "--listen 127.0.0.1:0"} {
		if !strings.Contains(log.String(), text) {
			t.Errorf("%q is not said: %s", text, log)
		}
	}
	if out.String() != "" {
		t.Errorf("standard output has %s", out)
	}
}

func TestWelcome_WarnsOffLoopback(t *testing.T) {
	for listen, warned := range map[string]bool{"127.0.0.1:0": false, "localhost:0": false, "0.0.0.0:0": true, ":0": true} {
		s := quick(t)
		s.listen = listen
		a, err := start(t.Context(), s)
		if err != nil {
			t.Fatal(err)
		}
		stopAtEnd(t, a)
		a.welcome()
		if got := strings.Contains(s.log.(*lines).String(), "not a loopback address"); got != warned {
			t.Errorf("%s: warned is %t, want %t", listen, got, warned)
		}
		if !strings.Contains(s.out.(*lines).String(), a.url()+"/health/circuit-breakers") {
			t.Errorf("%s: where to look is not said: %s", listen, s.out)
		}
		if _, err := newOutputs(a.url()).metrics(t.Context()); err != nil {
			t.Errorf("%s: %v", listen, err)
		}
	}
}

func TestStart_BadEnvironment(t *testing.T) {
	t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "pigeon")
	s := quick(t)
	if code := show(t.Context(), s); code != cli.Failed {
		t.Errorf("exit code %d, want %d", code, cli.Failed)
	}
	if said := s.log.(*lines).String(); !strings.Contains(said, "OTEL_EXPORTER_OTLP_PROTOCOL") {
		t.Errorf("it says %s", said)
	}
}
