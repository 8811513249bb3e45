package health_test

import (
	"crypto/sha256"
	"encoding/base64"
	"io"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/net/html"

	"github.com/otelbreaker/otelbreaker/breaker"
	"github.com/otelbreaker/otelbreaker/health"
)

// elements are all that the page is made of. None of them runs anything or loads anything.
var elements = map[string]bool{
	"html": true, "head": true, "meta": true, "title": true, "style": true, "body": true, "h1": true, "h2": true, "h3": true,
	"p": true, "strong": true, "time": true, "nav": true, "a": true, "section": true, "article": true, "bdi": true, "q": true,
	"code": true, "dl": true, "div": true, "dt": true, "dd": true, "details": true, "summary": true, "pre": true,
	"table": true, "thead": true, "tbody": true, "tr": true, "th": true, "td": true,
}

func TestG16_HostileNamesStayInertInHTML(t *testing.T) {
	for _, hostile := range []string{
		`</title></style></pre></q></bdi><script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`, `javascript:alert(1)`,
		`' onmouseover='alert(1)`, "\x00<b>", "{{.Style}}", "\u202egnp.exe", "a\nb", "&lt;script&gt;", "https://evil.example/x",
		strings.Repeat("<i>", 1000),
	} {
		b := newBreaker(t, breaker.Config{Service: hostile, Endpoint: hostile})
		h := health.Handler(b)
		b.ForceOpen(hostile)
		flush(t, b)
		rec := ask(h, "", "text/html")
		text := htmlOf(t, rec.Body.String())
		want := strings.ReplaceAll(hostile, "\x00", "\uFFFD")
		if n := strings.Count(text, want); n < 4 { // service, endpoint, note, and the transition's
			t.Errorf("%.40q is on the page %d times:\n%s", hostile, n, text)
		}
	}
}

// htmlOf gives the text of a page, having checked that it is made of nothing but its own elements.
func htmlOf(t *testing.T, page string) string {
	t.Helper()
	var text strings.Builder
	for z := html.NewTokenizer(strings.NewReader(page)); ; {
		switch z.Next() {
		case html.ErrorToken:
			if z.Err() != io.EOF {
				t.Fatal(z.Err())
			}
			return text.String()
		case html.TextToken:
			text.WriteString(z.Token().Data)
		case html.StartTagToken, html.SelfClosingTagToken:
			tag := z.Token()
			if !elements[tag.Data] {
				t.Errorf("the page has <%s>", tag.Data)
			}
			for _, a := range tag.Attr {
				if strings.HasPrefix(a.Key, "on") || a.Key == "src" || a.Key == "style" ||
					a.Key == "href" && !strings.HasPrefix(a.Val, "?") {
					t.Errorf("the page has <%s %s=%q>", tag.Data, a.Key, a.Val)
				}
			}
		default:
		}
	}
}

func TestG16_ThePageMayDoNothingButLookLikeItself(t *testing.T) {
	rec := ask(health.Handler(newBreaker(t, breaker.Config{})), "", "text/html")
	style := regexp.MustCompile(`(?s)<style>(.*)</style>`).FindStringSubmatch(rec.Body.String())
	if style == nil {
		t.Fatal("the page has no style")
	}
	sum := sha256.Sum256([]byte(style[1]))
	want := "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
		"'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
	if got := rec.Header().Get("Content-Security-Policy"); got != want {
		t.Errorf("the policy is %s, want %s", got, want)
	}
	if strings.Contains(style[1], "url(") || strings.Contains(style[1], "@import") {
		t.Error("the style loads something")
	}
	if got := rec.Header().Get("Referrer-Policy"); got != "no-referrer" {
		t.Errorf("Referrer-Policy is %q", got)
	}
}

func TestPage_SaysWhatIsToBeKnown(t *testing.T) {
	g := newGroup(t, breaker.Config{FailureThreshold: 2})
	fail(span(1, 2), g.Get("http://a"), 3)
	g.Get("http://b").Disable("trial")
	if err := g.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	h := health.Handler(g)
	fail(span(1, 2), g.Get("http://c"), 2)
	if err := g.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	page := ask(h, "", "text/html").Body.String()
	text := strings.Join(strings.Fields(htmlOf(t, page)), " ")
	for _, want := range []string{"2 open: circuit breakers", "2 open of 3 shown", "http://a", "disabled by an operator: trial",
		"Failed2", "Blocked1", "next probe in 30.0 s", "consecutive failures (*errors.errorString)",
		"00000000000000000000000000000001", "MB of memory"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not on the page:\n%s", want, text)
		}
	}
	page = ask(h, "state=half_open&service=a&service=x%26y", "text/html").Body.String()
	for _, want := range []string{"There is none that the filter lets through", `href="?service=a&amp;service=x%26y&amp;state=open"`,
		`href="?service=a&amp;service=x%26y"`, `aria-current="true">half open`} {
		if !strings.Contains(page, want) {
			t.Errorf("%q is not on the page:\n%s", want, page)
		}
	}
}
