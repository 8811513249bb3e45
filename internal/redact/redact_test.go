package redact_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/otelbreaker/otelbreaker/internal/redact"
)

func TestG15_OfAURLOnlySchemeHostAndPathStay(t *testing.T) {
	for _, c := range []struct{ text, want, host string }{
		{"", "", ""},
		{"http://h/p", "http://h/p", "http://h"},
		{"https://u:canary@h:8443/a%2Fb;c?canary#canary", "https://h:8443/a%2Fb;c", "https://h:8443"},
		{"http://canary@[fe80::1%25en0]:80/?", "http://[fe80::1%25en0]:80/", "http://[fe80::1%25en0]:80"},
		{"//u:canary@h/p?canary", "//h/p", "//h"},
		{"/p?canary#canary", "/p", ""},
		{"?canary", "", ""},
		{"http://h/@name", "http://h/@name", "http://h"},
		// What cannot be taken apart, or not as it was meant.
		{"http://user:CAN/ARY@h/", redact.Unknown, redact.Unknown},
		{"http://user:CAN?ARY@h/", redact.Unknown, redact.Unknown},
		{"http://user:CAN#ARY@h/", redact.Unknown, redact.Unknown},
		{"http://user:12/CANARY@h/", "http://user:12", "http://user:12"}, // which is where it leads
		{"http://user:pass%zz@h/?q", redact.Unknown, redact.Unknown},
		{"http:user:canary@h", redact.Unknown, redact.Unknown},
		{"http://user:CAN", redact.Unknown, redact.Unknown}, // as url.Parse quotes http://user:CAN#ARY@h/
		{"http+unix://%2Frun%2Fa.sock", "http+unix://%2Frun%2Fa.sock", redact.Unknown},
		{"user:canary@h", redact.Unknown, redact.Unknown},
		{"http://h/\n?canary", redact.Unknown, redact.Unknown},
	} {
		if got := redact.URL(c.text); got != c.want {
			t.Errorf("%q: %q, want %q", c.text, got, c.want)
		}
		if got := redact.Host(c.text); got != c.host {
			t.Errorf("%q: host %q, want %q", c.text, got, c.host)
		}
	}
}

func TestG15_OfAURLTakenApart(t *testing.T) {
	for _, c := range []struct {
		u      url.URL
		want   string
		needed bool
	}{
		{url.URL{Scheme: "http", Host: "h:80", Path: "/a b", User: url.User("canary")}, "http://h:80/a%20b", false},
		{url.URL{Scheme: "http", Host: "h", Path: "/a/b", RawPath: "/a%2Fb"}, "http://h/a%2Fb", false},
		{url.URL{Scheme: "http", Host: "h", Path: "relative"}, "http://h/relative", false},
		{url.URL{Scheme: "http", Host: "h"}, "http://h", false},
		{url.URL{Scheme: "http", Host: "ünder h", Path: "/"}, "http://%C3%BCnder%20h/", false},
		{url.URL{Path: "/p"}, "/p", false},
		{url.URL{Scheme: "http", Host: "h", Path: "/@name"}, "http://h/@name", false},
		{url.URL{Scheme: "http", Host: "h", Path: "/p", RawQuery: "canary"}, "http://h/p", true},
		{url.URL{Scheme: "http", Host: "h", Path: "/p", Fragment: "canary"}, "http://h/p", true},
		{url.URL{Scheme: "http", Host: "h", Opaque: "//user:canary@o/p?canary"}, "http://o/p", true},
		{url.URL{Scheme: "http", Host: "h", Opaque: "canary"}, redact.Unknown, true},
		{url.URL{Scheme: "http", Host: "canary@h", Path: "/"}, redact.Unknown, true},
		{url.URL{Scheme: "http", Host: "user:12", Path: "/canary@h"}, "http://user:12", true},
	} {
		if whole := c.u.String(); !c.needed && c.u.User == nil && redact.Of(&c.u) != whole {
			t.Errorf("%s: %s", whole, redact.Of(&c.u))
		}
		if got := redact.Of(&c.u); got != c.want || redact.Needed(&c.u) != c.needed {
			t.Errorf("%v: %q, needed %v", &c.u, got, !c.needed)
		}
	}
}

