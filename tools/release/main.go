// Release is the part of the Makefile that is not a matter of a line or two: what is checked of, and made for, a
// release of the public modules.
//
//	go run -C tools/release . COMMAND
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
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
		return fmt.Errorf("what shall be done? api")
	}
	flags := flag.NewFlagSet(args[0], flag.ContinueOnError)
	switch args[0] {
	case "api":
		write := flags.Bool("record", false, "renew the record")
		breaking := flags.Bool("breaking", false, "record incompatible changes, too")
		if err := flags.Parse(args[1:]); err != nil {
			return err
		}
		return api(ctx, root, *write, *breaking, os.Stdout)
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
