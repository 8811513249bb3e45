// Package cli is what the command lines of the programs have in common: exit codes, and how errors are said.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"
)

// Exit codes that every program has.
const (
	OK     = 0 // it went well
	Failed = 1 // it did not; standard error says why
	Usage  = 2 // the command line is wrong
)

// Codes is the end of a help: the exit codes, those above and a program's own.
func Codes(own string) string {
	return `
Exit codes:
  0  it went well
  1  it did not; standard error says why
  2  the command line is wrong
` + own
}

// Error is one that ends the program with a code of its own. Without an error inside, all has been said already.
type Error struct {
	Code int
	Err  error
}

func (e *Error) Error() string {
	if e.Err == nil {
		return fmt.Sprintf("exit code %d", e.Code)
	}
	return e.Err.Error()
}

func (e *Error) Unwrap() error { return e.Err }

// Exit ends the program with a code. All has been said.
func Exit(code int) error { return &Error{Code: code} }

// Wrong is an error that the command line is to blame for.
func Wrong(format string, args ...any) error {
	return &Error{Usage, fmt.Errorf(format, args...)}
}

// Run reads the command line, does what it says, says what went wrong, and gives the exit code: that of an [*Error], or
// Failed.
func Run(ctx context.Context, root *cobra.Command, args []string, stdout, stderr io.Writer) int {
	root.SetOut(stdout)
	root.SetErr(stderr)
	root.SetArgs(args)
	root.Version = Version()
	root.SetVersionTemplate("{{.Name}} {{.Version}}\n")
	root.SilenceErrors, root.SilenceUsage = true, true // they are said here
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &Error{Usage, err} })
	command, err := root.ExecuteContextC(ctx)
	if err == nil {
		return OK
	}
	code := Failed
	var coded *Error
	if errors.As(err, &coded) {
		code = coded.Code
	}
	if coded == nil || coded.Err != nil {
		fmt.Fprintf(stderr, "%s: %v\n", root.Name(), err)
	}
	if code == Usage {
		fmt.Fprintf(stderr, "%s --help lists what is allowed\n", command.CommandPath())
	}
	return code
}

// NoArguments is for commands that take flags only.
func NoArguments(_ *cobra.Command, args []string) error {
	if len(args) > 0 {
		return Wrong("unknown argument %q: neither a flag nor a subcommand", args[0])
	}
	return nil
}
