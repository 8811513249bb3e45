package transport

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
)

func TestEndpointHasOneForm(t *testing.T) {
	for _, c := range []struct{ scheme, host, want string }{
		{"http", "a.example", "http://a.example"},
		{"http", "A.Example", "http://a.example"},
		{"HTTP", "a.example", "http://a.example"},
		{"http", "a.example:80", "http://a.example"},
		{"http", "a.example:080", "http://a.example"},
		{"http", "a.example:", "http://a.example"},
		{"https", "a.example:443", "https://a.example"},
		{"http", "a.example:443", "http://a.example:443"},
		{"https", "a.example:80", "https://a.example:80"},
		{"http", "a.example:8080", "http://a.example:8080"},
		{"http", "a_b.example", "http://a_b.example"},
		{"http", "a.example.", "http://a.example."}, // absolute, so not always the same host
		{"http", "127.0.0.1:9090", "http://127.0.0.1:9090"},
		{"http", "[::1]", "http://[::1]"},
		{"http", "[::1]:80", "http://[::1]"},
		{"https", "[2001:DB8:0:0::1]:8443", "https://[2001:db8::1]:8443"},
		{"http", "[fe80::1%eth0]:8080", "http://[fe80::1%25eth0]:8080"},
		{"https", "Bücher.example", "https://xn--bcher-kva.example"},
		{"https", "BÜCHER.example:443", "https://xn--bcher-kva.example"},
		{"https", "xn--bcher-kva.example", "https://xn--bcher-kva.example"},
		{"https", "XN--BCHER-KVA.example", "https://xn--bcher-kva.example"},
		{"https", "bu\u0308cher.example", "https://xn--bcher-kva.example"}, // another way to write the letter
		{"https", "bücher\u3002example", "https://xn--bcher-kva.example"},  // another full stop
		{"https", "ｂücher.example", "https://xn--bcher-kva.example"},       // a wide letter
		{"http", "１２７.0.0.1", "http://127.0.0.1"},
		{"http", "[::ffff:127.0.0.1]:8080", "http://127.0.0.1:8080"}, // where net dials the one for the other
		{"http", "[::FFFF:7f00:1]", "http://127.0.0.1"},
		{"http", "[0:0:0:0:0:0:0:1]", "http://[::1]"},
		{"http", "[fe80::1%eth0]", "http://[fe80::1%25eth0]"},
		{"http", "[FE80:0::1%eth0]", "http://[fe80::1%25eth0]"},
		{"http", "[fe80::1%ETH0]", "http://[fe80::1%25ETH0]"}, // another interface
		{"http", "\xff\xfe", "http://xn--zn7ca"},              // this is what net/http looks up

		{"HTTP+Unix", "a.example:80", "http+unix://a.example:80"},
		{"a1-b.c", "a.example", "a1-b.c://a.example"},

		// So does what is no scheme, which only a URL made by hand can have.
		{"", "a.example", ""},
		{"1http", "a.example", ""},
		{"http://user:secret@b.example/", "a.example", ""},
		{"ht tp", "a.example", ""},
		{"ht\ntp", "a.example", ""},
		{"<script>", "a.example", ""},
		{"h\u00fcttp", "a.example", ""},
		{strings.Repeat("a", 32), "a.example", strings.Repeat("a", 32) + "://a.example"},
		{strings.Repeat("a", 33), "a.example", ""},

		// What is no host goes past the breakers.
		{"http", "", ""},
		{"http", ":80", ""},
		{"http", "user:secret@a.example", ""},
		{"http", "a.example/path", ""},
		{"http", "a.example?token=secret", ""},
		{"http", "a.example#fragment", ""},
		{"http", "a.example:port", ""},
		{"http", "a\r\nb", ""},
		{"http", "<script>", ""},
		{"http", "a b", ""},
		{"http", "[::1", ""},
		{"http", "[::1%<script>]", ""},
		{"http", "::1", ""},
		{"http", strings.Repeat("a", 254), ""},
		{"http", strings.Repeat("ü", 10_000), ""},
	} {
		req := &http.Request{URL: &url.URL{Scheme: c.scheme, Host: c.host}}
		k := newKeys()
		for _, when := range []string{"at first", "again"} {
			if got := k.of(req); got != c.want {
				t.Errorf("%s://%q, %s: %q, want %q", c.scheme, c.host, when, got, c.want)
			}
		}
	}
}

func TestG15_TheKeyHasNothingButSchemeHostAndPort(t *testing.T) {
	const want = "https://a.example:8443"
	u, err := url.Parse("https://user:secret@A.example:8443/path;secret?token=secret#secret")
	if err != nil {
		t.Fatal(err)
	}
	if got := newKeys().of(&http.Request{URL: u, Host: "secret.example"}); got != want {
		t.Errorf("key is %q, want %q", got, want)
	}
}

func TestKeysDoNotMixUpWhatFallsIntoOneSlot(t *testing.T) {
	k := newKeys()
	for range 3 {
		for i := range 10 * keySlots {
			host := "h" + strings.Repeat("x", i%7) + string(rune('a'+i%26)) + strings.Repeat("y", i%11)
			for _, scheme := range []string{"http", "unix", "https"} { // the length of which is part of the slot
				req := &http.Request{URL: &url.URL{Scheme: scheme, Host: host}}
				if got := k.of(req); got != scheme+"://"+host {
					t.Fatalf("%s://%s: %q", scheme, host, got)
				}
			}
		}
	}
}

func TestAKnownKeyAllocatesNothing(t *testing.T) {
	k := newKeys()
	req := &http.Request{URL: &url.URL{Scheme: "https", Host: "a.example:443"}}
	if n := testing.AllocsPerRun(100, func() { k.of(req) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzG15_EndpointIsAnURLOfSchemeAndHostAlone(f *testing.F) {
	for _, host := range []string{"a.example:80", "[::1%zone]:1", "user:pw@h", "bücher.example", "h?q#f", "\xff", "h:0"} {
		f.Add(host)
	}
	f.Fuzz(func(t *testing.T, host string) {
		key := endpoint("http", host)
		if key == "" {
			return
		}
		u, err := url.Parse(key)
		if err != nil {
			t.Fatalf("%q gives %q: %v", host, key, err)
		}
		if u.Scheme != "http" || u.User != nil || u.Path != "" || u.RawQuery != "" || u.Fragment != "" || u.Opaque != "" {
			t.Errorf("%q gives %q: %#v", host, key, u)
		}
		if strings.Trim(key, "\r\n\x00<>\"'&@?# ") != key || strings.ContainsAny(key, "<>\"'&@?# \r\n\x00") {
			t.Errorf("%q gives %q, which is not inert", host, key)
		}
		if again := endpoint(u.Scheme, u.Host); again != key {
			t.Errorf("%q gives %q, and that %q", host, key, again)
		}
	})
}
