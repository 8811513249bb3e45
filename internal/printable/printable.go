// Package printable is for texts that come from elsewhere and are to be shown to people.
package printable

import (
	"fmt"
	"strings"
	"unicode"
)

// Text spells out what cannot be seen (an escape sequence, a character that turns the direction of writing): on a
// terminal it would do something, and a name with it would look like another one.
func Text(text string) string {
	var out strings.Builder
	for _, r := range text {
		switch {
		case unicode.IsPrint(r):
			out.WriteRune(r)
		case r > 0xffff:
			fmt.Fprintf(&out, `\U%08x`, r)
		default:
			fmt.Fprintf(&out, `\u%04x`, r)
		}
	}
	return out.String()
}
