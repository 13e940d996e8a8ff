package activities

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/temporal"

	"github.com/defectforge/defectforge/activities/ledger"
	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/model/checkpoint"
	"github.com/defectforge/defectforge/model/kernel"
	"github.com/defectforge/defectforge/model/spec"
	"github.com/defectforge/defectforge/storage"
	"github.com/defectforge/defectforge/storage/memory"
)

// selectionSet is smallSet with some images more, kept for selection.
func selectionSet(t *testing.T, s *storage.Store, n, selection int) step.Ref {
	t.Helper()
	ctx := context.Background()
	_, tensors := smallSet(t, s, n)
	index, err := ledger.Tensors.Read(ctx, s, tensors)
	require.NoError(t, err)
	noise := make([]float32, selection*spec.ImageLen)
	kernel.NewStream(8, "selection images", 0).Uniform(noise, 0, 256)
	pixels := make([]uint8, len(noise))
	for i, v := range noise {
		pixels[i] = uint8(v)
	}
	shard := ledger.Shard{Split: ledger.SplitSelection}
	for i := range selection {
		shard.Images = append(shard.Images, storage.Digest(pixels[i*spec.ImageLen:(i+1)*spec.ImageLen]))
	}
	var b bytes.Buffer
	require.NoError(t, checkpoint.Write(&b, nil, []checkpoint.Tensor{{
		Name: "images", Shape: []int{selection, spec.Channels, spec.Size, spec.Size}, Data: pixels,
	}}))
	obj, err := s.PutArtifact(ctx, b.Bytes(), ".safetensors")
	require.NoError(t, err)
	shard.Ref = step.Ref(obj)
	index.Shards = append(index.Shards, shard)
	raw, err := ledger.Tensors.Encode(index)
	require.NoError(t, err)
	obj, err = s.PutArtifact(ctx, raw, ".json")
	require.NoError(t, err)
	return step.Ref(obj)
}

func selectingRecipe() spec.Recipe {
	r := tiny()
	r.Ingest.SelectionShare = 0.1
	r.Monitor = spec.Monitor{Tries: 3, CollapseShare: 0.5, Patience: 8, Images: 20}
	return r
}

// do runs a stage as a worker would.
func do[In, Out any](t *testing.T, name step.Step[In, Out], fn func(context.Context, In) (Out, error), in In) (Out, error) {
	t.Helper()
	env := activityEnv()
	name.Register(env, guard(fn))
	var out Out
	val, err := env.ExecuteActivity(string(name), in)
	if err == nil {
		require.NoError(t, val.Get(&out))
	}
	return out, err
}

// evaluatedLegs trains tiny's two legs with a selection split.
func evaluatedLegs(t *testing.T, s *storage.Store) (in step.TrainInput, legs []step.TrainResult) {
	t.Helper()
	in = step.TrainInput{Run: testRun, Tensors: selectionSet(t, s, 7, 6), Recipe: selectingRecipe(), ToEpoch: 2, Evaluated: true}
	one, _, err := attempt(t, Trainer{Store: s}, in, nil, nil)
	require.NoError(t, err)
	two, _, err := attempt(t, Trainer{Store: s}, nextLeg(in, one), nil, nil)
	require.NoError(t, err)
	return in, []step.TrainResult{one, two}
}

func TestEvaluateComparesWithTheSelectionSplit(t *testing.T) {
	s := storage.New(memory.New())
	train, legs := evaluatedLegs(t, s)
	in := step.EvaluateInput{Checkpoint: legs[0].Checkpoint, Tensors: train.Tensors, Recipe: train.Recipe, Epoch: 2, Step: 4}
	first, err := do(t, step.Evaluate, Evaluator{Store: s}.Evaluate, in)
	require.NoError(t, err)
	e := first.Evaluation
	require.Equal(t, 2, e.Epoch)
	require.Equal(t, int64(4), e.Step)
	require.NotZero(t, e.KIDPixels)
	require.InDelta(t, (relative(e.KIDPixels, e.KIDPixels)+relative(e.KIDTexture, e.KIDTexture))/2, e.KID, 1e-12, "the first is what the others are compared with")
	require.Greater(t, e.Spread, 0.0)

	// Nothing of it depends on the hold-out: a set that differs there alone gives the same.
	with := in
	with.Tensors = selectionSet(t, s, 10, 6) // 7 training images, 3 held out
	again, err := do(t, step.Evaluate, Evaluator{Store: s}.Evaluate, with)
	require.NoError(t, err)
	require.NotEqual(t, in.Tensors, with.Tensors)
	require.Equal(t, first, again)

	later := in
	later.Checkpoint, later.Epoch, later.Step, later.First = legs[1].Checkpoint, 4, 8, e
	second, err := do(t, step.Evaluate, Evaluator{Store: s}.Evaluate, later)
	require.NoError(t, err)
	g := second.Evaluation
	require.InDelta(t, (relative(g.KIDPixels, e.KIDPixels)+relative(g.KIDTexture, e.KIDTexture))/2, g.KID, 1e-12)
	require.NotEqual(t, e.KIDPixels, g.KIDPixels)

	// The same checkpoint is found, without drawing anew.
	require.NoError(t, s.Bucket().Delete(context.Background(), legs[1].Checkpoint.Key))
	found, err := do(t, step.Evaluate, Evaluator{Store: s}.Evaluate, later)
	require.NoError(t, err)
	require.True(t, found.Cached)
	found.Cached = false
	require.Equal(t, second, found)
}

