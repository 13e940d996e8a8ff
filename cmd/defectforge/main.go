// Command defectforge turns a small set of images of one industrial defect into
// a checked, published augmentation set.
//
// Exit status: 0 published (or done), 1 failed, 2 usage or configuration,
// 3 not approved, 130 interrupted.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/defectforge/defectforge/cmd/defectforge/internal/console"
	"github.com/defectforge/defectforge/cmd/defectforge/internal/process"
	"github.com/defectforge/defectforge/config"
)

func main() {
	if code, child := process.StoreChild(os.Args[1:]); child {
		os.Exit(code)
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	go interrupts(cancel)
	os.Exit(execute(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// interrupts makes the first Ctrl-C (or SIGTERM) end the program in order, the
// second at once.
func interrupts(cancel context.CancelCauseFunc) {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	<-signals
	cancel(console.ErrInterrupted)
	<-signals
	fmt.Fprintln(os.Stderr, "\nstopped at once")
	os.Exit(console.ExitInterrupted)
}

// execute runs one command line and returns its exit status. Nothing but the
// command's output goes to stdout.
func execute(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	a := newApp(stdout, stderr)
	defer a.close()
	root := rootCommand(a)
	root.SetArgs(args)
	c, err := root.ExecuteContextC(ctx)
	if refusedByCobra(err) {
		err = console.Usage("%s; see `%s --help`", strings.Join(strings.Fields(err.Error()), " "), c.CommandPath())
	}
	if err != nil && interrupted(ctx) {
		err = console.Stopped
	}
	a.console.Report(err)
	return statusOf(err)
}

// interrupted reports whether the user ended what ctx is for.
func interrupted(ctx context.Context) bool {
	return errors.Is(context.Cause(ctx), console.ErrInterrupted)
}

// statusOf is the exit status of the error that ends the program.
func statusOf(err error) int {
	status := (*console.StatusError)(nil)
	if p := (config.Problems)(nil); !errors.As(err, &status) && errors.As(err, &p) {
		return console.ExitUsage
	}
	return console.StatusOf(err)
}

// refusedByCobra reports whether the library itself refused the command line:
// such errors have no type, and name no remedy.
func refusedByCobra(err error) bool {
	if s := (*console.StatusError)(nil); err == nil || errors.As(err, &s) {
		return false
	}
	for _, prefix := range []string{
		"unknown command", "unknown flag", "unknown shorthand", "required flag", "accepts ", "requires at least",
		"if any flags in the group",
	} {
		if strings.HasPrefix(err.Error(), prefix) {
			return true
		}
	}
	return false
}
