// Package spec describes a run as plain data: what is ingested, which networks
// are trained and how, what is sampled and how it is judged. It computes
// nothing but defaults, validity and fingerprints.
package spec

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
)

// The image shape every network here is built for: three channels of 128 by
// 128 pixels, NCHW. The number of layers follows from the size.
const (
	Channels = 3
	Size     = 128
	// ImageLen is the number of values of one image.
	ImageLen = Channels * Size * Size
	// MinBatch is the smallest batch that is trained on: batch statistics of
	// fewer images mean little, so a ragged last batch below it is dropped.
	MinBatch = 3
)

// Initial weight schemes, the values of Model.InitialWeights.
const (
	// InitDCGAN draws convolutions from N(0, 0.02) and batch norm scales from
	// N(1, 0.02).
	InitDCGAN = "dcgan"
	// InitPyTorch draws convolutions from U(-b, b), b = 1/sqrt(weight.size(1)*16),
	// PyTorch's default; batch norm scales are 1.
	InitPyTorch = "pytorch"
)

// Normalisations of the discriminator, the values of Model.DiscriminatorNorm.
// The empty string means NormBatch, as recipes before it had.
const (
	NormBatch = "batch" // spectral norm, and batch norm from the second block on
	NormNone  = "none"  // spectral norm alone
)

// Precisions, the values of Train.Precision. The empty string means
// PrecisionFloat32.
const (
	PrecisionFloat32 = "float32"
	PrecisionBF16    = "bf16"
)

// The parts of DiffAugment, in the order in which they are applied.
const (
	AugmentColor       = "color"
	AugmentTranslation = "translation"
	AugmentCutout      = "cutout"
)

// Recipe is everything that decides a run's bytes, apart from the images.
type Recipe struct {
	Name    string  `json:"name" yaml:"name" mapstructure:"name"`
	Seed    uint64  `json:"seed" yaml:"seed" mapstructure:"seed"`
	Ingest  Ingest  `json:"ingest" yaml:"ingest" mapstructure:"ingest"`
	Model   Model   `json:"model" yaml:"model" mapstructure:"model"`
	Train   Train   `json:"train" yaml:"train" mapstructure:"train"`
	Monitor Monitor `json:"monitor" yaml:"monitor" mapstructure:"monitor"`
	Sample  Sample  `json:"sample" yaml:"sample" mapstructure:"sample"`
	Overfit Overfit `json:"overfit" yaml:"overfit" mapstructure:"overfit"`
	// Policy names the built-in policy that judges the set where the run names
	// no other.
	Policy string `json:"policy" yaml:"policy" mapstructure:"policy"`
}

// Ingest says what is accepted and how the hold-out is drawn.
type Ingest struct {
	// MaxBytes bounds one image file.
	MaxBytes int64 `json:"max_bytes" yaml:"max_bytes" mapstructure:"max_bytes"`
	// MaxPixels bounds width times height, read from the header.
	MaxPixels int64 `json:"max_pixels" yaml:"max_pixels" mapstructure:"max_pixels"`
	// MinImages is the fewest usable images that are worth training on.
	MinImages int `json:"min_images" yaml:"min_images" mapstructure:"min_images"`
	// HoldoutShare is the share of images kept from training, in [0, 0.5].
	HoldoutShare float64 `json:"holdout_share" yaml:"holdout_share" mapstructure:"holdout_share"`
	// SelectionShare is the share of images kept from training, and apart from
	// the hold-out, to choose the checkpoint with; 0 keeps none and takes the
	// last checkpoint. With HoldoutShare it is at most 0.6.
	SelectionShare float64 `json:"selection_share" yaml:"selection_share" mapstructure:"selection_share"`
	// DuplicateDistance is the largest Hamming distance of two 64-bit
	// perceptual hashes that makes the later image a near duplicate.
	DuplicateDistance int `json:"duplicate_distance" yaml:"duplicate_distance" mapstructure:"duplicate_distance"`
	// GroupDistance is the largest Hamming distance that puts two images into
	// one group, which the hold-out split never divides.
	GroupDistance int `json:"group_distance" yaml:"group_distance" mapstructure:"group_distance"`
	// MaxImages lets the generator see so many images, drawn by digest from those
	// left for training; the others are used for nothing. 0 takes all.
	MaxImages int `json:"max_images,omitempty" yaml:"max_images,omitempty" mapstructure:"max_images"`
}

