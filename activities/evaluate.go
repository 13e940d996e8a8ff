package activities

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/defectforge/defectforge/activities/ledger"
	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/model"
	"github.com/defectforge/defectforge/model/quality"
	"github.com/defectforge/defectforge/model/spec"
	"github.com/defectforge/defectforge/storage"
)

const (
	// pixelDims is the number of principal components that checkpoints are
	// compared in.
	pixelDims = 32
	// maxReference is how many training images the components are taken from.
	maxReference = 400
)

// Evaluator compares the states of a training with the selection split, which
// was neither trained on nor is judged by.
type Evaluator struct {
	Store   *storage.Store
	Scratch string // folder for temporary files; empty means the system's
}

// Evaluate draws images from the checkpoint, the same latents each time, and
// compares them with the selection split: their KID in both feature spaces, and
// their spread. A spread below the recipe's share of the real images' is an
// alarm where an earlier state's was above it, or half of the training is over:
// at first every generator draws much the same from every latent. The same
// checkpoint is found, not drawn from again.
func (e Evaluator) Evaluate(ctx context.Context, in step.EvaluateInput) (step.EvaluateResult, error) {
	if err := in.Recipe.Validate(); err != nil {
		return step.EvaluateResult{}, ledger.Permanent(step.ErrBadInput, "recipe: %w", err)
	}
	m, found, err := evaluationMemo(in).Do(ctx, e.Store, in.Refresh, func() (measured, error) { return e.measure(ctx, in) })
	if err != nil {
		return step.EvaluateResult{}, err
	}
	out := step.Evaluation{Epoch: in.Epoch, Step: in.Step, KIDPixels: m.KIDPixels, KIDTexture: m.KIDTexture, Spread: m.Spread}
	first := in.First
	if first.Epoch == 0 {
		first = out
	}
	out.KID = (relative(out.KIDPixels, first.KIDPixels) + relative(out.KIDTexture, first.KIDTexture)) / 2
	return step.EvaluateResult{Found: step.Found{Cached: found}, Evaluation: out, Alarm: collapsed(in, out)}, nil
}

// measured is what does not depend on earlier evaluations.
type measured struct {
	KIDPixels  float64 `json:"kid_pca"`
	KIDTexture float64 `json:"kid_texture"`
	Spread     float64 `json:"spread"`
}

// evaluationMemo is where a checkpoint's distances are remembered. They depend
// on how textures are described, hence the version.
func evaluationMemo(in step.EvaluateInput) ledger.Memo[measured] {
	inputs := []any{
		in.Checkpoint.SHA256, in.Tensors.SHA256, in.Recipe.TrainingFingerprint(), in.Recipe.Monitor.Images, in.Recipe.Sample.StatisticsBatches,
	}
	return ledger.Memo[measured]{Stage: "evaluate", Version: quality.TextureVersion, Inputs: mirrored(inputs, in.Recipe)}
}

// relative is a divided by the first evaluation's distance. That may be zero or
// less, as the estimate is unbiased: then a counts as it is.
func relative(a, first float64) float64 {
	const nothing = 1e-6
	if first < nothing {
		return a
	}
	return a / first
}

// collapsed is the alarm of a spread that is too small, or nil.
func collapsed(in step.EvaluateInput, e step.Evaluation) *step.Alarm {
	m := in.Recipe.Monitor
	if m.Tries == 0 || !(e.Spread < m.CollapseShare) {
		return nil
	}
	if in.Widest < m.CollapseShare && 2*in.Epoch < in.Recipe.Train.Epochs {
		return nil
	}
	return &step.Alarm{
		Kind: step.AlarmCollapsed, Epoch: in.Epoch, Step: in.Step, Value: e.Spread, Threshold: m.CollapseShare,
		Reason: fmt.Sprintf("the generator collapsed: the mean distance between its images is %.2f of that between real ones, below %g",
			e.Spread, m.CollapseShare),
	}
}

// measure draws the images and compares them.
func (e Evaluator) measure(ctx context.Context, in step.EvaluateInput) (measured, error) {
	reference, selection, err := e.real(ctx, in.Tensors)
	if err != nil {
		return measured{}, err
	}
	drawn, err := e.draw(ctx, in)
	if err != nil {
		return measured{}, err
	}
	space := quality.FitPixels(reference, pixelDims)
	pixelsReal, pixelsDrawn := space.Features(selection), space.Features(drawn)
	m := measured{
		KIDPixels:  quality.KID(pixelsReal, pixelsDrawn),
		KIDTexture: quality.KID(quality.TextureFeatures(selection), quality.TextureFeatures(drawn)),
		Spread:     quality.Spread(pixelsDrawn) / quality.Spread(pixelsReal),
	}
	for _, v := range []float64{m.KIDPixels, m.KIDTexture, m.Spread} {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return measured{}, ledger.Permanent(step.ErrBadInput,
				"evaluation of epoch %d: KID %g and %g, spread %g: %d selection images hold too little to compare with; "+
					"raise ingest.selection_share, or set it to 0",
				in.Epoch, m.KIDPixels, m.KIDTexture, m.Spread, len(selection)/spec.ImageLen)
		}
	}
	return m, nil
}

// real reads the selection split, and training images to take components from.
func (e Evaluator) real(ctx context.Context, tensors step.Ref) (reference, selection []uint8, err error) {
	index, err := ledger.Tensors.Read(ctx, e.Store, tensors)
	if err != nil {
		return nil, nil, err
	}
	if reference, err = e.rows(ctx, index, ledger.SplitTraining, maxReference); err != nil {
		return nil, nil, err
	}
	if selection, err = e.rows(ctx, index, ledger.SplitSelection, maxReference); err != nil {
		return nil, nil, err
	}
	if n := len(selection) / spec.ImageLen; n < step.MinSelection {
		return nil, nil, ledger.Permanent(step.ErrTooFewImages,
			"%d images for selection: at least %d are needed; raise ingest.selection_share, or set it to 0", n, step.MinSelection)
	}
	return reference, selection, nil
}

// rows reads the images of a split, evenly spaced ones where there are more than
// most.
func (e Evaluator) rows(ctx context.Context, index ledger.TensorIndex, split string, most int) (pixels []uint8, err error) {
	dir, cleanUp, err := scratch(e.Scratch)
	if err != nil {
		return nil, err
	}
	defer cleanUp()
	im, err := ledger.OpenImages(ctx, e.Store, index, dir, split)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, im.Close()) }()
	n := min(im.Len(), most)
	pixels = make([]uint8, n*spec.ImageLen)
	for i := range n {
		if err := im.Row(pixels[i*spec.ImageLen:], i*im.Len()/n); err != nil {
			return nil, err
		}
	}
	return pixels, nil
}

// draw makes the images of one evaluation.
func (e Evaluator) draw(ctx context.Context, in step.EvaluateInput) ([]uint8, error) {
	sampler, err := loadSampler(ctx, e.Store, e.Scratch, in.Checkpoint, in.Recipe)
	if err != nil {
		return nil, err
	}
	defer sampler.Close()
	var pixels []uint8
	count := counter(ctx)
	for first := 0; first < in.Recipe.Monitor.Images; first += sampleChunk {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		chunk, err := sampler.Images(first, min(sampleChunk, in.Recipe.Monitor.Images-first))
		if err != nil {
			return nil, fmt.Errorf("sample: %w", err)
		}
		pixels = append(pixels, model.ToRGB(chunk, in.Recipe.Model)...)
		count(len(pixels)/spec.ImageLen, in.Recipe.Monitor.Images)
	}
	return pixels, nil
}
