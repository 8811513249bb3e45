// Package redact takes out of URLs, and of texts that quote them, what may be a secret: user info, query and fragment.
// All functions may be called concurrently.
package redact

import (
	"net/url"
	"regexp"
	"strconv"
	"strings"
)

// Unknown stands in the place of what should be a URL and cannot be taken apart, for it could be anything.
const Unknown = "(URL)"

// URL gives scheme, host and path of a URL, and the path of a relative one.
func URL(text string) string { return cut(text, true) }

// Host gives scheme and host of a URL.
func Host(text string) string { return cut(text, false) }

// Of gives the same of one that is taken apart already.
func Of(u *url.URL) string {
	if u.Opaque != "" {
		whole := *u
		whole.User = nil
		if text := whole.String(); strings.HasPrefix(text, u.Scheme+"://") {
			return URL(text)
		}
		return Unknown
	}
	return bare(u, true)
}

// Needed tells whether Of would leave anything out of a URL but the user info.
func Needed(u *url.URL) bool {
	return u.RawQuery != "" || u.Fragment != "" || u.Opaque != "" || strings.Contains(u.Host, "@") || ambiguous(u)
}

func cut(text string, path bool) string {
	u, err := url.Parse(text)
	_, rest, _ := strings.Cut(text, "://")
	switch none := path && !strings.ContainsAny(text, "@?#"); {
	case none && (err == nil || !strings.Contains(rest, ":")): // what follows may be the beginning of a password
		return text
	case err != nil:
		return Unknown
	}
	return bare(u, path)
}

func bare(u *url.URL, path bool) string {
	if u.Opaque != "" || strings.Contains(u.Host, "@") {
		return Unknown
	}
	kept := url.URL{Scheme: u.Scheme, Host: u.Host}
	if path && !ambiguous(u) {
		kept.Path, kept.RawPath = u.Path, u.RawPath
	}
	if kept.Scheme != "" && plain(kept.Host) {
		if p := kept.EscapedPath(); p == "" || p[0] == '/' {
			return kept.Scheme + "://" + kept.Host + p // as String writes it, in half the time
		}
	}
	return kept.String()
}

// plain tells whether a host is written as it is.
func plain(host string) bool {
	for i := range len(host) {
		switch c := host[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '.', c == ':':
		default:
			return false
		}
	}
	return host != ""
}

// ambiguous tells whether the path may not be what its author took it for. A slash in the user info makes the beginning
// of that look like host and port, and the rest like a path.
func ambiguous(u *url.URL) bool {
	return u.User == nil && strings.IndexByte(u.Path, '@') >= 0 && u.Port() != ""
}

const (
	quoted = `"(?:[^"\\]|\\.)*"`
	scheme = `[A-Za-z][\w+.-]*://`

	// Before a quoted URL, absolute or not: url.Error, http.Client, and those who read the variables that name a proxy.
	before = `(?:\b(?:parse|Location header|proxy address|Get|Head|Post|Put|Patch|Delete|Options|Trace|Connect) )`
	// Before a part of one that url.Parse did not like, and before a header, such as Location, that net/http did not.
	culprit = `\b(?:invalid (?:port|URL escape|character) |ParseAddr\(|malformed (?:MIME header|HTTP)[^"\n]*)`
)

// inText finds what is to be cut: a quoted culprit, a quoted URL, and one that stands bare, which ends at white space or at
// a mark that closes what is around it, but in its query, where all can stand, at white space alone.
var inText = regexp.MustCompile(`(?s)(` + culprit + `)` + quoted + `|(` + before + `)(` + quoted + `)|("` + scheme + `(?:[^"\\]|\\.)*")|` +
	scheme + "[^\\s\"'`<>?#]*" + `(?:[?#]\S*)?`)

// Text cuts every URL in a text, as [URL] does.
func Text(text string) string { return textBy(text, URL) }

// TextToHosts cuts every URL in a text, as [Host] does.
func TextToHosts(text string) string { return textBy(text, Host) }

func textBy(text string, cut func(string) string) string {
	if !strings.Contains(text, "://") && !strings.Contains(text, ` "`) {
		return text
	}
	found := inText.FindAllStringSubmatchIndex(text, -1)
	if found == nil {
		return text
	}
	var out strings.Builder
	end := 0
	for _, at := range found {
		out.WriteString(text[end:at[0]])
		end = at[1]
		part := func(n int) string { return text[max(at[2*n], 0):max(at[2*n+1], 0)] }
		switch whole := part(0); {
		case at[2] >= 0:
			out.WriteString(part(1) + "(hidden)")
		case at[4] >= 0:
			out.WriteString(part(2) + `"` + cut(unquote(part(3))) + `"`)
		case at[8] >= 0:
			out.WriteString(`"` + cut(unquote(whole)) + `"`)
		default:
			bare := strings.TrimRight(whole, ":,;.)")
			out.WriteString(cut(bare))
			out.WriteString(whole[len(bare):])
		}
	}
	out.WriteString(text[end:])
	return out.String()
}

// unquote takes a text that no Go program has quoted as it stands between the marks.
func unquote(text string) string {
	if plain, err := strconv.Unquote(text); err == nil {
		return plain
	}
	return text[1 : len(text)-1]
}
