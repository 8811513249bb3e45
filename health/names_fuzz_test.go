package health_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/otelbreaker/otelbreaker/breaker"
	"github.com/otelbreaker/otelbreaker/health"
)

// FuzzG16_AnyNameMakesGoodJSONAndHTML has breakers of any name, and notes of any text.
func FuzzG16_AnyNameMakesGoodJSONAndHTML(f *testing.F) {
	for _, seed := range []string{"", "a", "\x00\x1f\x7f", `"\`, "</script>", "\xff\xfe", "\u2028\u202e", "\U0001F525", "e #2",
		strings.Repeat("x", 5_000)} {
		f.Add(seed, "http://"+seed, seed)
	}
	f.Fuzz(func(t *testing.T, service, endpoint, note string) {
		g, err := breaker.NewGroup(breaker.Config{Service: strings.NewReplacer("@", "", "?", "", "#", "").Replace(strings.ToValidUTF8(service, ""))})
		if err != nil {
			t.Fatal(err)
		}
		b := g.Get(endpoint)
		h := health.Handler(g)
		b.ForceOpen(note)
		if err := b.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		rec := ask(h, "", "")
		var p page
		if err := json.Unmarshal(rec.Body.Bytes(), &p); err != nil || rec.Code != http.StatusOK {
			t.Fatalf("%d, %v: %s", rec.Code, err, rec.Body)
		}
		s := b.Snapshot()
		e, found := p.CircuitBreakers[s.Service][s.Endpoint]
		if !found || e.OverrideNote != string([]rune(note)) || e.State != "open" {
			t.Errorf("%q %q is not on the page as it is: %s", s.Service, s.Endpoint, rec.Body)
		}
		if strings.ContainsAny(rec.Body.String(), "<>\u2028\u2029") {
			t.Errorf("the JSON has markup: %s", rec.Body)
		}
		htmlOf(t, ask(h, "", "text/html").Body.String())
	})
}
