// Demo shows the circuit breaker at work, with nothing else installed: three HTTP services on loopback, a client that
// calls them through [transport.New], an outage of one of them, and everything that leaves by the signals meanwhile.
//
//	go run github.com/otelbreaker/otelbreaker/cmd/demo@latest
//
// Open the page that it names. It also serves /metrics for Prometheus and /health/circuit-breakers, and writes log
// records as lines of JSON to standard error. With OTEL_EXPORTER_OTLP_ENDPOINT set it sends traces, metrics and logs
// there as well; the other OTEL_* variables apply too (see package collector).
//
// With --once it plays the outage once, reads its own signals as anybody would, compares them with what the client saw,
// and exits with 0 only if they told what happened.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/otelbreaker/otelbreaker/internal/cli"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// show runs the demo and gives the exit code.
func show(ctx context.Context, s settings) int {
	a, err := start(ctx, s)
	if err != nil {
		fmt.Fprintf(s.log, "demo: %v\n", err)
		return cli.Failed
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
		return cli.Failed
	}
	return cli.OK
}

// welcome tells what there is to see.
func (a *app) welcome() {
	fmt.Fprintf(a.out, `otelbreaker demo

  page     %[1]s/
  metrics  %[1]s/metrics
  health   %[1]s/health/circuit-breakers

`, a.url())
	if a.control != nil {
		fmt.Fprintf(a.out, `  control  %[1]s/control/circuit-breakers

Operate the breakers, with the same token in %[2]s (or --token-file, with the token alone):

  go run ./cmd/otelbreaker watch --url %[1]s
  go run ./cmd/otelbreaker force-open --url %[1]s %[3]s --reason "to see what happens" --for 30s
  go run ./cmd/otelbreaker reset --url %[1]s %[3]s --reason "seen enough"

`, a.url(), tokenVariable, a.services[0])
	}
	if !a.onLoopback() {
		fmt.Fprintf(a.log, "demo: warning: %s is not a loopback address; whoever can reach it can see the page and switch the demo's faults\n",
			a.listener.Addr())
	}
}
