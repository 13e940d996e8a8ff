package quality

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/defectforge/defectforge/model/kernel"
	"github.com/defectforge/defectforge/model/spec"
)

// The search for disguised copies goes over local contrast in two sizes: a coarse
// one, in which every pose is tried, and a fine one, in which the best are brought to
// fit.
const (
	fineSide   = spec.Size / 2
	fineLen    = fineSide * fineSide
	coarseSide = fineSide / 2
	coarseLen  = coarseSide * coarseSide
	// coarseInner is the side of the part of a candidate that is laid on real images,
	// coarseReach how far it is shifted either way: 4 pixels each.
	coarseInner, coarseReach = 24, 3
	coarseInnerLen           = coarseInner * coarseInner
	coarseShifts             = 2*coarseReach + 1
	coarsePlaces             = coarseShifts * coarseShifts
	// fitted is how many real images, each in the pose that suits best, are compared
	// at the fine size.
	fitted = 6
	// disguiseReals is how many real images are searched at a time, disguiseCandidates
	// how many candidates are held at once: their products are 20 MiB.
	disguiseReals, disguiseCandidates = 8, 128
)

// poses are the scales and small turns that are tried at the coarse size: a real image
// is read at positions scaled and turned by these. They lie near enough to each other
// for everything between them, and a scale of 0.8 to 1.16, to be found.
var poses = func() (out []pose) {
	for _, scale := range []float64{0.8, 0.9, 1, 1.12} {
		for _, degrees := range []float64{-5, 0, 5} {
			out = append(out, pose{scale: scale, degrees: degrees})
		}
	}
	return out
}()

// pose is how the positions of a candidate, from its middle, become those of a real
// image: scaled, turned, then shifted by pixels of the fine size.
type pose struct{ scale, degrees, dx, dy float64 }

// Disguised is the real image that a candidate resembles most in its local contrast:
// whatever its brightness, contrast, gamma or tint, and whether it is inverted, mirrored,
// turned, scaled, cropped or shifted.
type Disguised struct {
	Index       int     // as in Neighbour; -1 where there was none to compare with
	Orientation int     // as in Transformed
	Scale       float64 // of the real image's positions: below 1 for an enlarged part
	Degrees     float64 // turned by, after the orientation
	DX, DY      float64 // shift in pixels
	Inverted    bool
	// Distance is 1 less the absolute correlation of local contrast over the inner
	// 96x96 pixels: 0 for copies, 1 for what has nothing in common. +Inf where Index is
	// -1.
	Distance float64
}

// Words says how the candidate was laid on the real image.
func (d Disguised) Words() string {
	var parts []string
	say := func(format string, args ...any) { parts = append(parts, fmt.Sprintf(format, args...)) }
	if d.Inverted {
		say("inverted")
	}
	if d.Orientation != 0 {
		say("%s", Transformed{Orientation: d.Orientation}.Words())
	}
	if percent := math.Round(100 / d.Scale); percent != 100 {
		say("scaled to %.0f%%", percent)
	}
	if degrees := math.Round(d.Degrees); degrees != 0 {
		say("turned by %.0f degrees", degrees)
	}
	if dx, dy := math.Round(d.DX), math.Round(d.DY); dx != 0 || dy != 0 {
		say("shifted by %.0f and %.0f pixels", dx, dy)
	}
	if len(parts) == 0 {
		return asItIs
	}
	return strings.Join(parts, ", ")
}

const asItIs = "as it is"

// NearestDisguised finds the real image that each candidate resembles most in local
// contrast. candidates are luminances (n,128,128), as are those of reals, which are
// loaded twice for every 128 candidates. skip, if not nil, leaves out pairs of
// candidate and real image.
func NearestDisguised(
	ctx context.Context, candidates []uint8, reals Source, skip func(candidate, real int) bool, progress func(done, total int),
) ([]Disguised, error) {
	if len(candidates)%PlaneLen != 0 {
		return nil, fmt.Errorf("find disguised copies: %d bytes are no whole number of 128x128 planes", len(candidates))
	}
	var out []Disguised
	total := len(candidates) / PlaneLen
	blocks := (total + disguiseCandidates - 1) / disguiseCandidates
	for block := range blocks {
		from, end := block*disguiseCandidates, min((block+1)*disguiseCandidates, total)
		u := newUnmasking(candidates[from*PlaneLen : end*PlaneLen])
		if skip != nil {
			u.skip = func(c, r int) bool { return skip(from+c, r) }
		}
		for pass, do := range []func([]uint8, int){u.search, u.fit} {
			first := 0
			for i := range reals.Shards {
				planes, err := reals.load(ctx, i)
				if err != nil {
					return nil, fmt.Errorf("find disguised copies: %w", err)
				}
				do(planes, first)
				first += len(planes) / PlaneLen
				if progress != nil {
					progress((2*block+pass)*reals.Shards+i+1, 2*blocks*reals.Shards)
				}
			}
		}
		out = append(out, u.best...)
	}
	return out, nil
}

