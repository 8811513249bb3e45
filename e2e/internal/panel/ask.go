package panel

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Sources are where the answers come from.
type Sources struct{ Prometheus, Loki string }

// Answer is what came back for one query, as the programs send it.
type Answer struct {
	Query     string          `json:"query"` // with everything put in
	Step      float64         `json:"step"`  // in seconds
	Data      json.RawMessage `json:"data"`
	Exemplars json.RawMessage `json:"exemplars,omitempty"`
}

// Ask asks a query of a panel.
func (s Sources) Ask(ctx context.Context, v View, p Panel, t Target) (Answer, error) {
	step, err := v.step(p)
	if err != nil {
		return Answer{}, err
	}
	query, err := v.fill(t.Expr, step)
	if err != nil {
		return Answer{}, err
	}
	a := Answer{Query: query, Step: step.Seconds()}
	from, to := v.From.Truncate(step), v.To.Truncate(step)
	params := url.Values{"query": {query}}
	switch {
	case t.Datasource.Type == "loki":
		a.Data, err = s.loki(ctx, v, query, step, t.MaxLines, cmp.Or(t.Direction, "backward"))
	case t.Instant:
		params.Set("time", seconds(v.To))
		a.Data, err = fetch(ctx, s.Prometheus+"/api/v1/query", params)
	default:
		params.Set("start", seconds(from))
		params.Set("end", seconds(to))
		params.Set("step", strconv.FormatFloat(a.Step, 'f', -1, 64))
		a.Data, err = fetch(ctx, s.Prometheus+"/api/v1/query_range", params)
	}
	if err == nil && t.Exemplar {
		params.Set("start", seconds(v.From))
		params.Set("end", seconds(v.To))
		a.Exemplars, err = fetch(ctx, s.Prometheus+"/api/v1/query_exemplars", params)
	}
	return a, err
}

// AskAnnotation asks for the marks of an annotation.
func (s Sources) AskAnnotation(ctx context.Context, v View, a Annotation) (Answer, error) {
	query, err := v.fill(a.Expr, v.Interval)
	if err != nil {
		return Answer{}, err
	}
	data, err := s.loki(ctx, v, query, v.Interval, 500, "backward")
	return Answer{Query: query, Data: data}, err
}

func (s Sources) loki(ctx context.Context, v View, query string, step time.Duration, lines int, direction string) (json.RawMessage, error) {
	if lines == 0 {
		lines = 1000
	}
	return fetch(ctx, s.Loki+"/loki/api/v1/query_range", url.Values{
		"query": {query}, "start": {strconv.FormatInt(v.From.UnixNano(), 10)}, "end": {strconv.FormatInt(v.To.UnixNano(), 10)},
		"step": {strconv.FormatFloat(step.Seconds(), 'f', -1, 64)}, "limit": {strconv.Itoa(lines)}, "direction": {direction},
	})
}

// Names are the metrics that a PromQL query selects, by Prometheus' own parser.
func (s Sources) Names(ctx context.Context, query string) ([]string, error) {
	data, err := fetch(ctx, s.Prometheus+"/api/v1/parse_query", url.Values{"query": {query}})
	if err != nil {
		return nil, err
	}
	var tree any
	if err := json.Unmarshal(data, &tree); err != nil {
		return nil, err
	}
	var names []string
	var walk func(any)
	walk = func(node any) {
		switch node := node.(type) {
		case map[string]any:
			if kind := node["type"]; kind == "vectorSelector" || kind == "matrixSelector" {
				name, _ := node["name"].(string)
				names = append(names, name)
			}
			for _, child := range node {
				walk(child)
			}
		case []any:
			for _, child := range node {
				walk(child)
			}
		}
	}
	walk(tree)
	return names, nil
}

func seconds(t time.Time) string { return strconv.FormatFloat(float64(t.UnixMilli())/1000, 'f', 3, 64) }

// fetch returns what the API of Prometheus, or Loki's, which is alike, has answered.
func fetch(ctx context.Context, address string, params url.Values) (json.RawMessage, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address+"?"+params.Encode(), nil)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	var answer struct {
		Status   string
		Data     json.RawMessage
		Warnings []string
	}
	if response.StatusCode != http.StatusOK || json.Unmarshal(body, &answer) != nil || answer.Status != "success" {
		return nil, fmt.Errorf("%s: %s: %s", params.Get("query"), response.Status, strings.TrimSpace(string(body)))
	}
	if len(answer.Warnings) > 0 {
		return nil, fmt.Errorf("%s: %v", params.Get("query"), answer.Warnings)
	}
	return answer.Data, nil
}

// Count is how much there is in an answer: series (or streams of lines), the values in them, those that are numbers,
// and the numbers that are not 0.
type Count struct{ Series, Values, Numbers, NotZero int }

// Count counts.
func (a Answer) Count() (Count, error) {
	var data struct {
		ResultType string
		Result     []struct {
			Value  [2]any
			Values [][]any
		}
	}
	var c Count
	if err := json.Unmarshal(a.Data, &data); err != nil {
		return c, fmt.Errorf("%s: %w", a.Query, err)
	}
	c.Series = len(data.Result)
	for _, series := range data.Result {
		if data.ResultType == "streams" {
			c.Values += len(series.Values)
			c.Numbers += len(series.Values)
			c.NotZero += len(series.Values)
			continue
		}
		if series.Value[1] != nil {
			series.Values = append(series.Values, series.Value[:])
		}
		for _, value := range series.Values {
			text, _ := value[1].(string)
			number, err := strconv.ParseFloat(text, 64)
			if err != nil {
				return c, fmt.Errorf("%s: %v is no number", a.Query, value[1])
			}
			c.Values++
			if !math.IsNaN(number) {
				c.Numbers++
				if number != 0 {
					c.NotZero++
				}
			}
		}
	}
	return c, nil
}
