package main

import (
	"bytes"
	"context"
	"fmt"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/otelbreaker/otelbreaker/internal/cli"
)

// completionTimeout is how long a shell may be kept waiting.
const completionTimeout = 2 * time.Second

// filter is the flags that narrow down which breakers are meant.
type filter struct{ services, states []string }

func (f *filter) flags(cmd *cobra.Command, c *client) {
	cmd.Flags().StringArrayVar(&f.services, "service", nil, "only those of this `service`; may be repeated")
	cmd.Flags().StringArrayVar(&f.states, "state", nil, "only those in this `state`: closed, half_open or open; may be repeated")
	_ = cmd.RegisterFlagCompletionFunc("state", cobra.FixedCompletions([]string{"closed", "half_open", "open"}, cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("service", func(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
		return c.completions(cmd.Context(), ""), cobra.ShellCompDirectiveNoFileComp
	})
}

func (f *filter) query() url.Values {
	q := url.Values{}
	if len(f.services) > 0 {
		q["service"] = f.services
	}
	if len(f.states) > 0 {
		q["state"] = f.states
	}
	return q
}

func newList(c *client) *cobra.Command {
	var f filter
	var failOpen bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the breakers, those that are open first",
		Long: `list prints the breakers of a program, those that are open first: their state, the calls a second and the share of
them that was blocked, both over the last minute (1M), the failed calls since the breaker was made, and what operators
have done. With --json it prints the health page.
` + environment + cli.Codes(ownCodes),
		Example: `  otelbreaker list --url https://shop.example
  otelbreaker list --state open --state half_open
  otelbreaker list --service payments --json | jq .
  otelbreaker list --fail-open >/dev/null || echo "something is open"`,
		Args: cli.NoArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			p, raw, err := c.health(cmd.Context(), f.query())
			if err != nil {
				return err
			}
			all := p.rows()
			out := cmd.OutOrStdout()
			switch {
			case c.json:
				fmt.Fprintf(out, "%s\n", bytes.TrimSpace(inertJSON(raw)))
			case len(all) == 0:
				fmt.Fprintln(cmd.ErrOrStderr(), "there is no breaker; one comes with the first call of an endpoint")
			default:
				_, cut := terminal(out)
				fmt.Fprintln(out, strings.Join(table(all, cut, inColour(out)), "\n"))
			}
			if failOpen && len(all) > 0 && all[0].State == "open" {
				return cli.Exit(exitOpen)
			}
			return nil
		},
	}
	f.flags(cmd, c)
	cmd.Flags().BoolVar(&failOpen, "fail-open", false, fmt.Sprintf("exit with %d if one of those listed is open", exitOpen))
	return cmd
}

// terminal gives the file of a terminal, if that is what out is.
func terminal(out any) (*os.File, bool) {
	f, ok := out.(*os.File)
	return f, ok && term.IsTerminal(int(f.Fd())) && os.Getenv("TERM") != "dumb"
}

func inColour(out any) bool {
	_, yes := terminal(out)
	return yes && os.Getenv("NO_COLOR") == ""
}

// completions are the names of services, or of the endpoints of one, for a shell. There are none where the program does
// not answer.
func (c *client) completions(ctx context.Context, service string) []string {
	ctx, cancel := context.WithTimeout(ctx, completionTimeout)
	defer cancel()
	var q url.Values
	if service != "" {
		q = url.Values{"service": {service}}
	}
	p, _, err := c.health(ctx, q)
	if err != nil {
		return nil
	}
	var names []string
	for name, endpoints := range p.CircuitBreakers {
		if service == "" {
			names = append(names, inert(name))
			continue
		}
		for _, endpoint := range distinct(endpoints) {
			names = append(names, inert(endpoint))
		}
	}
	return names
}
