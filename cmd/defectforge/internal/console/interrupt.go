package console

import (
	"errors"
	"fmt"
)

// ErrInterrupted is why a context ended that the user's Ctrl-C ended.
var ErrInterrupted = errors.New("interrupted")

// Stopped is how a command ends that was interrupted.
var Stopped error = &StatusError{ExitInterrupted, fmt.Errorf("%w; run the same command again to go on", ErrInterrupted)}
