package quality

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/defectforge/defectforge/model/spec"
)

// controlled is what one control gave in all divisions of a class: once by the
// textures of today, once by those of version 1, which are SurfaceFeatures.
type controlled struct {
	control
	now, before reading
}

// reading sums coverage, density and KID of textures over n sets.
type reading struct {
	coverage, density, kid float64
	n, passed              int
	broken                 map[string]bool
}

func (r *reading) add(o outcome) {
	if r.broken == nil {
		r.broken = map[string]bool{}
	}
	r.n++
	r.coverage += o.measures.Taken["coverage_texture"].Value
	r.density += o.measures.Taken["density_texture"].Value
	r.kid += o.measures.Taken[spec.MeasureKIDTexture].Value
	if o.verdict == spec.Pass {
		r.passed++
	}
	for _, b := range o.broken {
		r.broken[strings.Split(b, "=")[0]] = true
	}
}

// row renders the means, and how many sets passed.
func (r reading) row() string {
	n := float64(r.n)
	verdict := fmt.Sprintf("%d of %d pass", r.passed, r.n)
	switch r.passed {
	case r.n:
		verdict = "pass"
	case 0:
		verdict = "**fail**"
	}
	return fmt.Sprintf("%.2f, %.2f, %.2f, %s", r.coverage/n, r.density/n, r.kid/n, verdict)
}

// asBefore judges the same set by the textures of version 1.
func asBefore(real thirds, candidates []uint8, o outcome, seed uint64) outcome {
	var accepted []int
	for i := range countImages(candidates) {
		if !slices.Contains(o.rejected, i) {
			accepted = append(accepted, i)
		}
	}
	m := Measures{Taken: maps.Clone(o.measures.Taken)}
	l := likeness{LikenessInput: LikenessInput{Seed: seed, HoldoutGroups: real.holdoutGroups}, out: &m, nTraining: countImages(real.training)}
	if real.trainingGroups != nil {
		l.groups = append(slices.Clone(real.trainingGroups), real.holdoutGroups...)
	}
	reals := append(slices.Clone(real.training), real.holdout...)
	surface := space{"texture", SurfaceFeatures(reals), SurfaceFeatures(pick(candidates, accepted))}
	covered := l.covered(surface.real, surface.candidates, l.groups, "candidates texture")
	l.distance(spec.MeasureKIDTexture, surface)
	for k, name := range []string{spec.MeasureCoverage, spec.MeasureDensity} {
		m.Set(name+"_texture", covered[k])
		m.Set(name, math.Min(covered[k], m.Taken[name+"_pca"].Value))
	}
	return decided(m, o.rejected)
}

// judgeControls judges every control on so many divisions of a class.
func judgeControls(t *testing.T, class string, real, other realSet, divisions uint64) {
	t.Helper()
	var all []controlled
	for _, c := range controls() {
		all = append(all, controlled{control: c})
	}
	for seed := range divisions {
		parts := real.divideInto(seed)
		var sets [][]uint8
		for _, c := range all {
			sets = append(sets, c.make(rand.New(rand.NewPCG(seed, 6)), parts, other))
		}
		for i, o := range judgeSets(t, parts, sets, seed) {
			all[i].now.add(o)
			before := asBefore(parts, sets[i], o, seed)
			all[i].before.add(before)
			t.Logf("division %d: %s: %s %v, before %s %v", seed, all[i].name, o.verdict, o.broken, before.verdict, before.broken)
		}
	}
	var b strings.Builder
	for _, c := range all {
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", c.name, c.kind, c.before.row(), c.now.row(), strings.Join(slices.Sorted(maps.Keys(c.now.broken)), ", "))
	}
	t.Logf("%s\n| what was done to real images | wanted | before: coverage, density, KID of textures, verdict | now | rules not kept now |\n| --- | --- | --- | --- | --- |\n%s", class, b.String())
}

// TestControls judges real images that were changed as nobody sees, or as
// everybody does: by their texture alone, one division of each class of steel.
// With a number of divisions it judges every control by the whole policy, which
// takes an hour and more, and prints the tables of POWER.md:
// DEFECTFORGE_TEST_CONTROLS=1 go test ./model/quality -run TestControls -v -timeout 8h
func TestControls(t *testing.T) {
	if testing.Short() {
		t.Skip("judges many sets")
	}
	divisions, err := strconv.ParseUint(cmp.Or(os.Getenv("DEFECTFORGE_TEST_CONTROLS"), "0"), 10, 32)
	require.NoError(t, err, "DEFECTFORGE_TEST_CONTROLS")
	for _, class := range judgedClasses(t) {
		t.Run(class, func(t *testing.T) {
			if divisions == 0 {
				seeSteel(t, class)
			} else {
				judgeControls(t, class, steel(t, class), steel(t, otherClass[class]), divisions)
			}
		})
	}
	if divisions > 0 {
		judgeControls(t, "drawn metal", drawnMetal(t, 3, 300), alongColumns(t), divisions)
	}
}

// seeSteel looks at the texture of some controls.
func seeSteel(t *testing.T, class string) {
	t.Helper()
	parts := steel(t, class).divideInto(0)
	real := append(slices.Clone(parts.training), parts.holdout...)
	same := Subsample(countImages(real), countImages(parts.fresh), 0, class)
	visibility(t, pick(real, same), parts.fresh, []string{
		"nothing", "noise, sigma 2", "JPEG, quality 60", "noise, sigma 16", "to 64 pixels and back", "mean of 5x5",
		"grid of 2 pixels, 8 levels", "grid of 4 pixels, 8 levels", "half the contrast",
	})
}
