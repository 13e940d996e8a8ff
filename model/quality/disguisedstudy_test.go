package quality

import (
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/defectforge/defectforge/model/spec"
)

// disguise changes a plane so that a person still sees the same picture.
type disguise struct {
	name   string
	change func(r *rand.Rand, p []float64) []float64
}

func disguises() []disguise {
	point := func(f func(v float64) float64) func(*rand.Rand, []float64) []float64 {
		return func(_ *rand.Rand, p []float64) []float64 {
			return pointwise(p, func(_ int, v float64) float64 { return f(v) })
		}
	}
	return []disguise{
		{"brighter by 20 levels", point(func(v float64) float64 { return v + 20 })},
		{"darker by 40 levels", point(func(v float64) float64 { return v - 40 })},
		{"contrast 0.6", point(func(v float64) float64 { return 128 + 0.6*(v-128) })},
		{"contrast 1.5", point(func(v float64) float64 { return 128 + 1.5*(v-128) })},
		{"gamma 0.6", point(func(v float64) float64 { return 255 * math.Pow(v/255, 0.6) })},
		{"gamma 1.7", point(func(v float64) float64 { return 255 * math.Pow(v/255, 1.7) })},
		{"inverted", point(func(v float64) float64 { return 255 - v })},
		{"blur of 1 pixel", smoothed(1)},
		{"blur of 2 pixels", smoothed(2)},
		{"noise of 3 levels", grainy(3)},
		{"noise of 5 levels", grainy(5)},
		{"noise of 10 levels", grainy(10)},
		{"JPEG at quality 50", compressed(50)},
		{"JPEG at quality 25", compressed(25)},
		{"scaled to 91%", posedAt(pose{scale: 1.1})},
		{"scaled to 110%", posedAt(pose{scale: 1 / 1.1})},
		{"turned by 3 degrees", posedAt(pose{scale: 1, degrees: 3})},
		{"turned by 6 degrees", posedAt(pose{scale: 1, degrees: 6})},
		{"crop of 80% of the area", func(r *rand.Rand, p []float64) []float64 { return cropped(r, p, math.Sqrt(0.8)) }},
		{"crop of 80% of the side", func(r *rand.Rand, p []float64) []float64 { return cropped(r, p, 0.8) }},
		{"mirrored, shifted by 7, brighter", func(r *rand.Rand, p []float64) []float64 {
			return pointwise(toFloats(shifted(oriented(toBytes(p), 4), 7, -5)), func(_ int, v float64) float64 { return v + 30 })
		}},
		{"turned by 90, gamma 0.7, crop, noise of 2", func(r *rand.Rand, p []float64) []float64 {
			p = cropped(r, toFloats(oriented(toBytes(p), 1)), 0.88)
			return grainy(2)(r, pointwise(p, func(_ int, v float64) float64 { return 255 * math.Pow(max(v, 0)/255, 0.7) }))
		}},
	}
}

// posedAt reads the plane in a pose, mirrored beyond its border.
func posedAt(p pose) func(*rand.Rand, []float64) []float64 {
	return func(_ *rand.Rand, plane []float64) []float64 {
		src := make([]float32, len(plane))
		for i, v := range plane {
			src[i] = float32(v)
		}
		const wide = 2 * spec.Size
		big := make([]float32, wide*wide)
		for i := range big {
			y, x := reflect(i/wide-spec.Size/2, spec.Size), reflect(i%wide-spec.Size/2, spec.Size)
			big[i] = src[y*spec.Size+x]
		}
		dst, out := make([]float32, PlaneLen), make([]float64, PlaneLen)
		sample(dst, spec.Size, big, wide, p)
		for i, v := range dst {
			out[i] = float64(v)
		}
		return out
	}
}

// cropped enlarges a part, of the given side, that lies anywhere.
func cropped(r *rand.Rand, p []float64, side float64) []float64 {
	room := (1 - side) * spec.Size / 2
	return posedAt(pose{scale: side, dx: room * (2*r.Float64() - 1), dy: room * (2*r.Float64() - 1)})(r, p)
}

// unmasked finds what each plane resembles most among a class's training images.
func unmasked(t *testing.T, real thirds, planes []uint8) []Disguised {
	t.Helper()
	found, err := NearestDisguised(t.Context(), planes, oneShard(real.training), nil, nil)
	require.NoError(t, err)
	return found
}

// nullOf gives the training images' own distances, as FindCopies takes them, and the
// distance below which candidates are rejected.
func nullOf(t *testing.T, real thirds) (values []float64, rejectAt float64) {
	t.Helper()
	training := oneShard(real.training)
	rows := Spaced(countImages(real.training), countImages(real.training))
	related, err := relatives(t.Context(), training, real.trainingGroups, rows, thumbsAtOnce)
	require.NoError(t, err)
	null, err := NearestDisguised(t.Context(), FirstChannels(real.training), training,
		func(i, j int) bool { return i == j || among(related[i], j) }, nil)
	require.NoError(t, err)
	var weights []float64
	for i, d := range null {
		values, weights = append(values, d.Distance), append(weights, 1/float64(1+len(related[i])))
	}
	return values, disguisedRejectAt(values, weights, 0.01)
}

// strong are disguises that a person sees: what is lost by them is told in POWER.md, not
// demanded here.
var strong = map[string]bool{"noise of 5 levels": true, "noise of 10 levels": true, "blur of 2 pixels": true, "JPEG at quality 25": true}

// TestDisguisedSteel counts which copies in disguise are found among real images, and
// how many of those kept apart are taken for some: on one class, or those that
// DEFECTFORGE_TEST_DISGUISES names, or all four where the whole is tested. It logs the
// table of POWER.md.
func TestDisguisedSteel(t *testing.T) {
	if testing.Short() {
		t.Skip("tries every disguise")
	}
	classes, each := judgedClasses(t), 20
	if asked := os.Getenv("DEFECTFORGE_TEST_DISGUISES"); asked != "" {
		classes, each = strings.Split(asked, ","), 60
	}
	for _, class := range classes {
		t.Run(class, func(t *testing.T) { countDisguises(t, steel(t, class), each) })
	}
}

// countDisguises looks for about that many copies in each disguise.
func countDisguises(t *testing.T, set realSet, each int) {
	real := set.divideInto(1)
	null, at := nullOf(t, real)
	t.Logf("rejected below %.3f; median of real images %.3f", at, Quantile(null, 0.5))
	count := func(name string, found []Disguised) float64 {
		rejected, farthest := 0, 0.0
		for _, d := range found {
			rejected += truth(d.Distance < at)
			farthest = max(farthest, d.Distance)
		}
		share := float64(rejected) / float64(len(found))
		t.Logf("| %s | %.0f%% of %d | farthest %.3f |", name, 100*share, len(found), farthest)
		return share
	}
	apart := append(slices.Clone(real.fresh), real.holdout...)
	honest := count("real images kept apart", unmasked(t, real, FirstChannels(apart)))
	if !set.turned {
		require.LessOrEqual(t, honest, 0.02, "false alarms")
	}
	planes := FirstChannels(real.training)
	for _, d := range disguises() {
		r := rand.New(rand.NewPCG(5, 5))
		var changed []uint8
		for _, i := range Spaced(countImages(real.training), each) {
			changed = append(changed, toBytes(d.change(r, toFloats(planes[i*PlaneLen:(i+1)*PlaneLen])))...)
		}
		found := count(d.name, unmasked(t, real, changed))
		if !strong[d.name] {
			require.GreaterOrEqual(t, found, 0.8, d.name)
		}
	}
}
