package classifier

import (
	"context"
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/defectforge/defectforge/model/kernel"
	"github.com/defectforge/defectforge/model/spec"
)

// drawn is a noisy grey picture (3,128,128) of waves: along is the direction in
// eighths of half a turn.
func drawn(seed uint64, index int, along, pitch float64) *Picture {
	noise, phase := make([]float32, spec.Size*spec.Size), make([]float32, 1)
	kernel.NewStream(seed, "test picture", uint64(index)).Normal(noise)
	kernel.NewStream(seed, "test phase", uint64(index)).Uniform(phase, 0, 6)
	sin, cos := math.Sincos(along * math.Pi / 8)
	chw := make([]uint8, spec.ImageLen)
	for i, v := range noise {
		x, y := float64(i%spec.Size), float64(i/spec.Size)
		level := 128 + 40*math.Sin((x*cos+y*sin)*pitch+float64(phase[0])) + 20*float64(v)
		for c := range 3 {
			chw[c*len(noise)+i] = uint8(max(0, min(255, level)))
		}
	}
	return NewPicture(chw)
}

// class draws training and held-out images, each its own group.
func class(name string, seed uint64, train, held int, draw func(i int) *Picture) Class {
	c := Class{Name: name}
	for i := range train + held {
		c.Images = append(c.Images, Image{Picture: draw(int(seed)*1000 + i), Digest: fmt.Sprintf("%s%03d", name, i), Holdout: i >= train})
	}
	return c
}

// waves is a class of waves of one pitch in all directions, so that turning a
// picture leaves it in its class.
func waves(name string, seed uint64, pitch float64) Class {
	return class(name, seed, 24, 30, func(i int) *Picture { return drawn(seed, i, float64(i%8), pitch) })
}

// broad is a class of which held-out images come in two kinds and training
// images in the first.
func broad() Class {
	return class("broad", 1, 24, 30, func(i int) *Picture { return kind(i%1000%2*(i%1000/24), i) })
}

func kind(second, i int) *Picture {
	if second == 0 {
		return drawn(1, i, float64(i%8), 0.15)
	}
	return drawn(1, i, float64(i%8), 1)
}

func study(t *testing.T, own Class, generated []*Picture) (*Study, []Pair) {
	t.Helper()
	s, err := NewStudy(Plan{Splits: 2, Seeds: 2, PerClass: 20, Steps: 30, Seed: 5}, own, []Class{waves("b", 2, 0.3), waves("c", 3, 0.55)}, generated)
	require.NoError(t, err)
	var pairs []Pair
	for split := range 2 {
		for seed := range 2 {
			p, err := s.Pair(t.Context(), split, seed)
			require.NoError(t, err)
			pairs = append(pairs, p)
		}
	}
	return s, pairs
}

// TestPlantedUsefulImages: the generated images are further images of a kind that
// the real training images lack.
func TestPlantedUsefulImages(t *testing.T) {
	if testing.Short() {
		t.Skip("trains many classifiers")
	}
	var generated []*Picture
	for i := range 20 {
		generated = append(generated, kind(1, 5000+i))
	}
	s, pairs := study(t, broad(), generated)
	for _, g := range []Gain{s.Gain(pairs, Convolution, spec.ArmGenerated, spec.ArmReal), s.Gain(pairs, Convolution, spec.ArmBoth, spec.ArmClassic), s.Gain(pairs, Texture, spec.ArmBoth, spec.ArmClassic)} {
		require.Positive(t, g.Low, "%+v", pairs)
		require.Greater(t, g.High, g.Mean)
	}
	require.Greater(t, Mean(pairs, Convolution, spec.ArmBoth).ClassF1, Mean(pairs, Convolution, spec.ArmClassic).ClassF1+0.1)
}

// TestPlantedUselessImages: the generated images are those of another class.
func TestPlantedUselessImages(t *testing.T) {
	if testing.Short() {
		t.Skip("trains many classifiers")
	}
	var generated []*Picture
	for i := range 20 {
		generated = append(generated, drawn(2, 5000+i, float64(i%8), 0.3))
	}
	s, pairs := study(t, broad(), generated)
	for _, model := range []string{Convolution, Texture} {
		g := s.Gain(pairs, model, spec.ArmBoth, spec.ArmClassic)
		require.LessOrEqual(t, g.Low, 0.0, "%s %+v", model, pairs)
		require.Negative(t, g.Mean, "%s %+v", model, pairs)
	}
}

