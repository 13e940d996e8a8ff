package quality

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
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

// unmasked says of planes how near each comes to the class's training images.
func unmasked(t *testing.T, real thirds, planes []uint8) []Disguised {
	t.Helper()
	found, err := NearestDisguised(t.Context(), planes, oneShard(real.training), nil, nil)
	require.NoError(t, err)
	return found
}

// TestDisguisedStudy measures which disguised copies are found, and how many honest
// images are taken for some, on one class or all: DEFECTFORGE_TEST_DISGUISES=crazing.
func TestDisguisedStudy(t *testing.T) {
	classes := os.Getenv("DEFECTFORGE_TEST_DISGUISES")
	if classes == "" {
		t.Skip("a study of minutes; set DEFECTFORGE_TEST_DISGUISES to classes, separated by commas")
	}
	for class := range strings.SplitSeq(classes, ",") {
		real := steel(t, class).divideInto(1)
		n := len(real.training) / spec.ImageLen
		training := oneShard(real.training)
		rows := make([]int, n)
		for i := range rows {
			rows[i] = i
		}
		related, err := relatives(t.Context(), training, real.trainingGroups, rows, thumbsAtOnce)
		require.NoError(t, err)
		planes, err := training.Load(context.Background(), 0)
		require.NoError(t, err)
		null, err := NearestDisguised(t.Context(), planes, training, func(i, j int) bool { return i == j || among(related[i], j) }, nil)
		require.NoError(t, err)
		var values, weights []float64
		for i, d := range null {
			values, weights = append(values, d.Distance), append(weights, 1/float64(1+len(related[i])))
		}
		rejectAt, tailAt := disguisedRejectAt(values, weights, 0.01), weightedQuantile(values, weights, 0.01)
		t.Logf("%s: %d training; reject at %.3f, tail at %.3f, quantiles %.3f %.3f %.3f %.3f %.3f", class, n, rejectAt, tailAt, weightedQuantile(values, weights, 0.1), weightedQuantile(values, weights, 0.25), weightedQuantile(values, weights, 0.5), weightedQuantile(values, weights, 0.75), weightedQuantile(values, weights, 0.9))
		report := func(name string, found []Disguised) {
			rejected, tail, mean := 0, 0, 0.0
			for _, d := range found {
				rejected += truth(d.Distance < rejectAt)
				tail += truth(d.Distance < tailAt)
				mean += d.Distance / float64(len(found))
			}
			t.Logf("%-45s mean %.3f rejected %3d%% tail %3d%%", name, mean, 100*rejected/len(found), 100*tail/len(found))
		}
		report("fresh real images", unmasked(t, real, FirstChannels(real.fresh)))
		report("held-out real images", unmasked(t, real, FirstChannels(real.holdout)))
		for _, d := range disguises() {
			r := rand.New(rand.NewPCG(5, 5))
			var changed []uint8
			for i := 0; i < n; i += max(n/40, 1) {
				changed = append(changed, toBytes(d.change(r, toFloats(planes[i*PlaneLen:(i+1)*PlaneLen])))...)
			}
			report(d.name, unmasked(t, real, changed))
		}
		fmt.Println()
	}
}
