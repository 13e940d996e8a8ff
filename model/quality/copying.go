package quality

import (
	"context"
	"fmt"
	"math"
	"slices"
)

// What measures distances among real images goes by at most maxNull training
// images and as many held out ones, and, where images may be transformed, by
// maxNullTransformed: of more, evenly spaced ones stand for all. Each is compared
// with every training image either way.
const (
	maxNull            = 2048
	maxNullTransformed = 512
)

// CopyInput is what candidates are compared with.
type CopyInput struct {
	Candidates []uint8 // planes (n,128,128)
	// Training images are what a generator may have copied; Holdout images it
	// never saw, and may have none.
	Training, Holdout Source
	// Luminances are the same images in the same order, for the search for copies in
	// disguise; nil leaves it out.
	Luminances *Luminances
	// Groups name the group of each training and each held-out image; images of one
	// group show parts of one scene. Nil where nothing is known: every image is
	// alone.
	Groups, HoldoutGroups []string
	// RejectQuantile and TailQuantile are taken of the null, in [0,1].
	RejectQuantile, TailQuantile float64
	Neighbours                   int // listed of each candidate
	Progress                     func(done, total int)
}

// Luminances are images in grey, whatever their colours.
type Luminances struct {
	Candidates        []uint8 // planes (n,128,128)
	Training, Holdout Source
}

// Copies is how near candidates are to real images, and how near real images
// are to each other: the null. A training image's null distance leaves out the
// images of its group that show some of the same pixels, because crops of one
// strip are no measure of chance. It does not leave out the whole group: groups
// are chains, in which the ends have nothing in common, and a false link may
// join most of a set. Thresholds are quantiles in which an image with n such
// relatives counts 1/(1+n), so that a strip that was cropped seventy times is
// about one strip.
type Copies struct {
	Nearest     [][]Neighbour // by candidate: of all real images, training images first
	ToTraining  []float64     // each candidate's distance to the nearest training image
	Transformed []Transformed // each candidate's nearest transformed training image
	// TransformedHeld is the same of hold-out images, which count after the
	// training images. A generator from elsewhere may have seen them.
	TransformedHeld []Transformed
	// Disguised is the real image, training images first, that each candidate resembles
	// most whatever its brightness, contrast and size; nil where that was not asked for.
	Disguised []Disguised
	// DisguisedRejectAt is the distance of Disguised below which a candidate is a copy.
	DisguisedRejectAt float64
	// Holdout is each hold-out image's distance to the nearest training image,
	// possibly of a sample.
	Holdout []float64
	// HoldoutGroups are Holdout's groups; nil where nothing is known.
	HoldoutGroups []string

	Null, NullTransformed []float64 // of training images, in order, possibly of a sample
	// Distances below which a candidate is rejected, and those that the tail
	// shares count. NaN where there was no null.
	RejectAt, TailAt                       float64
	TransformedRejectAt, TransformedTailAt float64
	Training                               int // images
	Notes                                  []string
}

// FindCopies compares the candidates with all real images.
func FindCopies(ctx context.Context, in CopyInput) (Copies, error) {
	var c Copies
	training, err := in.Training.count(ctx)
	if err != nil {
		return c, fmt.Errorf("find copies: %w", err)
	}
	if in.Groups != nil && len(in.Groups) != training {
		return c, fmt.Errorf("find copies: %d groups of %d training images", len(in.Groups), training)
	}
	c.Training = training
	if err := c.findNearest(ctx, in); err != nil {
		return c, err
	}
	if err := c.findHoldout(ctx, in); err != nil {
		return c, err
	}
	if c.Transformed, err = NearestTransformed(ctx, in.Candidates, in.Training, nil, in.Progress); err != nil {
		return c, err
	}
	if c.TransformedHeld, err = NearestTransformed(ctx, in.Candidates, in.Holdout, nil, in.Progress); err != nil {
		return c, err
	}
	for i := range c.TransformedHeld {
		if t := &c.TransformedHeld[i]; t.Index >= 0 {
			t.Index += training
		}
	}
	if in.Luminances != nil {
		if err := c.findDisguised(ctx, in); err != nil {
			return c, err
		}
	}
	return c, c.findNull(ctx, in)
}

