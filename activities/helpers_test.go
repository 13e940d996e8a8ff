package activities

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/testsuite"

	"github.com/defectforge/defectforge/activities/ledger"
	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/model/checkpoint"
	"github.com/defectforge/defectforge/model/kernel"
	"github.com/defectforge/defectforge/model/spec"
	"github.com/defectforge/defectforge/model/spec/spectest"
	"github.com/defectforge/defectforge/storage"
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
