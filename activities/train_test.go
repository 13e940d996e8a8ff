package activities

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/temporal"

	"github.com/defectforge/defectforge/activities/ledger"
	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/model/checkpoint"
	"github.com/defectforge/defectforge/storage"
	"github.com/defectforge/defectforge/storage/memory"
)

func TestTrainInLegs(t *testing.T) {
	s := storage.New(memory.New())
	mid, end := undisturbed(t, s)
	require.Equal(t, 2, mid.Epoch)
	require.Equal(t, int64(4), mid.Step)
	require.Equal(t, runCheckpoints+"leg-000000004.safetensors", mid.Checkpoint.Key)
	require.Equal(t, 4, end.Epoch)
	require.Equal(t, int64(8), end.Step)
	require.True(t, strings.HasPrefix(end.Checkpoint.Key, "artifacts/sha256/"), end.Checkpoint.Key)
	require.True(t, strings.HasPrefix(end.Curves.Key, "artifacts/sha256/"), end.Curves.Key)
	curves, err := ledger.ReadCurves(context.Background(), s, end.Curves)
	require.NoError(t, err)
	require.Equal(t, 2, curves.StepsPerEpoch)
	require.Len(t, curves.LossReal, 8)
	require.InDelta(t, (float64(curves.LossG[6])+float64(curves.LossG[7]))/2, end.LossG, 1e-12)
	for _, v := range []float64{end.LossReal, end.LossFake, end.LossG, end.DReal, end.DFake, end.ImagesPerSecond} {
		require.Greater(t, v, 0.0)
	}
	require.Equal(t, []string{"leg-000000004.curves.json", "leg-000000004.safetensors"}, keys(t, s, runCheckpoints))
}

func TestTrainDoesNotDependOnTheLegs(t *testing.T) {
	s := storage.New(memory.New())
	_, end := undisturbed(t, s)
	whole := storage.New(memory.New())
	_, tensors := smallSet(t, whole, 7)
	in := firstLeg(tensors)
	in.ToEpoch = 4
	got, _, err := attempt(t, Trainer{Store: whole}, in, nil, nil)
	require.NoError(t, err)
	require.Equal(t, end.Checkpoint, got.Checkpoint)
	require.Equal(t, end.Curves, got.Curves)
}

func TestTrainFindsAFinishedTraining(t *testing.T) {
	h := &hooked{Bucket: memory.New(), before: func(string, string) error { return nil }}
	s := storage.New(h)
	_, want := undisturbed(t, s)
	_, tensors := smallSet(t, s, 7)
	h.before = func(op, key string) error {
		if op == "put" {
			return errors.New("nothing is to be written")
		}
		return nil
	}
	in := firstLeg(tensors)
	in.Run.RunID, in.Recipe.Train.LegEpochs = "run-2", 1
	in.ToEpoch = 1
	got, _, err := attempt(t, Trainer{Store: s}, in, nil, nil)
	require.NoError(t, err)
	want.ImagesPerSecond, want.Cached = 0, true
	require.Equal(t, want, got)

	h.before = func(string, string) error { return nil }
	longer := in
	longer.Recipe.Train.Epochs = 6
	got, _, err = attempt(t, Trainer{Store: s}, longer, nil, nil)
	require.NoError(t, err)
	require.Equal(t, 4, got.Epoch, "longer trainings go on where shorter ones ended")

	longer.ToEpoch = 6
	got, _, err = attempt(t, Trainer{Store: s}, longer, nil, nil)
	require.NoError(t, err)
	require.Equal(t, 6, got.Epoch, "a state before the leg's end does not end the leg")

	shorter := in
	shorter.Recipe.Train.Epochs = 3
	got, _, err = attempt(t, Trainer{Store: s}, shorter, nil, nil)
	require.NoError(t, err)
	require.Equal(t, 1, got.Epoch, "a state beyond the recipe's end is not used")

	other := in
	other.Recipe.Seed++
	got, _, err = attempt(t, Trainer{Store: s}, other, nil, nil)
	require.NoError(t, err)
	require.Equal(t, 1, got.Epoch)

	require.NoError(t, s.Bucket().Delete(context.Background(), want.Checkpoint.Key))
	got, _, err = attempt(t, Trainer{Store: s}, in, nil, nil)
	require.NoError(t, err)
	require.Equal(t, 1, got.Epoch, "what is no longer stored is not found")
}

