package spec

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Bounds that no useful recipe comes near. They keep a typo from taking
// all memory, or Temporal's limit on a run's history.
const (
	maxImageBytes  = 1 << 30
	maxImagePixels = 1 << 28
	maxSide        = 1 << 15
	minTile        = 16
	maxDepth       = 1024
	maxLatent      = 4096
	maxBatch       = 4096
	maxEpochs      = 100_000
	maxSteps       = maxEpochs // an epoch has at least one step
	maxLegs        = 2000
	maxCheckpoints = 1000
	maxSamples     = 100_000
	maxNeighbours  = 100
	maxStatistics  = 10_000
	hashBits       = 64
	maxTries       = 10
	// minEvaluated is the fewest images whose KID says anything.
	minEvaluated = 16
	// minImages leaves a training batch and something to hold out.
	minImages = 2 * MinBatch
)

// sides are those of images that networks can be built for.
var sides = []int{64, 128, 256}

var namePattern = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]*$`)

// MaxName is the longest that ValidName accepts, in bytes.
const MaxName = 63

// NameRule says what ValidName accepts.
const NameRule = "use 1 to 63 of a-z, 0-9, hyphen and underscore, beginning with a letter or digit"

// ValidName reports whether name can be that of a defect class, a recipe, a policy
// or a campaign. Such names become parts of keys and identifiers.
func ValidName(name string) bool { return len(name) <= MaxName && namePattern.MatchString(name) }

// Validate returns every problem of r at once, joined; each names the field,
// its value and what would be right.
func (r Recipe) Validate() error {
	var p problems
	if !ValidName(r.Name) {
		p.add("name", strconv.Quote(r.Name), NameRule)
	}
	r.Ingest.validate(&p, minImages)
	r.Model.validate(&p)
	if side := r.Model.ImageSide(); side != Size && slices.Contains(sides, side) {
		p.add("model.size", strconv.Itoa(side), fmt.Sprintf(
			"the stages of a run make images of %d by %d, only package model takes others; set it to %d", Size, Size, Size))
	}
	r.Train.validate(&p)
	r.validatePairs(&p)
	r.Monitor.validate(&p)
	r.Sample.validate(&p)
	if r.Sample.Mirror && !slices.Contains(r.Train.Augments(), AugmentFlip) && !slices.Contains(r.Train.RealAugments(), AugmentFlip) {
		p.add("sample.mirror", "true", "the generator was trained on one way round alone; add flip to train.augment, or set it to false")
	}
	r.Overfit.validate(&p)
	if r.Policy != "" {
		if _, err := NamedPolicy(r.Policy); err != nil {
			p.add("policy", strconv.Quote(r.Policy), "choose one of "+strings.Join(PolicyNames(), ", "))
		}
	}
	return errors.Join(p...)
}

// ValidateNetworks returns every problem of what decides which networks are built
// and what they compute, as Validate does of the whole recipe. Rates and counts are
// left to Validate.
func (r Recipe) ValidateNetworks() error {
	var p problems
	r.Model.validate(&p)
	if r.Model.Channels == ChannelsAuto {
		p.add("model.channels", ChannelsAuto,
			fmt.Sprintf("a run decides when it has seen the images; choose %s or %s", ChannelsGrey, ChannelsColour))
	}
	r.Train.validateKinds(&p)
	r.validatePairs(&p)
	return errors.Join(p...)
}

// validatePairs checks what only goes together.
func (r Recipe) validatePairs(p *problems) {
	if r.Train.Loss == LossRelativistic && r.Model.BatchNorm() {
		p.add("model.discriminator_norm", strconv.Quote(r.Model.DiscriminatorNorm),
			fmt.Sprintf("train.loss %s judges real and generated images in one batch, which batch norm would mix; choose %s or %s",
				LossRelativistic, NormNone, NormFree))
	}
	for _, f := range []struct {
		name  string
		value float64
	}{{"train.r1", r.Train.R1}, {"train.r2", r.Train.R2}} {
		within(p, f.name, f.value, 0, 10_000)
		if f.value != 0 && (r.Model.BatchNorm() || r.Model.MinibatchStddev) {
			p.add(f.name, fmt.Sprint(f.value), fmt.Sprintf(
				"batch norm and model.minibatch_stddev tie an image's gradient to its neighbours'; set it to 0, or "+
					"model.discriminator_norm to %s or %s and model.minibatch_stddev to false", NormNone, NormFree))
		}
	}
}

// Validate returns every problem of i at once, as Recipe.Validate does, except
// that it leaves it to the recipe how few images are enough to train on.
func (i Ingest) Validate() error {
	var p problems
	i.validate(&p, 0)
	return errors.Join(p...)
}

func (i Ingest) validate(p *problems, fewest int) {
	within(p, "ingest.max_bytes", i.MaxBytes, 1, maxImageBytes)
	within(p, "ingest.max_pixels", i.MaxPixels, 1, maxImagePixels)
	oneOf(p, "ingest.frame", i.Frame, "", FrameCentre, FramePad, FrameStretch, FrameTiles)
	for _, f := range []struct {
		name  string
		value int
	}{{"ingest.tile", i.Tile}, {"ingest.stride", i.Stride}} {
		if f.value == 0 {
			continue
		}
		within(p, f.name, f.value, minTile, maxSide)
		if i.Frame != FrameTiles {
			p.add(f.name, strconv.Itoa(f.value), fmt.Sprintf("is of ingest.frame %s alone; choose that, or set it to 0", FrameTiles))
		}
	}
	if level := i.WhiteLevel(); i.Levels != "" && i.Levels != LevelsAuto && (level < 255 || level > 65535) {
		p.add("ingest.levels", strconv.Quote(i.Levels), "give auto, or the sample that is white, 255 to 65535; 4095 for 12 bits")
	}
	within(p, "ingest.min_side", i.MinSide, 0, maxSide)
	within(p, "ingest.min_images", i.MinImages, fewest, 1<<30)
	within(p, "ingest.holdout_share", i.HoldoutShare, 0, 0.5)
	within(p, "ingest.selection_share", i.SelectionShare, 0, 0.3)
	if i.HoldoutShare+i.SelectionShare > 0.6 {
		p.add("ingest.selection_share", fmt.Sprint(i.SelectionShare),
			fmt.Sprintf("with ingest.holdout_share (%v) more than 0.6 of the images would be kept from training; lower one", i.HoldoutShare))
	}
	if i.MaxImages != 0 {
		within(p, "ingest.max_images", i.MaxImages, fewest, 1<<30)
	}
	oneOf(p, "ingest.duplicates", i.Duplicates, "", DuplicatesVerify, DuplicatesExact, DuplicatesOff)
	within(p, "ingest.duplicate_distance", i.DuplicateDistance, 0, hashBits)
	within(p, "ingest.group_distance", i.GroupDistance, 0, hashBits)
	if i.GroupDistance < i.DuplicateDistance {
		p.add("ingest.group_distance", strconv.Itoa(i.GroupDistance),
			fmt.Sprintf("below ingest.duplicate_distance (%d), so near duplicates could be parted by the split; raise it", i.DuplicateDistance))
	}
}

func (m Model) validate(p *problems) {
	within(p, "model.latent", m.Latent, 1, maxLatent)
	within(p, "model.generator_depth", m.GeneratorDepth, 1, maxDepth)
	within(p, "model.discriminator_depth", m.DiscriminatorDepth, 1, maxDepth)
	oneOf(p, "model.initial_weights", m.InitialWeights, InitDCGAN, InitPyTorch)
	oneOf(p, "model.discriminator_norm", m.DiscriminatorNorm, "", NormBatch, NormNone, NormFree)
	oneOf(p, "model.channels", m.Channels, "", ChannelsAuto, ChannelsGrey, ChannelsColour)
	numberOf(p, "model.size", m.Size, append([]int{0}, sides...)...)
	oneOf(p, "model.generator", m.Generator, "", GeneratorTransposed, GeneratorUpsample)
	within(p, "model.generator_fine", m.GeneratorFine, 0, maxDepth)
	if m.GeneratorFine > 0 && m.Generator != GeneratorUpsample {
		p.add("model.generator_fine", strconv.Itoa(m.GeneratorFine),
			fmt.Sprintf("is a block of model.generator %s alone; choose that, or set it to 0", GeneratorUpsample))
	}
	oneOf(p, "model.discriminator_head", m.DiscriminatorHead, "", HeadImage, HeadPatch, HeadBoth)
}

func (t Train) validate(p *problems) {
	within(p, "train.batch", t.Batch, MinBatch, maxBatch)
	t.validateLength(p)
	rate(p, "train.generator_rate", t.GeneratorRate)
	rate(p, "train.discriminator_rate", t.DiscriminatorRate)
	decay(p, "train.beta1", t.Beta1)
	decay(p, "train.beta2", t.Beta2)
	decay(p, "train.generator_beta1", t.GeneratorBeta1)
	decay(p, "train.generator_beta2", t.GeneratorBeta2)
	decay(p, "train.discriminator_beta1", t.DiscriminatorBeta1)
	decay(p, "train.discriminator_beta2", t.DiscriminatorBeta2)
	if t.LabelSmoothing != 0 && !t.CrossEntropy() {
		p.add("train.label_smoothing", fmt.Sprint(t.LabelSmoothing),
			fmt.Sprintf("smooths the labels of train.loss %s alone; set it to 0", LossBCE))
	}
	t.validateKinds(p)
	within(p, "train.augment_target", t.AugmentTarget, 0, 1)
	within(p, "train.augment_images", t.AugmentImages, 0, 1<<30)
	if t.AugmentTarget != 0 && (t.Loss == LossRelativistic || len(t.Augments()) == 0) {
		p.add("train.augment_target", fmt.Sprint(t.AugmentTarget), fmt.Sprintf(
			"goes by the signs of logits, which train.loss %s leaves open, and changes train.augment; set it to 0", LossRelativistic))
	}
	within(p, "train.average_images", t.AverageImages, 0, 1<<30)
	within(p, "train.label_smoothing", t.LabelSmoothing, 0, 0.5)
	within(p, "train.lecam", t.LeCam, 0, 100)
	within(p, "train.keep_checkpoints", t.KeepCheckpoints, 1, maxCheckpoints)
}

// validateLength checks how long training is, and in how many legs.
func (t Train) validateLength(p *problems) {
	if t.Steps != 0 {
		within(p, "train.steps", t.Steps, 1, maxSteps)
		for _, f := range []struct {
			name  string
			value int
		}{{"train.epochs", t.Epochs}, {"train.leg_epochs", t.LegEpochs}} {
			if f.value != 0 {
				p.add(f.name, strconv.Itoa(f.value), fmt.Sprintf("train.steps (%d) decides how long training is; set one of the two to 0", t.Steps))
			}
		}
		return
	}
	within(p, "train.epochs", t.Epochs, 1, maxEpochs)
	within(p, "train.leg_epochs", t.LegEpochs, 1, maxEpochs)
	if t.LegEpochs > 0 && t.Epochs/t.LegEpochs > maxLegs {
		p.add("train.leg_epochs", strconv.Itoa(t.LegEpochs),
			fmt.Sprintf("makes more than %d activities of %d epochs; raise it to %d or more", maxLegs, t.Epochs, t.Epochs/maxLegs+1))
	}
}

// validateKinds checks what is chosen by name.
func (t Train) validateKinds(p *problems) {
	oneOf(p, "train.precision", t.Precision, "", PrecisionFloat32, PrecisionBF16)
	for _, part := range t.Augments() {
		oneOf(p, "train.augment", part, AugmentFlip, AugmentTurn, AugmentShift, AugmentColor, AugmentTranslation, AugmentCutout)
	}
	for _, part := range t.RealAugments() {
		oneOf(p, "train.real_augment", part, AugmentFlip, AugmentTurn)
	}
	oneOf(p, "train.decay", t.Decay, "", DecayNone, DecayLinear, DecayCosine, DecayLate)
	oneOf(p, "train.loss", t.Loss, "", LossBCE, LossHinge, LossRelativistic)
}

func (m Monitor) validate(p *problems) {
	within(p, "monitor.tries", m.Tries, 0, maxTries)
	within(p, "monitor.overpower_steps", m.OverpowerSteps, 0, 1<<30)
	within(p, "monitor.collapse_share", m.CollapseShare, 0, 1)
	within(p, "monitor.memorising_above", m.MemorisingAbove, 0, 1)
	within(p, "monitor.patience", m.Patience, 0, maxLegs)
	if m.Images != 0 { // recipes before it had none, and evaluated nothing
		within(p, "monitor.images", m.Images, minEvaluated, maxSamples)
	}
}

func (s Sample) validate(p *problems) {
	within(p, "sample.count", s.Count, 1, maxSamples)
	within(p, "sample.statistics_batches", s.StatisticsBatches, 0, maxStatistics)
}

func (o Overfit) validate(p *problems) {
	within(p, "overfit.neighbours", o.Neighbours, 1, maxNeighbours)
	within(p, "overfit.reject_quantile", o.RejectQuantile, 0, 1)
	within(p, "overfit.tail_quantile", o.TailQuantile, 0, 1)
	if o.RejectQuantile <= 1 && o.TailQuantile < o.RejectQuantile {
		p.add("overfit.tail_quantile", fmt.Sprint(o.TailQuantile),
			fmt.Sprintf("below overfit.reject_quantile (%v), so no accepted image could be in the tail; raise it", o.RejectQuantile))
	}
}

// numberOf refuses what is none of allowed; the first stands for the default, and
// is not named.
func numberOf(p *problems, field string, value int, allowed ...int) {
	if !slices.Contains(allowed, value) {
		p.add(field, strconv.Itoa(value), fmt.Sprintf("choose one of %v", allowed[1:]))
	}
}

type problems []error

func (p *problems) add(field, value, remedy string) {
	*p = append(*p, fmt.Errorf("%s: %s: %s", field, value, remedy))
}

func oneOf(p *problems, field, value string, allowed ...string) {
	if slices.Contains(allowed, value) {
		return
	}
	names := slices.DeleteFunc(slices.Clone(allowed), func(s string) bool { return s == "" })
	p.add(field, strconv.Quote(value), "choose one of "+strings.Join(names, ", "))
}

// within also refuses NaN, which is in no range.
func within[T int | int64 | float64](p *problems, field string, value, low, high T) {
	if !(value >= low && value <= high) {
		p.add(field, fmt.Sprint(value), fmt.Sprintf("must be within %v and %v", low, high))
	}
}

func rate(p *problems, field string, value float64) {
	if !(value > 0 && value <= 1) {
		p.add(field, fmt.Sprint(value), "must be above 0 and at most 1; 1e-4 to 4e-4 are usual")
	}
}

func decay(p *problems, field string, value float64) {
	if !(value >= 0 && value < 1) {
		p.add(field, fmt.Sprint(value), "must be at least 0 and below 1")
	}
}