// unmasking is the search for one block of candidates.
type unmasking struct {
	n      int
	fine   [][]float32 // by candidate, then orientation: local contrast (64,64)
	coarse []float32   // (n*Orientations, coarseInnerLen), each of length 1
	ranks  [][]match
	best   []Disguised
	skip   func(candidate, real int) bool

	windows, products []float32 // of one block of real images
}

// match is a real image in the pose that suits a candidate best.
type match struct {
	correlation float32 // absolute
	index       int
	orientation int
	pose        pose
}

func newUnmasking(candidates []uint8) *unmasking {
	u := &unmasking{n: len(candidates) / PlaneLen}
	u.fine = make([][]float32, u.n*Orientations)
	u.coarse = make([]float32, u.n*Orientations*coarseInnerLen)
	u.ranks = make([][]match, u.n)
	_ = each(context.Background(), u.n, func(i int) { // nothing ends it
		contrast := localContrast(candidates[i*PlaneLen : (i+1)*PlaneLen])
		for o := range Orientations {
			row := i*Orientations + o
			u.fine[row] = orient(contrast, fineSide, o)
			const margin = (coarseSide - coarseInner) / 2
			inner := u.coarse[row*coarseInnerLen:][:coarseInnerLen]
			cut(inner, halfSize(u.fine[row]), coarseSide, margin, margin, coarseInner)
			unit(inner)
		}
	})
	for range u.n {
		u.best = append(u.best, Disguised{Index: -1, Scale: 1, Distance: math.Inf(1)})
	}
	return u
}

// search compares the candidates with real images in every pose at the coarse size;
// first is the number of the first real image.
func (u *unmasking) search(planes []uint8, first int) {
	n, perReal := len(planes)/PlaneLen, len(poses)*coarsePlaces
	for from := 0; from < n; from += disguiseReals {
		count := min(disguiseReals, n-from)
		windows := resized(&u.windows, count*perReal*coarseInnerLen)
		_ = each(context.Background(), count, func(j int) {
			plane := planes[(from+j)*PlaneLen : (from+j+1)*PlaneLen]
			posed(windows[j*perReal*coarseInnerLen:][:perReal*coarseInnerLen], halfSize(localContrast(plane)))
		})
		columns := count * perReal
		products := resized(&u.products, u.n*Orientations*columns)
		kernel.MatMul(products, u.coarse, windows, u.n*Orientations, columns, coarseInnerLen, false, true)
		_ = each(context.Background(), u.n, func(i int) { u.rank(i, first+from, count, products) })
	}
}

// posed fills in the windows of one real image's coarse contrast: by pose, then shift
// down and across, each of length 1.
func posed(windows, coarse []float32) {
	const side = coarseInner + 2*coarseReach
	var read [side * side]float32
	for k, p := range poses {
		sample(read[:], side, coarse, coarseSide, p)
		for at := range coarsePlaces {
			window := windows[(k*coarsePlaces+at)*coarseInnerLen:][:coarseInnerLen]
			cut(window, read[:], side, at/coarseShifts, at%coarseShifts, coarseInner)
			unit(window)
		}
	}
}

// rank keeps the real images of one block that candidate i resembles most.
func (u *unmasking) rank(i, first, count int, products []float32) {
	perReal := len(poses) * coarsePlaces
	for j := range count {
		if u.skip != nil && u.skip(i, first+j) {
			continue
		}
		best := match{correlation: -1, index: first + j}
		for o := range Orientations {
			row := products[(i*Orientations+o)*count*perReal:][j*perReal : (j+1)*perReal]
			for k, v := range row {
				if v = max(v, -v); v > best.correlation {
					best.correlation, best.orientation = v, o
					p, at := poses[k/coarsePlaces], k%coarsePlaces
					// Windows are cut from what was read in the pose: a shift there is a
					// scaled and turned one on the real image.
					p.dx, p.dy = p.along(2*float64(at%coarseShifts-coarseReach), 2*float64(at/coarseShifts-coarseReach))
					best.pose = p
				}
			}
		}
		u.keep(i, best)
	}
}

