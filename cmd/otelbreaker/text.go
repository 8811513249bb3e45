package main

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/otelbreaker/otelbreaker/internal/printable"
)

// inert gives a text that comes from elsewhere as a terminal may show it.
func inert(text string) string { return printable.Text(text) }

// inertJSON is inert for JSON, which stays JSON of the same meaning: what is not printable can only be in its texts.
func inertJSON(text []byte) []byte {
	var out []byte
	for _, r := range string(text) {
		switch {
		case r == '\n' || unicode.IsPrint(r):
			out = utf8.AppendRune(out, r)
		case r > 0xffff:
			r -= 0x10000
			out = fmt.Appendf(out, `\u%04x\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
		default:
			out = fmt.Appendf(out, `\u%04x`, r)
		}
	}
	return out
}

// shortened keeps one name from pushing all others off the screen.
func shortened(text string) string {
	const most = 60
	if utf8.RuneCountInString(text) > most {
		return string([]rune(text)[:most-1]) + "…"
	}
	return text
}

// row is a breaker with its names.
type row struct {
	service, endpoint string
	entry
}

// rows lists the breakers, those that need attention first.
func (p page) rows() []row {
	var all []row
	for service, endpoints := range p.CircuitBreakers {
		for endpoint, e := range endpoints {
			all = append(all, row{service, endpoint, e})
		}
	}
	slices.SortFunc(all, func(a, b row) int {
		if a.urgency() != b.urgency() {
			return b.urgency() - a.urgency()
		}
		if a.service != b.service {
			return strings.Compare(a.service, b.service)
		}
		return strings.Compare(a.endpoint, b.endpoint)
	})
	return all
}

func (r row) urgency() int {
	switch {
	case r.State == "open":
		return 3
	case r.State == "half_open":
		return 2
	case r.Override != "automatic":
		return 1
	default:
		return 0
	}
}

// cells are what a table shows of it. The last one pushes nothing off, and is whole.
func (r row) cells(cut bool) []string {
	name := inert
	if cut {
		name = func(text string) string { return shortened(inert(text)) }
	}
	probe := ""
	if r.NextProbeInSeconds != nil {
		probe = fmt.Sprintf("%.1fs", *r.NextProbeInSeconds)
	}
	failed := "never"
	if r.LastFailureTime != nil {
		failed = r.LastFailureTime.Format("15:04:05Z07:00")
	}
	override := ""
	if r.Override != "automatic" {
		override = r.Override
		if r.OverrideNote != "" {
			override += ": " + r.OverrideNote
		}
	}
	return []string{
		name(r.service), name(r.endpoint), inert(r.State), fmt.Sprintf("%.1f", r.Performance.RequestsPerSecond),
		fmt.Sprintf("%.0f%%", 100*r.Performance.BlockRate), fmt.Sprint(r.FailureCount), failed, probe, inert(override),
	}
}

var heading = []string{"SERVICE", "ENDPOINT", "STATE", "REQ/S 1M", "BLOCKED 1M", "FAILED TOTAL", "LAST FAILURE", "NEXT PROBE", "OVERRIDE"}

// table aligns rows by the characters of their cells. On a terminal, long names are cut; what is read by a program is whole. text/tabwriter would do, but for the colour of a state, which it
// counts as characters.
func table(all []row, cut, colour bool) []string {
	lines := [][]string{heading}
	for _, r := range all {
		lines = append(lines, r.cells(cut))
	}
	width := make([]int, len(heading))
	for _, cells := range lines {
		for i, cell := range cells {
			width[i] = max(width[i], utf8.RuneCountInString(cell))
		}
	}
	var out []string
	for n, cells := range lines {
		var line strings.Builder
		for i, cell := range cells {
			padding := strings.Repeat(" ", width[i]-utf8.RuneCountInString(cell)+2)
			if colour && n > 0 && heading[i] == "STATE" {
				cell = painted(cell)
			}
			line.WriteString(cell + padding)
		}
		out = append(out, strings.TrimRight(line.String(), " "))
	}
	return out
}

func painted(state string) string {
	switch state {
	case "open":
		return "\x1b[31m" + state + "\x1b[0m"
	case "half_open":
		return "\x1b[33m" + state + "\x1b[0m"
	default:
		return "\x1b[32m" + state + "\x1b[0m"
	}
}
