package activities

import (
	"context"
	"math"
	"sync"
	"time"

	"go.temporal.io/sdk/activity"

	"github.com/defectforge/defectforge/activities/ledger"
	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/model"
	"github.com/defectforge/defectforge/model/spec"
	"github.com/defectforge/defectforge/storage"
)

// Trainer trains the networks, one leg of epochs per call.
type Trainer struct {
	Store   *storage.Store
	Scratch string // folder for temporary files; empty means the system's
	// Every is the wall time between two checkpoints within a leg; 0 means a
	// minute. It decides how much a killed leg repeats, never the result.
	Every time.Duration
}

// Train takes the networks from the input's checkpoint to ToEpoch. A retry
// resumes from the newest checkpoint in its heartbeats. A finished training of
// the same tensors, recipe and rollbacks is found, not repeated: the result
// then holds the latest epoch that was found, or what was chosen. Where the
// recipe allows another try, a monitor's alarm ends the leg, and the result
// says so; divergence is a failure of type step.ErrDiverged otherwise.
func (t Trainer) Train(ctx context.Context, in step.TrainInput) (step.TrainResult, error) {
	if err := checkLeg(in); err != nil {
		return step.TrainResult{}, err
	}
	if !in.Refresh {
		if found, ok, err := lookForTraining(ctx, t.Store, in); err != nil || ok {
			found.Cached = ok
			return found, err
		}
	}
	dir, cleanUp, err := scratch(t.Scratch)
	if err != nil {
		return step.TrainResult{}, err
	}
	defer cleanUp()
	l := &leg{Trainer: t, in: in, dir: dir}
	if activity.HasHeartbeatDetails(ctx) {
		// Unreadable details only cost the leg's progress.
		_ = activity.GetHeartbeatDetails(ctx, &l.progress)
	}
	l.resume = state{Checkpoint: l.progress.Checkpoint, Curves: l.progress.Curves}
	stop := beat(ctx, func() []any { return []any{l.shown()} })
	defer stop()
	defer l.close()
	out, err := l.run(ctx)
	if err != nil && stopping(ctx) {
		return out, handedOver()
	}
	return out, outOfTouch(ctx, err)
}

func checkLeg(in step.TrainInput) error {
	if err := in.Recipe.Validate(); err != nil {
		return ledger.Permanent(step.ErrBadInput, "recipe: %w", err)
	}
	if in.FromEpoch < 0 || in.ToEpoch <= in.FromEpoch || in.ToEpoch > in.Recipe.Train.Epochs {
		return ledger.Permanent(step.ErrBadInput,
			"leg from epoch %d to %d of %d: not a part of the training", in.FromEpoch, in.ToEpoch, in.Recipe.Train.Epochs)
	}
	for i, r := range in.Rollbacks {
		if !(r.DiscriminatorScale > 0 && r.DiscriminatorScale <= 1) || r.ToEpoch > in.FromEpoch {
			return ledger.Permanent(step.ErrBadInput,
				"rollback %d to epoch %d with a scale of %v: a leg from epoch %d needs earlier ones, with scales above 0 and at most 1",
				i+1, r.ToEpoch, r.DiscriminatorScale, in.FromEpoch)
		}
	}
	if in.FromEpoch > 0 && (in.Checkpoint.IsZero() || in.Curves.IsZero()) {
		return ledger.Permanent(step.ErrBadInput, "leg from epoch %d: needs the checkpoint and the curves of the leg before", in.FromEpoch)
	}
	return nil
}

// leg is one attempt at one leg.
type leg struct {
	Trainer
	in     step.TrainInput
	dir    string
	resume state // of the heartbeats
	images *ledger.Images
	gan    *model.GAN
	curves ledger.Curves
	steps  int64         // of the whole training
	mids   []state       // checkpoints taken within this leg, oldest first
	kept   int64         // steps of the newest stored state
	saved  time.Time     // when it was stored
	saving time.Duration // how long that took
	began  time.Time
	seen   int   // images of this attempt
	done   int64 // steps of this attempt
	alarm  *step.Alarm

	mu       sync.Mutex
	progress step.TrainProgress
}

func (l *leg) shown() step.TrainProgress {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.progress
}

func (l *leg) show(ctx context.Context, change func(*step.TrainProgress)) {
	l.mu.Lock()
	change(&l.progress)
	p := l.progress
	l.mu.Unlock()
	activity.RecordHeartbeat(ctx, p)
}

func (l *leg) close() {
	if l.gan != nil {
		l.gan.Close()
	}
	if l.images != nil {
		_ = l.images.Close() // only read from
	}
}

