package quality

import (
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/defectforge/defectforge/model/spec"
)

func mapped(p []uint8, f func(int) int) []uint8 {
	out := make([]uint8, len(p))
	for i, v := range p {
		out[i] = uint8(min(max(f(int(v)), 0), 255))
	}
	return out
}

// copyCases replace a tenth of the fresh images by what a generator that
// memorised a training image might give.
var copyCases = map[string]func(r *rand.Rand, image []uint8) []uint8{
	"10% copies": func(_ *rand.Rand, image []uint8) []uint8 { return image },
	"10% mirrored or turned copies": func(r *rand.Rand, image []uint8) []uint8 {
		o := 1 + r.IntN(Orientations-1)
		return eachPlane(image, func(p []uint8) []uint8 { return oriented(p, o) })
	},
	"10% shifted copies": func(r *rand.Rand, image []uint8) []uint8 {
		dx, dy := 2+r.IntN(MaxShift-1), r.IntN(2*MaxShift+1)-MaxShift
		return eachPlane(image, func(p []uint8) []uint8 { return shifted(p, dx, dy) })
	},
	"10% near copies with noise": func(r *rand.Rand, image []uint8) []uint8 { return noisy(r, image, 6) },
}

// setCases make a whole set that is no good.
var setCases = map[string]func(r *rand.Rand, real thirds, other realSet) []uint8{
	"collapsed to one image": func(r *rand.Rand, real thirds, _ realSet) []uint8 {
		one := pixelsOf(real.fresh, r.IntN(len(real.fresh)/spec.ImageLen))
		return manyOf(60, func(int) []uint8 { return noisy(r, one, 3) })
	},
	"pure noise": func(r *rand.Rand, real thirds, _ realSet) []uint8 {
		return manyOf(60, func(int) []uint8 {
			return slices.Repeat(mappedAt(func(int, int) uint8 { return uint8(r.Uint32()) }), spec.Channels)
		})
	},
	"blurred images": func(_ *rand.Rand, real thirds, _ realSet) []uint8 { return eachPlane(real.fresh, blurred) },
	"another class": func(r *rand.Rand, real thirds, other realSet) []uint8 {
		return pick(other.images, r.Perm(other.len())[:min(60, other.len())])
	},
}

func manyOf(n int, make func(i int) []uint8) []uint8 {
	var out []uint8
	for i := range n {
		out = append(out, make(i)...)
	}
	return out
}

// plantedSet is a set that is judged.
type plantedSet struct {
	name    string
	images  []uint8
	planted int // copies, which come first
}

// plant judges every case on one division of the real images.
func (s study) plant(t *testing.T, real, other realSet, seed uint64, full bool) {
	t.Helper()
	parts := real.divideInto(seed)
	n := countImages(parts.fresh)
	cases := []plantedSet{{cleared, parts.fresh, 0}}
	for _, name := range slices.Sorted(maps.Keys(copyCases)) {
		if !full {
			break
		}
		r := rand.New(rand.NewPCG(seed, 3))
		c := plantedSet{name, slices.Clone(parts.fresh), (n + 9) / 10}
		for i := range c.planted {
			copied := pixelsOf(parts.training, r.IntN(countImages(parts.training)))
			copy(pixelsOf(c.images, i), copyCases[name](r, copied))
		}
		cases = append(cases, c)
	}
	for _, name := range slices.Sorted(maps.Keys(setCases)) {
		cases = append(cases, plantedSet{name, setCases[name](rand.New(rand.NewPCG(seed, 4)), parts, other), 0})
	}
	var sets [][]uint8
	for _, c := range cases {
		sets = append(sets, c.images)
	}
	for k, o := range judgeSets(t, parts, sets, seed) {
		c := cases[k]
		if c.name == cleared && real.turned {
			o = o.apartFrom(spec.MeasureDisguised, spec.MeasureAccepted)
		}
		s.add(c.name, o, c.planted, countImages(c.images))
		if _, bad := setCases[c.name]; bad && o.verdict == spec.Pass || c.name == cleared && o.verdict != spec.Pass {
			t.Logf("division %d: %s: %s, against %v: %v", seed, c.name, o.verdict, o.broken, o.measures.Taken)
		}
	}
}

