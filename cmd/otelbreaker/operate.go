package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/otelbreaker/otelbreaker/internal/cli"
)

// operation is a subcommand that changes something.
type operation struct {
	name, action, short, long, example string
	temporary, configures              bool
}

var operations = []operation{
	{
		name: "force-open", action: "force_open", temporary: true,
		short:   "Block all calls of a breaker, until reset or for a while",
		long:    "force-open has a breaker block every call, whatever they come to, until it is reset or --for is over.",
		example: `  otelbreaker force-open payments https://payments.example --reason "migration" --for 15m`,
	},
	{
		name: "disable", action: "disable", temporary: true,
		short: "Let all calls of a breaker through, until reset or for a while",
		long: "disable has a breaker let every call through, until it is reset or --for is over. It goes on counting, and tells what\n" +
			"it would have done.",
		example: `  otelbreaker disable payments --reason "false alarm"`,
	},
	{
		name: "reset", action: "reset",
		short: "Close a breaker and let it decide by itself again",
		long: "reset closes a breaker, ends force-open and disable, and forgets the failures that led here. A dependency that is\n" +
			"still down opens it again. What reconfigure has changed stays: the configuration from before is in its audit record,\n" +
			"as configuration_before, and reconfigure puts it back.",
		example: `  otelbreaker reset payments --reason "migration is over"`,
	},
	{
		name: "reconfigure", action: "reconfigure", configures: true,
		short: "Change some of a breaker's configuration",
		long: "reconfigure changes those fields of a breaker's configuration that --set names, until the program ends. The others stay\n" +
			"as they are; 0 stands for a field's default. reset does not undo it.",
		example: `  otelbreaker reconfigure payments --set failure_threshold=10 --set recovery_timeout=5s --reason "too nervous"`,
	},
}

// configurationFields can be given to reconfigure.
var configurationFields = []string{
	"failure_threshold", "failure_rate", "slow_call_rate", "slow_call_duration", "window_calls", "window_duration", "min_calls",
	"recovery_timeout", "backoff_factor", "max_recovery_timeout", "jitter", "success_threshold", "max_probes", "probe_timeout",
}

func newOperation(c *client, o operation) *cobra.Command {
	var (
		reason   string
		duration time.Duration
		set      []string
	)
	cmd := &cobra.Command{
		Use:   o.name + " SERVICE [ENDPOINT]",
		Short: o.short,
		Long: o.long + `

The endpoint may be left out where the service has only one. The reason goes into the program's audit log, with the name
that goes with the token.
` + environment + cli.Codes(ownCodes),
		Example: o.example,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) < 1 || len(args) > 2 {
				return cli.Wrong("%d arguments: allowed are a service and an endpoint; otelbreaker list shows them", len(args))
			}
			return nil
		},
		ValidArgsFunction: func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			switch len(args) {
			case 0:
				return c.completions(cmd.Context(), ""), cobra.ShellCompDirectiveNoFileComp
			case 1:
				return c.completions(cmd.Context(), args[0]), cobra.ShellCompDirectiveNoFileComp
			default:
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			order := map[string]any{"action": o.action, "reason": reason}
			if strings.TrimSpace(reason) == "" {
				return cli.Wrong("--reason is missing: say why, for those who read the audit log")
			}
			if cmd.Flags().Changed("for") {
				if duration < time.Second {
					return cli.Wrong("--for is %v: allowed is 1s or more, such as 15m", duration)
				}
				order["for"] = duration.String()
			}
			if o.configures {
				configuration, err := changes(set)
				if err != nil {
					return err
				}
				order["configuration"] = configuration
			}
			order["service"] = args[0]
			if len(args) == 2 {
				order["endpoint"] = args[1]
			} else {
				endpoint, err := c.onlyEndpoint(cmd.Context(), args[0])
				if err != nil {
					return err
				}
				order["endpoint"] = endpoint
			}
			answer, err := c.operate(cmd.Context(), order)
			if err != nil {
				return err
			}
			return c.report(cmd, o, answer)
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "`why`, for the audit log; has to be given")
	if o.temporary {
		cmd.Flags().DurationVar(&duration, "for", 0, "`how long`, such as 15m; then an override from before is back in force,\nor else the breaker is reset (default until reset)")
	}
	if o.configures {
		cmd.Flags().StringArrayVar(&set, "set", nil, "a `field=value` of the configuration; may be repeated")
		_ = cmd.RegisterFlagCompletionFunc("set", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			var all []string
			for _, field := range configurationFields {
				all = append(all, field+"=")
			}
			return all, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
		})
	}
	return cmd
}

