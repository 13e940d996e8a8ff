package activities

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

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

func trainingKey(in step.TrainInput) string {
	return spec.Digest([]string{in.Tensors.SHA256, in.Recipe.TrainingFingerprint()})
}

// recall finds the latest stored state of this training that lies beyond the
// leg's start and not beyond the recipe's end.
func (t Trainer) recall(ctx context.Context, in step.TrainInput) (step.TrainResult, bool, error) {
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

// present reports whether all of refs are stored, in their full size.
func present(ctx context.Context, s *storage.Store, refs ...step.Ref) (bool, error) {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(transfers)
	for _, r := range refs {
		group.Go(func() error {
			info, err := s.Bucket().Stat(ctx, r.Key)
			if err == nil && info.Size != r.Size {
				err = storage.ErrNotFound
			}
			return wrap("look for "+r.Key, err)
		})
	}
	err := group.Wait()
	if errors.Is(err, storage.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// wrap is err with what was being done, nil for nil.
func wrap(doing string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", doing, err)
}
