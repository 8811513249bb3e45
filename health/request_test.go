package health_test

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/otelbreaker/otelbreaker/breaker"
	"github.com/otelbreaker/otelbreaker/health"
)

func TestHandler_Accept(t *testing.T) {
	h := health.Handler(newBreaker(t, breaker.Config{}))
	for accept, html := range map[string]bool{
		"":          false,
		"*/*":       false,
		"image/png": false, // better an answer than none
		"text/html": true,
		"TEXT/HTML": true,
		"text/*":    true,
		"text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8": true, // a browser
		"application/json":                         false,
		"application/json, text/html":              false,
		"text/html, application/json":              false,
		"text/html;q=0.9, application/json":        false,
		"text/html, application/json;q=0.5":        true,
		"text/html, application/*;q=0.5":           true,
		"application/json;q=0, */*":                true,
		"text/html;q=0, */*":                       false,
		"text/html;q=0":                            false,
		"text/html;q=NaN, application/json;q=0":    false,
		"text/html;q=2":                            false,
		"text/html;q=":                             false,
		";;, ,/, text/html":                        true,
		"text/html" + strings.Repeat(",a/b", 2000): false, // nobody means that
	} {
		rec := ask(h, "", accept)
		want := "application/json"
		if html {
			want = "text/html; charset=utf-8"
		}
		if got := rec.Header().Get("Content-Type"); got != want || rec.Code != http.StatusOK {
			t.Errorf("Accept %.60q: %d, %q; want %q", accept, rec.Code, got, want)
		}
	}
}

func TestHandler_Filters(t *testing.T) {
	g := newGroup(t, breaker.Config{})
	for _, endpoint := range []string{"http://a", "http://b", "http://c"} {
		g.Get(endpoint)
	}
	g.Get("http://b").ForceOpen("")
	twin := newBreaker(t, breaker.Config{Service: "b", Endpoint: "http://b"})
	odd := newBreaker(t, breaker.Config{Service: "a&b=<ü>", Endpoint: "x"})
	h := health.Handler(g, twin, odd)
	for query, want := range map[string][]string{
		"":                                      {"a http://a", "a&b=<ü> x", "b http://b", "b http://b #2", "c http://c"},
		"service=a":                             {"a http://a"},
		"service=a&service=c":                   {"a http://a", "c http://c"},
		"service=none":                          nil,
		"service=" + url.QueryEscape("a&b=<ü>"): {"a&b=<ü> x"},
		"state=open":                            {"b http://b"},
		"state=closed&state=half_open":          {"a http://a", "a&b=<ü> x", "b http://b #2", "c http://c"},
		"state=closed&service=b":                {"b http://b #2"},
		"state=half_open":                       nil,
		"pretty=1":                              {"a http://a", "a&b=<ü> x", "b http://b", "b http://b #2", "c http://c"},
	} {
		var got []string
		for service, endpoints := range getBy(t, h, query).CircuitBreakers {
			for endpoint := range endpoints {
				got = append(got, service+" "+endpoint)
			}
		}
		if slices.Sort(got); !slices.Equal(got, want) {
			t.Errorf("?%s has %q, want %q", query, got, want)
		}
	}
	for query, says := range map[string]string{
		"state=half-open":                      `"half-open": allowed is closed, half_open, open`,
		"state=":                               `"": allowed is`,
		"state=open&state=shut":                `"shut"`,
		"state=" + strings.Repeat("x", 10_000): "…",
		"state=<script>":                       `"<script>"`,
		"service=%zz":                          "the query cannot be read",
		"service=a;state=open":                 "the query cannot be read",
	} {
		rec := ask(h, query, "text/html")
		if rec.Code != http.StatusBadRequest || !strings.Contains(rec.Body.String(), says) || rec.Body.Len() > 300 ||
			!strings.HasPrefix(rec.Header().Get("Content-Type"), "text/plain") {
			t.Errorf("?%.40s: %d, %s", query, rec.Code, rec.Body)
		}
	}
}

func TestHandler_PerformanceOfAllTogether(t *testing.T) {
	open, closed := newBreaker(t, breaker.Config{Service: "o"}), newBreaker(t, breaker.Config{Service: "c"})
	h := health.Handler(open, closed)
	open.ForceOpen("")
	fail(t.Context(), open, 1)
	succeed(closed, 3)
	for query, want := range map[string]float64{"": 0.25, "service=o": 1, "service=c": 0, "service=none": 0} {
		if p := getBy(t, h, query).Performance; *p.BlockRate != want {
			t.Errorf("?%s: block rate %v, want %v", query, *p.BlockRate, want)
		}
	}
}
