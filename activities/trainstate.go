package activities

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/temporal"

	"github.com/defectforge/defectforge/activities/ledger"
	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/model"
	"github.com/defectforge/defectforge/storage"
)

// state is a stored point of a training: the networks, and the losses so far.
type state struct {
	Checkpoint step.Ref `json:"checkpoint"`
	Curves     step.Ref `json:"curves"`
}

const (
	// midName begins the names of checkpoints taken within a leg, legName of
	// those at a leg's end. What follows is the number of steps, so that every
	// attempt writes the same bytes under the same name.
	midName = "step-"
	legName = "leg-"
)

// restore takes the networks from the heartbeat's checkpoint, from the input's,
// or anew.
func (l *leg) restore(ctx context.Context) error {
	if err := l.start(ctx); err != nil {
		return err
	}
	l.slow()
	return nil
}

func (l *leg) start(ctx context.Context) error {
	input := state{Checkpoint: l.in.Checkpoint, Curves: l.in.Curves}
	if !l.resume.Checkpoint.IsZero() {
		err := l.load(ctx, l.resume)
		if err == nil {
			l.mids = append(l.mids, l.resume)
			return nil
		}
		if ctx.Err() != nil || !lost(err) {
			return err
		}
		activity.GetLogger(ctx).Warn("Start the leg anew: the checkpoint of an earlier attempt is not usable", "error", err)
	}
	l.show(ctx, func(p *step.TrainProgress) { p.Checkpoint, p.Curves = step.Ref{}, step.Ref{} })
	if !input.Checkpoint.IsZero() {
		return l.load(ctx, input)
	}
	gan, err := model.New(l.in.Recipe)
	if err != nil {
		return ledger.Permanent(step.ErrBadInput, "build networks: %w", err)
	}
	l.gan = gan
	return nil
}

// lost reports whether a stored state is gone for good.
func lost(err error) bool {
	var app *temporal.ApplicationError
	return errors.Is(err, storage.ErrNotFound) || errors.As(typed(err), &app)
}

// load reads a stored state and checks that it belongs into this leg.
func (l *leg) load(ctx context.Context, s state) error {
	curves, err := ledger.ReadCurves(ctx, l.Store, s.Curves)
	if err != nil {
		return err
	}
	path := filepath.Join(l.dir, "restore"+ledger.CheckpointExt)
	if err := l.Store.ReadToFile(ctx, storage.Object(s.Checkpoint), path); err != nil {
		return fmt.Errorf("fetch checkpoint %s: %w", s.Checkpoint.Key, err)
	}
	defer os.Remove(path)
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("open checkpoint: %w", err)
	}
	defer f.Close()
	gan, err := model.Load(bufio.NewReaderSize(f, 1<<20), s.Checkpoint.Size, l.in.Recipe)
	if err != nil {
		return fmt.Errorf("load checkpoint %s: %w", s.Checkpoint.Key, err)
	}
	perEpoch := int64(l.curves.StepsPerEpoch)
	from, to := int64(l.in.FromEpoch)*perEpoch, int64(l.in.ToEpoch)*perEpoch
	if n := gan.Steps(); n < from || n > to || curves.Steps() != n || int64(curves.StepsPerEpoch) != perEpoch {
		gan.Close()
		return ledger.Permanent(step.ErrBadInput,
			"checkpoint %s: %d steps with losses of %d at %d an epoch; the leg goes from step %d to %d at %d an epoch",
			s.Checkpoint.Key, n, curves.Steps(), curves.StepsPerEpoch, from, to, perEpoch)
	}
	l.gan, l.curves, l.kept = gan, curves, gan.Steps()
	return nil
}

// keepMid takes a checkpoint when one is due. A failure to store it does not
// end the training: the next attempt may succeed.
func (l *leg) keepMid(ctx context.Context) {
	// At most a twentieth of the time goes into checkpoints.
	every := cmp.Or(l.Every, max(time.Minute, 20*l.saving))
	if time.Since(l.saved) < every || l.gan.Steps() == int64(l.in.ToEpoch)*int64(l.curves.StepsPerEpoch) {
		return
	}
	if err := l.mid(ctx); err != nil {
		activity.GetLogger(ctx).Warn("Training continues without a new checkpoint", "error", err)
		l.saved = time.Now()
	}
}

// mid stores the present state under the leg and has the heartbeats name it.
func (l *leg) mid(ctx context.Context) error {
	if l.gan.Steps() == l.kept {
		return nil
	}
	start := time.Now()
	s, err := l.store(ctx, l.base(midName))
	if err != nil {
		return err
	}
	l.mids, l.kept = append(l.mids, s), l.gan.Steps()
	l.saved, l.saving = time.Now(), time.Since(start)
	l.show(ctx, func(p *step.TrainProgress) { p.Checkpoint, p.Curves = s.Checkpoint, s.Curves })
	// The heartbeat may still be on its way, so the checkpoint before stays.
	for len(l.mids) > 2 {
		l.remove(ctx, l.mids[0])
		l.mids = l.mids[1:]
	}
	return nil
}

// base begins the keys of the present state. After rollbacks it names their
// number, as the same number of steps is then another state.
func (l *leg) base(kind string) string {
	name := fmt.Sprintf("%s%s%09d", ledger.CheckpointsOf(l.in.Run), kind, l.gan.Steps())
	if n := len(l.in.Rollbacks); n > 0 {
		name += fmt.Sprintf(".try%d", n+1)
	}
	return name
}

