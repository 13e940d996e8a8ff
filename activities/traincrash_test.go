package activities

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/temporal"

	"github.com/defectforge/defectforge/activities/ledger"
	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/storage"
	"github.com/defectforge/defectforge/storage/memory"
)

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
