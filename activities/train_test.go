package activities

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"

	"github.com/defectforge/defectforge/activities/ledger"
	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/model/checkpoint"
	"github.com/defectforge/defectforge/model/kernel"
	"github.com/defectforge/defectforge/model/spec"
	"github.com/defectforge/defectforge/model/spec/spectest"
	"github.com/defectforge/defectforge/storage"
	"github.com/defectforge/defectforge/storage/memory"
)

// tiny is a recipe whose steps take milliseconds: 2 batches an epoch of the 7
// training images of smallSet.
func tiny() spec.Recipe {
	r := spectest.Quick()
	r.Name = "tiny"
	r.Model = spec.Model{Latent: 4, GeneratorDepth: 1, DiscriminatorDepth: 1, InitialWeights: spec.InitDCGAN}
	r.Train.Batch, r.Train.Epochs, r.Train.LegEpochs = 3, 4, 2
	r.Sample = spec.Sample{Count: 10, StatisticsBatches: 1}
	return r
}

// smallSet stores n images as a data set of two training shards and, from
// n = 10 on, one of 3 images held out.
func smallSet(t *testing.T, s *storage.Store, n int) (dataset, tensors step.Ref) {
	t.Helper()
	ctx := context.Background()
	pixels := make([]uint8, n*spec.ImageLen)
	noise := make([]float32, len(pixels))
	kernel.NewStream(7, "test images", 0).Uniform(noise, 0, 256)
	for i, v := range noise {
		pixels[i] = uint8(v)
	}
	holdout := 0
	if n >= 10 {
		holdout = 3
	}
	set := ledger.Dataset{Class: "scratches"}
	index := ledger.TensorIndex{Shape: []int{spec.Channels, spec.Size, spec.Size}}
	cuts := []int{0, (n - holdout) / 2, n - holdout, n}
	for c := range 3 {
		from, to := cuts[c], cuts[c+1]
		if from == to {
			continue
		}
		split := ledger.SplitTraining
		if c == 2 {
			split = ledger.SplitHoldout
		}
		shard := ledger.Shard{Split: split}
		for i := from; i < to; i++ {
			sha := storage.Digest(pixels[i*spec.ImageLen : (i+1)*spec.ImageLen])
			shard.Images = append(shard.Images, sha)
			set.Images = append(set.Images, ledger.DatasetImage{Name: "image-" + string(rune('a'+i)) + ".png", SHA256: sha, Split: split})
		}
		var b bytes.Buffer
		require.NoError(t, checkpoint.Write(&b, nil, []checkpoint.Tensor{{
			Name: "images", Shape: []int{to - from, spec.Channels, spec.Size, spec.Size}, Data: pixels[from*spec.ImageLen : to*spec.ImageLen],
		}}))
		obj, err := s.PutArtifact(ctx, b.Bytes(), ".safetensors")
		require.NoError(t, err)
		shard.Ref = step.Ref(obj)
		index.Shards = append(index.Shards, shard)
	}
	put := func(raw []byte, err error) step.Ref {
		require.NoError(t, err)
		obj, err := s.PutArtifact(ctx, raw, ".json")
		require.NoError(t, err)
		return step.Ref(obj)
	}
	dataset = put(ledger.Datasets.Encode(set))
	index.Dataset = dataset.SHA256
	return dataset, put(ledger.Tensors.Encode(index))
}

// hooked calls before ahead of every write and read.
type hooked struct {
	storage.Bucket
	before func(op, key string) error
}

func (h *hooked) Put(ctx context.Context, key string, body io.ReadSeeker, size int64, sha string, cond storage.Condition) (storage.Info, error) {
	if err := h.before("put", key); err != nil {
		return storage.Info{}, err
	}
	return h.Bucket.Put(ctx, key, body, size, sha, cond)
}

func (h *hooked) Get(ctx context.Context, key string) (io.ReadCloser, storage.Info, error) {
	if err := h.before("get", key); err != nil {
		return nil, storage.Info{}, err
	}
	return h.Bucket.Get(ctx, key)
}

// activityEnv runs activities without their logs.
func activityEnv() *testsuite.TestActivityEnvironment {
	var suite testsuite.WorkflowTestSuite
	suite.SetLogger(log.NewStructuredLogger(slog.New(slog.DiscardHandler)))
	return suite.NewTestActivityEnvironment()
}

// attempt runs Train as an activity. It returns the last heartbeat that the
// service would know.
func attempt(t *testing.T, tr Trainer, in step.TrainInput, details *step.TrainProgress, stop chan struct{}) (step.TrainResult, *step.TrainProgress, error) {
	t.Helper()
	env := activityEnv()
	env.SetTestTimeout(time.Minute)
	step.Train.Register(env, classify(tr.Train))
	if details != nil {
		env.SetHeartbeatDetails(*details)
	}
	if stop != nil {
		env.SetWorkerStopChannel(stop)
	}
	var mu sync.Mutex
	last := details
	env.SetOnActivityHeartbeatListener(func(_ *activity.Info, v converter.EncodedValues) {
		var p step.TrainProgress
		if v.Get(&p) == nil {
			mu.Lock()
			last = &p
			mu.Unlock()
		}
	})
	val, err := env.ExecuteActivity(string(step.Train), in)
	mu.Lock()
	defer mu.Unlock()
	if err != nil {
		return step.TrainResult{}, last, err
	}
	var out step.TrainResult
	require.NoError(t, val.Get(&out))
	return out, last, nil
}

