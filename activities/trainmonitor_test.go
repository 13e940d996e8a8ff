package activities

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/defectforge/defectforge/activities/ledger"
	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/model"
	"github.com/defectforge/defectforge/storage"
	"github.com/defectforge/defectforge/storage/memory"
)

// halved is a rollback to an epoch after the nth alarm.
func halved(to, n int) step.Rollback {
	scale := 1.0
	for range n {
		scale /= 2
	}
	return step.Rollback{Alarm: step.Alarm{Kind: step.AlarmOverpowered}, ToEpoch: to, DiscriminatorScale: scale}
}

func TestTrainRaisesAnAlarmWhereItDiverges(t *testing.T) {
	s := storage.New(memory.New())
	_, tensors := smallSet(t, s, 7)
	mid, _, err := attempt(t, Trainer{Store: s}, firstLeg(tensors), nil, nil)
	require.NoError(t, err)
	in := nextLeg(firstLeg(tensors), mid)
	in.Checkpoint = overflowing(t, s, mid.Checkpoint)
	out, _, err := attempt(t, Trainer{Store: s}, in, nil, nil)
	require.NoError(t, err)
	require.NotNil(t, out.Alarm)
	require.Equal(t, step.AlarmDiverged, out.Alarm.Kind)
	require.Equal(t, 3, out.Alarm.Epoch)
	require.Equal(t, int64(5), out.Alarm.Step)
	require.Contains(t, out.Alarm.Reason, "training diverged in epoch 3 of 4, step 5 of 8")
	out.Alarm = nil
	require.Zero(t, out)
}

// watched is a leg over recorded curves, at 2 steps an epoch.
func watched(dReal, dFake, sign []float32, change func(*step.TrainInput)) *leg {
	in := step.TrainInput{Recipe: tiny()}
	in.Recipe.Monitor.OverpowerSteps, in.Recipe.Monitor.MemorisingAbove = 3, 0.8
	if change != nil {
		change(&in)
	}
	return &leg{in: in, curves: ledger.Curves{StepsPerEpoch: 2, LossReal: dReal, DReal: dReal, DFake: dFake, SignReal: sign}}
}

func TestMonitorSeesAnOverpoweringDiscriminator(t *testing.T) {
	calm := []float32{0, 0, 0, 0, 0}
	high, low := []float32{0.9, 0.99, 0.99, 0.96, 0.99}, []float32{0.01, 0.01, 0.06, 0.01, 0.01}
	require.Nil(t, watched(high, low, calm, nil).watch(2, false), "two in a row, interrupted by D(G(z))")
	low[2] = 0.04
	alarm := watched(high, low, calm, nil).watch(2, false)
	require.NotNil(t, alarm)
	require.Equal(t, step.Alarm{
		Kind: step.AlarmOverpowered, Epoch: 3, Step: 5, Value: 4, Threshold: 3,
		Reason: "the discriminator overpowered the generator: D(x) above 0.95 and D(G(z)) below 0.05 for 4 steps in a row",
	}, *alarm)
	require.Nil(t, watched(high, low, calm, func(in *step.TrainInput) { in.Recipe.Monitor.OverpowerSteps = 0 }).watch(2, false))
	require.Nil(t, watched(high, low, calm, func(in *step.TrainInput) { in.Recipe.Monitor.Tries = 0 }).watch(2, false))
	require.Nil(t, watched(high, low, calm, func(in *step.TrainInput) { in.Rollbacks = []step.Rollback{halved(2, 1)} }).watch(2, false),
		"one step of this try")
	require.NotNil(t, watched(high, low, calm, func(in *step.TrainInput) { in.Rollbacks = []step.Rollback{halved(1, 1)} }).watch(2, false))
}

func TestMonitorSeesAMemorisingDiscriminator(t *testing.T) {
	half := []float32{0.5, 0.5, 0.5, 0.5}
	alarm := watched(half, half, []float32{1, 1, 0.75, 0.9}, nil).watch(1, true)
	require.NotNil(t, alarm)
	require.Equal(t, step.AlarmMemorising, alarm.Kind)
	require.InDelta(t, 0.825, alarm.Value, 1e-6)
	require.Nil(t, watched(half, half, []float32{1, 1, 0.75, 0.9}, nil).watch(1, false), "only whole epochs count")
	require.Nil(t, watched(half, half, []float32{1, 1, 0.7, 0.9}, nil).watch(1, true), "not above")
	require.Nil(t, watched(half, half, nil, nil).watch(1, true), "earlier curves have no signs")
	require.Nil(t, watched(half, half, []float32{1, 1, 1, 1}, func(in *step.TrainInput) { in.Recipe.Monitor.MemorisingAbove = 0 }).watch(1, true))
}

