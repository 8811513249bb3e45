// Otelbreaker looks at the circuit breakers of a running program, and operates them, by the program's health page and
// control.
//
//	go install github.com/otelbreaker/otelbreaker/cmd/otelbreaker@latest
//	otelbreaker list --url https://shop.example
//	otelbreaker force-open payments --reason "migration" --for 15m
//
// The program has to serve [github.com/otelbreaker/otelbreaker/health.Handler], and to be operated
// [github.com/otelbreaker/otelbreaker/control.Handler].
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/otelbreaker/otelbreaker/internal/cli"
)

// Exit codes besides those of cli.
const (
	exitRefused  = 3
	exitNotFound = 4
	exitOpen     = 5
)

const ownCodes = `  3  refused: the token is missing or wrong, or there were too many attempts
  4  there is no such breaker
  5  list --fail-open: a breaker is open
`

const environment = `
Environment, where the flag is not given:
  OTELBREAKER_URL         --url
  OTELBREAKER_TOKEN_FILE  --token-file
  OTELBREAKER_TOKEN       the token itself
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	return cli.Run(ctx, newRoot(), args, stdout, stderr)
}

func newRoot() *cobra.Command {
	c := &client{}
	root := &cobra.Command{
		Use:   "otelbreaker",
		Short: "Look at a program's circuit breakers, and operate them",
		Long: `otelbreaker looks at the circuit breakers of a running program, and operates them.

list and watch need the program's health page; the others its control, too, and a token.
otelbreaker completion --help tells how a shell completes commands, flags and the names of breakers.
` + environment + cli.Codes(ownCodes),
		Args: cli.NoArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	flags := root.PersistentFlags()
	flags.SortFlags = false
	flags.StringVar(&c.url, "url", "", "the program's base `URL` (default "+defaultURL+")")
	flags.StringVar(&c.healthPath, "health-path", "/health/circuit-breakers", "where its health page is, below the URL")
	flags.StringVar(&c.controlPath, "control-path", "/control/circuit-breakers", "where its control is, below the URL")
	flags.StringVar(&c.tokenFile, "token-file", "", "a `file` with the token to operate with, and nothing else")
	flags.BoolVar(&c.insecure, "insecure", false, "send the token unencrypted, also to another machine")
	flags.DurationVar(&c.timeout, "timeout", 10*time.Second, "how long an answer may take")
	flags.BoolVar(&c.json, "json", false, "print JSON")
	root.AddCommand(newList(c), newWatch(c))
	for _, o := range operations {
		root.AddCommand(newOperation(c, o))
	}
	return root
}
