package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// The table of coverage stands between these lines of its document, and the document is written by nobody else there.
const (
	coverDocument = "docs/quality.md"
	coverBegin    = "<!-- coverage: this table is made by make cover-record -->\n"
	coverEnd      = "<!-- end of coverage -->\n"
)

// A share is how many statements of a package there are, and how many were run: by the tests of the package itself,
// and by those of all packages of its module.
type share struct{ statements, own, all int }

// cover runs the tests of the public modules and tells each package's coverage. With write the figures go into the
// document; the details are left beside the tools, as a profile for each module.
func cover(ctx context.Context, root string, write bool, out io.Writer) error {
	modules, err := publicModules(root)
	if err != nil {
		return err
	}
	shares := map[string]*share{}
	for i, m := range modules {
		profile := filepath.Join(root, ".bin", fmt.Sprintf("cover-%d.out", i))
		if err := os.MkdirAll(filepath.Dir(profile), 0o755); err != nil {
			return err
		}
		// Without -coverpkg, what a package's tests run of other packages does not count.
		folder, own := filepath.Join(root, m.folder), profile+".own"
		if _, err := golang(ctx, folder, nil, "test", "-coverprofile", own, "./..."); err != nil {
			return err
		}
		if err := count(own, shares, func(s *share) *int { return &s.own }); err != nil {
			return err
		}
		if _, err := golang(ctx, folder, nil, "test", "-coverpkg=./...", "-coverprofile", profile, "./..."); err != nil {
			return err
		}
		if err := count(profile, shares, func(s *share) *int { return &s.all }); err != nil {
			return err
		}
	}
	table := coverTable(shares)
	fmt.Fprint(out, table)
	if !write {
		return nil
	}
	file := filepath.Join(root, coverDocument)
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	text, err = between(text, coverBegin, coverEnd, "\n"+table+"\n")
	if err != nil {
		return fmt.Errorf("%s: %w", coverDocument, err)
	}
	return os.WriteFile(file, text, 0o644)
}

// count adds a profile of go test. A statement is in it once for each test binary that could have run it.
func count(profile string, shares map[string]*share, which func(*share) *int) error {
	file, err := os.Open(profile)
	if err != nil {
		return err
	}
	defer file.Close()
	type block struct {
		statements int
		run        bool
	}
	blocks := map[string]block{}
	for lines := bufio.NewScanner(file); ; {
		if !lines.Scan() {
			if err := lines.Err(); err != nil {
				return err
			}
			break
		}
		words := strings.Fields(lines.Text()) // file.go:1.2,3.4 statements times
		if len(words) != 3 {
			continue // the mode
		}
		statements, err := strconv.Atoi(words[1])
		if err != nil {
			return fmt.Errorf("%s: %w", profile, err)
		}
		b := blocks[words[0]]
		blocks[words[0]] = block{statements, b.run || words[2] != "0"}
	}
	total := map[string]int{}
	for where, b := range blocks {
		name := strings.TrimPrefix(path.Dir(where[:strings.LastIndex(where, ":")]), rootModule+"/")
		if shares[name] == nil {
			shares[name] = &share{}
		}
		total[name] += b.statements
		if b.run {
			*which(shares[name]) += b.statements
		}
	}
	for name, n := range total {
		shares[name].statements = n
	}
	return nil
}

func coverTable(shares map[string]*share) string {
	var table strings.Builder
	table.WriteString("| package | statements | by its own tests | by all tests of its module |\n|---|--:|--:|--:|\n")
	row := func(name string, s share) {
		percent := func(n int) string {
			return strconv.FormatFloat(float64(1000*n/s.statements)/10, 'f', 1, 64) + " %" // 100 is all of them
		}
		fmt.Fprintf(&table, "| %s | %d | %s | %s |\n", name, s.statements, percent(s.own), percent(s.all))
	}
	var sum share
	for _, name := range slices.Sorted(maps.Keys(shares)) {
		s := *shares[name]
		if s.statements == 0 {
			continue
		}
		sum.statements, sum.own, sum.all = sum.statements+s.statements, sum.own+s.own, sum.all+s.all
		row("`"+name+"`", s)
	}
	if sum.statements > 0 {
		row("all", sum)
	}
	return table.String()
}

// between replaces what stands between two lines of a text.
func between(text []byte, begin, end, with string) ([]byte, error) {
	head, rest, ok := strings.Cut(string(text), begin)
	_, tail, closed := strings.Cut(rest, end)
	if !ok || !closed {
		return nil, fmt.Errorf("there are no lines %q and %q", strings.TrimSpace(begin), strings.TrimSpace(end))
	}
	return []byte(head + begin + with + end + tail), nil
}
