package docs_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	fenced  = regexp.MustCompile("(?ms)^```.*?^```$")
	inline  = regexp.MustCompile("`[^`\n]*`")
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ (.+)$`)
	dropped = regexp.MustCompile(`[^\p{L}\p{N}_ -]`)
	linked  = regexp.MustCompile(`\[([^\]]*)\]\([^)]*\)`)
)

// Links within the repository lead to files, and to headings in them.
func TestTheLinksLeadSomewhere(t *testing.T) {
	checked := 0
	files := documents(t)
	more, err := filepath.Glob("../*.md")
	if err != nil || len(more) == 0 {
		t.Fatalf("no documents: %v", err)
	}
	files = append(files, more...)
	slices.Sort(files)
	for _, file := range slices.Compact(files) {
		text := inline.ReplaceAllString(fenced.ReplaceAllString(read(t, file), ""), "")
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			if strings.Contains(m[1], "://") || strings.HasPrefix(m[1], "mailto:") {
				continue
			}
			checked++
			path, anchor, _ := strings.Cut(m[1], "#")
			target := file
			if path != "" {
				target = filepath.Join(filepath.Dir(file), path)
			}
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s: %s: %v", file, m[1], err)
			} else if anchor != "" && !anchors(read(t, target))[anchor] {
				t.Errorf("%s: %s: there is no such heading", file, m[1])
			}
		}
	}
	if checked < 50 {
		t.Errorf("only %d links were found", checked)
	}
}

// anchors are what GitHub makes of a document's headings.
func anchors(text string) map[string]bool {
	made := map[string]bool{}
	for _, m := range heading.FindAllStringSubmatch(fenced.ReplaceAllString(text, ""), -1) {
		plain := dropped.ReplaceAllString(linked.ReplaceAllString(m[1], "$1"), "")
		anchor := strings.ReplaceAll(strings.ToLower(plain), " ", "-")
		name := anchor
		for i := 1; made[name]; i++ {
			name = fmt.Sprintf("%s-%d", anchor, i)
		}
		made[name] = true
	}
	return made
}

// The index has every document, and says of each what it is in one line.
func TestTheIndexIsComplete(t *testing.T) {
	index := read(t, "README.md")
	for _, file := range documents(t) {
		if file == "README.md" || filepath.Dir(file) != "." { // those of folders have an index of their own
			continue
		}
		if !regexp.MustCompile(`(?m)^.*\]\(` + regexp.QuoteMeta(file) + `\).*\S.*$`).MatchString(index) {
			t.Errorf("README.md does not name %s", file)
		}
	}
}
