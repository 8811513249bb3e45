package notify_test

import (
	"net/url"
	"strings"
	"testing"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/otelbreaker/otelbreaker/breaker"
	"github.com/otelbreaker/otelbreaker/notify"
)

var hostile = []string{
	"", "<!channel>", "<!here|here>", "<@U024BE7LH>", "<#C024BE7LR|general>", "<https://evil.example|click>", "&lt;!channel&gt;",
	"@channel @here #general", "*bold* _it_ ~no~ `code` ```block```", "> quoted", ":fire: :ok:", "https://evil.example/phish evil.example",
	"mailto:a@evil.example", "two\nlines\r\n<!channel>", "\xff\xfe<!channel>", "\xed\xa0\x80", "a\x00b\x1b[31m", "\u202egnp.exe\u2066x",
	"<\u200b!channel>", strings.Repeat("&", 5000), strings.Repeat("<!channel>", 1000), strings.Repeat("𝕏", 3000), `","text":"<!channel>"}`,
	"user_service", "{service}", "\u2028\u2029", "\U000e0001\U000e0041",
}

func TestG16_HostileTextIsInertInSlack(t *testing.T) {
	virtual(t, func(t *testing.T) {
		r := newRig()
		s := r.slack(t, append(links, notify.WithInstance("<!channel>"))...)
		for _, text := range hostile {
			tell(s, text, text, text)
			later(5 * time.Second)
		}
		all := r.requests()
		if len(all) != 2*len(hostile)-1 && len(all) != 2*len(hostile) {
			t.Errorf("%d messages of %d outages", len(all), len(hostile))
		}
		for _, q := range all {
			keepsToSlacksRules(t, q.body)
			if strings.Contains(q.body, "canary") {
				t.Errorf("%s", q.body)
			}
		}
	})
}

// tell has an outage told of with this text wherever there may be text.
func tell(s breaker.Listener, service, endpoint, text string) {
	c := &circuit{to: s, service: service, endpoint: endpoint}
	set := func(e *breaker.Event) {
		e.ErrorType, e.OutageID, e.Reason.Note = text, text, text
	}
	c.event(breaker.Closed, breaker.Open, text, set)
	time.Sleep(2 * time.Second)
	c.event(breaker.HalfOpen, breaker.Closed, breaker.RuleReset, set)
}

func FuzzG16_TextIsInertInSlack(f *testing.F) {
	for _, text := range hostile {
		f.Add(text, text, text)
	}
	f.Fuzz(func(t *testing.T, service, endpoint, text string) {
		virtual(t, func(t *testing.T) {
			r := newRig()
			tell(r.slack(t, links...), service, endpoint, text)
			later(5 * time.Second)
			if len(r.requests()) != 2 {
				t.Fatalf("%d messages", len(r.requests()))
			}
			for _, q := range r.requests() {
				keepsToSlacksRules(t, q.body)
			}
		})
	})
}

func FuzzG16_TheTextThatIsReadAsMarkup(f *testing.F) {
	for _, text := range hostile {
		f.Add(text, 20)
	}
	f.Fuzz(func(t *testing.T, text string, most int) {
		most = 1 + (most&0x7fffffff)%4000
		got := notify.Inert(text, most)
		if !utf8.ValidString(got) || len(utf16.Encode([]rune(got))) > most {
			t.Errorf("%q is not valid or longer than %d", got, most)
		}
		if strings.ContainsAny(got, "<>*`~\n\r") || strings.Contains(got, "://") {
			t.Errorf("%q has markup", got)
		}
		for _, mention := range []string{"@", "#"} {
			if i := strings.LastIndex(got, mention); i >= 0 && i+1 < len(got) && !strings.HasPrefix(got[i+1:], "\u200b") && got[i+1:] != "…" {
				t.Errorf("%q could mention somebody", got)
			}
		}
	})
}

func TestTextsAreCutBetweenCharacters(t *testing.T) {
	for _, c := range []struct {
		text string
		most int
		want string
	}{
		{"abcdef", 6, "abcdef"},
		{"abcdef", 5, "abcd…"},
		{"a<b", 6, "a&lt;b"},
		{"a<b", 5, "a…"},
		{"a<bc", 6, "a&lt;…"},
		{"𝕏𝕏", 4, "𝕏𝕏"},
		{"𝕏𝕏", 3, "𝕏…"},
		{"𝕏𝕏", 2, "…"},
	} {
		if got := notify.Escaped(c.text, c.most); got != c.want {
			t.Errorf("%q to %d is %q, want %q", c.text, c.most, got, c.want)
		}
	}
	if got := notify.Clean(" a\tb\u202ec\x00 d\xff "); got != "a bc d\uFFFD" {
		t.Errorf("cleaned: %q", got)
	}
}

// A value stays one piece of the URL, wherever the template has it.
func FuzzG16_ALinksValueStaysInItsPlace(f *testing.F) {
	for _, text := range append(hostile, "..", ".", "../../x", "a/b?c=d#e", "%2e%2e", "+ ") {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, value string) {
		encoded := notify.Percent(value)
		u, err := url.Parse("https://wiki.example/a/" + encoded + "?q=" + encoded + "&r=1#" + encoded)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Trim(value, ".") == "" {
			if strings.Trim(encoded, "_") != "" {
				t.Errorf("%q became %q", value, encoded)
			}
			return
		}
		valid := strings.ToValidUTF8(value, "\uFFFD")
		if u.Host != "wiki.example" || u.Path != "/a/"+valid || u.Query().Get("q") != valid || u.Query().Get("r") != "1" || u.Fragment != valid {
			t.Errorf("%q became %v", value, u)
		}
	})
}
