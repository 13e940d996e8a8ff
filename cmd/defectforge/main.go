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

	"github.com/defectforge/defectforge/config"
)

// Exit statuses.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitNotApproved = 3
	exitInterrupted = 130
)

func main() {
	if code, child := storeChild(os.Args[1:]); child {
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
	cancel(errInterrupted)
	<-signals
	fmt.Fprintln(os.Stderr, "\nstopped at once")
	os.Exit(exitInterrupted)
}

var errInterrupted = errors.New("interrupted")

// stoppedByUser is how a command ends that was interrupted.
var stoppedByUser = &statusError{exitInterrupted, fmt.Errorf("%w; run the same command again to go on", errInterrupted)}

// execute runs one command line and returns its exit status. Nothing but the
// command's output goes to stdout.
func execute(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	p := newProgram(stdout, stderr)
	defer p.close()
	root := p.rootCommand()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	c, err := root.ExecuteContextC(ctx)
	if refusedByCobra(err) {
		err = usageError("%s; see `%s --help`", strings.Join(strings.Fields(err.Error()), " "), c.CommandPath())
	}
	if err != nil && context.Cause(ctx) == errInterrupted {
		err = stoppedByUser
	}
	p.report(err)
	return statusOf(err)
}

// statusError is an error with an exit status of its own. A nil err says
// nothing more than what was printed already.
type statusError struct {
	status int
	err    error
}

func (e *statusError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit status %d", e.status)
	}
	return e.err.Error()
}

func (e *statusError) Unwrap() error { return e.err }

// usageError marks an error as the user's to mend.
func usageError(format string, args ...any) error {
	return &statusError{exitUsage, fmt.Errorf(format, args...)}
}

func statusOf(err error) int {
	if err == nil {
		return exitOK
	}
	if s := (*statusError)(nil); errors.As(err, &s) {
		return s.status
	}
	if p := (config.Problems)(nil); errors.As(err, &p) {
		return exitUsage
	}
	return exitFailed
}

// refusedByCobra reports whether the library itself refused the command line:
// such errors have no type, and say no remedy.
func refusedByCobra(err error) bool {
	if s := (*statusError)(nil); err == nil || errors.As(err, &s) {
		return false
	}
	for _, prefix := range []string{"unknown command", "unknown flag", "unknown shorthand", "required flag", "accepts ", "requires at least", "if any flags in the group"} {
		if strings.HasPrefix(err.Error(), prefix) {
			return true
		}
	}
	return false
}
