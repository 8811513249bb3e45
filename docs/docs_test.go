// Package docs_test keeps the documents true to the source.
package docs_test

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/otelbreaker/otelbreaker/"

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func golist(t *testing.T, arguments ...string) []string {
	t.Helper()
	command := exec.Command("go", append([]string{"list"}, arguments...)...)
	command.Dir = ".."
	out, err := command.Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(string(out)), "\n")
}

func TestThePackageDiagramMatchesTheImports(t *testing.T) {
	drawn := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^    ([\w/]+)(?: --> ([\w/]+))?$`).FindAllStringSubmatch(read(t, "design.md"), -1) {
		drawn[strings.TrimSpace(m[1]+" "+m[2])] = true
	}
	real := map[string]bool{}
	imported := map[string]bool{}
	for _, line := range golist(t, "-f", `{{.ImportPath}} {{join .Imports " "}}`, "./...") {
		words := strings.Fields(line)
		from := strings.TrimPrefix(words[0], module)
		for _, to := range words[1:] {
			if to, own := strings.CutPrefix(to, module); own {
				real[from+" "+to] = true
				imported[from] = true
			}
		}
		if from != "docs" && from != "api" && !imported[from] { // those two hold tests only
			real[from] = true // imports none of ours, and still is to be seen
		}
	}
	for edge := range maps.Keys(drawn) {
		if !real[edge] {
			t.Errorf("drawn, but not so in the source: %s", edge)
		}
	}
	for _, edge := range slices.Sorted(maps.Keys(real)) {
		if !drawn[edge] {
			t.Errorf("not drawn: %s", edge)
		}
	}
}

// The sizes in design.md are those of the source, to a twentieth.
func TestTheSizesAreRight(t *testing.T) {
	lines := map[string]int{}
	files, err := filepath.Glob("../breaker/*.go")
	if err != nil || len(files) == 0 {
		t.Fatalf("no source: %v", err)
	}
	for _, file := range files {
		for line := range strings.Lines(read(t, file)) {
			if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "//") {
				lines[strings.TrimSuffix(filepath.Base(file), ".go")]++
			}
		}
	}
	text := strings.Join(strings.Fields(read(t, "design.md")), " ")
	all := 0
	for _, part := range []struct{ told, files string }{
		{`some ([\d,]+) lines of code`, "breaker call machine transition window stripe permit snapshot state"},
		{`delivery ([\d,]+), configuration`, "event delivery failures"},
		{`errors ([\d,]+), groups`, "config encoding errors"},
		{`groups ([\d,]+): `, "group"},
		{`: ([\d,]+) in all, besides`, ""},
		{`besides ([\d,]+) for mirrors`, "mirror"},
	} {
		size := 0
		for _, file := range strings.Fields(part.files) {
			size += lines[file]
		}
		all += size
		if part.files == "" {
			size = all
		}
		m := regexp.MustCompile(part.told).FindStringSubmatch(text)
		if m == nil {
			t.Fatalf("design.md does not tell %s", part.told)
		}
		if told, _ := strconv.Atoi(strings.ReplaceAll(m[1], ",", "")); told*20 < size*19 || told*20 > size*21 {
			t.Errorf("%s: %d lines, told as %d", part.files, size, told)
		}
	}
}

func TestWhoImportsWhat(t *testing.T) {
	for name, forbidden := range map[string]string{
		"breaker":   `\.`,
		"otelcb":    `^go\.opentelemetry\.io/otel/(sdk|exporters)`,
		"logs":      `^go\.opentelemetry\.io/otel/(sdk|exporters)`,
		"control":   `^go\.opentelemetry\.io/otel/(sdk|exporters)`,
		"health":    `^go\.opentelemetry\.io/otel/(sdk|exporters)`,
		"notify":    `^go\.opentelemetry\.io/otel/(sdk|exporters)`,
		"transport": `^go\.opentelemetry\.io/otel/(sdk|exporters)`,
	} {
		pattern := regexp.MustCompile(forbidden)
		for _, path := range golist(t, "-deps", "./"+name) {
			first, _, _ := strings.Cut(path, "/")
			if name == "breaker" && (!strings.Contains(first, ".") || path == module+name) {
				continue
			}
			if pattern.MatchString(path) {
				t.Errorf("%s reaches %s", name, path)
			}
		}
	}
}

// Whoever uses no Slack carries none of it.
func TestOnlyNotifyReachesSlack(t *testing.T) {
	for _, line := range golist(t, "-f", `{{.ImportPath}} {{join .Deps " "}}`, "./...") {
		path, deps, _ := strings.Cut(line, " ")
		name := strings.TrimPrefix(path, module)
		if name == "notify" || strings.HasPrefix(name, "cmd/") {
			continue
		}
		for _, dep := range strings.Fields(deps) {
			if strings.HasPrefix(dep, "github.com/slack-go/") || strings.HasPrefix(dep, "github.com/gorilla/") {
				t.Errorf("%s reaches %s", name, dep)
			}
		}
	}
}

func TestEveryPromiseIsProvenByATestThatExists(t *testing.T) {
	text := read(t, "guarantees.md")
	declared := declaredTests(t)
	named := regexp.MustCompile("`((?:Test|Fuzz)\\w+)`").FindAllStringSubmatch(text, -1)
	if len(named) == 0 {
		t.Fatal("guarantees.md names no test")
	}
	for _, m := range named {
		if !declared[m[1]] {
			t.Errorf("guarantees.md names %s, which does not exist", m[1])
		}
	}
}

// declaredTests are the names of all tests of the repository.
func declaredTests(t *testing.T) map[string]bool {
	t.Helper()
	out, err := exec.Command("grep", "-rhoE", "--include=*_test.go", `^func (Test|Fuzz)\w+`, "..").Output()
	if err != nil {
		t.Fatal(err)
	}
	declared := map[string]bool{}
	for _, word := range strings.Fields(string(out)) {
		declared[word] = true
	}
	return declared
}
