package main

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"strings"
)

// What a user may link into a program of any licence. Whatever else is found, or is not recognized, fails.
var allowedLicences = []string{"Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MIT"}

// licences checks those of everything that the public modules link, on each system: what is linked differs.
func licences(ctx context.Context, root string, out io.Writer) error {
	modules, err := publicModules(root)
	if err != nil {
		return err
	}
	for _, m := range modules {
		for _, system := range []string{"linux", "darwin", "windows"} {
			if err := checkLicences(ctx, root, filepath.Join(root, m.folder), system); err != nil {
				return fmt.Errorf("%s on %s: %w", m.path, system, err)
			}
		}
		fmt.Fprintf(out, "%s: all of what is linked is %s\n", m.path, strings.Join(allowedLicences, ", "))
	}
	return nil
}

func checkLicences(ctx context.Context, root, folder, system string) error {
	_, err := run(ctx, folder, []string{"GOOS=" + system, "GOARCH=amd64", "CGO_ENABLED=0"},
		filepath.Join(root, ".bin", "go-licenses"), "check", "./...",
		"--allowed_licenses", strings.Join(allowedLicences, ","),
		"--ignore", rootModule) // ours: the nested modules get the root's licence when they are packed
	return err
}