var testRun = step.Run{WorkflowID: "augment-scratches", RunID: "run-1"}

func firstLeg(tensors step.Ref) step.TrainInput {
	return step.TrainInput{Run: testRun, Tensors: tensors, Recipe: tiny(), ToEpoch: 2}
}

func nextLeg(in step.TrainInput, out step.TrainResult) step.TrainInput {
	in.FromEpoch, in.ToEpoch = out.Epoch, out.Epoch+2
	in.Checkpoint, in.Curves = out.Checkpoint, out.Curves
	return in
}

// undisturbed trains both legs of tiny on smallSet(7).
func undisturbed(t *testing.T, s *storage.Store) (mid, end step.TrainResult) {
	t.Helper()
	_, tensors := smallSet(t, s, 7)
	in := firstLeg(tensors)
	mid, _, err := attempt(t, Trainer{Store: s}, in, nil, nil)
	require.NoError(t, err)
	end, _, err = attempt(t, Trainer{Store: s}, nextLeg(in, mid), nil, nil)
	require.NoError(t, err)
	return mid, end
}

func keys(t *testing.T, s *storage.Store, prefix string) []string {
	t.Helper()
	var all []string
	for info, err := range s.Bucket().List(context.Background(), prefix) {
		require.NoError(t, err)
		all = append(all, strings.TrimPrefix(info.Key, prefix))
	}
	return all
}

const runCheckpoints = "runs/augment-scratches/run-1/checkpoints/"

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

// disturb trains the first leg, and stops the second in the middle.
func disturb(t *testing.T, arrange func(h *hooked, cut func()) Trainer) (*storage.Store, step.TrainInput, *step.TrainProgress, error) {
	t.Helper()
	stop := make(chan struct{})
	var once sync.Once
	h := &hooked{Bucket: memory.New(), before: func(string, string) error { return nil }}
	s := storage.New(h)
	_, tensors := smallSet(t, s, 7)
	in := firstLeg(tensors)
	mid, _, err := attempt(t, Trainer{Store: s}, in, nil, nil)
	require.NoError(t, err)
	in = nextLeg(in, mid)
	tr := arrange(h, func() { once.Do(func() { close(stop) }) })
	tr.Store = s
	_, details, err := attempt(t, tr, in, nil, stop)
	require.Error(t, err)
	h.before = func(string, string) error { return nil }
	return s, in, details, err
}

func TestTrainHandsOverWhenItsWorkerStops(t *testing.T) {
	_, want := undisturbed(t, storage.New(memory.New()))
	s, in, details, err := disturb(t, func(h *hooked, cut func()) Trainer {
		h.before = func(op, key string) error {
			if strings.Contains(key, "step-000000006") {
				cut()
			}
			return nil
		}
		return Trainer{Every: time.Nanosecond}
	})
	var app *temporal.ApplicationError
	require.ErrorAs(t, err, &app)
	require.False(t, app.NonRetryable())
	require.Equal(t, temporal.ApplicationErrorCategoryBenign, app.Category())
	require.Equal(t, 100*time.Millisecond, app.NextRetryDelay())
	require.NotNil(t, details)
	require.Equal(t, runCheckpoints+"step-000000006.safetensors", details.Checkpoint.Key)
	require.Equal(t, int64(6), details.Step)
	require.Equal(t, int64(8), details.Steps)
	require.Equal(t, 3, details.Epoch)

	// The next attempt trains the last two steps only.
	trained := 0
	s = storage.New(&hooked{Bucket: s.Bucket(), before: func(op, key string) error {
		if op == "put" && strings.Contains(key, "step-") && strings.HasSuffix(key, ledger.CheckpointExt) {
			trained++
		}
		return nil
	}})
	got, _, err := attempt(t, Trainer{Store: s, Every: time.Nanosecond}, in, details, nil)
	require.NoError(t, err)
	require.Equal(t, 1, trained, "one checkpoint before the leg's end")
	require.Equal(t, want.Checkpoint, got.Checkpoint)
	require.Equal(t, want.Curves, got.Curves)
	require.Equal(t, want.LossG, got.LossG)
}

func TestTrainStopsBeforeItsFirstStep(t *testing.T) {
	_, want := undisturbed(t, storage.New(memory.New()))
	s, in, details, _ := disturb(t, func(h *hooked, cut func()) Trainer {
		h.before = func(op, key string) error {
			if op == "get" {
				cut()
			}
			return nil
		}
		return Trainer{}
	})
	require.True(t, details == nil || details.Checkpoint.IsZero(), "nothing was done, nothing is to be stored")
	got, _, err := attempt(t, Trainer{Store: s}, in, details, nil)
	require.NoError(t, err)
	require.Equal(t, want.Checkpoint, got.Checkpoint)
}