func (l *leg) run(ctx context.Context) (step.TrainResult, error) {
	if err := l.open(ctx); err != nil {
		return step.TrainResult{}, err
	}
	if err := l.epochs(ctx); err != nil {
		return step.TrainResult{}, err
	}
	if l.alarm != nil {
		return step.TrainResult{Alarm: l.alarm}, nil
	}
	return l.finish(ctx)
}

// open fetches the training images and the state to start from.
func (l *leg) open(ctx context.Context) error {
	index, err := ledger.Tensors.Read(ctx, l.Store, l.in.Tensors)
	if err != nil {
		return err
	}
	if l.images, err = ledger.OpenImages(ctx, l.Store, index, l.dir, ledger.SplitTraining); err != nil {
		return err
	}
	perEpoch := len(model.Batches(l.in.Recipe, l.images.Len(), 0))
	if perEpoch == 0 {
		return ledger.Permanent(step.ErrTooFewImages, "%d training images make no batch: at least %d are needed", l.images.Len(), spec.MinBatch)
	}
	l.curves.StepsPerEpoch = perEpoch
	l.steps = int64(perEpoch) * int64(l.in.Recipe.Train.Epochs)
	return l.restore(ctx)
}

// epochs trains to the end of the leg, or to an alarm.
func (l *leg) epochs(ctx context.Context) error {
	perEpoch := int64(l.curves.StepsPerEpoch)
	l.began, l.saved = time.Now(), time.Now()
	l.gan.Trains(l.steps)
	batch := newBatch(l.in.Recipe)
	for epoch := int(l.gan.Steps() / perEpoch); epoch < l.in.ToEpoch; epoch++ {
		batches := model.Batches(l.in.Recipe, l.images.Len(), epoch)
		for at := l.gan.Steps() - int64(epoch)*perEpoch; at < perEpoch; at++ {
			if err := l.interrupted(ctx); err != nil {
				return err
			}
			real, err := batch.load(l.images, batches[at])
			if err != nil {
				return err
			}
			losses, err := l.gan.Step(real)
			if err != nil || !finite(losses) {
				return l.diverged(err, epoch, losses)
			}
			l.stepped(ctx, epoch, len(batches[at]), losses)
			if l.alarm = l.watch(epoch, at+1 == perEpoch); l.alarm != nil {
				return nil
			}
			l.keepMid(ctx)
		}
	}
	return nil
}

// interrupted ends the leg when the run is cancelled, or hands it over when the
// worker stops: what was done is stored first.
func (l *leg) interrupted(ctx context.Context) error {
	if !stopping(ctx) {
		return ctx.Err()
	}
	if err := l.mid(ctx); err != nil {
		activity.GetLogger(ctx).Warn("Hand-over without a new checkpoint", "error", err)
	}
	return handedOver()
}

// stepped records one step.
func (l *leg) stepped(ctx context.Context, epoch, images int, losses model.Losses) {
	addLosses(&l.curves, losses)
	l.seen += images
	l.done++
	seconds := time.Since(l.began).Seconds()
	l.show(ctx, func(p *step.TrainProgress) {
		p.Epoch, p.Epochs = epoch+1, l.in.Recipe.Train.Epochs
		p.Step, p.Steps = l.gan.Steps(), l.steps
		p.LossReal, p.LossFake, p.LossG = losses.Real, losses.Fake, losses.G
		p.DReal, p.DFake = losses.DReal, losses.DFake
		p.ImagesPerSecond = rate(float64(l.seen), seconds)
		p.SecondsLeft = float64(l.steps-p.Step) * rate(seconds, float64(l.done))
	})
}

// rate is a/b, or 0 where that says nothing.
func rate(a, b float64) float64 {
	if r := a / b; !math.IsNaN(r) && !math.IsInf(r, 0) {
		return r
	}
	return 0
}

// batch is the memory of one batch, as bytes and as the networks take it.
type batch struct {
	model  spec.Model
	raw    []uint8
	floats []float32
}

func newBatch(r spec.Recipe) *batch {
	return &batch{model: r.Model, raw: make([]uint8, r.Train.Batch*spec.ImageLen)}
}

// load reads the images of rows as (len(rows),c,s,s) in [-1,1]. The result
// is valid until the next call.
func (b *batch) load(im *ledger.Images, rows []int) ([]float32, error) {
	raw := b.raw[:len(rows)*spec.ImageLen]
	for i, row := range rows {
		if err := im.Row(raw[i*spec.ImageLen:], row); err != nil {
			return nil, err
		}
	}
	b.floats = model.FromRGB(b.floats[:0], raw, b.model)
	return b.floats, nil
}
