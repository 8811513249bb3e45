package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	modversion "golang.org/x/mod/module"
)

const onlineVulns = "https://vuln.go.dev"

// vuln looks for known vulnerabilities in what we ship, in the database online or, where it cannot be reached, in the
// one that tools/vulndb pins. What our code calls of a dependency is an error; so is what it calls of Go's own library
// when programs are to be released, since the Go at hand goes into them. Otherwise that one is told: a library's users
// build with a Go of their own.
func vuln(ctx context.Context, root string, release bool, out io.Writer) error {
	database, err := vulnDatabase(ctx, root, out)
	if err != nil {
		return err
	}
	modules, err := publicModules(root)
	if err != nil {
		return err
	}
	all := findings{}
	for _, m := range modules {
		found, err := run(ctx, filepath.Join(root, m.folder), nil, filepath.Join(root, ".bin", "govulncheck"),
			"-format", "json", "-db", database, "./...")
		if err != nil {
			return err
		}
		if err := all.read(m.path, strings.NewReader(found)); err != nil {
			return err
		}
	}
	return all.judge(release, out)
}

// vulnDatabase chooses the database, and says which it is.
func vulnDatabase(ctx context.Context, root string, out io.Writer) (string, error) {
	asked, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(asked, http.MethodGet, onlineVulns+"/index/db.json", nil)
	if err != nil {
		return "", err
	}
	if response, err := http.DefaultClient.Do(request); err == nil {
		defer response.Body.Close()
		if response.StatusCode == http.StatusOK {
			fmt.Fprintf(out, "database: %s, of today\n", onlineVulns)
			return onlineVulns, nil
		}
	}
	pinned, err := golang(ctx, filepath.Join(root, "tools", "vulndb"), nil, "mod", "download", "-json", "golang.org/x/vulndb")
	if err != nil {
		return "", err
	}
	var m struct{ Dir, Version string }
	if err := json.Unmarshal([]byte(pinned), &m); err != nil {
		return "", err
	}
	made, err := modversion.PseudoVersionTime(m.Version)
	if err != nil {
		return "", err
	}
	folder := filepath.Join(root, ".bin", "vulndb-"+m.Version)
	if _, err := os.Stat(folder); err != nil {
		half := folder + ".half"
		if _, err := run(ctx, root, nil, filepath.Join(root, ".bin", "vulndb"),
			"-vulns", filepath.Join(m.Dir, "data", "osv"), "-out", half); err != nil {
			return "", err
		}
		if err := os.Rename(half, folder); err != nil {
			return "", err
		}
	}
	fmt.Fprintf(out, "database: %s cannot be reached; the one that tools/vulndb pins, of %s\n", onlineVulns, made.Format(time.DateOnly))
	return "file://" + filepath.ToSlash(folder), nil
}

// findings are vulnerabilities by their id.
type findings map[string]*finding

type finding struct {
	summary  string
	module   string // that has it; stdlib is Go's own library
	fixed    string
	called   map[string]bool // by these of our modules
	imported bool            // or its package is
}

// read reads what govulncheck found in one of our modules.
func (f findings) read(ours string, from io.Reader) error {
	summaries := map[string]string{}
	for decoder := json.NewDecoder(from); ; {
		var message struct {
			OSV     *struct{ ID, Summary string }
			Finding *struct {
				OSV          string
				FixedVersion string `json:"fixed_version"`
				Trace        []struct{ Module, Package, Function string }
			}
		}
		if err := decoder.Decode(&message); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return fmt.Errorf("govulncheck's answer: %w", err)
		}
		if o := message.OSV; o != nil {
			summaries[o.ID] = o.Summary
		}
		m := message.Finding
		if m == nil || len(m.Trace) == 0 {
			continue
		}
		one := f[m.OSV]
		if one == nil {
			one = &finding{called: map[string]bool{}, module: m.Trace[0].Module, fixed: m.FixedVersion}
			f[m.OSV] = one
		}
		if m.Trace[0].Function != "" {
			one.called[ours] = true
		}
		one.imported = one.imported || m.Trace[0].Package != ""
	}
	for id, one := range f {
		if summaries[id] != "" {
			one.summary = summaries[id]
		}
	}
	return nil
}

func (f findings) judge(release bool, out io.Writer) error {
	bad, required := 0, 0
	for _, id := range slices.Sorted(maps.Keys(f)) {
		one := f[id]
		fixed := "no version has it fixed"
		if one.fixed != "" {
			fixed = "fixed in " + one.fixed
		}
		how := "is imported, and not called"
		switch {
		case len(one.called) > 0:
			how = "is called by " + strings.Join(slices.Sorted(maps.Keys(one.called)), ", ")
			if one.module != "stdlib" || release {
				bad++
				how = "ERROR: " + how
			}
		case !one.imported:
			required++ // in a module of which we use other packages
			continue
		}
		fmt.Fprintf(out, "%s %s: %s; %s (%s)\n", id, one.module, how, fixed, one.summary)
	}
	fmt.Fprintf(out, "%d vulnerabilities that are called or imported, %d more in packages that are not used\n", len(f)-required, required)
	if bad > 0 {
		return fmt.Errorf("%d vulnerabilities are called: require, or build with, a version that has them fixed", bad)
	}
	return nil
}
