package ledger

import (
	"fmt"

	"go.temporal.io/sdk/temporal"
)

// Permanent is a failure of one of step's kinds, which no retry mends.
func Permanent(kind, format string, args ...any) error {
	err := fmt.Errorf(format, args...)
	return temporal.NewNonRetryableApplicationError(err.Error(), kind, err)
}
