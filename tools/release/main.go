// Release is the part of the Makefile that is not a matter of a line or two: what is checked of, and made for, a
// release of the public modules.
//
//	go run -C tools/release . COMMAND
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := command(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func command(ctx context.Context, args []string) error {
	root, err := repository()
	if err != nil {
		return err
	}
	if len(args) == 0 {
		return errors.New("what shall be done? api, check, cover, licences, pack, prepare, programs, reproduce, vuln")
	}
	flags := flag.NewFlagSet(args[0], flag.ContinueOnError)
	var (
		record   = flags.Bool("record", false, "api, cover: renew what is recorded")
		breaking = flags.Bool("breaking", false, "api: record incompatible changes, too")
		version  = flags.String("version", "", "check, pack, prepare: the `version` to release")
		to       = flags.String("to", "", "programs: the `folder` to build into")
		only     = flags.String("platforms", strings.Join(platforms, ","), "check, programs, reproduce: for `these`")
		tagged   = flags.Bool("tagged", false, "check: the version's tag is there, as it should be")
		release  = flags.Bool("release", false, "vuln: vulnerabilities of Go's own library are errors, too")
	)
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	switch args[0] {
	case "api":
		return api(ctx, root, *record, *breaking, os.Stdout)
	case "prepare":
		return prepare(ctx, root, *version)
	case "pack":
		return pack(ctx, root, *version, os.Stdout)
	case "programs":
		s, err := stampOf(ctx, root)
		if err != nil {
			return err
		}
		return ship(ctx, root, s, *to, strings.Split(*only, ","))
	case "licences":
		return licences(ctx, root, os.Stdout)
	case "cover":
		return cover(ctx, root, *record, os.Stdout)
	case "check":
		return check(ctx, root, *version, *tagged, strings.Split(*only, ","), os.Stdout)
	case "vuln":
		return vuln(ctx, root, *release, os.Stdout)
	case "reproduce":
		return reproduce(ctx, root, strings.Split(*only, ","), os.Stdout)
	}
	return fmt.Errorf("unknown command %q", args[0])
}

// repository is the folder that tools/release is in.
func repository() (string, error) {
	here, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for folder := here; ; folder = filepath.Dir(folder) {
		if _, err := os.Stat(filepath.Join(folder, "tools", "release", "go.mod")); err == nil {
			return folder, nil
		}
		if folder == filepath.Dir(folder) {
			return "", fmt.Errorf("%s is not in the repository", here)
		}
	}
}
