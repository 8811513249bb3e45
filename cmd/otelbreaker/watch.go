package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/otelbreaker/otelbreaker/internal/cli"
)

const minInterval = 100 * time.Millisecond

func newWatch(c *client) *cobra.Command {
	var f filter
	var interval time.Duration
	cmd := &cobra.Command{
		Use:   "watch",
		Short: "Watch the breakers until Ctrl-C",
		Long: `watch follows the breakers of a program until Ctrl-C. On a terminal it repaints the list; elsewhere, and with --json, it
prints a line for each thing that happens: a transition, an override, a breaker that appears among those watched or is
gone from them. A program that stops answering is asked again until it does.
` + environment + cli.Codes(ownCodes),
		Example: `  otelbreaker watch --url https://shop.example
  otelbreaker watch --json | jq -c 'select(.new_state == "open")'`,
		Args: cli.NoArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if interval < minInterval {
				return cli.Wrong("--interval is %v: allowed is %v or more", interval, minInterval)
			}
			var show display = &journal{out: cmd.OutOrStdout(), json: c.json, known: map[string]row{}}
			if screen, isTerminal := terminal(cmd.OutOrStdout()); isTerminal && !c.json {
				show = &painting{out: screen, size: func() (int, int) {
					width, height, err := term.GetSize(int(screen.Fd()))
					if err != nil || width <= 0 || height <= 0 { // some give 0 where nobody has told them
						return 80, 24
					}
					return width, height
				}, colour: inColour(screen)}
			}
			return c.watch(cmd.Context(), f, interval, show, cmd.ErrOrStderr())
		},
	}
	f.flags(cmd, c)
	cmd.Flags().DurationVar(&interval, "interval", time.Second, "how often to ask")
	return cmd
}

// display shows what the page says, or that it could not be had.
type display interface {
	show(p page)
	failed(err error)
}

