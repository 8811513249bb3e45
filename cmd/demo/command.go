package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
)

const (
	defaultListen = "127.0.0.1:8090"
	defaultRate   = 8
	maxRate       = 200
)

// Exit codes, the same for every subcommand.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

// exitCodes is the end of every help.
const exitCodes = `
Exit codes:
  0  it went well
  1  it did not; standard error says why
  2  the command line is wrong
`

// exitError ends the program with a code where all has been said already.
type exitError int

func (e exitError) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// usageError is one that the command line is to blame for.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// run reads the command line, does what it says, and gives the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := newRoot(stdout, stderr)
	root.SetArgs(withTwoDashes(args))
	command, err := root.ExecuteContextC(ctx)
	var exit exitError
	var usage usageError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &exit):
		return int(exit)
	case errors.As(err, &usage):
		fmt.Fprintf(stderr, "demo: %v\n%s --help lists what is allowed\n", err, command.CommandPath())
		return exitUsage
	default:
		fmt.Fprintf(stderr, "demo: %v\n", err)
		return exitFailed
	}
}

// newRoot is the command line. Without a subcommand it shows the demo.
//
// A subcommand is a function of its own that returns a command, added here. Its RunE gives a usageError for what the
// user has to type differently, any other error for what went wrong, which is then printed, or an exitError where
// nothing more is to be said. It writes to cmd.OutOrStdout and cmd.ErrOrStderr.
func newRoot(stdout, stderr io.Writer) *cobra.Command {
	root := newShow(stdout, stderr)
	root.SetOut(stdout)
	root.SetErr(stderr)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
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

Log records go to standard error as lines of JSON. With OTEL_EXPORTER_OTLP_ENDPOINT set (to http://localhost:4318,
say), traces, metrics and logs are sent there as well. Ctrl-C ends it; a second one does so at once.
` + exitCodes,
		Example: `  demo --listen 127.0.0.1:0
  demo --once`,
		Args:          noArguments,
		SilenceErrors: true, // run says them
		SilenceUsage:  true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := s.check(cmd.Flags().Changed("listen")); err != nil {
				return usageError{err}
			}
			if code := show(cmd.Context(), s); code != exitOK {
				return exitError(code)
			}
			return nil
		},
	}
	flags := command.Flags()
	flags.SortFlags = false
	flags.StringVar(&s.listen, "listen", defaultListen, "serve the page on this `host:port`; port 0 is any free one")
	flags.IntVar(&s.rate, "rate", defaultRate, fmt.Sprintf("calls a second of each of the three services, 1 to %d", maxRate))
	flags.BoolVar(&s.once, "once", false, "play the outage once, check what the signals say of it, and exit\n"+
		"(0: it is what happened, 1: it is not); serves on any free port unless --listen is given")
	return command
}

// check tells what is wrong with the flags, and settles what follows from them.
func (s *settings) check(listenGiven bool) error {
	err := checkAddress(s.listen)
	if s.rate < 1 || s.rate > maxRate {
		err = errors.Join(err, fmt.Errorf("--rate is %d: allowed is 1 to %d", s.rate, maxRate))
	}
	if s.once && !listenGiven {
		s.listen = "127.0.0.1:0" // where it runs unattended, a taken port should not matter
	}
	return err
}

// noArguments is for commands that take flags only.
func noArguments(_ *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usageError{fmt.Errorf("unknown argument %q: neither a flag nor a subcommand", args[0])}
	}
	return nil
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
