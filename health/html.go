package health

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html/template"
	"net/url"
	"strings"
	"time"

	"github.com/otelbreaker/otelbreaker/breaker"
)

//go:embed page
var assets embed.FS

var (
	style = mustRead("page/style.css")

	// Nothing but the style that goes with the page: no script, no picture, nothing from elsewhere, in nobody's frame.
	contentSecurityPolicy = fmt.Sprintf("default-src 'none'; style-src 'sha256-%s'; base-uri 'none'; form-action 'none'; "+
		"frame-ancestors 'none'", base64.StdEncoding.EncodeToString(hash(style)))

	layout = template.Must(template.New("page.html").Funcs(template.FuncMap{
		"time":      func(t time.Time) string { return t.Format(time.RFC3339) },
		"seconds":   func(s *float64) string { return fmt.Sprintf("%.1f s", *s) },
		"percent":   func(share float64) string { return fmt.Sprintf("%.1f %%", 100*share) },
		"megabytes": func(n *uint64) uint64 { return *n / 1_000_000 },
		"words":     func(s string) string { return strings.ReplaceAll(s, "_", " ") },
		"json": func(c configuration) (string, error) {
			text, err := json.MarshalIndent(c, "", "  ")
			return string(text), err
		},
	}).ParseFS(assets, "page/page.html"))
)

func mustRead(file string) string {
	text, err := assets.ReadFile(file)
	if err != nil {
		panic(err) // it is built in
	}
	return string(text)
}

func hash(text string) []byte {
	sum := sha256.Sum256([]byte(text))
	return sum[:]
}

// sheet is what the template is made with.
type sheet struct {
	page
	Filter      filter
	States      []string
	Style       template.CSS
	Open, Shown int
}

func (p page) html(f filter) ([]byte, error) {
	s := sheet{page: p, Filter: f, States: states, Style: template.CSS(style)}
	for _, endpoints := range p.CircuitBreakers {
		for _, e := range endpoints {
			s.Shown++
			if e.State == breaker.Open.String() {
				s.Open++
			}
		}
	}
	var body bytes.Buffer
	err := layout.Execute(&body, s)
	return body.Bytes(), err
}

// Query is the filter as it is, but for the state; an empty one is any.
func (s sheet) Query(state string) template.URL {
	q := url.Values{"service": s.Filter.Services}
	if state != "" {
		q.Set("state", state)
	}
	return template.URL(q.Encode())
}

// Only tells that a state is the only one asked for.
func (s sheet) Only(state string) bool {
	return len(s.Filter.States) == 1 && s.Filter.States[0] == state
}

// OneService is the filter that leaves a single service.
func (s sheet) OneService(service string) template.URL {
	return template.URL(url.Values{"service": {service}}.Encode())
}