func TestEvaluateSeesACollapse(t *testing.T) {
	r := selectingRecipe()
	r.Train.Epochs = 100
	for name, tt := range map[string]struct {
		epoch          int
		spread, widest float64
		tries          int
		alarm          bool
	}{
		"fell":             {20, 0.4, 0.9, 3, true},
		"never rose, late": {50, 0.4, 0.4, 3, true},
		"not yet risen":    {20, 0.4, 0.45, 3, false},
		"wide enough":      {60, 0.5, 0.9, 3, false},
		"no other try":     {60, 0.1, 0.9, 0, false},
	} {
		r.Monitor.Tries = tt.tries
		alarm := collapsed(step.EvaluateInput{Recipe: r, Epoch: tt.epoch, Step: 7, Widest: tt.widest}, step.Evaluation{Spread: tt.spread})
		require.Equal(t, tt.alarm, alarm != nil, name)
		if alarm != nil {
			require.Equal(t, step.AlarmCollapsed, alarm.Kind)
			require.Equal(t, tt.epoch, alarm.Epoch)
			require.InDelta(t, 0.4, alarm.Value, 0)
			require.InDelta(t, 0.5, alarm.Threshold, 0)
		}
	}
}

func TestRelativeToADistanceOfNothing(t *testing.T) {
	require.InDelta(t, 0.5, relative(0.2, 0.4), 0)
	require.InDelta(t, 0.2, relative(0.2, -0.1), 0, "an unbiased estimate may be below 0")
	require.InDelta(t, 0.2, relative(0.2, 0), 0)
}

func TestEvaluateNeedsASelection(t *testing.T) {
	s := storage.New(memory.New())
	train, legs := evaluatedLegs(t, s)
	in := step.EvaluateInput{Checkpoint: legs[0].Checkpoint, Recipe: train.Recipe, Epoch: 2}
	_, in.Tensors = smallSet(t, s, 7)
	_, err := do(t, step.Evaluate, Evaluator{Store: s}.Evaluate, in)
	requirePermanent(t, err, step.ErrTooFewImages, "0 images for selection")
}