// Model says which networks are built.
type Model struct {
	Latent             int    `json:"latent" yaml:"latent" mapstructure:"latent"`
	GeneratorDepth     int    `json:"generator_depth" yaml:"generator_depth" mapstructure:"generator_depth"`
	DiscriminatorDepth int    `json:"discriminator_depth" yaml:"discriminator_depth" mapstructure:"discriminator_depth"`
	InitialWeights     string `json:"initial_weights" yaml:"initial_weights" mapstructure:"initial_weights"`
	// DiscriminatorNorm is NormBatch, or NormNone for spectral norm alone.
	DiscriminatorNorm string `json:"discriminator_norm" yaml:"discriminator_norm" mapstructure:"discriminator_norm"`
}

// Train says how the networks are trained.
type Train struct {
	Batch             int     `json:"batch" yaml:"batch" mapstructure:"batch"`
	Epochs            int     `json:"epochs" yaml:"epochs" mapstructure:"epochs"`
	GeneratorRate     float64 `json:"generator_rate" yaml:"generator_rate" mapstructure:"generator_rate"`
	DiscriminatorRate float64 `json:"discriminator_rate" yaml:"discriminator_rate" mapstructure:"discriminator_rate"`
	Beta1             float64 `json:"beta1" yaml:"beta1" mapstructure:"beta1"`
	Beta2             float64 `json:"beta2" yaml:"beta2" mapstructure:"beta2"`
	// Precision of the products: PrecisionFloat32, or PrecisionBF16 with float32
	// sums, weights and statistics where the processor has it.
	Precision string `json:"precision" yaml:"precision" mapstructure:"precision"`
	// Augment lists the parts of DiffAugment that real and generated images pass
	// through before the discriminator: AugmentColor, AugmentTranslation and
	// AugmentCutout, separated by commas; empty for none.
	Augment string `json:"augment" yaml:"augment" mapstructure:"augment"`
	// AverageImages is the half-life, in images, of the exponential average of
	// the generator's weights that samples are drawn from; 0 draws from the
	// weights themselves.
	AverageImages int `json:"average_images" yaml:"average_images" mapstructure:"average_images"`
	// LabelSmoothing lowers the label of real images to 1 minus this.
	LabelSmoothing float64 `json:"label_smoothing" yaml:"label_smoothing" mapstructure:"label_smoothing"`
	// LeCam is the weight of the LeCam regulariser; 0 leaves it out.
	LeCam float64 `json:"lecam" yaml:"lecam" mapstructure:"lecam"`
	// LegEpochs is the number of epochs of one training activity. It changes
	// the history's grain, and where monitors and evaluations look; without
	// these, never the result.
	LegEpochs int `json:"leg_epochs" yaml:"leg_epochs" mapstructure:"leg_epochs"`
	// KeepCheckpoints is how many of the run's last checkpoints are kept.
	KeepCheckpoints int `json:"keep_checkpoints" yaml:"keep_checkpoints" mapstructure:"keep_checkpoints"`
}

// Monitor says when training is rolled back or ends early. Where Ingest keeps a
// selection split, every leg's checkpoint is evaluated on it.
type Monitor struct {
	// Tries is how often training may be rolled back, each time with half the
	// discriminator's rate; 0 fails at the first alarm of divergence and ignores
	// the others.
	Tries int `json:"tries" yaml:"tries" mapstructure:"tries"`
	// OverpowerSteps steps in a row with D(x) > 0.95 and D(G(z)) < 0.05 are an
	// alarm; 0 for never.
	OverpowerSteps int `json:"overpower_steps" yaml:"overpower_steps" mapstructure:"overpower_steps"`
	// CollapseShare: a mean pairwise distance of generated images below this
	// share of the real images' is an alarm; 0 for never.
	CollapseShare float64 `json:"collapse_share" yaml:"collapse_share" mapstructure:"collapse_share"`
	// MemorisingAbove: an epoch's mean sign of D's logits on real images above
	// this is an alarm; 0 for never. At 1 or more it cannot fire.
	MemorisingAbove float64 `json:"memorising_above" yaml:"memorising_above" mapstructure:"memorising_above"`
	// Patience is the number of evaluated legs without a better KID after which
	// training ends; 0 trains all epochs.
	Patience int `json:"patience" yaml:"patience" mapstructure:"patience"`
	// Images is the number of generated images of one evaluation.
	Images int `json:"images" yaml:"images" mapstructure:"images"`
}

// Sample says how many images are drawn.
type Sample struct {
	// Count is the number of candidates.
	Count int `json:"count" yaml:"count" mapstructure:"count"`
	// StatisticsBatches is the number of generator batches from which the
	// batch norm statistics are estimated anew before sampling; 0 keeps the
	// running statistics of training.
	StatisticsBatches int `json:"statistics_batches" yaml:"statistics_batches" mapstructure:"statistics_batches"`
}