// keep inserts l into candidate i's list, the greatest first, of equal ones the
// earlier.
func (u *unmasking) keep(i int, l match) {
	list := u.ranks[i]
	if len(list) == fitted && l.correlation <= list[fitted-1].correlation {
		return
	}
	at, _ := slices.BinarySearchFunc(list, l, func(a, b match) int {
		return cmp.Or(cmp.Compare(b.correlation, a.correlation), -1)
	})
	list = slices.Insert(list, at, l)
	u.ranks[i] = list[:min(len(list), fitted)]
}

// How near is too near: nearly all copies in disguise come below disguisedMost, and of
// real images of different scenes none (POWER.md). Where real images are more alike
// than that by chance, as straight scratches are, less is allowed: what the median and
// the upper quartile of their distances leave to one in a hundred. The lower tail
// itself is no guide, for data sets hold copies in disguise of their own.
// disguisedLeast holds where there are too few real images to go by.
const (
	disguisedMost, disguisedLeast = 0.25, 0.05
	minDisguisedNull              = 8
)

// disguisedRejectAt is the distance below which a candidate is a copy in disguise, by
// the distances of real images from those that they share nothing with.
func disguisedRejectAt(null, weights []float64, quantile float64) float64 {
	if len(null) < minDisguisedNull {
		return disguisedLeast
	}
	// Correlations are about normal after Fisher's transformation.
	transformed := func(q float64) float64 {
		return math.Atanh(1 - min(max(weightedQuantile(null, weights, q), 1e-9), 1))
	}
	median, upper := transformed(0.5), transformed(0.75)
	const quartile = 0.6744897501960817 // of the normal distribution
	deviation := (median - upper) / quartile
	at := median + deviation*math.Sqrt2*math.Erfinv(1-2*quantile)
	return min(max(1-math.Tanh(at), disguisedLeast), disguisedMost)
}

// findDisguised finds what each candidate resembles most, of all real images.
func (c *Copies) findDisguised(ctx context.Context, in CopyInput) error {
	l := in.Luminances
	var err error
	if c.Disguised, err = NearestDisguised(ctx, l.Candidates, l.Training, nil, in.Progress); err != nil {
		return err
	}
	held, err := NearestDisguised(ctx, l.Candidates, l.Holdout, nil, in.Progress)
	if err != nil {
		return err
	}
	for i, d := range held {
		if d.Distance < c.Disguised[i].Distance {
			d.Index += c.Training
			c.Disguised[i] = d
		}
	}
	return nil
}

// findDisguisedNull says how near in disguise is too near. fewer are the rows, of those
// that findNull compared, that stand for all.
func (c *Copies) findDisguisedNull(
	ctx context.Context, in CopyInput, fewer []int, related [][]int, skip func(i, real int) bool,
) error {
	rows := Spaced(c.Training, maxNull)
	planes, err := in.Luminances.Training.rows(ctx, choose(rows, fewer))
	if err != nil {
		return fmt.Errorf("compare training images: %w", err)
	}
	found, err := NearestDisguised(ctx, planes, in.Luminances.Training, func(i, real int) bool { return skip(fewer[i], real) }, in.Progress)
	if err != nil {
		return err
	}
	var null, weights []float64
	for i, d := range found {
		if d.Index >= 0 {
			null, weights = append(null, d.Distance), append(weights, 1/float64(1+len(related[fewer[i]])))
		}
	}
	c.DisguisedRejectAt = disguisedRejectAt(null, weights, in.RejectQuantile)
	return nil
}

// DisguisedShare is the share of candidates that are copies in disguise; NaN where
// nobody looked.
func (c Copies) DisguisedShare() float64 {
	if len(c.Disguised) == 0 {
		return math.NaN()
	}
	n := 0
	for _, d := range c.Disguised {
		if d.Distance < c.DisguisedRejectAt {
			n++
		}
	}
	return float64(n) / float64(len(c.Disguised))
}
