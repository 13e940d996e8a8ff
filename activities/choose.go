package activities

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/defectforge/defectforge/activities/ledger"
	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/storage"
)

// Chooser keeps the checkpoint that a training ends with.
type Chooser struct {
	Store   *storage.Store
	Scratch string // folder for temporary files; empty means the system's
}

// Choose stores the chosen checkpoint and the curves by their content, so that
// they outlive the run's own, lets later runs of the same training find the
// choice, and removes what is superseded.
func (c Chooser) Choose(ctx context.Context, in step.ChooseInput) (step.ChooseResult, error) {
	if in.Choice.Checkpoint.IsZero() || in.Choice.Curves.IsZero() || in.Train.Checkpoint != in.Choice.Checkpoint {
		return step.ChooseResult{}, ledger.Permanent(step.ErrBadInput, "choice of checkpoint %q with curves %q, of state %q: is not complete",
			in.Choice.Checkpoint.Key, in.Choice.Curves.Key, in.Train.Checkpoint.Key)
	}
	// An attempt that was killed after its last write has already removed what it
	// read.
	known, ok, err := lookForChoice(ctx, c.Store, in.Tensors, in.Recipe)
	if err != nil {
		return step.ChooseResult{}, err
	}
	var choice step.Choice
	if ok {
		choice = *known.Chosen
	} else if choice, err = c.keep(ctx, in); err != nil {
		return step.ChooseResult{}, err
	}
	for _, s := range in.Superseded {
		removeCheckpoint(ctx, c.Store, in.Run, s.Key)
	}
	return step.ChooseResult{Choice: choice}, nil
}

func (c Chooser) keep(ctx context.Context, in step.ChooseInput) (step.Choice, error) {
	choice, err := in.Choice, error(nil)
	if choice.Checkpoint, err = c.byContent(ctx, choice.Checkpoint, ledger.CheckpointExt); err != nil {
		return choice, fmt.Errorf("keep checkpoint: %w", err)
	}
	if choice.Curves, err = c.byContent(ctx, choice.Curves, ".json"); err != nil {
		return choice, fmt.Errorf("keep curves: %w", err)
	}
	if err := c.Store.Bucket().Sync(ctx); err != nil {
		return choice, fmt.Errorf("sync chosen checkpoint: %w", err)
	}
	state := in.Train
	state.Checkpoint, state.Curves, state.ImagesPerSecond, state.Cached = choice.Checkpoint, choice.Curves, 0, false
	return choice, choiceMemo(in.Tensors, in.Recipe).Remember(ctx, c.Store, chosenTraining{Choice: choice, Train: state})
}

// byContent stores a run's own object as an artifact.
func (c Chooser) byContent(ctx context.Context, ref step.Ref, ext string) (step.Ref, error) {
	dir, cleanUp, err := scratch(c.Scratch)
	if err != nil {
		return ref, err
	}
	defer cleanUp()
	path := filepath.Join(dir, "kept"+ext)
	if err := c.Store.ReadToFile(ctx, storage.Object(ref), path); err != nil {
		return ref, fmt.Errorf("fetch %s: %w", ref.Key, err)
	}
	obj, err := c.Store.PutArtifactFile(ctx, path, ext)
	return step.Ref(obj), err
}
