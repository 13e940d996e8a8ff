package client

import (
	"errors"
	"fmt"

	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"

	"github.com/defectforge/defectforge/activities/step"
)

// otherRates is for trainings that do not hold.
const otherRates = "take --recipe surface, whose training is steadier than that of classic; where it is that one already, choose " +
	"another --seed, or lower train.generator_rate and train.discriminator_rate with --set"

// remedies say what to do about permanent failures whose own words do not.
var remedies = map[string]string{
	step.ErrUnstable:          otherRates + "; run.json has every try",
	step.ErrDiverged:          otherRates,
	step.ErrCorrupt:           "the store returned other bytes than were written: check its disk, then run the same command again",
	step.ErrReleaseConflict:   "`defectforge releases verify` says what differs",
	step.ErrCheckpointForeign: "a checkpoint of another recipe is in the way; choose another --seed",
}

// spoken are failures that say by themselves what to do.
var spoken = map[string]bool{step.ErrTooFewImages: true, step.ErrBadInput: true}

// Explain words how a workflow failed, with what to do.
func Explain(err error) error {
	app, stopped, timeout := (*temporal.ApplicationError)(nil), (*temporal.TerminatedError)(nil), (*temporal.TimeoutError)(nil)
	switch {
	case errors.Is(err, converter.ErrEncodingIsNotSupported):
		return errors.New("what Temporal keeps of the run is encrypted; set codec.keys, or codec.keys_file, to the keys of its workers")
	case errors.Is(err, ErrServerGone):
		return fmt.Errorf("%w; run the same command again to go on", err)
	case temporal.IsCanceledError(err):
		return errors.New("the run was cancelled; run the same command again to start it anew")
	case errors.As(err, &stopped):
		return errors.New("the run was terminated; run the same command again to start it anew")
	case errors.As(err, &app):
		if spoken[app.Type()] {
			return errors.New(app.Message())
		}
		if remedy, ok := remedies[app.Type()]; ok {
			return fmt.Errorf("%s; %s", app.Message(), remedy)
		}
		return fmt.Errorf("%s; when the cause is mended, run the same command again", app.Message())
	case errors.As(err, &timeout):
		return fmt.Errorf("the run timed out: %w; run the same command again", err)
	}
	return err
}