func TestTrainAfterARollbackLearnsSlower(t *testing.T) {
	s := storage.New(memory.New())
	_, tensors := smallSet(t, s, 7)
	in := firstLeg(tensors)
	mid, _, err := attempt(t, Trainer{Store: s}, in, nil, nil)
	require.NoError(t, err)
	in = nextLeg(in, mid)
	plain, _, err := attempt(t, Trainer{Store: s}, in, nil, nil)
	require.NoError(t, err)
	in.Rollbacks = []step.Rollback{halved(1, 1), halved(2, 2)}
	slow, _, err := attempt(t, Trainer{Store: s}, in, nil, nil)
	require.NoError(t, err)
	require.NotEqual(t, plain.Checkpoint.SHA256, slow.Checkpoint.SHA256)

	// The same by hand: a quarter of the rate from the rollback on.
	fresh := storage.New(memory.New())
	_, _ = smallSet(t, fresh, 7)
	l := &leg{Trainer: Trainer{Store: s}, in: in, dir: t.TempDir(), curves: ledger.Curves{StepsPerEpoch: 2}}
	require.NoError(t, l.load(context.Background(), state{Checkpoint: in.Checkpoint, Curves: in.Curves}))
	defer l.close()
	l.gan.ScaleDiscriminatorRate(0.25)
	index, err := ledger.Tensors.Read(context.Background(), s, tensors)
	require.NoError(t, err)
	l.images, err = ledger.OpenImages(context.Background(), s, index, l.dir, ledger.SplitTraining)
	require.NoError(t, err)
	b := newBatch(in.Recipe)
	for epoch := 2; epoch < 4; epoch++ {
		for _, rows := range model.Batches(in.Recipe, l.images.Len(), epoch) {
			real, err := b.load(l.images, rows)
			require.NoError(t, err)
			_, err = l.gan.Step(real)
			require.NoError(t, err)
		}
	}
	byHand, err := l.store(context.Background(), "")
	require.NoError(t, err)
	require.Equal(t, byHand.Checkpoint, slow.Checkpoint)

	// Both ends are found again, each for its own.
	again, _, err := attempt(t, Trainer{Store: s}, in, nil, nil)
	require.NoError(t, err)
	require.Equal(t, slow.Checkpoint, again.Checkpoint)
	require.Zero(t, again.ImagesPerSecond)
	in.Rollbacks = nil
	again, _, err = attempt(t, Trainer{Store: s}, in, nil, nil)
	require.NoError(t, err)
	require.Equal(t, plain.Checkpoint, again.Checkpoint)
	in.Recipe.Monitor.OverpowerSteps++
	again, _, err = attempt(t, Trainer{Store: s}, in, nil, nil)
	require.NoError(t, err)
	require.NotZero(t, again.ImagesPerSecond, "a training that was watched otherwise is another one")
}

func TestTrainAfterARollbackKeepsItsCheckpointsApart(t *testing.T) {
	s := storage.New(memory.New())
	_, tensors := smallSet(t, s, 7)
	in := firstLeg(tensors)
	in.Recipe.Train.Epochs = 6
	mid, _, err := attempt(t, Trainer{Store: s}, in, nil, nil)
	require.NoError(t, err)
	in = nextLeg(in, mid)
	in.Rollbacks = []step.Rollback{halved(2, 1)}
	out, _, err := attempt(t, Trainer{Store: s, Every: time.Nanosecond}, in, nil, nil)
	require.NoError(t, err)
	require.Equal(t, runCheckpoints+"leg-000000008.try2.safetensors", out.Checkpoint.Key)
	require.Contains(t, keys(t, s, runCheckpoints), "step-000000007.try2.safetensors")
	require.Equal(t, int64(7), stepOf(runCheckpoints+"step-000000007.try2.safetensors"))
	_, _, err = attempt(t, Trainer{Store: s}, nextLeg(in, out), nil, nil)
	require.NoError(t, err)
	require.NotContains(t, strings.Join(keys(t, s, runCheckpoints), " "), "step-", "the next leg clears them as ever")
}

// Earlier curves have no signs; a training that began with such ones keeps them.
func TestEarlierCurves(t *testing.T) {
	one := []float32{0.5}
	old := ledger.Curves{StepsPerEpoch: 1, LossReal: one, LossFake: one, LossG: one, DReal: one, DFake: one}
	raw, err := old.Encode()
	require.NoError(t, err)
	require.Contains(t, string(raw), `"defectforge.curves/1"`)
	require.NotContains(t, string(raw), "sign_real")
	got, err := ledger.DecodeCurves(raw)
	require.NoError(t, err)
	addLosses(&got, model.Losses{SignReal: 1})
	require.Empty(t, got.SignReal)
	require.Equal(t, int64(2), got.Steps())

	fresh := ledger.Curves{StepsPerEpoch: 1}
	addLosses(&fresh, model.Losses{SignReal: -1})
	raw, err = fresh.Encode()
	require.NoError(t, err)
	got, err = ledger.DecodeCurves(raw)
	require.NoError(t, err)
	require.Equal(t, "defectforge.curves/2", got.Format)
	require.Equal(t, []float32{-1}, got.SignReal)

	_, err = ledger.DecodeCurves([]byte(strings.Replace(string(raw), "[-1]", "[-1,1]", 1)))
	require.ErrorIs(t, err, ledger.ErrFormat)
	_, err = ledger.DecodeCurves([]byte(strings.Replace(string(raw), "curves/2", "curves/1", 1)))
	require.ErrorIs(t, err, ledger.ErrFormat)
}