// findNearest compares as the source does: every candidate with every real image.
func (c *Copies) findNearest(ctx context.Context, in CopyInput) error {
	k := max(in.Neighbours, 1)
	training, err := Nearest(ctx, in.Candidates, in.Training, k, in.Progress)
	if err != nil {
		return err
	}
	held, err := Nearest(ctx, in.Candidates, in.Holdout, k, in.Progress)
	if err != nil {
		return err
	}
	c.Nearest = make([][]Neighbour, len(training))
	for i, list := range training {
		nearest := math.Inf(1)
		if len(list) > 0 {
			nearest = list[0].Distance
		}
		c.ToTraining = append(c.ToTraining, nearest)
		for _, n := range held[i] {
			list = append(list, Neighbour{n.Index + c.Training, n.Distance})
		}
		slices.SortStableFunc(list, byDistance)
		c.Nearest[i] = list[:min(k, len(list))]
	}
	return nil
}

// findHoldout compares the hold-out with the training images.
func (c *Copies) findHoldout(ctx context.Context, in CopyInput) error {
	held, err := in.Holdout.count(ctx)
	if err != nil {
		return fmt.Errorf("compare hold-out: %w", err)
	}
	if in.HoldoutGroups != nil && len(in.HoldoutGroups) != held {
		return fmt.Errorf("find copies: %d groups of %d held-out images", len(in.HoldoutGroups), held)
	}
	rows := Spaced(held, maxNull)
	planes, err := in.Holdout.rows(ctx, rows)
	if err != nil {
		return fmt.Errorf("compare hold-out: %w", err)
	}
	lists, err := Nearest(ctx, planes, in.Training, 1, in.Progress)
	if err != nil {
		return err
	}
	if in.HoldoutGroups != nil {
		c.HoldoutGroups = choose(in.HoldoutGroups, rows)
	}
	for _, list := range lists {
		if len(list) > 0 {
			c.Holdout = append(c.Holdout, list[0].Distance)
		}
	}
	if len(rows) < held {
		c.Notes = append(c.Notes, fmt.Sprintf(
			"how near held-out images are to training images: %d of %d held-out images, evenly spaced, against all", len(rows), held))
	}
	return nil
}

func byDistance(a, b Neighbour) int {
	switch {
	case a.Distance < b.Distance:
		return -1
	case a.Distance > b.Distance:
		return 1
	}
	return 0
}

// findNull measures training images against those they share nothing with.
func (c *Copies) findNull(ctx context.Context, in CopyInput) error {
	rows := Spaced(c.Training, maxNull)
	related, err := relatives(ctx, in.Training, in.Groups, rows, thumbsAtOnce)
	if err != nil {
		return err
	}
	planes, err := in.Training.rows(ctx, rows)
	if err != nil {
		return fmt.Errorf("compare training images: %w", err)
	}
	skip := func(i, real int) bool { return rows[i] == real || among(related[i], real) }
	lists, err := nearest(ctx, planes, in.Training, 1, skip, in.Progress)
	if err != nil {
		return err
	}
	var weights []float64
	for i, list := range lists {
		if len(list) > 0 {
			c.Null, weights = append(c.Null, list[0].Distance), append(weights, 1/float64(1+len(related[i])))
		}
	}
	c.RejectAt, c.TailAt = weightedQuantile(c.Null, weights, in.RejectQuantile), weightedQuantile(c.Null, weights, in.TailQuantile)
	return c.findTransformedNull(ctx, in, planes, related, skip)
}

// findTransformedNull is the same for transformed training images: planes are those
// that findNull has compared, with their relatives.
func (c *Copies) findTransformedNull(
	ctx context.Context, in CopyInput, planes []uint8, related [][]int, skip func(i, real int) bool,
) error {
	rows := len(related)
	fewer := Spaced(rows, maxNullTransformed)
	sample := make([]uint8, 0, len(fewer)*PlaneLen)
	for _, i := range fewer {
		sample = append(sample, planes[i*PlaneLen:(i+1)*PlaneLen]...)
	}
	found, err := NearestTransformed(ctx, sample, in.Training, func(i, real int) bool { return skip(fewer[i], real) }, in.Progress)
	if err != nil {
		return err
	}
	var weights []float64
	for i, t := range found {
		if t.Index >= 0 {
			c.NullTransformed, weights = append(c.NullTransformed, t.Distance), append(weights, 1/float64(1+len(related[fewer[i]])))
		}
	}
	c.TransformedRejectAt = weightedQuantile(c.NullTransformed, weights, in.RejectQuantile)
	c.TransformedTailAt = weightedQuantile(c.NullTransformed, weights, in.TailQuantile)
	c.note(rows, len(fewer))
	if in.Luminances == nil {
		return nil
	}
	return c.findDisguisedNull(ctx, in, fewer, related, skip)
}

