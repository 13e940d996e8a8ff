package quality

import (
	"context"
	"fmt"
	"math"

	"github.com/defectforge/defectforge/model/kernel"
	"github.com/defectforge/defectforge/model/spec"
)

const (
	// MaxLikened bounds the images of each set whose likeness is measured; the
	// caller draws them by Subsample.
	MaxLikened = 400
	// minLikened is the fewest images of a set that are compared as a set.
	minLikened = 8
	pixelDims  = 32
	// draws is how often equal numbers of images are drawn, and the real images
	// divided into halves, for measures that depend on the number of images.
	draws = 3
)

// LikenessInput are the sets whose likeness is measured, images as uint8
// (n,3,128,128), at most MaxLikened of each.
type LikenessInput struct {
	Training, Holdout, Candidates []uint8
	// Groups of the real images; nil where nothing is known.
	TrainingGroups, HoldoutGroups []string
	// TailAt is the distance below which two candidates count as alike.
	TailAt float64
	// Reals is the number of real images in all, of which these may be a sample.
	Reals int
	Seed  uint64
}

// likeness is the sets at work.
type likeness struct {
	LikenessInput
	out                 *Measures
	reals               []uint8 // training and hold-out
	groups              []string
	nTraining, nHoldout int
	nCandidates         int
}

// AddLikeness measures how alike candidates are to the real images, as sets, and
// to one another. KID compares with the hold-out, which no generator saw; the
// other measures with all real images, because they need more of them.
func (m *Measures) AddLikeness(ctx context.Context, in LikenessInput) error {
	l := likeness{
		LikenessInput: in, out: m,
		nTraining: countImages(in.Training), nHoldout: countImages(in.Holdout), nCandidates: countImages(in.Candidates),
	}
	if (in.TrainingGroups == nil) != (in.HoldoutGroups == nil) && l.nTraining > 0 && l.nHoldout > 0 {
		return fmt.Errorf("measure likeness: groups are known of some real images only")
	}
	l.reals = append(append([]uint8{}, in.Training...), in.Holdout...)
	if in.TrainingGroups != nil || in.HoldoutGroups != nil {
		l.groups = append(append([]string{}, in.TrainingGroups...), in.HoldoutGroups...)
		if len(l.groups) != l.nTraining+l.nHoldout {
			return fmt.Errorf("measure likeness: %d groups of %d real images", len(l.groups), l.nTraining+l.nHoldout)
		}
	}
	for _, measure := range []func(context.Context) error{l.within, l.features, l.similarity, l.halves} {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("measure likeness: %w", err)
		}
		if err := measure(ctx); err != nil {
			return fmt.Errorf("measure likeness: %w", err)
		}
	}
	return nil
}

// within looks for candidates that are near to one another. More candidates than
// real images would lie nearer by their number alone, so no more are compared.
func (l *likeness) within(ctx context.Context) error {
	take := Subsample(l.nCandidates, max(l.nTraining, 1), l.Seed, "within")
	if len(take) < minLikened {
		l.out.Set(spec.MeasureWithin, math.NaN())
		return nil
	}
	planes := FirstChannels(pick(l.Candidates, take))
	one := Source{Shards: 1, Load: func(context.Context, int) ([]uint8, error) { return planes, nil }}
	nearest, err := LeaveOneOut(ctx, one, nil)
	if err != nil {
		return err
	}
	share := shareBelow(nearest, l.TailAt)
	low, high := shareInterval(share, len(nearest))
	l.out.set(spec.MeasureWithin, share, low, high, math.NaN())
	return nil
}

// features compares in all feature spaces: principal components of pixels, and
// patterns, edges and sharpness of textures. Of coverage and density the worst of
// all counts: a set is as poor as what is poorest about it. KID takes the textures
// as one.
func (l *likeness) features(context.Context) error {
	pixels := FitPixels(l.reals, pixelDims)
	reals, candidates := textures(l.reals), textures(l.Candidates)
	of := func(row func(texture) []float64) space {
		return space{"texture", converted(reals, row), converted(candidates, row)}
	}
	pca := space{"pca", pixels.Features(l.reals), pixels.Features(l.Candidates)}
	l.distance(spec.MeasureKIDPixels, pca)
	l.distance(spec.MeasureKIDTexture, of(texture.row))
	worst := l.place(pca)
	worst.set(l.out, "_pca")
	ofTexture := placed{[2]float64{math.Inf(1), math.Inf(1)}, [2]float64{math.NaN(), math.NaN()}}
	for _, part := range []struct {
		suffix string
		row    func(texture) []float64
	}{
		{"_patterns", func(t texture) []float64 { return t.patterns }},
		{"_edges", func(t texture) []float64 { return t.edges }},
		{"_sharpness", func(t texture) []float64 { return t.sharpness }},
	} {
		p := l.place(of(part.row))
		p.set(l.out, part.suffix)
		ofTexture = ofTexture.worse(p)
	}
	ofTexture.set(l.out, "_texture")
	// Measures of textures of different versions don't compare.
	l.out.Set("texture_version", TextureVersion)
	worst.worse(ofTexture).set(l.out, "")
	return nil
}

