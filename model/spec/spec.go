// Package spec describes a run as plain data: what is ingested, which networks
// are trained and how, what is sampled and how it is judged. It computes
// nothing but defaults, validity and fingerprints.
package spec

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
	NormFree  = "free"  // no norm at all
)

// Precisions, the values of Train.Precision. The empty string means
// PrecisionFloat32.
const (
	PrecisionFloat32 = "float32"
	PrecisionBF16    = "bf16"
)

// Recipe is everything that decides a run's bytes, apart from the images.
//
// Adding a field, here or in a part of Recipe: stored checkpoints, remembered
// results, decisions and workflow identifiers are all found by digests of the
// recipe's JSON, so a recipe that does not mention the new field must hash as it
// did before the field existed. Tag it json:"...,omitempty" (or omitzero, for
// structs and for types with IsZero), and let its zero value mean the old
// behaviour: a setting that is on by default is stored as what turns it off. Built-in
// recipes then set it where they want it. Without this every stored checkpoint
// turns foreign, and a run that moves to the new version in mid-training fails.
// The same holds for Policy. TestRecordedDigests proves it on recorded recipes.
type Recipe struct {
	Name    string  `json:"name" yaml:"name"`
	Seed    uint64  `json:"seed" yaml:"seed"`
	Ingest  Ingest  `json:"ingest" yaml:"ingest"`
	Model   Model   `json:"model" yaml:"model"`
	Train   Train   `json:"train" yaml:"train"`
	Monitor Monitor `json:"monitor" yaml:"monitor"`
	Sample  Sample  `json:"sample" yaml:"sample"`
	Overfit Overfit `json:"overfit" yaml:"overfit"`
	// Policy names the built-in policy that judges the set where the run names
	// no other.
	Policy string `json:"policy" yaml:"policy"`
}

// Ingest says what is accepted and how the hold-out is drawn.
type Ingest struct {
	// MaxBytes bounds one image file.
	MaxBytes int64 `json:"max_bytes" yaml:"max_bytes"`
	// MaxPixels bounds width times height, read from the header.
	MaxPixels int64 `json:"max_pixels" yaml:"max_pixels"`
	// MinSide is the least width and height of an image in use, in pixels; 0 for any.
	MinSide int `json:"min_side,omitempty" yaml:"min_side,omitempty"`
	// Frame is what is taken of an image: FrameCentre, FramePad, FrameStretch or
	// FrameTiles. Empty is FrameCentre.
	Frame string `json:"frame,omitempty" yaml:"frame,omitempty"`
	// Tile is the side of FrameTiles' squares in pixels, 0 for the image's shorter
	// side; Stride how far they lie apart, 0 for their side.
	Tile   int `json:"tile,omitempty" yaml:"tile,omitempty"`
	Stride int `json:"stride,omitempty" yaml:"stride,omitempty"`
	// Levels is the sample of images of 16 bits that becomes white, 255 to 65535, or
	// LevelsAuto. Empty keeps the upper 8 bits, as 65535 does.
	Levels string `json:"levels,omitempty" yaml:"levels,omitempty"`
	// MinImages is the fewest usable images that are worth training on.
	MinImages int `json:"min_images" yaml:"min_images"`
	// HoldoutShare is the share of images kept from training, in [0, 0.5].
	HoldoutShare float64 `json:"holdout_share" yaml:"holdout_share"`
	// SelectionShare is the share of images kept from training, and apart from
	// the hold-out, to choose the checkpoint with; 0 keeps none and takes the
	// last checkpoint. With HoldoutShare it is at most 0.6.
	SelectionShare float64 `json:"selection_share" yaml:"selection_share"`
	// DuplicateDistance is the largest Hamming distance of two 64-bit
	// perceptual hashes that makes the later image a near duplicate.
	DuplicateDistance int `json:"duplicate_distance" yaml:"duplicate_distance"`
	// GroupDistance is the largest Hamming distance that puts two images into
	// one group, which the hold-out split never divides.
	GroupDistance int `json:"group_distance" yaml:"group_distance"`
	// Duplicates says which images are left out as duplicates: DuplicatesVerify,
	// DuplicatesExact or DuplicatesOff. Empty means by perceptual hashes alone, as
	// recipes before it did.
	Duplicates string `json:"duplicates,omitempty" yaml:"duplicates,omitempty"`
	// MaxImages limits how many images the generator sees, drawn by digest from those
	// left for training; the others are used for nothing. 0 takes all.
	MaxImages int `json:"max_images,omitempty" yaml:"max_images,omitempty"`
}

