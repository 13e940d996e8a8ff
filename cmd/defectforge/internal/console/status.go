package console

import (
	"errors"
	"fmt"
)

// Exit statuses.
const (
	ExitOK          = 0
	ExitFailed      = 1
	ExitUsage       = 2
	ExitNotApproved = 3
	ExitInterrupted = 130
)

// StatusError is an error with an exit status of its own. A nil Err adds nothing
// to what was printed already.
type StatusError struct {
	Status int
	Err    error
}

func (e *StatusError) Error() string {
	if e.Err == nil {
		return fmt.Sprintf("exit status %d", e.Status)
	}
	return e.Err.Error()
}

func (e *StatusError) Unwrap() error { return e.Err }

// Usage is an error that the user has to mend: of the command line, or of the
// configuration.
func Usage(format string, args ...any) error {
	return &StatusError{ExitUsage, fmt.Errorf(format, args...)}
}

// AsUsage makes an error one that the user has to mend.
func AsUsage(err error) error { return &StatusError{ExitUsage, err} }

// Exit ends a command that has printed everything with a status.
func Exit(status int) error { return &StatusError{Status: status} }

// StatusOf is the exit status of the error that ends the program.
func StatusOf(err error) int {
	if err == nil {
		return ExitOK
	}
	if s := (*StatusError)(nil); errors.As(err, &s) {
		return s.Status
	}
	return ExitFailed
}
