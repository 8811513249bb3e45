package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/otelbreaker/otelbreaker/internal/cli"
)

const (
	defaultListen = "127.0.0.1:8090"
	defaultRate   = 8
	maxRate       = 200
	maxServices   = 200
	maxNameLength = 200 // of a service, in bytes
	tokenVariable = "OTELBREAKER_TOKEN"
)

// run reads the command line, does what it says, and gives the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	return cli.Run(ctx, newRoot(stdout, stderr), withTwoDashes(args), stdout, stderr)
}

// newRoot is the command line. Without a subcommand it shows the demo.
//
// A subcommand is a function of its own that returns a command, added here. Its RunE gives a [cli.Wrong] for what the
// user has to type differently, any other error for what went wrong, which is then printed, or a [cli.Exit] where
// nothing more is to be said. It writes to cmd.OutOrStdout and cmd.ErrOrStderr, and its help ends with [cli.Codes].
func newRoot(stdout, stderr io.Writer) *cobra.Command {
	root := newShow(stdout, stderr)
	root.AddCommand(newLoad())
	return root
}

// newShow is the demo itself.
func newShow(stdout, stderr io.Writer) *cobra.Command {
	s := settings{
		services: []string{"payments", "inventory", "recommendations"},
		recovery: 3 * time.Second,
		calm:     3 * time.Second,
		timeout:  time.Second,
		slow:     300 * time.Millisecond,
		poll:     100 * time.Millisecond,
		deadline: 18 * time.Second,
		ending:   5 * time.Second,
		out:      stdout, log: stderr,
	}
	command := &cobra.Command{
		Use:   "demo",
		Short: "A circuit breaker through an outage, with all its signals",
		Long: `demo shows a circuit breaker through an outage, with its metrics, logs, traces and health page.

With a token, /control/circuit-breakers lets operators force breakers open, disable, reset and reconfigure them. It comes
from --token-file (lines of a name and a token) or from $OTELBREAKER_TOKEN, and cmd/otelbreaker is the client.

Log records go to standard error as lines of JSON. With OTEL_EXPORTER_OTLP_ENDPOINT set (to http://localhost:4318,
say), traces, metrics and logs are sent there as well. Ctrl-C ends it; a second one does so at once.
` + cli.Codes(""),
		Example: `  demo --listen 127.0.0.1:0
  demo --once
  demo load --scenario outage --for 10s --expect-open-within 2s`,
		Args: cli.NoArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s.token = os.Getenv(tokenVariable)
			if err := s.check(cmd.Flags().Changed("listen")); err != nil {
				return &cli.Error{Code: cli.Usage, Err: err}
			}
			if code := show(cmd.Context(), s); code != cli.OK {
				return cli.Exit(code)
			}
			return nil
		},
	}
	flags := command.Flags()
	flags.SortFlags = false
	flags.StringVar(&s.listen, "listen", defaultListen, "serve the page on this `host:port`; port 0 is any free one")
	flags.IntVar(&s.rate, "rate", defaultRate, fmt.Sprintf("calls a second of each service, 1 to %d", maxRate))
	flags.BoolVar(&s.once, "once", false, "play the outage once, check what the signals say of it, and exit\n"+
		"(0: it is what happened, 1: it is not); serves on any free port unless --listen is given")
	flags.StringArrayVar(&s.services, "service", s.services, fmt.Sprintf("call a service of this `name`; again for each, up to %d;\n"+
		"the first has the scripted outage", maxServices))
	flags.StringVar(&s.tokenFile, "token-file", "", "let those operate the breakers whose tokens are in this `file`;\n"+
		"not with --once, when nobody shall have a hand in what is to be proved")
	flags.StringVar(&s.slackFile, "slack-webhook-file", "", "tell the Slack channel of outages whose webhook is in this `file`")
	return command
}

// check tells what is wrong with the flags, and settles what follows from them.
func (s *settings) check(listenGiven bool) error {
	err := checkAddress(s.listen)
	if s.rate < 1 || s.rate > maxRate {
		err = errors.Join(err, fmt.Errorf("--rate is %d: allowed is 1 to %d", s.rate, maxRate))
	}
	if len(s.services) > maxServices {
		err = errors.Join(err, fmt.Errorf("--service is given %d times: allowed are %d", len(s.services), maxServices))
	}
	for i, name := range s.services {
		if name == "" || len(name) > maxNameLength || slices.Contains(s.services[:i], name) {
			err = errors.Join(err, fmt.Errorf("--service is %.*q: allowed is a name of 1 to %d bytes, each once", maxNameLength, name, maxNameLength))
		}
	}
	if s.once && s.tokenFile != "" {
		err = errors.Join(err, errors.New("--token-file and --once: allowed is one of them"))
	}
	if s.once && !listenGiven {
		s.listen = "127.0.0.1:0" // where it runs unattended, a taken port should not matter
	}
	return err
}

// withTwoDashes lets flags be written with one dash, too (-once), as programs of Go's own flag package have them. No
// short flag here takes others or a value behind it, so nothing else can be meant.
func withTwoDashes(args []string) []string {
	with := make([]string, len(args))
	for i, a := range args {
		if a == "--" {
			copy(with[i:], args[i:])
			break
		}
		with[i] = a
		if len(a) > 2 && a[0] == '-' && a[1] >= 'a' && a[1] <= 'z' {
			with[i] = "-" + a
		}
	}
	return with
}
