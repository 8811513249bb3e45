package main

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"regexp"
	"strconv"
	"strings"
)

// results is what benchstat says, without the number of processors that Go puts behind each name.
type results struct {
	machine map[string]string           // goos, cpu and so on
	values  map[string]map[string]value // by unit, then by benchmark
}

// value is a median; spread is how far its confidence interval reaches, as benchstat writes it, empty if unknown.
type value struct {
	median float64
	spread string
}

const (
	seconds = "sec/op"
	allocs  = "allocs/op"
	held    = "B/breaker"
)

var processors = regexp.MustCompile(`-\d+$`)

// parse reads benchstat -format csv: lines of configuration, and for each unit a table that a line with the unit
// begins.
func parse(from io.Reader) (*results, error) {
	r := &results{machine: map[string]string{}, values: map[string]map[string]value{}}
	lines := csv.NewReader(from)
	lines.FieldsPerRecord = -1 // tables and configuration differ
	unit := ""
	for {
		fields, err := lines.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		switch {
		case len(fields) == 1 || fields[0] != "" && unit == "":
			key, text, _ := strings.Cut(strings.Join(fields, ","), ": ")
			r.machine[key] = text
		case fields[0] == "":
			if len(fields) > 2 && fields[2] == "CI" {
				unit = fields[1]
				r.values[unit] = map[string]value{}
			}
		case fields[0] != "geomean":
			median, err := strconv.ParseFloat(fields[1], 64)
			if err != nil {
				return nil, fmt.Errorf("%s in %s: %w", fields[0], unit, err)
			}
			v := value{median: median}
			if len(fields) > 2 && fields[2] != "∞" {
				v.spread = fields[2]
			}
			r.values[unit][processors.ReplaceAllString(fields[0], "")] = v
		}
	}
	if len(r.values[seconds]) == 0 {
		return nil, errors.New("no results: is this benchstat -format csv?")
	}
	return r, nil
}

// ns gives a benchmark's nanoseconds a call.
func (r *results) ns(name string) float64 { return r.number(seconds, name) * 1e9 }

// number gives a benchmark's median; NaN, which meets no target, where there is none.
func (r *results) number(unit, name string) float64 {
	if v, found := r.values[unit][name]; found {
		return v.median
	}
	return math.NaN()
}
