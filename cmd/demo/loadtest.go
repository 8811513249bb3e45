package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/otelbreaker/otelbreaker/cmd/demo/internal/loadtest"
	"github.com/otelbreaker/otelbreaker/collector"
	"github.com/otelbreaker/otelbreaker/internal/cli"
)

// exitUnmet is the exit code where the load test ran, and something that was expected of it is not so.
const exitUnmet = 3

// newLoad is the subcommand that makes load.
func newLoad() *cobra.Command {
	s := loadtest.Settings{Rate: 50, Concurrency: 50, For: 10 * time.Second, Timeout: time.Second, Scenario: "healthy"}
	var (
		rules, asJSON = "", false
		expect        expectations
	)
	command := &cobra.Command{
		Use:   "load",
		Short: "Drive a URL through a circuit breaker, and say what came of it",
		Long: `load makes requests at a steady rate, through a circuit breaker, while the dependency misbehaves as the scenario has it:

  healthy   all is well; a URL that is given is called as it is
  outage    answers 500, then refuses connections; the breaker opens once
  flapping  two outages, one soon after the other
  slow      answers 200, too late; the share of slow calls opens
  brownout  three of five answers are failures; the failure rate opens

Without --url it calls an upstream of its own. With one, the faults come from a proxy on loopback that it puts before the
URL. Only what is on this machine is called, redirects too, unless --allow-remote is given.

Percentiles are those of requests that were sent; blocked ones have their own. What became of each call is counted by the
client and by the breaker, and that the two agree is always expected. Progress goes to standard error, the report to
standard output. Ctrl-C ends it early, with a report; a second one at once. With OTEL_EXPORTER_OTLP_ENDPOINT set,
telemetry is sent there.
` + cli.Codes("  3  what was expected is not so; the report and standard error name it\n"),
		Example: `  demo load --scenario outage --min-success 0.7 --expect-open-within 2s --expect-recovery-within 3s
  demo load --url http://127.0.0.1:8080/balance --rate 100 --for 30s --max-p99 250ms --max-openings 0
  demo load --scenario brownout --breaker '{"failure_rate": 0.3, "recovery_timeout": "1s"}' --json`,
		Args: cli.NoArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s.Breaker = loadtest.BreakerFor(s.For)
			err := configure(&s, rules)
			stated, wrong := expect.stated(cmd.Flags().Changed)
			s.Expect = stated
			if err := errors.Join(err, s.Check(), wrong); err != nil {
				return &cli.Error{Code: cli.Usage, Err: err}
			}
			return load(cmd.Context(), s, asJSON, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	flags := command.Flags()
	flags.SortFlags = false
	flags.StringVar(&s.URL, "url", "", "call this `URL`, by GET; without one, an upstream of its own")
	flags.BoolVar(&s.AllowRemote, "allow-remote", false, "call what is not on this machine, too: make load only on what is yours")
	flags.IntVar(&s.Rate, "rate", s.Rate, fmt.Sprintf("requests a second, 1 to %d", loadtest.MaxRate))
	flags.IntVar(&s.Concurrency, "concurrency", s.Concurrency, fmt.Sprintf("requests under way at once at most, 1 to %d", loadtest.MaxConcurrency))
	flags.DurationVar(&s.For, "for", s.For, fmt.Sprintf("how long, %v to %v", loadtest.MinFor, loadtest.MaxFor))
	flags.DurationVar(&s.Timeout, "timeout", s.Timeout, fmt.Sprintf("of a request, %v to %v", loadtest.MinTimeout, loadtest.MaxTimeout))
	flags.StringVar(&s.Scenario, "scenario", s.Scenario, strings.Join(loadtest.Scenarios(), ", "))
	flags.StringVar(&rules, "breaker", "", "the breaker's rules as `JSON`, as its configuration is written; what is left out is\n"+
		"5 failures in a row, or half of 20 calls failing or slow, with times in proportion to --for")
	flags.Float64Var(&expect.minSuccess, "min-success", 0, "expect this share of all requests to be answered with 2xx or 3xx, as 0.95")
	flags.DurationVar(&expect.maxP99, "max-p99", 0, "expect 99 % of the requests that are sent to take no longer")
	flags.DurationVar(&expect.openWithin, "expect-open-within", 0, "expect the breaker to open so soon after the first fault (the start, without one)")
	flags.DurationVar(&expect.recoveryWithin, "expect-recovery-within", 0, "expect it to be closed again so soon after the last fault (the first opening, without one)")
	flags.IntVar(&expect.maxOpenings, "max-openings", 0, "expect no more outages than so many; 0 is none")
	flags.IntVar(&expect.minBlocked, "min-blocked", 0, "expect the breaker to block so many calls or more")
	flags.BoolVar(&expect.story, "expect-story", false, "expect the breaker to do what the scenario is about, and to be closed at the end")
	flags.BoolVar(&asJSON, "json", false, "write the report as JSON; docs/load.md describes it")
	_ = command.RegisterFlagCompletionFunc("scenario", cobra.FixedCompletions(loadtest.Scenarios(), cobra.ShellCompDirectiveNoFileComp)) // fails only for a flag that is not there
	return command
}

// configure reads the breaker's rules.
func configure(s *loadtest.Settings, rules string) error {
	if rules == "" {
		return nil
	}
	if err := json.Unmarshal([]byte(rules), &s.Breaker); err != nil {
		return fmt.Errorf("--breaker: %w", err)
	}
	return nil
}

// expectations are the flags that state one.
type expectations struct {
	minSuccess                         float64
	maxP99, openWithin, recoveryWithin time.Duration
	maxOpenings, minBlocked            int
	story                              bool
}

// stated makes those whose flags are given.
func (e *expectations) stated(given func(flag string) bool) (all []loadtest.Expectation, wrong error) {
	for _, f := range []struct {
		name string
		make func() (loadtest.Expectation, error)
	}{
		{"min-success", func() (loadtest.Expectation, error) { return loadtest.MinSuccess(e.minSuccess) }},
		{"max-p99", func() (loadtest.Expectation, error) { return loadtest.MaxP99(e.maxP99) }},
		{"expect-open-within", func() (loadtest.Expectation, error) { return loadtest.OpenWithin(e.openWithin) }},
		{"expect-recovery-within", func() (loadtest.Expectation, error) { return loadtest.RecoveryWithin(e.recoveryWithin) }},
		{"max-openings", func() (loadtest.Expectation, error) { return loadtest.MaxOpenings(e.maxOpenings) }},
		{"min-blocked", func() (loadtest.Expectation, error) { return loadtest.MinBlocked(e.minBlocked) }},
	} {
		if given(f.name) {
			x, err := f.make()
			all, wrong = append(all, x), errors.Join(wrong, err)
		}
	}
	if e.story {
		all = append(all, loadtest.ExpectStory())
	}
	return all, wrong
}

// load runs the load test, with telemetry as any program has it, and reports.
func load(ctx context.Context, s loadtest.Settings, asJSON bool, stdout, stderr io.Writer) error {
	pipeline, err := collector.Start(ctx, collector.WithServiceName("otelbreaker-load"),
		collector.WithLogger(slog.New(slog.NewJSONHandler(stderr, nil))))
	if err != nil {
		return err
	}
	report, err := loadtest.Run(ctx, s, stderr)
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if lost := pipeline.Shutdown(ending); lost != nil {
		fmt.Fprintf(stderr, "demo: not all telemetry was sent: %v\n", lost)
	}
	switch {
	case errors.Is(err, loadtest.ErrRemote):
		return &cli.Error{Code: cli.Usage, Err: err}
	case err != nil:
		return err
	case asJSON:
		out := json.NewEncoder(stdout)
		out.SetIndent("", "  ")
		out.SetEscapeHTML(false)
		err = out.Encode(report)
	default:
		err = report.WriteText(stdout)
	}
	if err == nil && !report.Passed {
		err = &cli.Error{Code: exitUnmet, Err: fmt.Errorf("not as expected: %s", strings.Join(report.Failed(), ", "))}
	}
	return err
}