// report tells what has been done.
func (c *client) report(cmd *cobra.Command, o operation, answer []byte) error {
	out := cmd.OutOrStdout()
	if c.json {
		var indented bytes.Buffer
		if err := json.Indent(&indented, bytes.TrimSpace(answer), "", "  "); err != nil {
			return fmt.Errorf("the answer is not to be understood: %w", err)
		}
		fmt.Fprintf(out, "%s\n", inertJSON(indented.Bytes()))
		return nil
	}
	var done struct {
		Service, Endpoint, Operator, State, Override string
		Breakers                                     int
		Until                                        *time.Time
		Configuration                                json.RawMessage
	}
	if err := json.Unmarshal(answer, &done); err != nil {
		return fmt.Errorf("the answer is not to be understood: %w", err)
	}
	line := fmt.Sprintf("%s %s is %s", inert(done.Service), inert(done.Endpoint), inert(done.State))
	if done.Override != "automatic" {
		line += ", " + inert(done.Override)
	}
	if done.Until != nil {
		line += " until " + done.Until.Format(time.RFC3339)
	}
	if done.Breakers > 1 {
		line += fmt.Sprintf(" (%d breakers of that name)", done.Breakers)
	}
	fmt.Fprintf(out, "%s, by %s\n", line, inert(done.Operator))
	if o.configures {
		fmt.Fprintf(out, "in force: %s\n", inertJSON(done.Configuration))
	}
	return nil
}

// changes reads the values of --set. What looks like a number is one, all else a text, such as a duration.
func changes(set []string) (map[string]any, error) {
	if len(set) == 0 {
		return nil, cli.Wrong("--set is missing: allowed is field=value, with a field of %s", strings.Join(configurationFields, ", "))
	}
	configuration := make(map[string]any)
	for _, pair := range set {
		field, value, ok := strings.Cut(pair, "=")
		if !ok || !slices.Contains(configurationFields, field) {
			return nil, cli.Wrong("--set %s: allowed is field=value, with a field of %s", inert(pair), strings.Join(configurationFields, ", "))
		}
		if _, twice := configuration[field]; twice {
			return nil, cli.Wrong("--set %s: %s is given twice", inert(pair), field)
		}
		configuration[field] = value
		if number := json.Number(value); json.Valid([]byte(value)) && strings.ContainsAny(value[:1], "-0123456789") {
			configuration[field] = number
		}
	}
	return configuration, nil
}

// onlyEndpoint gives the endpoint of a service that has no other.
func (c *client) onlyEndpoint(ctx context.Context, service string) (string, error) {
	p, _, err := c.health(ctx, url.Values{"service": {service}})
	if err != nil {
		return "", err
	}
	endpoints := distinct(p.CircuitBreakers[service])
	switch len(endpoints) {
	case 0:
		return "", &cli.Error{Code: exitNotFound, Err: fmt.Errorf("there is no breaker of service %q; otelbreaker list shows those there are", service)}
	case 1:
		return endpoints[0], nil
	default:
		var names strings.Builder
		for _, endpoint := range endpoints {
			names.WriteString("\n  " + inert(endpoint))
		}
		return "", cli.Wrong("service %q has %d endpoints; say which:%s", service, len(endpoints), names.String())
	}
}

var numbered = regexp.MustCompile(` #\d+$`)

// distinct lists the endpoints, those once that the page tells apart by a number.
func distinct(endpoints map[string]entry) []string {
	names := make(map[string]bool)
	for name := range endpoints {
		plain := numbered.ReplaceAllString(name, "")
		if _, twin := endpoints[plain]; twin {
			name = plain
		}
		names[name] = true
	}
	return slices.Sorted(maps.Keys(names))
}
