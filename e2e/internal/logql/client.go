package logql

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// Line is a line that a search found.
type Line struct {
	At     time.Time
	Text   string
	Labels map[string]string // index labels, structured metadata and what the query parsed, in one
}

// Number is one of a table: its labels, and its value.
type Number struct {
	Labels map[string]string
	Value  float64
}

// Client asks a Loki.
type Client struct{ URL string }

// maxLines is more than any test writes.
const maxLines = "4000"

// Lines runs a search in a range of time: from is in it, to is not.
func (c Client) Lines(ctx context.Context, query string, from, to time.Time) ([]Line, error) {
	var streams []struct {
		Stream map[string]string `json:"stream"`
		Values [][2]string       `json:"values"`
	}
	if err := c.ask(ctx, "query_range", "streams", &streams, url.Values{
		"query": {query}, "start": {nanoseconds(from)}, "end": {nanoseconds(to)}, "limit": {maxLines},
	}); err != nil {
		return nil, err
	}
	var lines []Line
	for _, s := range streams {
		for _, v := range s.Values {
			at, err := strconv.ParseInt(v[0], 10, 64)
			if err != nil {
				return nil, err
			}
			lines = append(lines, Line{time.Unix(0, at), v[1], s.Stream})
		}
	}
	return lines, nil
}

// Instant gives a table of numbers as of a moment.
func (c Client) Instant(ctx context.Context, query string, at time.Time) ([]Number, error) {
	var samples []struct {
		Metric map[string]string `json:"metric"`
		Value  sample            `json:"value"`
	}
	if err := c.ask(ctx, "query", "vector", &samples, url.Values{"query": {query}, "time": {nanoseconds(at)}}); err != nil {
		return nil, err
	}
	var numbers []Number
	for _, s := range samples {
		numbers = append(numbers, Number{s.Metric, float64(s.Value)})
	}
	return numbers, nil
}

// Sums gives, for each series, the sum of its values over a range of time.
func (c Client) Sums(ctx context.Context, query string, from, to time.Time, step time.Duration) ([]Number, error) {
	var series []struct {
		Metric map[string]string `json:"metric"`
		Values []sample          `json:"values"`
	}
	if err := c.ask(ctx, "query_range", "matrix", &series, url.Values{
		"query": {query}, "start": {nanoseconds(from)}, "end": {nanoseconds(to)}, "step": {step.String()},
	}); err != nil {
		return nil, err
	}
	var numbers []Number
	for _, s := range series {
		n := Number{Labels: s.Metric}
		for _, v := range s.Values {
			n.Value += float64(v)
		}
		numbers = append(numbers, n)
	}
	return numbers, nil
}

// sample is a pair of a time and a value, which is a string.
type sample float64

func (s *sample) UnmarshalJSON(text []byte) error {
	var value string
	if err := json.Unmarshal(text, &[]any{new(float64), &value}); err != nil {
		return err
	}
	number, err := strconv.ParseFloat(value, 64)
	*s = sample(number)
	return err
}

func (c Client) ask(ctx context.Context, path, kind string, result any, parameters url.Values) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.URL+"/loki/api/v1/"+path+"?"+parameters.Encode(), nil)
	if err != nil {
		return err
	}
	body, err := do(req)
	if err != nil {
		return fmt.Errorf("%w\nthe query: %s", err, parameters.Get("query"))
	}
	var answer struct {
		Data struct {
			ResultType string          `json:"resultType"`
			Result     json.RawMessage `json:"result"`
		} `json:"data"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return err
	}
	if answer.Data.ResultType != kind {
		return fmt.Errorf("the answer is of kind %s, want %s\nthe query: %s", answer.Data.ResultType, kind, parameters.Get("query"))
	}
	return json.Unmarshal(answer.Data.Result, result)
}

// Push sends lines as an agent does that follows a file.
func (c Client) Push(ctx context.Context, labels map[string]string, lines []Line) error {
	type stream struct {
		Stream map[string]string `json:"stream"`
		Values [][2]string       `json:"values"`
	}
	s := stream{Stream: labels}
	for _, l := range lines {
		s.Values = append(s.Values, [2]string{nanoseconds(l.At), l.Text})
	}
	body, err := json.Marshal(map[string][]stream{"streams": {s}})
	if err != nil {
		return err
	}
	return c.Post(ctx, "/loki/api/v1/push", body)
}

// Post sends JSON to one of its ways in.
func (c Client) Post(ctx context.Context, path string, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.URL+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	_, err = do(req)
	return err
}

func do(req *http.Request) ([]byte, error) {
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode/100 != 2 {
		err = fmt.Errorf("%s %s: %s: %s", req.Method, req.URL.Path, resp.Status, body)
	}
	return body, err
}

func nanoseconds(t time.Time) string { return strconv.FormatInt(t.UnixNano(), 10) }