func TestTrainSurvivesACrashAtEveryWrite(t *testing.T) {
	_, want := undisturbed(t, storage.New(memory.New()))
	crashes := 0
	for n := 1; ; n++ {
		var writes int
		crashed := false
		h := &hooked{Bucket: memory.New(), before: func(string, string) error { return nil }}
		s := storage.New(h)
		_, tensors := smallSet(t, s, 7)
		in := firstLeg(tensors)
		mid, _, err := attempt(t, Trainer{Store: s}, in, nil, nil)
		require.NoError(t, err)
		h.before = func(op, key string) error {
			if op == "put" {
				if writes++; writes == n {
					crashed = true
					panic("killed")
				}
			}
			return nil
		}
		tr := Trainer{Store: s, Every: time.Nanosecond}
		in = nextLeg(in, mid)
		got, details, err := attempt(t, tr, in, nil, nil)
		if crashed {
			require.Error(t, err)
			crashes++
			got, _, err = attempt(t, tr, in, details, nil)
		}
		require.NoError(t, err)
		require.Equal(t, want.Checkpoint, got.Checkpoint, "crash at write %d", n)
		require.Equal(t, want.Curves, got.Curves, "crash at write %d", n)
		if !crashed {
			break
		}
	}
	// Three checkpoints within the leg and one at its end, two objects each,
	// and the memory of the training.
	require.Equal(t, 9, crashes)
}

func TestTrainGoesOnWhenAMidLegCheckpointCannotBeStored(t *testing.T) {
	_, want := undisturbed(t, storage.New(memory.New()))
	refused := 0
	s := storage.New(&hooked{Bucket: memory.New(), before: func(op, key string) error {
		if op == "put" && strings.Contains(key, "step-") {
			refused++
			return errors.New("connection refused")
		}
		return nil
	}})
	_, tensors := smallSet(t, s, 7)
	in := firstLeg(tensors)
	in.ToEpoch = 4
	got, _, err := attempt(t, Trainer{Store: s, Every: time.Nanosecond}, in, nil, nil)
	require.NoError(t, err)
	require.Equal(t, want.Checkpoint, got.Checkpoint)
	require.Equal(t, 7, refused)
}

func TestTrainStartsTheLegAnewWhereTheHeartbeatsCheckpointIsLost(t *testing.T) {
	_, want := undisturbed(t, storage.New(memory.New()))
	for name, spoil := range map[string]func(t *testing.T, s *storage.Store, ref step.Ref){
		"missing": func(t *testing.T, s *storage.Store, ref step.Ref) {
			require.NoError(t, s.Bucket().Delete(context.Background(), ref.Key))
		},
		"other bytes": func(t *testing.T, s *storage.Store, ref step.Ref) {
			_, err := s.PutNamed(context.Background(), ref.Key, make([]byte, ref.Size))
			require.NoError(t, err)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, in, details, _ := disturb(t, func(h *hooked, cut func()) Trainer {
				h.before = func(op, key string) error {
					if strings.Contains(key, "step-000000006") {
						cut()
					}
					return nil
				}
				return Trainer{Every: time.Nanosecond}
			})
			spoil(t, s, details.Checkpoint)
			got, _, err := attempt(t, Trainer{Store: s}, in, details, nil)
			require.NoError(t, err)
			require.Equal(t, want.Checkpoint, got.Checkpoint)
			require.Equal(t, want.Curves, got.Curves)
		})
	}
}

func TestTrainKeepsTwoCheckpointsWithinALegAndClearsOlderOnes(t *testing.T) {
	s := storage.New(memory.New())
	_, tensors := smallSet(t, s, 7)
	in := firstLeg(tensors)
	in.Recipe.Train.Epochs = 6
	tr := Trainer{Store: s, Every: time.Nanosecond}
	one, _, err := attempt(t, tr, in, nil, nil)
	require.NoError(t, err)
	require.Equal(t, []string{
		"leg-000000004.curves.json", "leg-000000004.safetensors",
		"step-000000002.curves.json", "step-000000002.safetensors", "step-000000003.curves.json", "step-000000003.safetensors",
	}, keys(t, s, runCheckpoints))
	two, _, err := attempt(t, tr, nextLeg(in, one), nil, nil)
	require.NoError(t, err)
	in = nextLeg(in, two)
	outside := step.Ref{Key: "runs/other/run/checkpoints/leg-000000004.safetensors"}
	_, err = s.PutNamed(context.Background(), outside.Key, []byte("not this run's"))
	require.NoError(t, err)
	in.Superseded = []step.Ref{one.Checkpoint, two.Checkpoint, tensors, outside}
	_, _, err = attempt(t, Trainer{Store: s}, in, nil, nil)
	require.NoError(t, err)
	// The input's checkpoint stays though it is named: a retry starts from it.
	require.Equal(t, []string{
		"leg-000000008.curves.json", "leg-000000008.safetensors",
	}, keys(t, s, runCheckpoints))
	ok, err := ledger.Kept(context.Background(), s, tensors)
	require.NoError(t, err)
	require.True(t, ok, "artifacts are never deleted")
	require.Len(t, keys(t, s, "runs/other/"), 1)
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