// space holds the features of all real images, training ones first, and of the
// candidates. Spaces of one name compare the same images.
type space struct {
	name             string
	real, candidates [][]float64
}

func converted(from []texture, row func(texture) []float64) [][]float64 {
	out := make([][]float64, len(from))
	for i, t := range from {
		out[i] = row(t)
	}
	return out
}

// distance sets the KID of the hold-out and the candidates.
func (l *likeness) distance(measure string, s space) {
	training, holdout := s.real[:l.nTraining], s.real[l.nTraining:]
	value, low, high := math.NaN(), math.NaN(), math.NaN()
	if len(holdout) >= minLikened && len(s.candidates) >= minLikened {
		value, low, high = kidInterval(holdout, s.candidates, l.HoldoutGroups, l.Seed)
	}
	l.out.set(measure, value, low, high, KID(holdout, training))
}

// placed is coverage and density of the candidates, and of the hold-out among
// training images.
type placed struct{ values, references [2]float64 }

func (l *likeness) place(s space) placed {
	training, holdout := s.real[:l.nTraining], s.real[l.nTraining:]
	return placed{
		l.covered(s.real, s.candidates, l.groups, "candidates "+s.name),
		l.covered(training, holdout, l.TrainingGroups, "holdout "+s.name),
	}
}

// worse takes each measure from where it is lower; one that could not be taken
// stays so.
func (p placed) worse(o placed) placed {
	for k, v := range o.values {
		if math.IsNaN(v) || v < p.values[k] {
			p.values[k], p.references[k] = v, o.references[k]
		}
	}
	return p
}

func (p placed) set(m *Measures, suffix string) {
	for k, name := range []string{spec.MeasureCoverage, spec.MeasureDensity} {
		m.set(name+suffix, p.values[k], math.NaN(), math.NaN(), p.references[k])
	}
}

// covered is coverage and density of equal numbers of images, the mean over
// several draws where one set is larger.
func (l *likeness) covered(real, generated [][]float64, groups []string, what string) [2]float64 {
	m := min(len(real), len(generated))
	if m < minLikened {
		return [2]float64{math.NaN(), math.NaN()}
	}
	times := draws
	if len(real) == len(generated) {
		times = 1
	}
	var mean [2]float64
	for k := range times {
		a := Subsample(len(real), m, l.Seed, fmt.Sprintf("cover %s real %d", what, k))
		b := Subsample(len(generated), m, l.Seed, fmt.Sprintf("cover %s generated %d", what, k))
		var g []string
		if groups != nil {
			g = choose(groups, a)
		}
		covered, density := coverage(choose(real, a), choose(generated, b), g)
		mean[0] += covered / float64(times)
		mean[1] += density / float64(times)
	}
	return mean
}

// similarity compares the MS-SSIM of pairs of candidates with that of pairs of
// real images, in standard errors of the difference.
func (l *likeness) similarity(context.Context) error {
	candidates := pairSimilarities(l.Candidates, l.Seed, "pairs of candidates")
	reals := pairSimilarities(l.reals, l.Seed, "pairs of reals")
	mean, se := meanAndError(candidates, l.Seed, "ms-ssim candidates")
	real, seReal := meanAndError(reals, l.Seed, "ms-ssim reals")
	excess := math.NaN()
	if l.nCandidates >= minLikened && len(reals) >= minLikened {
		// Without any spread there is nothing to measure by, and any excess counts.
		excess = (mean - real) / max(math.Sqrt(se*se+seReal*seReal), 1e-6)
	}
	l.out.set("ms_ssim", mean, mean-1.96*se, mean+1.96*se, real)
	l.out.set(spec.MeasureMSSSIMExcess, excess, math.NaN(), math.NaN(), 0)
	return nil
}

