package activities

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/model/spec"
	"github.com/defectforge/defectforge/storage"
)

// maxTrainings bounds how many ends of one training are remembered.
const maxTrainings = 32

// trainings are the finished trainings of one data set and recipe, that differ
// in their number of epochs alone: each lies on the way of the longer ones.
type trainings struct {
	Ended []step.TrainResult `json:"ended"` // by epoch
}

// trainingKey names a training by all that its states depend on.
func trainingKey(in step.TrainInput) string {
	type try struct {
		ToEpoch int
		Scale   float64
	}
	var tries []try
	for _, r := range in.Rollbacks {
		tries = append(tries, try{r.ToEpoch, r.DiscriminatorScale})
	}
	return spec.Digest([]any{in.Tensors.SHA256, in.Recipe.TrainingFingerprint(), monitored(in.Recipe.Monitor), tries})
}

// recall finds the latest stored state of this training that lies beyond the
// leg's start and not beyond the recipe's end, or what was chosen.
func (t Trainer) recall(ctx context.Context, in step.TrainInput) (step.TrainResult, bool, error) {
	if in.Evaluated {
		return recallChoice(ctx, t.Store, in.Tensors, in.Recipe)
	}
	var known trainings
	if ok, err := t.Store.Recall(ctx, "train", trainingKey(in), &known); err != nil || !ok {
		return step.TrainResult{}, false, wrap("look up earlier trainings", err)
	}
	for _, r := range slices.Backward(known.Ended) {
		if r.Epoch < in.ToEpoch || r.Epoch > in.Recipe.Train.Epochs {
			continue
		}
		if ok, err := present(ctx, t.Store, r.Checkpoint, r.Curves); err != nil {
			return step.TrainResult{}, false, err
		} else if ok {
			r.ImagesPerSecond = 0
			return r, true, nil
		}
	}
	return step.TrainResult{}, false, nil
}

// remember adds a finished training. Two that end at once may lose one of the
// entries: a later run then trains again, to the same bytes.
func (t Trainer) remember(ctx context.Context, in step.TrainInput, r step.TrainResult) error {
	var known trainings
	if _, err := t.Store.Recall(ctx, "train", trainingKey(in), &known); err != nil {
		return wrap("look up earlier trainings", err)
	}
	known.Ended = slices.DeleteFunc(known.Ended, func(k step.TrainResult) bool { return k.Epoch == r.Epoch })
	known.Ended = append(known.Ended, r)
	slices.SortFunc(known.Ended, func(a, b step.TrainResult) int { return cmp.Compare(a.Epoch, b.Epoch) })
	known.Ended = known.Ended[max(0, len(known.Ended)-maxTrainings):]
	return wrap("remember training", t.Store.Remember(ctx, "train", trainingKey(in), known))
}

// chosenTraining is what Choose leaves for later runs: the choice, and the state
// that was chosen.
type chosenTraining struct {
	Choice step.Choice      `json:"choice"`
	Train  step.TrainResult `json:"train"`
}

// choiceKey names an evaluated training by all that its choice depends on: after
// which epochs it is evaluated, and with how many images, among them.
func choiceKey(tensors step.Ref, r spec.Recipe) string {
	return spec.Digest([]any{tensors.SHA256, r.TrainingFingerprint(), r.Monitor, r.Train.Epochs, r.Train.LegEpochs, r.Sample.StatisticsBatches})
}

// recallChoice finds what an earlier run of the same training chose.
func recallChoice(ctx context.Context, s *storage.Store, tensors step.Ref, r spec.Recipe) (step.TrainResult, bool, error) {
	var known chosenTraining
	if ok, err := s.Recall(ctx, "choice", choiceKey(tensors, r), &known); err != nil || !ok {
		return step.TrainResult{}, false, wrap("look up earlier choices", err)
	}
	if ok, err := present(ctx, s, known.Choice.Checkpoint, known.Choice.Curves); err != nil || !ok {
		return step.TrainResult{}, false, err
	}
	known.Train.Chosen = &known.Choice
	return known.Train, true, nil
}

// present reports whether all of refs are stored, in their full size, and keeps
// them from a clean-up.
func present(ctx context.Context, s *storage.Store, refs ...step.Ref) (bool, error) {
	var gone atomic.Bool
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(transfers)
	for _, r := range refs {
		group.Go(func() error {
			if gone.Load() {
				return nil
			}
			ok, err := s.Keep(ctx, storage.Object(r))
			if !ok {
				gone.Store(true)
			}
			return err
		})
	}
	err := group.Wait()
	return err == nil && !gone.Load(), err
}

// wrap is err with what was being done, nil for nil.
func wrap(doing string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", doing, err)
}