func (c *Copies) note(plain, transformed int) {
	if plain < c.Training {
		c.Notes = append(c.Notes, fmt.Sprintf(
			"how near real images are to each other: %d of %d training images, evenly spaced, against all", plain, c.Training))
	}
	if transformed < c.Training {
		c.Notes = append(c.Notes, fmt.Sprintf("the same with mirrored, turned and shifted images: %d of %d", transformed, c.Training))
	}
	if len(c.Null) < plain {
		c.Notes = append(c.Notes, fmt.Sprintf("%d training images have no other image to be compared with", plain-len(c.Null)))
	}
}

// Reason says why candidate i is a copy, by real images' names, or "" where it
// is none. A candidate nearer than RejectAt to any real image is one, as is one
// nearer than TransformedRejectAt to a transformed real image, or than
// DisguisedRejectAt to one in disguise; so is an exact
// repetition whatever the thresholds, and any candidate while there is none. real
// and distance are those of the image it copies, -1 and 0 where there is none.
func (c Copies) Reason(i int, name func(real int) string) (reason string, real int, distance float64) {
	if list := c.Nearest[i]; len(list) > 0 {
		if n := list[0]; n.Distance == 0 || !(n.Distance >= c.RejectAt) {
			return "copy: " + near(n.Distance, name(n.Index), c.RejectAt), n.Index, n.Distance
		}
	}
	t := c.Transformed[i]
	if len(c.TransformedHeld) > i && c.TransformedHeld[i].Distance < t.Distance {
		t = c.TransformedHeld[i]
	}
	if t.Index >= 0 && (t.Distance == 0 || !(t.Distance >= c.TransformedRejectAt)) {
		return "copy: " + t.Words() + " it is " + near(t.Distance, name(t.Index), c.TransformedRejectAt), t.Index, t.Distance
	}
	if len(c.Disguised) > i && c.Disguised[i].Distance < c.DisguisedRejectAt {
		d, how := c.Disguised[i], ""
		if words := d.Words(); words != asItIs {
			how = words + " "
		}
		return fmt.Sprintf("copy in disguise: %sit has the contrasts of %s (they correlate at %.2f, more than %.2f)",
			how, name(d.Index), 1-d.Distance, 1-c.DisguisedRejectAt), d.Index, d.Distance
	}
	return "", -1, 0
}

func near(distance float64, name string, at float64) string {
	if math.IsNaN(at) {
		return fmt.Sprintf("%.4g from %s; too few real images don't tell how near is too near", distance, name)
	}
	return fmt.Sprintf("%.4g from %s, nearer than %.4g", distance, name, at)
}

// TailShare is the share of candidates that are nearer to a training image than
// the null's tail quantile; about the quantile where nothing is copied.
func (c Copies) TailShare() float64 { return shareBelow(c.ToTraining, c.TailAt) }

// TransformedShare is the same for transformed training images.
func (c Copies) TransformedShare() float64 {
	values := make([]float64, len(c.Transformed))
	for i, t := range c.Transformed {
		values[i] = t.Distance
	}
	return shareBelow(values, c.TransformedTailAt)
}

// shareBelow is ShareBelow, but NaN where there is nothing to go by.
func shareBelow(values []float64, at float64) float64 {
	if len(values) == 0 || math.IsNaN(at) || math.IsInf(at, 0) || at <= 0 {
		return math.NaN()
	}
	return ShareBelow(values, at)
}

// CopyZ is the statistic of C_T (Meehan and others, 2020): with A the share of
// pairs in which the generated image is farther from the training images than
// the held-out one, ties half, Z = (A - 1/2) / sqrt((m+n+1)/(12mn)). Far below zero
// means copying. Held-out images of one group are no independent draws: A is the
// mean over their n groups, each of which counts once. groups may be nil. NaN where
// one list is empty.
func CopyZ(generated, holdout []float64, groups []string) float64 {
	if len(generated) == 0 || len(holdout) == 0 {
		return math.NaN()
	}
	m, parts, share := float64(len(generated)), members(len(holdout), groups), 0.0
	n := float64(len(parts))
	for _, part := range parts {
		for _, i := range part {
			for _, g := range generated {
				switch h := holdout[i]; {
				case math.IsNaN(g) || math.IsNaN(h):
					return math.NaN()
				case g > h:
					share += 1 / (m * n * float64(len(part)))
				case g == h:
					share += 0.5 / (m * n * float64(len(part)))
				}
			}
		}
	}
	return (share - 0.5) / math.Sqrt((m+n+1)/(12*m*n))
}

// Spaced are at most limit evenly spaced numbers below n, rising.
func Spaced(n, limit int) []int {
	m := min(n, limit)
	out := make([]int, m)
	for i := range out {
		out[i] = i * n / m
	}
	return out
}
