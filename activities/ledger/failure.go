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

// Wrap is err with what was being done, nil for nil.
func Wrap(doing string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", doing, err)
}
