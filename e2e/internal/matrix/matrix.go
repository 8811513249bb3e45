// Package matrix compares which alerts came of which incidents with which should have.
package matrix

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Cell is what came of an alert in an incident.
type Cell int

// What can come of it.
const (
	Silent Cell = iota // it never fired
	Fired              // it fired, and nobody was told, for another alert had told them
	Paged              // somebody was told

	Held // only wanted: nobody is told; at the edge of its wait it may fire or not
)

func (c Cell) String() string {
	switch c {
	case Silent:
		return ""
	case Fired:
		return "fires"
	case Paged:
		return "**page**"
	case Held:
		return "(fires)"
	}
	return fmt.Sprintf("Cell(%d)", int(c))
}

// Row is an incident's cells by alert; those that are missing are Silent.
type Row map[string]Cell

// Matrix is rows by incident.
type Matrix map[string]Row

// Set raises a cell to what was seen of it: what was paged has fired, too.
func (m Matrix) Set(incident, alert string, c Cell) {
	if m[incident] == nil {
		m[incident] = Row{}
	}
	m[incident][alert] = max(m[incident][alert], c)
}

// Diff lists where got is not as want has it, by incident and alert. Each of the alerts that there are has to come of
// some incident in want, and each incident and alert that is named has to be there: what nothing fires is not tested.
func Diff(want, got Matrix, incidents, alerts []string) (differences []string) {
	say := func(format string, args ...any) { differences = append(differences, fmt.Sprintf(format, args...)) }
	name := func(c Cell) string {
		return map[Cell]string{Silent: "silent", Fired: "fired and told nobody", Paged: "paged", Held: "nobody told"}[c]
	}
	for _, incident := range incidents {
		if want[incident] == nil {
			say("%s: nothing is said of what it should come to", incident)
		}
		for _, alert := range alerts {
			if w, g := want[incident][alert], got[incident][alert]; w != g && (w != Held || g == Paged) {
				say("%s: %s %s, want %s", incident, alert, name(g), name(w))
			}
		}
	}
	for _, alert := range alerts {
		tried := slices.ContainsFunc(incidents, func(incident string) bool { return want[incident][alert] == Fired || want[incident][alert] == Paged })
		if !tried {
			say("%s is not tested: it should come of no incident", alert)
		}
	}
	for _, m := range []Matrix{want, got} {
		for _, incident := range slices.Sorted(maps.Keys(m)) {
			if !slices.Contains(incidents, incident) {
				say("%s: there is no such incident", incident)
			}
			for _, alert := range slices.Sorted(maps.Keys(m[incident])) {
				if !slices.Contains(alerts, alert) {
					say("%s: there is no alert %s", incident, alert)
				}
			}
		}
	}
	return slices.Compact(differences)
}

// Table writes a matrix in Markdown. prefix is left out of the alerts' names.
func Table(m Matrix, incidents, alerts []string, prefix string) string {
	var out strings.Builder
	out.WriteString("| incident |")
	for _, alert := range alerts {
		fmt.Fprintf(&out, " %s |", strings.TrimPrefix(alert, prefix))
	}
	out.WriteString("\n|---|" + strings.Repeat("---|", len(alerts)) + "\n")
	for _, incident := range incidents {
		fmt.Fprintf(&out, "| %s |", incident)
		for _, alert := range alerts {
			if cell := m[incident][alert].String(); cell == "" {
				out.WriteString(" |")
			} else {
				fmt.Fprintf(&out, " %s |", cell)
			}
		}
		out.WriteString("\n")
	}
	return out.String()
}
