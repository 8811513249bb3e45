// Package logql reads the queries of deploy/loki and asks them of a Loki.
package logql

import (
	"fmt"
	"os"
	"regexp"
	"strings"
)

// How a query is run.
const (
	Lines   = "lines"
	Instant = "instant"
	Series  = "series"
)

// Query is one of the file's.
type Query struct {
	Name, Kind string
	Means      string // the explanation, in one line
	Text       string // with the variables in it
}

var headline = regexp.MustCompile(`^# ([a-z-]+): (lines|instant|series)$`)

// Read reads a file of queries: each a block of comments, the first of which is its headline, and the query, up to an
// empty line. What comes before the first headline is about the file.
func Read(file string) ([]Query, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var all []Query
	for block := range strings.SplitSeq(strings.TrimSpace(string(content)), "\n\n") {
		first, _, _ := strings.Cut(block, "\n")
		found := headline.FindStringSubmatch(first)
		if found == nil {
			if len(all) > 0 {
				return nil, fmt.Errorf("%s: %q is not the headline of a query", file, first)
			}
			continue
		}
		q := Query{Name: found[1], Kind: found[2]}
		var means, text []string
		for _, line := range strings.Split(block, "\n")[1:] {
			if about, comment := strings.CutPrefix(line, "# "); comment && text == nil {
				means = append(means, about)
			} else {
				text = append(text, line)
			}
		}
		q.Means, q.Text = strings.Join(means, " "), strings.Join(text, "\n")
		if q.Means == "" || q.Text == "" {
			return nil, fmt.Errorf("%s: %s has no explanation or no query", file, q.Name)
		}
		all = append(all, q)
	}
	return all, nil
}

var variable = regexp.MustCompile(`\$\w+`)

// With puts values in the place of the query's variables. Each variable has to have one.
func (q Query) With(values map[string]string) (string, error) {
	var missing error
	text := variable.ReplaceAllStringFunc(q.Text, func(name string) string {
		value, found := values[name[1:]]
		if !found {
			missing = fmt.Errorf("%s: no value for %s", q.Name, name)
		}
		return value
	})
	return text, missing
}