func TestChooseKeepsTheChoiceForLaterRuns(t *testing.T) {
	h := &hooked{Bucket: memory.New(), before: func(string, string) error { return nil }}
	s := storage.New(h)
	train, legs := evaluatedLegs(t, s)
	require.Equal(t, runCheckpoints+"leg-000000008.safetensors", legs[1].Checkpoint.Key, "an evaluated training's last state is one among others")
	in := step.ChooseInput{
		Run: testRun, Tensors: train.Tensors, Recipe: train.Recipe, Train: legs[0],
		Choice: step.Choice{
			Checkpoint: legs[0].Checkpoint, Curves: legs[1].Curves, Epoch: 2, Step: 4, LastEpoch: 4, Reason: "the best",
			Evaluations: []step.Evaluation{{Epoch: 2, KID: 1}, {Epoch: 4, KID: 2}}, Rollbacks: []step.Rollback{halved(2, 1)},
		},
		Superseded: []step.Ref{legs[0].Checkpoint, train.Tensors, {Key: "runs/other/run/checkpoints/leg-000000004.safetensors"}},
	}
	_, err := s.PutNamed(context.Background(), in.Superseded[2].Key, []byte("not this run's"))
	require.NoError(t, err)
	out, err := do(t, step.Choose, Chooser{Store: s}.Choose, in)
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(out.Choice.Checkpoint.Key, "artifacts/sha256/"), out.Choice.Checkpoint.Key)
	require.Equal(t, legs[0].Checkpoint.SHA256, out.Choice.Checkpoint.SHA256)
	require.Equal(t, legs[1].Curves.SHA256, out.Choice.Curves.SHA256)
	require.Equal(t, in.Choice.Evaluations, out.Choice.Evaluations)
	require.Equal(t, []string{"leg-000000008.curves.json", "leg-000000008.safetensors"}, keys(t, s, runCheckpoints))
	require.Len(t, keys(t, s, "runs/other/"), 1)
	ok, err := ledger.Kept(context.Background(), s, train.Tensors)
	require.NoError(t, err)
	require.True(t, ok)

	again, err := do(t, step.Choose, Chooser{Store: s}.Choose, in)
	require.NoError(t, err, "though what it was chosen from is gone")
	require.Equal(t, out, again)

	// A later run finds it; one that differs in what the choice depends on does not.
	next := train
	next.Run.RunID = "run-2"
	got, _, err := attempt(t, Trainer{Store: s}, next, nil, nil)
	require.NoError(t, err)
	require.Equal(t, &out.Choice, got.Chosen)
	require.Equal(t, out.Choice.Checkpoint, got.Checkpoint)
	require.Equal(t, out.Choice.Curves, got.Curves)
	require.Equal(t, 2, got.Epoch)
	require.InDelta(t, legs[0].LossG, got.LossG, 0)
	require.Zero(t, got.ImagesPerSecond)
	for name, change := range map[string]func(*spec.Recipe){
		"legs":     func(r *spec.Recipe) { r.Train.LegEpochs = 1 },
		"epochs":   func(r *spec.Recipe) { r.Train.Epochs = 6 },
		"patience": func(r *spec.Recipe) { r.Monitor.Patience = 1 },
		"images":   func(r *spec.Recipe) { r.Monitor.Images = 16 },
	} {
		other := next
		change(&other.Recipe)
		other.ToEpoch = other.Recipe.Train.LegEpochs
		got, _, err := attempt(t, Trainer{Store: s}, other, nil, nil)
		require.NoError(t, err, name)
		require.Nil(t, got.Chosen, name)
	}
	plain := next
	plain.Evaluated = false
	got, _, err = attempt(t, Trainer{Store: s}, plain, nil, nil)
	require.NoError(t, err)
	require.Nil(t, got.Chosen)
}

func TestChooseSurvivesACrashAtEveryWrite(t *testing.T) {
	for n := 1; ; n++ {
		writes, crashed := 0, false
		h := &hooked{Bucket: memory.New(), before: func(string, string) error { return nil }}
		s := storage.New(h)
		train, legs := evaluatedLegs(t, s)
		in := step.ChooseInput{
			Run: testRun, Tensors: train.Tensors, Recipe: train.Recipe, Train: legs[0], Superseded: []step.Ref{legs[0].Checkpoint},
			Choice: step.Choice{Checkpoint: legs[0].Checkpoint, Curves: legs[1].Curves, Epoch: 2},
		}
		h.before = func(op, _ string) error {
			if op == "put" {
				if writes++; writes == n {
					crashed = true
					return errors.New("killed")
				}
			}
			return nil
		}
		out, err := do(t, step.Choose, Chooser{Store: s}.Choose, in)
		if !crashed {
			require.NoError(t, err)
			require.Equal(t, 3, n-1, "checkpoint, curves and the memory of the choice")
			break
		}
		require.Error(t, err)
		out, err = do(t, step.Choose, Chooser{Store: s}.Choose, in)
		require.NoError(t, err)
		require.Equal(t, legs[0].Checkpoint.SHA256, out.Choice.Checkpoint.SHA256)
	}
}

func TestChooseRefusesHalfAChoice(t *testing.T) {
	s := storage.New(memory.New())
	_, err := do(t, step.Choose, Chooser{Store: s}.Choose, step.ChooseInput{Choice: step.Choice{Checkpoint: step.Ref{Key: "a"}, Curves: step.Ref{Key: "b"}}})
	var app *temporal.ApplicationError
	require.ErrorAs(t, err, &app)
	require.Equal(t, step.ErrBadInput, app.Type())
}
