package console

import (
	"errors"
	"fmt"
)

// ErrInterrupted is the cause of a context that the user's Ctrl-C ended.
var ErrInterrupted = errors.New("interrupted")

// Stopped is how an interrupted command ends.
var Stopped error = &StatusError{ExitInterrupted, fmt.Errorf("%w; run the same command again to go on", ErrInterrupted)}