func TestPairsAreTheSameEachTime(t *testing.T) {
	defer kernel.SetThreads(0)
	s, err := NewStudy(Plan{Splits: 1, Seeds: 2, PerClass: 6, Steps: 4, Seed: 5}, waves("a", 1, 0.15), []Class{waves("b", 2, 0.3)}, []*Picture{drawn(1, 1, 0, 1)})
	require.NoError(t, err)
	kernel.SetThreads(1)
	one, err := s.Pair(t.Context(), 0, 1)
	require.NoError(t, err)
	kernel.SetThreads(3)
	again, err := s.Pair(t.Context(), 0, 1)
	require.NoError(t, err)
	require.Equal(t, one, again)
	var trained []string
	for _, model := range []string{Convolution, Texture} {
		for _, score := range one.Scores {
			if score.Model == model {
				trained = append(trained, score.Arm)
			}
		}
	}
	var arms []string
	for _, a := range spec.Arms() {
		arms = append(arms, a.Name)
	}
	require.Equal(t, slices.Concat(arms, arms), trained)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = s.Pair(ctx, 0, 0)
	require.ErrorIs(t, err, context.Canceled)
}

// TestCorrectedInterval by hand: the differences' mean is 0.02, their standard
// deviation 0.02, t(0.975, 2) = 4.302653, and sqrt(1/3 + 0.5) = 0.912871.
func TestCorrectedInterval(t *testing.T) {
	g := CorrectedInterval([]float64{0, 0.02, 0.04}, 0.5)
	require.InDelta(t, 0.02, g.Mean, 1e-12)
	require.InDelta(t, 0.02-0.0785554, g.Low, 1e-6)
	require.InDelta(t, 0.02+0.0785554, g.High, 1e-6)
	require.True(t, math.IsInf(CorrectedInterval([]float64{1}, 0).Low, -1))
}

func TestF1(t *testing.T) {
	// Class 0: 2 right of 3, 1 wrongly said; class 1: 1 of 2, 1 wrongly said;
	// class 2 neither there nor said.
	each, macro := F1([]int{0, 0, 0, 1, 1}, []int{0, 0, 1, 1, 0}, 3)
	require.InDeltaSlice(t, []float64{4.0 / 6, 2.0 / 4, 0}, each, 1e-12)
	require.InDelta(t, (4.0/6+0.5)/3, macro, 1e-12)
}

func digests(c Class, of []*Picture) (out []string) {
	for _, p := range of {
		at := slices.IndexFunc(c.Images, func(im Image) bool { return im.Picture == p })
		out = append(out, c.Images[at].Digest)
	}
	return out
}

func TestSplits(t *testing.T) {
	a, b := waves("a", 1, 0.15), waves("b", 2, 0.3)
	for i := range 24 { // groups of two, which no split divides
		b.Images[30+i].Group = fmt.Sprint("g", i/2)
	}
	s, err := NewStudy(Plan{Splits: 3, Seeds: 1, PerClass: 50, Steps: 1}, a, []Class{b}, nil)
	require.NoError(t, err)
	require.Equal(t, 48, s.Train())
	require.Equal(t, 20, s.Test())
	require.Len(t, s.Notes, 2, "fewer to train on, none generated: %v", s.Notes)
	seen := map[string]bool{}
	for k := range 3 {
		for _, d := range digests(a, s.classes[0][k].test) {
			require.False(t, seen[d], "tests are disjoint")
			require.GreaterOrEqual(t, d, "a024", "tests are held out")
			seen[d] = true
		}
		for _, d := range digests(a, s.classes[0][k].train) {
			require.Less(t, d, "a024", "training images are not held out")
		}
	}
	require.Len(t, seen, 30)
}

func TestSplitsOfASmallHoldout(t *testing.T) {
	a, b := waves("a", 1, 0.15), waves("b", 2, 0.3)
	a.Images = a.Images[:32] // 8 held out
	for i := range b.Images {
		b.Images[i].Group = fmt.Sprint("g", i/3)
	}
	s, err := NewStudy(Plan{Splits: 3, Seeds: 1, PerClass: 10, Steps: 1}, a, []Class{b}, make([]*Picture, 10))
	require.NoError(t, err)
	require.Len(t, s.Notes, 2, "%v", s.Notes)
	require.Contains(t, s.Notes[0], "too few for 3 separate tests")
	require.Contains(t, s.Notes[1], "of b are drawn anew")
	groups := map[string]string{}
	for _, im := range b.Images {
		groups[im.Digest] = im.Group
	}
	require.NotEqual(t, digests(b, s.classes[1][0].test), digests(b, s.classes[1][1].test))
	for k := range 3 {
		require.Len(t, s.classes[0][k].test, 8)
		trained := map[string]bool{}
		for _, d := range digests(b, s.classes[1][k].train) {
			trained[groups[d]] = true
		}
		require.NotEmpty(t, s.classes[1][k].test)
		for _, d := range digests(b, s.classes[1][k].test) {
			require.False(t, trained[groups[d]], "a group is divided")
		}
	}
}