// Overfit says how candidates are compared with the real images.
type Overfit struct {
	// Neighbours is the number of nearest real images listed per candidate.
	Neighbours int `json:"neighbours" yaml:"neighbours" mapstructure:"neighbours"`
	// RejectQuantile: a candidate nearer to a real image than this quantile of
	// the real images' leave-one-out nearest distances is rejected.
	RejectQuantile float64 `json:"reject_quantile" yaml:"reject_quantile" mapstructure:"reject_quantile"`
	// TailQuantile of the same distances is what the tail test counts
	// candidates below.
	TailQuantile float64 `json:"tail_quantile" yaml:"tail_quantile" mapstructure:"tail_quantile"`
}

// Classic is the source's configuration: depths 64 and 128, batch 12, 128
// epochs, rates 1e-4 and 4e-4.
func Classic() Recipe {
	return Recipe{
		Name: "classic",
		Seed: 1,
		Ingest: Ingest{
			MaxBytes: 32 << 20, MaxPixels: 16 << 20, MinImages: 24,
			HoldoutShare: 0.2, DuplicateDistance: 4, GroupDistance: 8,
		},
		Model: Model{Latent: 100, GeneratorDepth: 64, DiscriminatorDepth: 128, InitialWeights: InitDCGAN, DiscriminatorNorm: NormBatch},
		Train: Train{
			Batch: 12, Epochs: 128, GeneratorRate: 1e-4, DiscriminatorRate: 4e-4,
			Beta1: 0.5, Beta2: 0.999, Precision: PrecisionFloat32, LegEpochs: 4, KeepCheckpoints: 2,
		},
		Monitor: Monitor{Tries: 3, OverpowerSteps: 200, Images: 128},
		Sample:  Sample{Count: 240, StatisticsBatches: 16},
		Overfit: Overfit{Neighbours: 5, RejectQuantile: 0.01, TailQuantile: 0.05},
		Policy:  "production",
	}
}

// Quick is a shallow net for demos and first runs: depths 16 and 16, 75 epochs
// (about 1,500 steps on 240 images). Its rates are higher than the source's and
// the generator's is the larger: tried on scratches, 2e-4 for both shows faint
// streaks after 1,500 steps, these clear ones after 500.
func Quick() Recipe {
	r := Classic()
	r.Name = "quick"
	r.Model.GeneratorDepth, r.Model.DiscriminatorDepth = 16, 16
	r.Train.GeneratorRate, r.Train.DiscriminatorRate = 8e-4, 4e-4
	r.Train.Epochs, r.Train.LegEpochs = 75, 5
	r.Sample.Count = 120
	r.Policy = "copying"
	return r
}

// SmallData is for a few hundred images: classic's depths with what was measured
// to help a GAN that sees few of them (model/ABLATION.md), a checkpoint chosen on a
// selection split, and every monitor on.
func SmallData() Recipe {
	r := Classic()
	r.Name = "small-data"
	r.Ingest.SelectionShare = 0.1
	r.Train.AverageImages = 10_000
	// The sign of D's logits is no alarm here: on 240 real images it passes 0.8
	// within ten epochs while D(x) stays near 0.6.
	r.Monitor.CollapseShare, r.Monitor.Patience = 0.5, 8
	return r
}

// Augments are the parts of DiffAugment that Augment names, in order.
func (t Train) Augments() []string {
	var out []string
	for part := range strings.SplitSeq(t.Augment, ",") {
		if part = strings.TrimSpace(part); part != "" {
			out = append(out, part)
		}
	}
	return out
}

// Names lists the built-in recipes.
func Names() []string { return []string{"classic", "quick", "small-data"} }

// Named returns a built-in recipe.
func Named(name string) (Recipe, error) {
	switch name {
	case "classic":
		return Classic(), nil
	case "quick":
		return Quick(), nil
	case "small-data":
		return SmallData(), nil
	}
	return Recipe{}, fmt.Errorf("recipe %q: unknown; choose one of %v or give a YAML file", name, Names())
}

// Digest is the SHA-256, in lower-case hex, of v's canonical JSON: the order
// of struct fields is fixed and map keys are sorted. v must be plain data.
func Digest(v any) string {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("spec: value of type %T is not plain data: %v", v, err))
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:])
}

// TrainingFingerprint names what decides the trained weights: seed, networks
// and training settings, without the ones that only change the history's grain.
// Epochs are left out too: training for longer continues the same path.
func (r Recipe) TrainingFingerprint() string {
	t := r.Train
	t.LegEpochs, t.KeepCheckpoints, t.Epochs = 0, 0, 0
	return Digest(struct {
		Format int
		Seed   uint64
		Model  Model
		Train  Train
	}{2, r.Seed, r.Model, t})
}
