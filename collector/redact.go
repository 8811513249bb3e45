package collector

import (
	"regexp"
	"strings"
)

// urls finds what follows the scheme of a URL in a text, up to white space or a quotation mark.
var urls = regexp.MustCompile(`://[^\s"'` + "`" + `]*`)

// redact cuts every URL in a text to scheme and host: user info, path and query of an endpoint may hold the token that
// lets in, and the exporters' errors quote it whole.
func redact(text string) string {
	return urls.ReplaceAllStringFunc(text, func(rest string) string {
		host, _, _ := strings.Cut(strings.TrimPrefix(rest, "://"), "?")
		if at := strings.LastIndexByte(host, '@'); at >= 0 {
			host = host[at+1:]
		}
		host, _, _ = strings.Cut(host, "/")
		return "://" + strings.TrimRight(host, ":,;)")
	})
}

// redacted is an error that tells no more of a URL than scheme and host.
type redacted struct{ error }

func (e redacted) Error() string { return redact(e.error.Error()) }
func (e redacted) Unwrap() error { return e.error }
