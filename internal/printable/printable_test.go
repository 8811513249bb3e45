package printable_test

import (
	"testing"

	"github.com/otelbreaker/otelbreaker/internal/printable"
)

func TestText(t *testing.T) {
	for text, want := range map[string]string{
		"": "", "pay ments/é日本🔥": "pay ments/é日本🔥", "\x1b[2J": `\u001b[2J`, "a\nb\t\x00": `a\u000ab\u0009\u0000`,
		"https://\u202eelpmaxe.live": `https://\u202eelpmaxe.live`, "\u2028\u200b": `\u2028\u200b`, "\U000e0041": `\U000e0041`,
		"\xff": "\uFFFD",
	} {
		if got := printable.Text(text); got != want {
			t.Errorf("%q is shown as %q, want %q", text, got, want)
		}
	}
}