// watch asks until ctx ends. A first answer that does not come ends it, for then something is wrong with the question.
func (c *client) watch(ctx context.Context, f filter, interval time.Duration, to display, stderr io.Writer) error {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	lost := false
	for first := true; ; first = false {
		p, _, err := c.health(ctx, f.query())
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && first:
			return err
		case err != nil:
			if !lost {
				fmt.Fprintf(stderr, "%v\nasking again every %v\n", err, interval)
			}
			lost = true
			to.failed(err)
		default:
			lost = false
			to.show(p)
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// painting repaints a terminal.
type painting struct {
	out    io.Writer
	size   func() (width, height int)
	colour bool
	last   page
	begun  bool
}

func (s *painting) show(p page) {
	s.last = p
	s.paint(fmt.Sprintf("%s  Ctrl-C ends", p.Timestamp.Format(time.RFC3339)))
}

func (s *painting) failed(error) {
	s.paint(fmt.Sprintf("%s  no answer since; this is as it was then", s.last.Timestamp.Format(time.RFC3339)))
}

func (s *painting) paint(title string) {
	width, height := s.size()
	all := s.last.rows()
	lines := append([]string{title}, table(all, true, s.colour)...)
	if most := max(3, height-1); len(lines) > most {
		lines = append(lines[:most-1], fmt.Sprintf("and %d more", len(lines)-most+1))
	}
	var out strings.Builder
	if !s.begun {
		out.WriteString("\x1b[2J") // the whole screen, once; later only what is behind the text
		s.begun = true
	}
	out.WriteString("\x1b[H")
	for _, line := range lines {
		out.WriteString(clipped(line, width) + "\x1b[K\n")
	}
	out.WriteString("\x1b[J")
	_, _ = io.WriteString(s.out, out.String())
}

// clipped cuts a line to the width of the screen, colours not counted.
func clipped(line string, width int) string {
	n, inEscape, end := 0, false, ""
	for i, r := range line {
		switch {
		case r == '\x1b':
			inEscape, end = true, "\x1b[0m"
		case inEscape:
			inEscape = r != 'm'
		default:
			if n++; n > width {
				return line[:i] + end
			}
		}
	}
	return line
}

// journal prints a line for each thing that happens.
type journal struct {
	out   io.Writer
	json  bool
	known map[string]row
}

// happening is one of them. What does not apply is left out.
type happening struct {
	Time         time.Time `json:"time"`
	Event        string    `json:"event"` // appeared, transition, override, gone
	Service      string    `json:"service"`
	Endpoint     string    `json:"endpoint"`
	State        string    `json:"state,omitempty"`
	OldState     string    `json:"old_state,omitempty"`
	NewState     string    `json:"new_state,omitempty"`
	Reason       string    `json:"reason,omitempty"`
	Note         string    `json:"note,omitempty"`
	ErrorType    string    `json:"error.type,omitempty"`
	OutageID     string    `json:"outage_id,omitempty"`
	TraceID      string    `json:"trace_id,omitempty"`
	Override     string    `json:"override,omitempty"`
	OverrideNote string    `json:"override_note,omitempty"`
}

func (*journal) failed(error) {}

func (j *journal) show(p page) {
	var news []happening
	seen := make(map[string]row)
	for _, r := range p.rows() {
		key := r.service + "\x00" + r.endpoint
		seen[key] = r
		before, known := j.known[key]
		if !known {
			news = append(news, happening{Time: p.Timestamp, Event: "appeared", Service: r.service, Endpoint: r.endpoint, State: r.State,
				Override: r.Override, OverrideNote: r.OverrideNote})
			continue
		}
		for _, t := range newer(before.LastTransitions, r.LastTransitions) {
			news = append(news, happening{Time: t.Time, Event: "transition", Service: r.service, Endpoint: r.endpoint, OldState: t.OldState,
				NewState: t.NewState, Reason: t.Reason, Note: t.Note, ErrorType: t.ErrorType, OutageID: t.OutageID, TraceID: t.TraceID})
		}
		if before.Override != r.Override || before.OverrideNote != r.OverrideNote {
			news = append(news, happening{Time: p.Timestamp, Event: "override", Service: r.service, Endpoint: r.endpoint, State: r.State,
				Override: r.Override, OverrideNote: r.OverrideNote})
		}
	}
	gone := page{CircuitBreakers: map[string]map[string]entry{}}
	for key, r := range j.known {
		if _, still := seen[key]; !still {
			if gone.CircuitBreakers[r.service] == nil {
				gone.CircuitBreakers[r.service] = map[string]entry{}
			}
			gone.CircuitBreakers[r.service][r.endpoint] = r.entry
		}
	}
	for _, r := range gone.rows() {
		news = append(news, happening{Time: p.Timestamp, Event: "gone", Service: r.service, Endpoint: r.endpoint})
	}
	j.known = seen
	// By breaker up to here; who reads wants to know what came first.
	slices.SortStableFunc(news, func(a, b happening) int { return a.Time.Compare(b.Time) })
	for _, h := range news {
		j.print(h)
	}
}

// newer gives the transitions that came since. The page keeps the last ten, so where the newest known one is not among
// them, all are new.
func newer(before, now []transition) []transition {
	if len(before) == 0 {
		return now
	}
	return now[slices.Index(now, before[len(before)-1])+1:]
}

func (j *journal) print(h happening) {
	if j.json {
		line, err := json.Marshal(h)
		if err == nil { // its types cannot fail to encode
			fmt.Fprintf(j.out, "%s\n", inertJSON(line))
		}
		return
	}
	line := fmt.Sprintf("%s  %s %s  ", h.Time.Format("2006-01-02T15:04:05.000Z07:00"), h.Service, h.Endpoint)
	switch h.Event {
	case "transition":
		line += h.OldState + " -> " + h.NewState + ", " + h.Reason
		if h.ErrorType != "" {
			line += " (" + h.ErrorType + ")"
		}
		if h.Note != "" {
			line += ": " + h.Note
		}
		if h.OutageID != "" {
			line += ", outage " + h.OutageID
		}
		if h.TraceID != "" {
			line += ", trace " + h.TraceID
		}
	case "gone":
		line += "gone"
	default: // appeared, override
		line += h.State
		if h.Override != "automatic" || h.Event == "override" {
			line += ", " + h.Override
		}
		if h.OverrideNote != "" {
			line += ": " + h.OverrideNote
		}
	}
	fmt.Fprintln(j.out, inert(line))
}