func TestG15_URLsInTextsAreCut(t *testing.T) {
	failed := &url.Error{Op: "Get", URL: `https://user:canary@a.example/x?q="canary canary#canary`, Err: errors.New("down")}
	parse := func(text string) string {
		_, err := url.Parse(text)
		return err.Error()
	}
	for _, c := range []struct{ text, want string }{
		{"", ""},
		{"no URL? none # at all", "no URL? none # at all"},
		{`he said "what? no#"`, `he said "what? no#"`},
		{failed.Error(), `Get "https://a.example/x": down`},
		{fmt.Sprintf("%q", failed.Error()), `"Get \"https://a.example/x"`},
		{errors.Join(failed, fmt.Errorf("again: %w and %w", failed, failed)).Error(),
			"Get \"https://a.example/x\": down\nagain: Get \"https://a.example/x\": down and Get \"https://a.example/x\": down"},
		{parse("http://user:CAN/ARY@h/?canary"), `parse "(URL)": invalid port (hidden) after host`},
		{parse("http://can ary/?canary"), `parse "(URL)": invalid character (hidden) in host name`},
		{parse("http://h/%zcanary?canary"), `parse "(URL)": invalid URL escape (hidden)`},
		{`failed to parse Location header "/p?canary%zz": parse "/p?canary%zz": net/url: invalid`,
			`failed to parse Location header "/p": parse "/p": net/url: invalid`},
		{`invalid proxy address "u:canary@proxy": no`, `invalid proxy address "(URL)": no`},
		{`Get "/?canary": unsupported protocol scheme ""`, `Get "/": unsupported protocol scheme ""`},
		{"twice: http://a.example/?canary, http://canary@b.example#canary", "twice: http://a.example/, http://b.example"},
		{`with a quote http://a.example/?a="canary" b`, "with a quote http://a.example/ b"},
		{"in brackets <postgres://user:canary@db/name?password=canary>", "in brackets <postgres://db/name"},
		{`{"url":"http://a.example/?canary","next":1}`, `{"url":"http://a.example/","next":1}`},
		{"on\nlines http://a.example:80/x\nhttp://a.example?canary\n", "on\nlines http://a.example:80/x\nhttp://a.example\n"},
		{"at the end of a sentence (http://canary@a.example/x).", "at the end of a sentence (http://a.example/x)."},
		{"an @ in the path http://a.example/@name", "an @ in the path http://a.example/@name"},
		{"://", "://"},
	} {
		if got := redact.Text(c.text); got != c.want {
			t.Errorf("%q: %q, want %q", c.text, got, c.want)
		}
	}
}

// What net/http says of a redirect that leads nowhere, in the form that it has in this version of Go.
func TestG15_RedirectsThatLeadNowhere(t *testing.T) {
	for _, to := range []string{"http://user:CAN/ARY@h/", "http://h/?q=CANARY%\x7f", "/%zzCANARY?CANARY", "gopher://h/?CANARY", "?CANARY\x01", "http://[user:CANARY@h]/", "//user:CAN/ARY@h", "http:user:CANARY@h"} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header()["Location"] = []string{to}
			w.WriteHeader(http.StatusFound)
		}))
		res, err := http.Get(server.URL + "/?CANARY")
		if err == nil {
			_ = res.Body.Close()
		} else if text := redact.Text(err.Error()); strings.Contains(strings.ToLower(text), "can") || strings.Contains(text, "ARY") {
			t.Errorf("%q: %s", to, text)
		}
		server.Close()
	}
}

func FuzzG15_NoSecretInAText(f *testing.F) {
	f.Add("http://h/p?", ": down")
	f.Add(`Get "http://h/?q=`, `": down`)
	f.Fuzz(func(t *testing.T, before, after string) {
		// Of a well-formed URL, whatever stands around it and whatever is in its query.
		u := url.URL{Scheme: "https", User: url.UserPassword("user", "CANARY"+before), Host: "h", Path: "/p", RawQuery: url.Values{"q": {"CANARY" + after}}.Encode()}
		failed := &url.Error{Op: "Get", URL: u.String(), Err: errors.New("down")}
		for _, text := range []string{failed.Error(), "calling " + u.String() + " failed", "x\n" + u.String()} {
			if got := redact.Text(text); strings.Contains(got, "CANARY") {
				t.Errorf("%q: %q", text, got)
			}
		}
		_ = redact.Text(before + after) // whatever it is
	})
}
