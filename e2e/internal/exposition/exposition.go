// Package exposition compares pages of metrics, in the Prometheus text format or in OpenMetrics,
// byte for byte.
package exposition

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/diff"
)

// Page is what two routes must agree on: lines of an exposition in their order, each with its
// newline.
type Page string

// Select returns the lines of a page about the metrics whose names begin with prefix: samples with
// their exemplars, and HELP, TYPE and UNIT lines. Of the samples' labels it leaves out those named in
// without, and it sorts the labels of exemplars, which the encoder that all routes share writes in
// an order that changes from one reading of a page to the next. Nothing else is changed. An error
// tells of a line that is no sample.
func Select(page []byte, prefix string, without ...string) (Page, error) {
	var out strings.Builder
	for raw := range bytes.Lines(page) {
		line := string(raw)
		if fields := strings.SplitN(line, " ", 4); fields[0] == "#" {
			if len(fields) >= 3 && strings.HasPrefix(fields[2], prefix) {
				out.WriteString(line)
			}
			continue
		}
		if !strings.HasPrefix(line, prefix) {
			continue
		}
		sample, err := normal(line, without)
		if err != nil {
			return "", fmt.Errorf("%q: %w", line, err)
		}
		out.WriteString(sample)
	}
	return Page(out.String()), nil
}

// normal cuts labels out of one sample line and sorts those of its exemplar.
func normal(line string, without []string) (string, error) {
	end := strings.IndexAny(line, "{ ")
	if end < 0 {
		return "", errors.New("no value")
	}
	out, rest := line[:end], line[end:]
	if strings.HasPrefix(rest, "{") {
		labels, after, err := splitLabels(rest)
		if err != nil {
			return "", err
		}
		labels = slices.DeleteFunc(labels, func(label string) bool {
			name, _, _ := strings.Cut(label, "=")
			return slices.Contains(without, name)
		})
		if len(labels) > 0 { // else without braces, as the encoders do
			out += "{" + strings.Join(labels, ",") + "}"
		}
		rest = after
	}
	value, exemplar, found := strings.Cut(rest, " # ")
	if !found {
		return out + rest, nil
	}
	labels, after, err := splitLabels(exemplar)
	if err != nil {
		return "", fmt.Errorf("the exemplar: %w", err)
	}
	slices.Sort(labels)
	return out + value + " # {" + strings.Join(labels, ",") + "}" + after, nil
}

// splitLabels splits the label set that s begins with into its labels, name="value", and returns
// them with what follows the set.
func splitLabels(s string) (labels []string, after string, err error) {
	s, found := strings.CutPrefix(s, "{")
	if !found {
		return nil, "", fmt.Errorf("no label set at %q", s)
	}
	for !strings.HasPrefix(s, "}") {
		end, err := labelEnd(s)
		if err != nil {
			return nil, "", err
		}
		labels = append(labels, s[:end])
		s = strings.TrimPrefix(s[end:], ",")
	}
	return labels, s[1:], nil
}

// labelEnd returns the length of the label that s begins with. In its value a backslash takes the
// next character along.
func labelEnd(s string) (int, error) {
	start := strings.Index(s, `="`)
	if start < 0 {
		return 0, fmt.Errorf("no label at %q", s)
	}
	for i := start + len(`="`); i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			return i + 1, nil
		}
	}
	return 0, fmt.Errorf("the label's value does not end in %q", s)
}

// Between returns page with some values of the counter named name replaced by those of after: where
// a series has grown from before to after, and page, taken between the two, holds a value in
// between. What grows of itself cannot be read in two places at one moment; everything else is left
// as it is, for Diff to judge.
func Between(before, page, after Page, name string) Page {
	first, last := before.values(name), after.values(name)
	var out strings.Builder
	for line := range strings.Lines(string(page)) {
		series, text := splitValue(line)
		value := number(text)
		if first[series] != last[series] && number(first[series]) <= value && value <= number(last[series]) {
			line = series + " " + last[series] + "\n"
		}
		out.WriteString(line)
	}
	return Page(out.String())
}

// SameMoment returns page with the times of exemplars replaced by those of the same exemplars in
// other, where they are less than tolerance apart. Two readers of one SDK each take the time of an
// exemplar for themselves, so no two routes of one process ever agree on it to the byte.
func SameMoment(page, other Page, tolerance time.Duration) Page {
	times := make(map[string]string)
	for line := range strings.Lines(string(other)) {
		if exemplar, at, found := splitExemplar(line); found {
			times[exemplar] = at
		}
	}
	var out strings.Builder
	for line := range strings.Lines(string(page)) {
		exemplar, at, found := splitExemplar(line)
		if found && math.Abs(number(at)-number(times[exemplar])) < tolerance.Seconds() {
			line = exemplar + " " + times[exemplar] + "\n"
		}
		out.WriteString(line)
	}
	return Page(out.String())
}

// splitExemplar splits the time of its exemplar off a sample that has one.
func splitExemplar(line string) (sample, at string, found bool) {
	if !strings.Contains(line, " # {") || strings.HasPrefix(line, "#") {
		return "", "", false
	}
	sample, at = splitValue(line)
	return sample, at, true
}

// values returns the value, as it is written, of every series of a metric.
func (p Page) values(name string) map[string]string {
	values := make(map[string]string)
	for line := range strings.Lines(string(p)) {
		if series, text := splitValue(line); strings.HasPrefix(series, name+"{") {
			values[series] = text
		}
	}
	return values
}

// splitValue splits a sample without timestamp and exemplar.
func splitValue(line string) (series, value string) {
	line = strings.TrimSuffix(line, "\n")
	i := strings.LastIndex(line, " ")
	if i < 0 {
		return line, ""
	}
	return line[:i], line[i+1:]
}

// number reads a value, and takes for NaN, which no comparison holds for, what is none.
func number(text string) float64 {
	value, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return math.NaN()
	}
	return value
}

// Diff returns what must change in a to get b, as a unified diff, and "" when they are equal.
func Diff(aName string, a Page, bName string, b Page) string {
	return string(diff.Diff(aName, []byte(a), bName, []byte(b)))
}
