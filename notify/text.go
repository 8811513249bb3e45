package notify

import (
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// Slack's limits, in characters, which are counted as UTF-16 does, and in pieces.
const (
	maxHeader  = 150
	maxField   = 2000
	maxText    = 3000
	maxContext = 2000 // of one element

	maxName = 300 // of a service, an endpoint and the like, so that one of them does not push out the rest
)

const cut = "…"

// clean makes text of anybody fit to be shown: valid UTF-8, one line, no characters that nobody sees or that turn the
// direction of what follows.
func clean(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r), r == '\u2028', r == '\u2029':
			return ' '
		case unicode.IsControl(r), unicode.Is(unicode.Cf, r) && r != '\u200d': // a joiner keeps emoji together
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
	return strings.TrimSpace(s)
}

// shortened cuts a text to so many characters.
func shortened(s string, most int) string {
	if len(s) <= most { // as are most
		return s
	}
	return fit(s, most, func(r rune) string { return string(r) })
}

// escaped is a text for Slack: with &, < and > escaped no character begins a mention, a link or a date, and not more
// characters than that.
func escaped(s string, most int) string {
	return fit(s, most, func(r rune) string {
		switch r {
		case '&':
			return "&amp;"
		case '<':
			return "&lt;"
		case '>':
			return "&gt;"
		}
		return string(r)
	})
}

// inert is for the one text of a message that Slack reads as markup: besides, what is formatting becomes a look-alike,
// and nothing follows an @, a # or a scheme's colon that could make it a mention or a link.
func inert(s string, most int) string {
	alike := map[rune]string{'*': "∗", '`': "ˋ", '~': "∼", '@': "@\u200b", '#': "#\u200b", ':': ":\u200b", '.': ".\u200b"}
	before := ' '
	var b strings.Builder
	s = clean(s)
	for i, r := range s {
		after, _ := utf8.DecodeRuneInString(s[i+utf8.RuneLen(r):])
		switch other, found := alike[r]; {
		case found && (r != ':' && r != '.' || word(after) || after == '/'):
			b.WriteString(other)
		case r == '_' && (!word(before) || !word(after)):
			b.WriteString("ˍ")
		default:
			b.WriteRune(r)
		}
		before = r
	}
	return escaped(b.String(), most)
}

func word(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }

// fit puts a text together, rune by rune, as long as there is room.
func fit(s string, most int, as func(rune) string) string {
	var b strings.Builder
	length, mark := 0, 0 // mark: where the text would be cut
	for _, r := range s {
		piece := as(r)
		for _, p := range piece {
			length += utf16.RuneLen(p)
		}
		if length > most {
			return b.String()[:mark] + cut
		}
		b.WriteString(piece)
		if length < most {
			mark = b.Len()
		}
	}
	return b.String()
}