func TestTooFewImages(t *testing.T) {
	plan := Plan{Splits: 1, Seeds: 1, PerClass: 10, Steps: 1}
	few := waves("few", 1, 0.15)
	few.Images = few.Images[:28]
	_, err := NewStudy(plan, few, []Class{waves("b", 2, 0.3)}, nil)
	require.ErrorIs(t, err, ErrTooFew)
	require.ErrorContains(t, err, "class few has 4 held out")
	few.Images = few.Images[:3]
	_, err = NewStudy(plan, waves("b", 2, 0.3), []Class{few}, nil)
	require.ErrorIs(t, err, ErrTooFew)
	require.ErrorContains(t, err, "class few")
}

func TestPicture(t *testing.T) {
	chw := make([]uint8, spec.ImageLen)
	chw[1], chw[spec.Size] = 10, 20 // both in the first square
	p := NewPicture(chw)
	require.Equal(t, uint8(8), p.pixels[0], "7.5, rounded")
	require.False(t, p.grey())
	seen := map[string]bool{}
	p.pixels[1], p.pixels[2*Side] = 100, 200
	for turn := range 8 {
		dst := make([]float32, 3*area)
		p.write(dst, turn)
		seen[fmt.Sprint(dst)] = true
	}
	require.Len(t, seen, 8, "all turns differ")
	dst := make([]float32, 3*area)
	p.write(dst, 2)
	require.InDelta(t, 100/127.5-1, dst[(Side-2)*Side], 1e-6, "a quarter turn")
	grey := make([]float32, area)
	p.write(grey, 0)
	require.InDelta(t, 0.299*100/127.5-1, grey[1], 1e-6)
}

func TestTexturesTurnWithThePicture(t *testing.T) {
	p := drawn(1, 1, 0, 0.4) // waves along the rows
	quarter := drawn(1, 1, 0, 0.4)
	for i := range quarter.light {
		quarter.light[i] = p.light[placeOf(i/spec.Size, i%spec.Size, 2, spec.Size)]
	}
	require.Equal(t, quarter.textures(0), p.textures(2))
	require.NotEqual(t, p.textures(0), p.textures(2))
	require.Len(t, p.textures(0), 252)
}

// TestLogistic: two features that vary and one that does not; the gradient is held
// against differences of the loss.
func TestLogistic(t *testing.T) {
	var rows [][]float64
	var labels []int
	noise := make([]float32, 200)
	kernel.NewStream(3, "test logistic", 0).Normal(noise)
	for i := range 100 {
		c := i % 3
		labels = append(labels, c)
		rows = append(rows, []float64{100 + float64(c) + 0.1*float64(noise[2*i]), float64(c*c) + 0.1*float64(noise[2*i+1]), 7})
	}
	l, err := fitLogistic(rows, labels, 3)
	require.NoError(t, err)
	require.Equal(t, labels, l.predict(rows))
	again, err := fitLogistic(rows, labels, 3)
	require.NoError(t, err)
	require.Equal(t, l.weights, again.weights)

	x := [][]float64{l.standard(rows[0]), l.standard(rows[1]), l.standard(rows[2])}
	w := []float64{0.3, -0.2, 0.1, 0.5, 1, 0.2, -0.4, 0.1, 0, 0.3, 0.2, -0.1}
	grad, logits := make([]float64, len(w)), make([]float64, 3)
	l.loss(w, grad, x, labels[:3], logits)
	for i := range w {
		const h = 1e-6
		kept := w[i]
		w[i] = kept + h
		above := l.loss(w, nil, x, labels[:3], logits)
		w[i] = kept - h
		below := l.loss(w, nil, x, labels[:3], logits)
		w[i] = kept
		require.InDelta(t, (above-below)/(2*h), grad[i], 1e-6)
	}
}