// overflowing is a checkpoint whose next step leaves float32's range.
func overflowing(t *testing.T, s *storage.Store, ref step.Ref) step.Ref {
	t.Helper()
	raw, err := s.Read(context.Background(), storage.Object(ref), ledger.MaxDocument)
	require.NoError(t, err)
	tensors, meta, err := checkpoint.Read(bytes.NewReader(raw), int64(len(raw)), checkpoint.Limits{})
	require.NoError(t, err)
	for _, tensor := range tensors {
		if v, ok := tensor.Data.([]float32); ok && strings.HasPrefix(tensor.Name, "generator") {
			for i := range v {
				v[i] = 3e38
			}
		}
	}
	var b bytes.Buffer
	require.NoError(t, checkpoint.Write(&b, meta, tensors))
	obj, err := s.PutArtifact(context.Background(), b.Bytes(), ledger.CheckpointExt)
	require.NoError(t, err)
	return step.Ref(obj)
}

func TestTrainSaysWhatDivergedAndWhatToTry(t *testing.T) {
	s := storage.New(memory.New())
	_, tensors := smallSet(t, s, 7)
	first := firstLeg(tensors)
	first.Recipe.Monitor.Tries = 0
	mid, _, err := attempt(t, Trainer{Store: s}, first, nil, nil)
	require.NoError(t, err)
	in := nextLeg(first, mid)
	in.Checkpoint = overflowing(t, s, mid.Checkpoint)
	_, _, err = attempt(t, Trainer{Store: s}, in, nil, nil)
	var app *temporal.ApplicationError
	require.ErrorAs(t, err, &app)
	require.Equal(t, step.ErrDiverged, app.Type())
	require.True(t, app.NonRetryable())
	for _, want := range []string{"epoch 3 of 4", "step 5 of 8", "loss real", "D(G(z))", "train.generator_rate (now 0.0008)", "seed (now 1)"} {
		require.Contains(t, app.Message(), want)
	}
	require.NotContains(t, strings.Join(keys(t, s, runCheckpoints), " "), "000005", "no checkpoint of a diverged state")
}

func TestTrainRefusesWhatCannotWork(t *testing.T) {
	s := storage.New(memory.New())
	_, tensors := smallSet(t, s, 7)
	_, two := smallSet(t, s, 2)
	mid, _, err := attempt(t, Trainer{Store: s}, firstLeg(tensors), nil, nil)
	require.NoError(t, err)
	spoiled := step.Ref{Key: mid.Checkpoint.Key + ".spoiled", SHA256: mid.Checkpoint.SHA256, Size: mid.Checkpoint.Size}
	_, err = s.PutNamed(context.Background(), spoiled.Key, make([]byte, spoiled.Size))
	require.NoError(t, err)
	cases := map[string]struct {
		change func(*step.TrainInput)
		kind   string
		says   string
	}{
		"invalid recipe":     {func(in *step.TrainInput) { in.Recipe.Train.Batch = 0 }, step.ErrBadInput, "train.batch"},
		"no epochs":          {func(in *step.TrainInput) { in.ToEpoch = in.FromEpoch }, step.ErrBadInput, "leg from epoch 2 to 2"},
		"beyond the end":     {func(in *step.TrainInput) { in.ToEpoch = 5 }, step.ErrBadInput, "of 4"},
		"no checkpoint":      {func(in *step.TrainInput) { in.Checkpoint = step.Ref{} }, step.ErrBadInput, "needs the checkpoint"},
		"another leg's":      {func(in *step.TrainInput) { in.FromEpoch, in.ToEpoch = 3, 4 }, step.ErrBadInput, "4 steps"},
		"another recipe's":   {func(in *step.TrainInput) { in.Recipe.Seed = 99 }, step.ErrCheckpointForeign, ""},
		"corrupt checkpoint": {func(in *step.TrainInput) { in.Checkpoint = spoiled }, step.ErrCorrupt, "SHA-256"},
		"corrupt index":      {func(in *step.TrainInput) { in.Tensors = mid.Curves }, step.ErrCorrupt, "format"},
		"a later rollback": {func(in *step.TrainInput) {
			in.Rollbacks = []step.Rollback{{ToEpoch: 3, DiscriminatorScale: 0.5}}
		}, step.ErrBadInput, "rollback 1 to epoch 3"},
		"a rollback that scales by nothing": {func(in *step.TrainInput) { in.Rollbacks = []step.Rollback{{}} }, step.ErrBadInput, "scale of 0"},
		"too few images":                    {func(in *step.TrainInput) { in.Tensors = two }, step.ErrTooFewImages, "2 training images"},
	}
	for _, name := range slices.Sorted(maps.Keys(cases)) {
		t.Run(name, func(t *testing.T) {
			in := nextLeg(firstLeg(tensors), mid)
			cases[name].change(&in)
			_, _, err := attempt(t, Trainer{Store: s}, in, nil, nil)
			var app *temporal.ApplicationError
			require.ErrorAs(t, err, &app)
			require.Equal(t, cases[name].kind, app.Type(), app.Message())
			require.True(t, app.NonRetryable())
			require.Contains(t, app.Message(), cases[name].says)
		})
	}
}
