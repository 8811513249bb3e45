package elastic

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Document gives the value of a field, and nil where there is none.
type Document interface{ Field(name string) any }

// Run is the stand-in: it evaluates a search over documents as of a moment. Hits are in the order that the search asks
// for. The numbers of aggregations are by the values that lead to them, joined by "/"; a sum's name is the last of
// these. Steps of time are added up.
func (s Search) Run(documents []Document, now time.Time) (hits []Document, numbers map[string]float64, err error) {
	for _, d := range documents {
		all, err := each(s.Query.Bool.Filter, d, now)
		if err != nil {
			return nil, nil, err
		}
		none, err := each(s.Query.Bool.MustNot, d, now)
		if err != nil {
			return nil, nil, err
		}
		if !slices.Contains(all, false) && !slices.Contains(none, true) {
			hits = append(hits, d)
		}
	}
	numbers = map[string]float64{}
	if err := aggregate(s.Aggs, "", hits, numbers); err != nil {
		return nil, nil, err
	}
	for _, by := range s.Sort {
		for field, direction := range by {
			slices.SortStableFunc(hits, func(a, b Document) int {
				order := cmp.Compare(number(a.Field(field)), number(b.Field(field)))
				if direction == "desc" {
					order = -order
				}
				return order
			})
		}
	}
	return hits[:min(s.Size, len(hits))], numbers, nil
}

func each(clauses []Clause, d Document, now time.Time) (holds []bool, err error) {
	for _, c := range clauses {
		value := d.Field(c.field())
		switch {
		case c.Term != nil: // of keywords alone
			holds = append(holds, value == c.Term[c.field()])
		case c.Exists.Field != "":
			holds = append(holds, value != nil)
		case c.Range != nil:
			limits := c.Range[c.field()]
			at := number(value)
			inside := value != nil
			for text, within := range map[string]func(limit float64) bool{
				limits.From: func(limit float64) bool { return at >= limit },
				limits.To:   func(limit float64) bool { return at <= limit },
			} {
				if text == "" {
					continue
				}
				limit, err := moment(text, now)
				if err != nil {
					return nil, err
				}
				inside = inside && within(float64(limit.UnixMilli()))
			}
			holds = append(holds, inside)
		default:
			return nil, fmt.Errorf("not a condition of a known kind: %+v", c)
		}
	}
	return holds, nil
}

// moment is a point in time, as in now-24h or 2026-05-04T10:00:01.45Z||-5m.
func moment(text string, now time.Time) (time.Time, error) {
	anchor, shift := now, strings.TrimPrefix(text, "now")
	if shift == text {
		var at string
		var err error
		at, shift, _ = strings.Cut(text, "||")
		if anchor, err = time.Parse(time.RFC3339Nano, at); err != nil {
			return anchor, err
		}
	}
	if shift == "" {
		return anchor, nil
	}
	by, err := time.ParseDuration(shift)
	return anchor.Add(by), err
}

func aggregate(aggs map[string]Agg, path string, documents []Document, numbers map[string]float64) error {
	for name, a := range aggs {
		switch {
		case a.Terms.Field != "":
			groups := map[string][]Document{}
			for _, d := range documents {
				if value := d.Field(a.Terms.Field); value != nil {
					groups[fmt.Sprint(value)] = append(groups[fmt.Sprint(value)], d)
				}
			}
			if len(groups) > a.Terms.Size {
				return fmt.Errorf("%s has %d values, of which it wants %d: the stand-in has no order for them", a.Terms.Field, len(groups), a.Terms.Size)
			}
			for _, value := range slices.Sorted(maps.Keys(groups)) {
				if len(a.Aggs) == 0 {
					numbers[path+value] += float64(len(groups[value]))
				}
				if err := aggregate(a.Aggs, path+value+"/", groups[value], numbers); err != nil {
					return err
				}
			}
		case a.DateHistogram.Field != "":
			step, err := time.ParseDuration(a.DateHistogram.FixedInterval)
			if err != nil || step <= 0 {
				return fmt.Errorf("fixed_interval %q", a.DateHistogram.FixedInterval)
			}
			groups := map[int64][]Document{}
			for _, d := range documents {
				at := int64(number(d.Field(a.DateHistogram.Field)))
				groups[at/step.Milliseconds()] = append(groups[at/step.Milliseconds()], d)
			}
			for _, group := range groups {
				if err := aggregate(a.Aggs, path, group, numbers); err != nil {
					return err
				}
			}
		case a.Sum.Field != "":
			for _, d := range documents {
				numbers[path+name] += number(d.Field(a.Sum.Field))
			}
		default:
			return fmt.Errorf("not an aggregation of a known kind: %+v", a)
		}
	}
	return nil
}

// number is that of a field: of a time the milliseconds, as a field of type date keeps them.
func number(value any) float64 {
	text, isNumber := value.(json.Number)
	if !isNumber {
		whole, _, _ := strings.Cut(fmt.Sprint(value), ".") // @timestamp, which the exporter sends as text
		text = json.Number(whole)
	}
	n, err := strconv.ParseFloat(string(text), 64)
	if err != nil {
		return 0
	}
	return n
}