// halves compares candidates with halves of the real images, and these with each
// other, the same number of images each time: SWD, grey levels and colours. A half holds
// whole groups, because crops of one strip in both would make the floor too low.
func (l *likeness) halves(context.Context) error {
	var sum halfDistances
	for k := range draws {
		first, second := divide(len(l.reals)/spec.ImageLen, l.groups, l.Seed, uint64(k))
		m := min(len(first), len(second), l.nCandidates, MaxLikened/2)
		if m < minLikened {
			l.out.Set(spec.MeasureSWDRatio, math.NaN())
			l.out.Set(spec.MeasureHistogramRatio, math.NaN())
			l.out.Set(spec.MeasureColourRatio, math.NaN())
			return nil
		}
		var sets [3][]uint8
		for i, from := range [][]int{first, second} {
			sets[i] = pick(l.reals, choose(from, Subsample(len(from), m, l.Seed, fmt.Sprintf("half %d of %d", i, k))))
		}
		sets[2] = pick(l.Candidates, Subsample(l.nCandidates, m, l.Seed, fmt.Sprintf("candidates of %d", k)))
		var p [3]projections
		var h [3][256]float64
		var c [3][2][256]float64
		for i := range sets {
			p[i] = project(sets[i], l.Seed, fmt.Sprintf("patches %d of %d", i, k))
			h[i], c[i] = histogram(sets[i]), chroma(sets[i])
		}
		sum.add(p, h, c)
	}
	sum.take(l.out)
	return nil
}

// halfDistances are means over all draws: of the distances between the halves, the
// floors, and of those from the halves to the candidates.
type halfDistances struct {
	levels, levelFloors      [swdLevels]float64
	valueGrey, floorGrey     float64
	valueColour, floorColour float64
}

// add adds a draw: the two halves, then the candidates.
func (d *halfDistances) add(p [3]projections, h [3][256]float64, c [3][2][256]float64) {
	between, a, b := swd(p[0], p[1]), swd(p[0], p[2]), swd(p[1], p[2])
	for i := range swdLevels {
		d.levelFloors[i] += between[i] / draws
		d.levels[i] += (a[i] + b[i]) / 2 / draws
	}
	d.floorGrey += levelDistance(h[0], h[1]) / draws
	d.valueGrey += (levelDistance(h[0], h[2]) + levelDistance(h[1], h[2])) / 2 / draws
	d.floorColour += colourDistance(c[0], c[1]) / draws
	d.valueColour += (colourDistance(c[0], c[2]) + colourDistance(c[1], c[2])) / 2 / draws
}

// take enters the measures.
func (d *halfDistances) take(out *Measures) {
	var floor, value, worst float64
	for i := range swdLevels {
		floor += d.levelFloors[i] / swdLevels
		value += d.levels[i] / swdLevels
		worst = max(worst, d.levels[i]/d.levelFloors[i])
		out.set(fmt.Sprintf("swd_%d", spec.Size>>i), d.levels[i], math.NaN(), math.NaN(), d.levelFloors[i])
	}
	out.set("swd", value, math.NaN(), math.NaN(), floor)
	out.set(spec.MeasureSWDRatio, value/floor, math.NaN(), math.NaN(), 1)
	out.set("swd_worst_ratio", worst, math.NaN(), math.NaN(), 1)
	out.set("histogram", d.valueGrey, math.NaN(), math.NaN(), d.floorGrey)
	out.set(spec.MeasureHistogramRatio, d.valueGrey/d.floorGrey, math.NaN(), math.NaN(), 1)
	out.set("colour", d.valueColour, math.NaN(), math.NaN(), d.floorColour)
	// One level more of both: grey real images don't differ in colour at all.
	out.set(spec.MeasureColourRatio, (d.valueColour+1)/(d.floorColour+1), math.NaN(), math.NaN(), 1)
}

// divide parts the numbers below n into halves of whole groups, the larger
// groups' order drawn by chance, each to the half that is smaller so far.
func divide(n int, groups []string, seed, index uint64) (first, second []int) {
	parts := members(n, groups)
	for _, g := range kernel.NewStream(seed, "halves", index).Perm(len(parts)) {
		if len(first) <= len(second) {
			first = append(first, parts[g]...)
		} else {
			second = append(second, parts[g]...)
		}
	}
	return first, second
}

// pick gathers images by number.
func pick(images []uint8, at []int) []uint8 {
	out := make([]uint8, 0, len(at)*spec.ImageLen)
	for _, i := range at {
		out = append(out, pixelsOf(images, i)...)
	}
	return out
}

func choose[T any](from []T, at []int) []T {
	out := make([]T, len(at))
	for k, i := range at {
		out[k] = from[i]
	}
	return out
}