// divisions is how many divisions of each class are judged in full. Without
// DEFECTFORGE_TEST_PLANTED each class is divided once, and sets with planted
// copies are only searched for copies, which takes a fraction of the time. The
// table of power and false alarms comes of
// DEFECTFORGE_TEST_PLANTED=3 go test ./model/quality -run TestPlanted -v -timeout 3h
func divisions(t *testing.T) (n uint64, full bool) {
	n, err := strconv.ParseUint(cmp.Or(os.Getenv("DEFECTFORGE_TEST_PLANTED"), "0"), 10, 32)
	require.NoError(t, err, "DEFECTFORGE_TEST_PLANTED")
	return max(n, 1), n > 0
}

// search looks for every kind of planted copy among fresh images, all in one
// set, and at fresh images alone.
func (s study) search(t *testing.T, real realSet, seed uint64) {
	t.Helper()
	parts := real.divideInto(seed)
	r := rand.New(rand.NewPCG(seed, 3))
	names := slices.Sorted(maps.Keys(copyCases))
	each := (countImages(parts.fresh) + 9) / 10
	var set []uint8
	for _, name := range names {
		for range each {
			set = append(set, copyCases[name](r, pixelsOf(parts.training, r.IntN(countImages(parts.training))))...)
		}
	}
	copies := copiesOf(t, parts, append(set, parts.fresh...))
	for k, name := range append(names, "fresh images") {
		from, to := k*each, (k+1)*each
		if k == len(names) {
			to = from + countImages(parts.fresh)
		}
		o := outcome{verdict: spec.Pass}
		for i := from; i < to; i++ {
			if why, _, _ := copies.Reason(i, func(n int) string { return fmt.Sprint(n) }); why != "" {
				o.rejected = append(o.rejected, i-from)
			}
		}
		if k == len(names) {
			s.add(name, o, 0, to-from)
		} else {
			s.add(name, o, each, each)
		}
	}
}

// check demands of the counts what the table showed: planted copies are struck one
// by one, bad sets don't pass, and real images do.
func (s study) check(t *testing.T) {
	t.Helper()
	for name, c := range s {
		if c.copies > 0 {
			require.GreaterOrEqual(t, float64(c.struck), 0.95*float64(c.copies), name)
		}
		if _, bad := setCases[name]; bad {
			require.Equal(t, c.sets, c.caught, name)
		}
		if name == cleared {
			require.LessOrEqual(t, float64(c.caught), 0.1*float64(c.sets), "false alarms")
		}
		require.LessOrEqual(t, float64(c.hit), 0.25*float64(c.innocent), "%s: images that are no copies", name)
	}
}

// judgeClass judges a class by as many divisions as asked for.
func judgeClass(t *testing.T, name string, real, other realSet) {
	t.Helper()
	s := study{}
	n, full := divisions(t)
	for seed := range n {
		if !full {
			s.search(t, real, seed)
		}
		s.plant(t, real, other, seed, full)
	}
	s.log(t, name)
	power.merge(s)
	s.check(t)
}

// judgedClasses are the classes of steel whose sets are judged: all where CI or
// somebody who counts asks for them, else one.
func judgedClasses(t *testing.T) []string {
	t.Helper()
	all := slices.Sorted(maps.Keys(otherClass))
	for _, asked := range []string{"DEFECTFORGE_TEST_WHOLE", "DEFECTFORGE_TEST_PLANTED", "DEFECTFORGE_TEST_CONTROLS"} {
		if os.Getenv(asked) != "" {
			return all
		}
	}
	t.Log("one class of four; DEFECTFORGE_TEST_WHOLE=1 judges all")
	return all[:1]
}

func TestPlantedSteel(t *testing.T) {
	if testing.Short() {
		t.Skip("judges many sets")
	}
	for _, class := range judgedClasses(t) {
		t.Run(class, func(t *testing.T) {
			judgeClass(t, class, steel(t, class), steel(t, otherClass[class]))
		})
	}
}

func TestPlantedMetal(t *testing.T) {
	if testing.Short() {
		t.Skip("judges many sets")
	}
	judgeClass(t, "metal", drawnMetal(t, 3, 300), alongColumns(t))
}

// TestPlantedTable prints what the tests before it counted, all classes together.
func TestPlantedTable(t *testing.T) {
	if len(power) == 0 {
		t.Skip("nothing was planted in this run")
	}
	t.Logf("all classes together; shares with Wilson's 95%% interval\n%s", power.table())
}
