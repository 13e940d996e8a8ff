package step

// Permanent failures, the types of non-retryable application errors.
const (
	ErrBadInput          = "BadInput"          // a field that no retry can mend
	ErrTooFewImages      = "TooFewImages"      // not enough usable images
	ErrDiverged          = "Diverged"          // NaN or Inf in training
	ErrCorrupt           = "Corrupt"           // bytes that differ from their digest
	ErrReleaseConflict   = "ReleaseConflict"   // other content under the same release
	ErrCheckpointForeign = "CheckpointForeign" // a checkpoint of another recipe
	ErrUnstable          = "Unstable"          // alarms in training after every try
)

// ErrStageFailed is the type of a run's failure whose stage gave none of its own.
const ErrStageFailed = "StageFailed"

// Permanent lists the failures that no retry mends.
func Permanent() []string {
	return []string{
		ErrBadInput, ErrTooFewImages, ErrDiverged, ErrCorrupt, ErrReleaseConflict, ErrCheckpointForeign, ErrUnstable,
	}
}
