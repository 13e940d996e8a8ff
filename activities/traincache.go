package activities

import (
	"cmp"
	"context"
	"slices"

	"github.com/defectforge/defectforge/activities/ledger"
	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/model/quality"
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

// trainingMemo is where the ends of a training are remembered, by all that its
// states depend on.
func trainingMemo(in step.TrainInput) ledger.Memo[trainings] {
	type try struct {
		ToEpoch int
		Scale   float64
	}
	var tries []try
	for _, r := range in.Rollbacks {
		tries = append(tries, try{r.ToEpoch, r.DiscriminatorScale})
	}
	return ledger.Memo[trainings]{
		Stage: "train", Version: 1,
		Inputs: []any{in.Tensors.SHA256, in.Recipe.TrainingFingerprint(), monitored(in.Recipe.Monitor), tries},
	}
}

// lookForTraining finds the latest stored state of this training that lies beyond
// the leg's start and not beyond the recipe's end, or what was chosen.
func lookForTraining(ctx context.Context, s *storage.Store, in step.TrainInput) (step.TrainResult, bool, error) {
	if in.Evaluated {
		return lookForChoice(ctx, s, in.Tensors, in.Recipe)
	}
	known, _, err := trainingMemo(in).Look(ctx, s)
	if err != nil {
		return step.TrainResult{}, false, err
	}
	for _, r := range slices.Backward(known.Ended) {
		if r.Epoch < in.ToEpoch || r.Epoch > in.Recipe.Train.Epochs {
			continue
		}
		if ok, err := ledger.Kept(ctx, s, r.Checkpoint, r.Curves); err != nil {
			return step.TrainResult{}, false, err
		} else if ok {
			r.ImagesPerSecond = 0
			return r, true, nil
		}
	}
	return step.TrainResult{}, false, nil
}

// rememberTraining adds a finished training. Where two end at once and one is lost,
// a later run trains again, to the same bytes.
func rememberTraining(ctx context.Context, s *storage.Store, in step.TrainInput, r step.TrainResult) error {
	return trainingMemo(in).Update(ctx, s, func(known trainings) trainings {
		all := slices.DeleteFunc(known.Ended, func(k step.TrainResult) bool { return k.Epoch == r.Epoch })
		all = append(all, r)
		slices.SortFunc(all, func(a, b step.TrainResult) int { return cmp.Compare(a.Epoch, b.Epoch) })
		return trainings{Ended: all[max(0, len(all)-maxTrainings):]}
	})
}

// chosenTraining is what Choose leaves for later runs: the choice, and the state
// that was chosen.
type chosenTraining struct {
	Choice step.Choice      `json:"choice"`
	Train  step.TrainResult `json:"train"`
}

// mirrored adds to the inputs of what evaluations decide that their images are mirrored;
// earlier results, of images that are not, have the keys that they had.
func mirrored(inputs []any, r spec.Recipe) []any {
	if r.Sample.Mirror {
		inputs = append(inputs, "mirrored")
	}
	return inputs
}

// choiceMemo is where the choice of an evaluated training is remembered, by all that
// it depends on: after which epochs it is evaluated, with how many images, and by
// which textures, among them.
func choiceMemo(tensors step.Ref, r spec.Recipe) ledger.Memo[chosenTraining] {
	inputs := []any{tensors.SHA256, r.TrainingFingerprint(), r.Monitor, r.Train.Epochs, r.Train.LegEpochs, r.Sample.StatisticsBatches}
	return ledger.Memo[chosenTraining]{
		Stage: "choice", Version: quality.TextureVersion, Inputs: mirrored(inputs, r),
		Refs: func(_ context.Context, _ *storage.Store, known chosenTraining) ([]step.Ref, error) {
			return []step.Ref{known.Choice.Checkpoint, known.Choice.Curves}, nil
		},
	}
}

// lookForChoice finds what an earlier run of the same training chose.
func lookForChoice(ctx context.Context, s *storage.Store, tensors step.Ref, r spec.Recipe) (step.TrainResult, bool, error) {
	known, found, err := choiceMemo(tensors, r).Look(ctx, s)
	if err != nil || !found {
		return step.TrainResult{}, false, err
	}
	known.Train.Chosen = &known.Choice
	return known.Train, true, nil
}