// stepOf is the number of steps in a mid-leg checkpoint's key, or -1.
func stepOf(key string) int64 {
	_, name, _ := strings.Cut(key, "/checkpoints/"+midName)
	digits, _, _ := strings.Cut(name, ".")
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil {
		return -1
	}
	return n
}

// store writes the present state, durably: under base, or by its content where
// base is empty.
func (l *leg) store(ctx context.Context, base string) (state, error) {
	path := filepath.Join(l.dir, "save"+ledger.CheckpointExt)
	if err := saveTo(l.gan, path); err != nil {
		return state{}, err
	}
	defer os.Remove(path)
	curves, err := l.curves.Encode()
	if err != nil {
		return state{}, err
	}
	var c, k storage.Object
	if base == "" {
		if c, err = l.Store.PutArtifactFile(ctx, path, ledger.CheckpointExt); err == nil {
			k, err = l.Store.PutArtifact(ctx, curves, ".json")
		}
	} else {
		if c, err = l.Store.PutNamedFile(ctx, base+ledger.CheckpointExt, path); err == nil {
			k, err = l.Store.PutNamed(ctx, base+ledger.CurvesExt, curves)
		}
	}
	if err != nil {
		return state{}, fmt.Errorf("store checkpoint: %w", err)
	}
	if err := l.Store.Bucket().Sync(ctx); err != nil {
		return state{}, fmt.Errorf("sync checkpoint: %w", err)
	}
	return state{Checkpoint: step.Ref(c), Curves: step.Ref(k)}, nil
}

func saveTo(gan *model.GAN, path string) (err error) {
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("create checkpoint: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	w := bufio.NewWriterSize(f, 1<<20)
	if err := gan.Save(w); err != nil {
		return fmt.Errorf("write checkpoint: %w", err)
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("write checkpoint: %w", err)
	}
	return nil
}

// finish stores the leg's end and clears what it supersedes. The state after
// the last epoch is stored by its content, and later runs find it, unless one is
// to be chosen yet.
func (l *leg) finish(ctx context.Context) (step.TrainResult, error) {
	steps, last := l.gan.Steps(), l.in.ToEpoch == l.in.Recipe.Train.Epochs && !l.in.Evaluated
	base := ""
	if !last {
		base = l.base(legName)
	}
	s, err := l.store(ctx, base)
	if err != nil {
		return step.TrainResult{}, err
	}
	l.show(ctx, func(p *step.TrainProgress) { p.Checkpoint, p.Curves = s.Checkpoint, s.Curves })
	mean := lastEpoch(l.curves)
	result := step.TrainResult{
		Checkpoint: s.Checkpoint, Curves: s.Curves, Epoch: l.in.ToEpoch, Step: steps,
		LossReal: mean.Real, LossFake: mean.Fake, LossG: mean.G, DReal: mean.DReal, DFake: mean.DFake,
	}
	if l.done > 0 {
		result.ImagesPerSecond = rate(float64(l.seen), time.Since(l.began).Seconds())
	}
	if last {
		if err := rememberTraining(ctx, l.Store, l.in, result); err != nil {
			return step.TrainResult{}, err
		}
	}
	l.clear(ctx)
	return result, nil
}

// clear removes superseded checkpoints of this run, and those taken within
// earlier legs. This leg's own stay: a retry may still need them. What can't be
// removed now is left for the end of the run.
func (l *leg) clear(ctx context.Context) {
	for _, c := range l.in.Superseded {
		l.remove(ctx, state{Checkpoint: c})
	}
	from := int64(l.in.FromEpoch) * int64(l.curves.StepsPerEpoch)
	for info, err := range l.Store.Bucket().List(ctx, ledger.CheckpointsOf(l.in.Run)+midName) {
		if err != nil {
			activity.GetLogger(ctx).Warn("Old checkpoints stay", "error", err)
			return
		}
		if n := stepOf(info.Key); n >= 0 && n <= from {
			deleteOrWarn(ctx, l.Store, info.Key)
		}
	}
}

// remove deletes a checkpoint of this run with its curves, but never the one
// that a retry starts from.
func (l *leg) remove(ctx context.Context, s state) {
	if s.Checkpoint.Key != l.in.Checkpoint.Key {
		removeCheckpoint(ctx, l.Store, l.in.Run, s.Checkpoint.Key)
	}
}

// removeCheckpoint deletes a checkpoint of a run with its curves; what lies under
// any other key is not its to delete. What can't be removed stays.
func removeCheckpoint(ctx context.Context, s *storage.Store, run step.Run, key string) {
	base, ok := strings.CutSuffix(key, ledger.CheckpointExt)
	if !ok || !strings.HasPrefix(key, ledger.CheckpointsOf(run)) {
		return
	}
	for _, key := range []string{key, base + ledger.CurvesExt} {
		deleteOrWarn(ctx, s, key)
	}
}

func deleteOrWarn(ctx context.Context, s *storage.Store, key string) {
	if err := s.Bucket().Delete(ctx, key); err != nil {
		activity.GetLogger(ctx).Warn("Old checkpoint stays", "key", key, "error", err)
	}
}
