// Package elastic reads the files of deploy/kibana and holds them against the documents that the collector's real
// exporter sends. No Elasticsearch can be had here: what it would make of a query or a template is not shown. Where a
// query is evaluated, a stand-in does it that knows the few kinds of query in those files, and refuses all others.
package elastic

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
)

// Query is a question in its three forms.
type Query struct {
	Name, Means string
	Index       string
	Body        string // of the search, with the words in capitals in it
	KQL         string
	ESQL        string
}

var (
	first   = regexp.MustCompile(`^# ([a-z-]+): (.+)$`)
	request = regexp.MustCompile(`^GET (\S+)/_search\n`)
	esql    = regexp.MustCompile(`(?s)^POST /_query\?format=txt\n\{\n  "query": """\n(.+)\n  """\n\}$`)
)

// Read reads deploy/kibana/queries.console: for each query its name and explanation, its KQL, the request and, after
// an empty line, the request in ES|QL. What comes before the first is about the file.
func Read(file string) ([]Query, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var all []Query
	blocks := strings.Split(strings.TrimSpace(string(content)), "\n\n")
	for len(blocks) > 0 && !strings.Contains(blocks[0], "\nGET ") {
		blocks = blocks[1:]
	}
	for pair := range slices.Chunk(blocks, 2) {
		if len(pair) != 2 {
			return nil, fmt.Errorf("%s: a query without its form in ES|QL: %s", file, pair[0])
		}
		q, err := parse(pair[0], pair[1])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		all = append(all, q)
	}
	return all, nil
}

func parse(block, second string) (q Query, err error) {
	comments, rest, _ := strings.Cut(block, "\nGET ")
	lines := strings.Split(comments, "\n")
	head := first.FindStringSubmatch(lines[0])
	kql, hasKQL := strings.CutPrefix(lines[len(lines)-1], "# KQL: ")
	target := request.FindStringSubmatch("GET " + rest)
	inESQL := esql.FindStringSubmatch(second)
	if head == nil || !hasKQL || target == nil || inESQL == nil {
		return q, fmt.Errorf("not in the form of a query: %s\n\n%s", block, second)
	}
	means := []string{head[2]}
	for _, line := range lines[1 : len(lines)-1] {
		means = append(means, strings.TrimPrefix(line, "# "))
	}
	return Query{
		Name: head[1], Means: strings.Join(means, " "), KQL: kql, Index: target[1], ESQL: inESQL[1],
		Body: strings.TrimPrefix("GET "+rest, target[0]),
	}, nil
}

// Search is the body of a search, of the kinds of query and aggregation that the files use.
type Search struct {
	Size  int `json:"size"`
	Query struct {
		Bool struct {
			Filter  []Clause `json:"filter"`
			MustNot []Clause `json:"must_not"`
		} `json:"bool"`
	} `json:"query"`
	Sort []map[string]string `json:"sort"`
	Aggs map[string]Agg      `json:"aggs"`
}

// Clause is a condition; one of its fields is set.
type Clause struct {
	Term   map[string]string `json:"term"`
	Exists struct {
		Field string `json:"field"`
	} `json:"exists"`
	Range map[string]struct {
		From string `json:"gte"`
		To   string `json:"lte"`
	} `json:"range"`
}

// Agg is an aggregation; one of its kinds is set.
type Agg struct {
	Terms struct {
		Field string `json:"field"`
		Size  int    `json:"size"`
	} `json:"terms"`
	DateHistogram struct {
		Field         string `json:"field"`
		FixedInterval string `json:"fixed_interval"`
	} `json:"date_histogram"`
	Sum struct {
		Field string `json:"field"`
	} `json:"sum"`
	Aggs map[string]Agg `json:"aggs"`
}

// Search is the body with values in the place of its words in capitals. Anything in it that the stand-in does not know
// is an error.
func (q Query) Search(values map[string]string) (s Search, err error) {
	body := q.Body
	for word, value := range values {
		body = strings.ReplaceAll(body, word, value)
	}
	decoder := json.NewDecoder(bytes.NewReader([]byte(body)))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&s); err != nil {
		return s, fmt.Errorf("%s: %w", q.Name, err)
	}
	return s, nil
}

// Fields are all fields that a search names.
func (s Search) Fields() (names []string) {
	for _, c := range slices.Concat(s.Query.Bool.Filter, s.Query.Bool.MustNot) {
		names = append(names, c.field())
	}
	for _, by := range s.Sort {
		for name := range by {
			names = append(names, name)
		}
	}
	var of func(map[string]Agg)
	of = func(aggs map[string]Agg) {
		for _, a := range aggs {
			names = append(names, a.Terms.Field+a.DateHistogram.Field+a.Sum.Field)
			of(a.Aggs)
		}
	}
	of(s.Aggs)
	return names
}

func (c Clause) field() string {
	for name := range c.Term {
		return name
	}
	for name := range c.Range {
		return name
	}
	return c.Exists.Field
}
