// Demo shows the circuit breaker at work, with nothing else installed: three HTTP services on loopback, a client that
// calls them through [transport.New], an outage of one of them, and everything that leaves by the signals meanwhile.
//
//	go run github.com/otelbreaker/otelbreaker/cmd/demo@latest
//
// Open the page that it names. It also serves /metrics for Prometheus and /health/circuit-breakers, and writes log
// records as lines of JSON to standard error. With OTEL_EXPORTER_OTLP_ENDPOINT set it sends traces, metrics and logs
// there as well; the other OTEL_* variables apply too (see package collector).
//
// With -once it plays the outage once, reads its own signals as anybody would, compares them with what the client saw,
// and exits with 0 only if they told what happened.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
)

const (
	defaultListen = "127.0.0.1:8090"
	defaultRate   = 8
	maxRate       = 200
)

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	s, err := parse(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return exitOK
	case err != nil:
		return exitUsage
	}
	s.out, s.log = stdout, stderr
	return show(ctx, s)
}

// show runs the demo and gives the exit code.
func show(ctx context.Context, s settings) int {
	a, err := start(ctx, s)
	if err != nil {
		fmt.Fprintf(s.log, "demo: %v\n", err)
		return exitFailed
	}
	a.welcome()
	if s.once {
		err = a.prove()
	} else {
		a.play()
	}
	if lost := a.stop(); lost != nil {
		fmt.Fprintf(s.log, "demo: not all telemetry was sent: %v\n", lost)
	}
	if err != nil {
		fmt.Fprintf(s.log, "demo: %v\n", err)
		return exitFailed
	}
	return exitOK
}

// parse reads the command line, and says on stderr what is wrong with it.
func parse(args []string, stderr io.Writer) (settings, error) {
	s := settings{
		services: []string{"payments", "inventory", "recommendations"},
		recovery: 3 * time.Second,
		calm:     3 * time.Second,
		timeout:  time.Second,
		slow:     300 * time.Millisecond,
		poll:     100 * time.Millisecond,
		deadline: 18 * time.Second,
		ending:   5 * time.Second,
	}
	flags := flag.NewFlagSet("demo", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&s.listen, "listen", defaultListen, "serve the page on this `host:port`; port 0 is any free one")
	flags.IntVar(&s.rate, "rate", defaultRate, fmt.Sprintf("calls a second of each of the three services, 1 to %d", maxRate))
	flags.BoolVar(&s.once, "once", false, "play the outage once, check what the signals say of it, and exit\n"+
		"(0: it is what happened, 1: it is not); serves on any free port unless -listen is given")
	flags.Usage = func() {
		fmt.Fprint(stderr, `demo shows a circuit breaker through an outage, with its metrics, logs, traces and health page.

Usage: demo [-listen host:port] [-rate n] [-once]

`)
		flags.PrintDefaults()
		fmt.Fprint(stderr, `
Log records go to standard error as lines of JSON. With OTEL_EXPORTER_OTLP_ENDPOINT set (to http://localhost:4318,
say), traces, metrics and logs are sent there as well. Ctrl-C ends it; a second one does so at once.
`)
	}
	if err := flags.Parse(args); err != nil {
		return s, err
	}
	err := checkAddress(s.listen)
	if s.rate < 1 || s.rate > maxRate {
		err = errors.Join(err, fmt.Errorf("-rate is %d: allowed is 1 to %d", s.rate, maxRate))
	}
	if flags.NArg() > 0 {
		err = errors.Join(err, fmt.Errorf("unknown argument %q: there are flags only, see -help", flags.Arg(0)))
	}
	if err != nil {
		fmt.Fprintf(stderr, "demo: %v\n", err)
		return s, err
	}
	given := false
	flags.Visit(func(f *flag.Flag) { given = given || f.Name == "listen" })
	if s.once && !given {
		s.listen = "127.0.0.1:0" // where it runs unattended, a taken port should not matter
	}
	return s, nil
}

// welcome tells what there is to see.
func (a *app) welcome() {
	fmt.Fprintf(a.out, `otelbreaker demo

  page     %[1]s/
  metrics  %[1]s/metrics
  health   %[1]s/health/circuit-breakers

`, a.url())
	if !a.onLoopback() {
		fmt.Fprintf(a.log, "demo: warning: %s is not a loopback address; whoever can reach it can see the page and switch the demo's faults\n",
			a.listener.Addr())
	}
}