// Model says which networks are built. Recipe says how to add a field.
type Model struct {
	Latent             int    `json:"latent" yaml:"latent"`
	GeneratorDepth     int    `json:"generator_depth" yaml:"generator_depth"`
	DiscriminatorDepth int    `json:"discriminator_depth" yaml:"discriminator_depth"`
	InitialWeights     string `json:"initial_weights" yaml:"initial_weights"`
	// DiscriminatorNorm is NormBatch, or NormNone for spectral norm alone.
	DiscriminatorNorm string `json:"discriminator_norm" yaml:"discriminator_norm"`
	// Channels of an image: ChannelsGrey, ChannelsColour or ChannelsAuto. Empty is
	// ChannelsColour.
	Channels string `json:"channels,omitempty" yaml:"channels,omitempty"`
	// Size is an image's side, 64, 128 or 256; 0 is 128, which is all that a run takes:
	// the others are for package model alone. The number of layers follows from it.
	Size int `json:"size,omitempty" yaml:"size,omitempty"`
	// Generator is GeneratorTransposed or GeneratorUpsample.
	Generator string `json:"generator,omitempty" yaml:"generator,omitempty"`
	// GeneratorFine is the width of one more block of GeneratorUpsample, at full
	// resolution; 0 has none.
	GeneratorFine int `json:"generator_fine,omitempty" yaml:"generator_fine,omitempty"`
	// GeneratorNoise adds noise of learned strength after each of the generator's
	// convolutions but the last.
	GeneratorNoise bool `json:"generator_noise,omitempty" yaml:"generator_noise,omitempty"`
	// DiscriminatorHead is HeadImage, HeadPatch or HeadBoth.
	DiscriminatorHead string `json:"discriminator_head,omitempty" yaml:"discriminator_head,omitempty"`
	// MinibatchStddev shows the discriminator's head how much the images of a batch
	// differ, as one more channel of its features: four by four, or the whole batch
	// where it is no multiple of four.
	MinibatchStddev bool `json:"minibatch_stddev,omitempty" yaml:"minibatch_stddev,omitempty"`
}

// Train says how the networks are trained. Recipe says how to add a field.
type Train struct {
	Batch int `json:"batch" yaml:"batch"`
	// Epochs is how often every image is trained on; 0 where Steps is set.
	Epochs int `json:"epochs" yaml:"epochs"`
	// Steps is the number of batches to train on, rounded up to whole epochs, so that
	// the time does not grow with the number of images; 0 where Epochs is set.
	Steps             int     `json:"steps,omitempty" yaml:"steps,omitempty"`
	GeneratorRate     float64 `json:"generator_rate" yaml:"generator_rate"`
	DiscriminatorRate float64 `json:"discriminator_rate" yaml:"discriminator_rate"`
	// Beta1 and Beta2 are Adam's, of both networks, apart from those of a network
	// that has one of its own, which is above 0.
	Beta1              float64 `json:"beta1" yaml:"beta1"`
	Beta2              float64 `json:"beta2" yaml:"beta2"`
	GeneratorBeta1     float64 `json:"generator_beta1,omitempty" yaml:"generator_beta1,omitempty"`
	GeneratorBeta2     float64 `json:"generator_beta2,omitempty" yaml:"generator_beta2,omitempty"`
	DiscriminatorBeta1 float64 `json:"discriminator_beta1,omitempty" yaml:"discriminator_beta1,omitempty"`
	DiscriminatorBeta2 float64 `json:"discriminator_beta2,omitempty" yaml:"discriminator_beta2,omitempty"`
	// Decay of both rates over all epochs: DecayNone, DecayLinear, DecayCosine or
	// DecayLate.
	// With a decay, the number of epochs decides each step, and so is part of the
	// training fingerprint.
	Decay string `json:"decay,omitempty" yaml:"decay,omitempty"`
	// Loss is LossBCE, LossHinge or LossRelativistic.
	Loss string `json:"loss,omitempty" yaml:"loss,omitempty"`
	// R1 and R2 are the weights gamma of the zero-centred gradient penalties
	// gamma/2 * mean |grad D|^2 on real and on generated images; 0 leaves one out.
	R1 float64 `json:"r1,omitempty" yaml:"r1,omitempty"`
	R2 float64 `json:"r2,omitempty" yaml:"r2,omitempty"`
	// Precision of the products: PrecisionFloat32, or PrecisionBF16 with float32
	// sums, weights and statistics where the processor has it.
	Precision string `json:"precision" yaml:"precision"`
	// Augment lists the parts of augmentation that real and generated images pass
	// through before the discriminator, AugmentFlip to AugmentCutout, separated by
	// commas; empty for none.
	Augment string `json:"augment" yaml:"augment"`
	// AugmentTarget lets the probability of each of these parts, 0 at first, rise
	// while the mean sign of D's logits of real images is above it, and fall below;
	// 0 does all of them, always. AugmentImages is the number of images over which
	// the probability could go from 0 to 1; 0 is 500,000.
	AugmentTarget float64 `json:"augment_target,omitempty" yaml:"augment_target,omitempty"`
	AugmentImages int     `json:"augment_images,omitempty" yaml:"augment_images,omitempty"`
	// RealAugment lists what is done to real images alone, AugmentFlip and
	// AugmentTurn, separated by commas: generated images learn to look like these.
	RealAugment string `json:"real_augment,omitempty" yaml:"real_augment,omitempty"`
	// AverageImages is the half-life, in images, of the exponential average of
	// the generator's weights that samples are drawn from; 0 draws from the
	// weights themselves.
	AverageImages int `json:"average_images" yaml:"average_images"`
	// LabelSmoothing lowers the label of real images to 1 minus this.
	LabelSmoothing float64 `json:"label_smoothing" yaml:"label_smoothing"`
	// LeCam is the weight of the LeCam regulariser; 0 leaves it out.
	LeCam float64 `json:"lecam" yaml:"lecam"`
	// LegEpochs is the number of epochs of one training activity; with Steps it is 0,
	// for a twentieth of them. It changes
	// the history's grain, and where monitors and evaluations look; without
	// these, never the result.
	LegEpochs int `json:"leg_epochs" yaml:"leg_epochs"`
	// KeepCheckpoints is how many of the run's last checkpoints are kept.
	KeepCheckpoints int `json:"keep_checkpoints" yaml:"keep_checkpoints"`
}

