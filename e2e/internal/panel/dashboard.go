// Package panel asks what the panels of a dashboard ask, as Grafana would: with the variables, the steps and the time
// ranges put in. There is no Grafana here that could be asked itself.
package panel

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Dashboard is the part of a dashboard's file that asks questions.
type Dashboard struct {
	File        string `json:"-"`
	UID, Title  string
	Annotations struct{ List []Annotation }
	Panels      []Panel
}

// Annotation is a query for marks on the time axis.
type Annotation struct {
	Name, Expr, IconColor, TitleFormat, TextFormat string
	BuiltIn                                        int
	Enable                                         bool
}

// Panel is one panel of a dashboard.
type Panel struct {
	ID                       int
	Type, Title, Description string
	Interval                 string // the least step
	GridPos                  struct{ X, Y, W, H int }
	Targets                  []Target
	FieldConfig              struct {
		Defaults struct {
			Mappings []struct {
				Type    string
				Options struct{ Match string }
			}
		}
	}
}

// Target is one query of a panel.
type Target struct {
	RefID, Expr, LegendFormat string
	Datasource                struct{ Type, UID string }
	Instant, Exemplar         bool
	MaxLines                  int
	Direction                 string // of Loki's lines: backward unless it says forward
}

// SaysSoWithoutNumber tells whether the panel shows a text where there is no number.
func (p Panel) SaysSoWithoutNumber() bool {
	for _, m := range p.FieldConfig.Defaults.Mappings {
		if m.Type == "special" && m.Options.Match == "null+nan" {
			return true
		}
	}
	return false
}

// Load reads all dashboards of a folder.
func Load(dir string) ([]Dashboard, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		return nil, err
	}
	var all []Dashboard
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		d := Dashboard{File: file}
		if err := json.Unmarshal(content, &d); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		all = append(all, d)
	}
	return all, nil
}

// View is what a dashboard shows: a time range and the chosen values of its variables.
type View struct {
	From, To time.Time
	Chosen   map[string][]string // none of a variable: all
	// Interval is how often a series has something new, as the data source is told it.
	Interval time.Duration
	// Shortened is by how much time runs faster than the dashboards expect: the least steps of the panels are
	// shortened by it.
	Shortened int
}

// all is what stands for a variable of which nothing is chosen, by the files; those of the logs must match something.
func (v View) all(variable string) string {
	if variable == "program" {
		return ".+"
	}
	return ".*"
}

// columnWidth is a column of the grid in pixels, on a wide screen.
const columnWidth = 66

// step is the interval of a panel: the range over its width in pixels, and no less than the least one.
func (v View) step(p Panel) (time.Duration, error) {
	least := v.Interval
	if p.Interval != "" {
		d, err := time.ParseDuration(p.Interval)
		if err != nil {
			return 0, err
		}
		least = max(least, d/time.Duration(v.Shortened))
	}
	exact := v.To.Sub(v.From) / time.Duration(p.GridPos.W*columnWidth)
	for _, nice := range []time.Duration{
		500 * time.Millisecond, time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second, 15 * time.Second, 20 * time.Second,
		30 * time.Second, time.Minute, 2 * time.Minute, 5 * time.Minute,
	} {
		if nice >= exact {
			return max(nice, least), nil
		}
	}
	return 0, fmt.Errorf("a range of %v is longer than was thought of", v.To.Sub(v.From))
}

var variable = regexp.MustCompile(`\$(\w+)`)

// fill puts the variables of a query in.
func (v View) fill(expr string, step time.Duration) (string, error) {
	unknown := ""
	span := v.To.Sub(v.From).Round(time.Second)
	filled := variable.ReplaceAllStringFunc(expr, func(name string) string {
		switch name = name[1:]; name {
		case "__interval":
			return milliseconds(step)
		case "__range":
			return milliseconds(span)
		case "__rate_interval":
			return milliseconds(max(step+v.Interval, 4*v.Interval))
		case "job", "service", "endpoint", "instance", "program":
			return v.choice(name)
		}
		unknown = name
		return name
	})
	if unknown != "" {
		return "", fmt.Errorf("$%s in %s is not known", unknown, expr)
	}
	return filled, nil
}

// choice is the regular expression for the values that are chosen, in a string.
func (v View) choice(name string) string {
	var values []string
	for _, value := range v.Chosen[name] {
		quoted := strconv.Quote(regexp.QuoteMeta(value))
		values = append(values, quoted[1:len(quoted)-1])
	}
	switch slices.Sort(values); len(values) {
	case 0:
		return v.all(name)
	case 1:
		return values[0]
	}
	return "(" + strings.Join(values, "|") + ")"
}

func milliseconds(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) + "ms" }
