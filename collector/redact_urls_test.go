package collector

import (
	"errors"
	"net/url"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/attribute"
)

func TestG15_URLsInTextsAreCut(t *testing.T) {
	failed := &url.Error{Op: "Get", URL: `https://user:canary@a.example/x?q="canary canary#canary`, Err: errors.New("down")}
	for _, c := range []struct{ text, want string }{
		{"", ""},
		{"no URL? none # at all", "no URL? none # at all"},
		{failed.Error(), `Get "https://a.example/x": down`},
		{"twice: http://a.example/?canary, http://canary@b.example#canary", "twice: http://a.example/ http://b.example"},
		{"in brackets <postgres://user:canary@db/name?password=canary>", "in brackets <postgres://db/name>"},
		{"on\nlines http://a.example:80/x\nhttp://a.example?canary\n", "on\nlines http://a.example:80/x\nhttp://a.example\n"},
		{"an @ in the path http://a.example/@name", "an @ in the path http://a.example/@name"},
	} {
		if got := redactText(c.text); got != c.want {
			t.Errorf("%q: %q, want %q", c.text, got, c.want)
		}
	}
}

func TestG15_RedactionLeavesTheSpanItself(t *testing.T) {
	attrs := []attribute.KeyValue{attribute.Int("url.port", 1), attribute.String("other", "http://h/?q"),
		attribute.String("url.full", "http://u:p@h/p?q#f"), attribute.String("http.url", "http://h?q"),
		attribute.String("http.target", "/p?q"), attribute.String("url.query", "q"), attribute.String("url.fragment", "f")}
	got := redactAttributes(attrs)
	for i, want := range []string{"1", "http://h/?q", "http://h/p", "http://h", "/p", "", ""} {
		if text := got[i].Value.String(); text != want {
			t.Errorf("%s is %q, want %q", got[i].Key, text, want)
		}
	}
	if text := attrs[2].Value.AsString(); !strings.Contains(text, "?q#f") {
		t.Errorf("the span's own became %q", text)
	}
}