// Monitor says when training is rolled back or ends early. Where Ingest keeps a
// selection split, every leg's checkpoint is evaluated on it.
type Monitor struct {
	// Tries is how often training may be rolled back, each time with half the
	// discriminator's rate; 0 fails at the first alarm of divergence and ignores
	// the others.
	Tries int `json:"tries" yaml:"tries"`
	// OverpowerSteps steps in a row with D(x) > 0.95 and D(G(z)) < 0.05 are an
	// alarm; 0 for never.
	OverpowerSteps int `json:"overpower_steps" yaml:"overpower_steps"`
	// CollapseShare: a mean pairwise distance of generated images below this
	// share of the real images' is an alarm; 0 for never.
	CollapseShare float64 `json:"collapse_share" yaml:"collapse_share"`
	// MemorisingAbove: an epoch's mean sign of D's logits on real images above
	// this is an alarm; 0 for never. At 1 or more it cannot fire.
	MemorisingAbove float64 `json:"memorising_above" yaml:"memorising_above"`
	// Patience is the number of evaluated legs without a better KID after which
	// training ends; 0 trains all epochs.
	Patience int `json:"patience" yaml:"patience"`
	// Images is the number of generated images of one evaluation.
	Images int `json:"images" yaml:"images"`
}

// Sample says how many images are drawn.
type Sample struct {
	// Count is the number of candidates.
	Count int `json:"count" yaml:"count"`
	// StatisticsBatches is the number of generator batches from which the
	// batch norm statistics are re-estimated before sampling; 0 keeps the
	// running statistics of training.
	StatisticsBatches int `json:"statistics_batches" yaml:"statistics_batches"`
	// Mirror mirrors each candidate along either axis, each for half of them by chance.
	// A discriminator that saw all images mirrored by chance (Train.Augment) can't say
	// which way round they are, so that a generator may draw one way alone.
	Mirror bool `json:"mirror,omitempty" yaml:"mirror,omitempty"`
}

// Overfit says how candidates are compared with the real images.
type Overfit struct {
	// Neighbours is the number of nearest real images listed per candidate.
	Neighbours int `json:"neighbours" yaml:"neighbours"`
	// RejectQuantile: a candidate nearer to a real image than this quantile of
	// the real images' leave-one-out nearest distances is rejected.
	RejectQuantile float64 `json:"reject_quantile" yaml:"reject_quantile"`
	// TailQuantile of the same distances is what the tail test counts
	// candidates below.
	TailQuantile float64 `json:"tail_quantile" yaml:"tail_quantile"`
}
