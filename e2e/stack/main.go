// Stack runs the whole of it on this machine, without Docker: the OpenTelemetry Collector, Prometheus, Alertmanager,
// Loki and Jaeger with the files of deploy/ as they are, and the demo in front. `make stack` builds them and starts
// it. Ctrl-C ends all and leaves nothing behind; a second one does so at once.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"

	"github.com/otelbreaker/otelbreaker/e2e/internal/receiver"
	"github.com/otelbreaker/otelbreaker/e2e/internal/stack"
)

// The ways of the demo's metrics. One at a time: two would be two series of everything.
const (
	byScrape = "scrape"
	byOTLP   = "otlp"
)

// lastLines are shown of a program that has ended by itself.
const lastLines = 20

type settings struct {
	route string
	free  bool
}

func main() {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	ctx, stop := context.WithCancel(context.Background())
	life, kill := context.WithCancel(context.Background())
	go func() {
		<-signals
		stop()
		<-signals
		kill()
	}()
	os.Exit(run(ctx, life, os.Args[1:], os.Stdout, os.Stderr))
}

// run runs the stack until ctx ends, and at most until life does, and gives the exit code.
func run(ctx, life context.Context, args []string, stdout, stderr io.Writer) int {
	s, err := parse(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	}
	if err := s.show(ctx, life, &lines{out: stdout}); err != nil {
		fmt.Fprintf(stderr, "stack: %v\n", err)
		return 1
	}
	return 0
}

func parse(args []string, stderr io.Writer) (s settings, err error) {
	flags := flag.NewFlagSet("stack", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&s.route, "route", byScrape, "how the demo's metrics come to Prometheus: `scrape`, from the demo's own page, or otlp, through the collector")
	flags.BoolVar(&s.free, "free", false, "take any free ports; without it those that deploy/ names, where they are free")
	if err := flags.Parse(args); err != nil {
		return s, err
	}
	if s.route != byScrape && s.route != byOTLP {
		err = fmt.Errorf("-route is %q: allowed is %s or %s", s.route, byScrape, byOTLP)
	}
	if flags.NArg() > 0 {
		err = errors.Join(err, fmt.Errorf("unknown argument %q: there are flags only, see -help", flags.Arg(0)))
	}
	if err != nil {
		fmt.Fprintf(stderr, "stack: %v\n", err)
	}
	return s, err
}

// show brings the stack up, tells where it is, and takes it down when ctx ends or one of its programs does.
func (s settings) show(ctx, life context.Context, out *lines) (err error) {
	root, err := stack.FindRoot()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "otelbreaker-stack-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	site := &stack.Site{Root: root, Dir: dir, Life: life, Usual: !s.free, Apart: true}

	pager, err := receiver.Start(ctx, func(p receiver.Post) {
		out.say("to be sent to Slack:\n    %s", strings.ReplaceAll(p.Words(), "\n", "\n    "))
	})
	if err != nil {
		return err
	}
	defer pager.Close()
	demo, err := site.Address("127.0.0.1:8090")
	if err != nil {
		return err
	}
	wiring := stack.Wiring{Webhook: pager.URL}
	if s.route == byScrape {
		wiring.Services = []stack.Target{{Address: demo, Job: "otelbreaker-demo"}}
	}
	all, err := stack.Up(ctx, site, wiring, out.say)
	switch {
	case ctx.Err() != nil && err != nil:
		return nil // ended while it started; Up has left nothing
	case err != nil:
		return err
	}
	defer func() {
		out.say("ending")
		err = errors.Join(err, all.Down())
	}()
	child, err := all.Run(site, out, "the demo", "demo", s.demo(all), "-listen", demo)
	if err != nil {
		return err
	}
	if err := child.WaitPage(ctx, "http://"+demo+"/metrics"); err != nil && ctx.Err() == nil {
		return err
	}
	s.welcome(out, all, demo)

	if child, ended := all.WaitAny(ctx); ended {
		return fmt.Errorf("%s has ended by itself: %w; its last lines:\n%s", child.Name, child.Exit(), tail(child.Output()))
	}
	return nil
}

// demo is the demo's environment.
func (s settings) demo(all *stack.All) []string {
	metrics := "prometheus"
	if s.route == byOTLP {
		metrics = "prometheus,otlp" // its page stays full, for people; Prometheus does not look at it
	}
	return []string{
		"OTEL_EXPORTER_OTLP_ENDPOINT=" + all.Collector.HTTP,
		"OTEL_METRICS_EXPORTER=" + metrics,
		"OTEL_METRIC_EXPORT_INTERVAL=15000", // as often as Prometheus scrapes
	}
}

func (s settings) welcome(out *lines, all *stack.All, demo string) {
	way := "from the demo's page (-route otlp: through the collector)"
	if s.route == byOTLP {
		way = "through the collector (-route scrape: from the demo's page)"
	}
	out.say(`the stack is ready; the demo's metrics come to Prometheus %[1]s

  demo          http://%[2]s/
  Prometheus    %[3]s            alerts at /api/v1/alerts, queries at /api/v1/query?query=circuit_breaker_state
  Alertmanager  %[4]s            notifications are shown here instead of being sent to Slack
  Loki          %[5]s            /loki/api/v1/query_range?query={service_name="otelbreaker-demo"}
  Jaeger        %[6]s
  collector     %[7]s            OTLP over HTTP; over gRPC at %[8]s

For Grafana, with deploy/grafana: PROMETHEUS_URL=%[3]s LOKI_URL=%[5]s JAEGER_URL=%[6]s
Ctrl-C ends it all.
`, way, demo, all.Prometheus.URL, all.Alertmanager.URL, all.Loki.URL, all.Jaeger.URL, all.Collector.HTTP, all.Collector.GRPC)
}

// tail is the end of what a program has said.
func tail(output string) string {
	all := strings.Split(strings.TrimRight(output, "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lastLines):], "\n")
}

// lines writes for people, from several goroutines.
type lines struct {
	mu  sync.Mutex
	out io.Writer
}

func (l *lines) say(format string, args ...any) {
	fmt.Fprintf(l, format+"\n", args...)
}

// Write writes whole lines, as they are said at once.
func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, err := l.out.Write(bytes.TrimLeft(p, "\n"))
	return len(p), err
}
