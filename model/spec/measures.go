package spec

import (
	"fmt"
	"slices"
)

// Names of the measures that a policy may bound.
const (
	MeasureRealImages     = "real_images"
	MeasureHoldoutImages  = "holdout_images"
	MeasureCompared       = "compared_share"
	MeasureAccepted       = "accepted_images"
	MeasureTailShare      = "tail_share"
	MeasureTransformed    = "tail_share_transformed"
	MeasureDisguised      = "disguised_share"
	MeasureCopyZ          = "copy_z"
	MeasureRepeated       = "repeated_share"
	MeasureWithin         = "within_tail_share"
	MeasureMSSSIMExcess   = "ms_ssim_excess"
	MeasureCoverage       = "coverage"
	MeasureDensity        = "density"
	MeasureSWDRatio       = "swd_ratio"
	MeasureKIDPixels      = "kid_pca"
	MeasureKIDTexture     = "kid_texture"
	MeasureHistogramRatio = "histogram_ratio"
	MeasureColourRatio    = "colour_ratio"
	MeasureUtilityGain    = "utility_gain"
)

// Unit is what a measure is counted in.
type Unit int

// The units.
const (
	Number Unit = iota // of no unit: a distance, a ratio, a score
	Share              // of 1, written as a percentage
	Count              // of images
)

// Format writes a value of the unit.
func (u Unit) Format(v float64) string {
	switch u {
	case Share:
		return fmt.Sprintf("%.1f%%", 100*v)
	case Count:
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.3g", v)
}

// Measure describes a measure that a policy may bound. How it is computed is
// explained in model/quality.
type Measure struct {
	Name string
	Unit Unit
	// HigherIsBetter says on which side a rule usually bounds the measure: at
	// least, or else at most.
	HigherIsBetter bool
	// Likeness: it says whether generated images look like real ones.
	Likeness bool
	// Label is the measure in a few words, as the heading of a row.
	Label string
	// Meaning is what is measured, as the beginning of a sentence.
	Meaning string
}

// measures is where a measure is entered: once, with all that people read of it.
var measures = []Measure{
	{
		Name: MeasureRealImages, Unit: Count, HigherIsBetter: true, Label: "Real images",
		Meaning: "real images; few of them don't tell copies from chance",
	},
	{
		Name: MeasureHoldoutImages, Unit: Count, HigherIsBetter: true, Label: "Real images held out of training",
		Meaning: "real images held out of training",
	},
	{
		Name: MeasureCompared, Unit: Share, HigherIsBetter: true, Label: "Candidates compared with every real image",
		Meaning: "candidates that were compared with every real image",
	},
	{
		Name: MeasureAccepted, Unit: Count, HigherIsBetter: true, Label: "Accepted candidates",
		Meaning: "candidates that are accepted",
	},
	{
		Name: MeasureTailShare, Unit: Share, Label: "Candidates unusually near to a training image",
		Meaning: "candidates nearer to a training image than nearly all real images are to those of other groups",
	},
	{
		Name: MeasureTransformed, Unit: Share,
		Label:   "Candidates unusually near to a training image mirrored, turned or shifted",
		Meaning: "the same with training images mirrored, turned and shifted",
	},
	{
		Name: MeasureDisguised, Unit: Share, Label: "Candidates that are real images in disguise",
		Meaning: "candidates with the contrasts of a real image, whatever their brightness, tint, size, turn or part of it",
	},
	{
		Name: MeasureCopyZ, HigherIsBetter: true, Label: "Candidates nearer to training images than held-out ones are",
		Meaning: "Z of candidates against held-out images, by distance to the training images (C_T); far below 0 means copying",
	},
	{
		Name: MeasureRepeated, Unit: Share, Label: "Blank and repeated candidates",
		Meaning: "candidates that are blank or repeat another one exactly",
	},
	{
		Name: MeasureWithin, Unit: Share, Label: "Candidates unusually near to one another",
		Meaning: "accepted candidates that are nearer to one another than nearly all real images are",
	},
	{
		Name: MeasureMSSSIMExcess, Label: "Likeness within the set, over the real images'",
		Meaning: "structural similarity (MS-SSIM, of luminance) of pairs of candidates over that of pairs of real images, in standard errors; " +
			"high means little variety",
	},
	{
		Name: MeasureCoverage, HigherIsBetter: true, Likeness: true, Label: "Coverage of the real images",
		Meaning: "real images with a candidate in their neighbourhood, in the worst of four feature spaces of luminance (coverage)",
	},
	{
		Name: MeasureDensity, HigherIsBetter: true, Likeness: true, Label: "Density among the real images",
		Meaning: "real neighbourhoods that a candidate lies in, over 5, in the worst of four feature spaces of luminance (density)",
	},
	{
		Name: MeasureSWDRatio, Likeness: true, Label: "Sliced Wasserstein distance, over real against real",
		Meaning: "distance of patches of luminance (SWD) over that of real halves",
	},
	{
		Name: MeasureKIDPixels, Likeness: true, Label: "Kernel distance (KID) of pixels",
		Meaning: "kernel distance to the hold-out (KID), principal components of luminance",
	},
	{
		Name: MeasureKIDTexture, Likeness: true, Label: "Kernel distance (KID) of texture",
		Meaning: "kernel distance to the hold-out (KID), texture of luminance",
	},
	{
		Name: MeasureHistogramRatio, Label: "Distance of grey levels, over real against real",
		Meaning: "distance of grey levels over that of real halves",
	},
	{
		Name: MeasureColourRatio, Label: "Distance of colours, over real against real",
		Meaning: "distance of colours (chroma, in levels, and one more) over that of real halves (and one more)",
	},
	{
		Name: MeasureUtilityGain, HigherIsBetter: true, Label: "Gain in macro-F1 over classic augmentation, lower bound",
		Meaning: "lower bound of the gain in a classifier's macro-F1 over classic augmentation",
	},
}

// Measures lists every measure that a policy may bound.
func Measures() []Measure { return slices.Clone(measures) }

// MeasureNamed describes the measure of that name. Of one that is unknown, as a
// newer version may have written, it is the name and nothing else.
func MeasureNamed(name string) Measure {
	if i := slices.IndexFunc(measures, func(m Measure) bool { return m.Name == name }); i >= 0 {
		return measures[i]
	}
	return Measure{Name: name, Label: name, Meaning: name}
}

func measureNames() []string {
	names := make([]string, len(measures))
	for i, m := range measures {
		names[i] = m.Name
	}
	return names
}
