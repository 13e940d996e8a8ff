package graph

import (
	"math"
	"math/rand"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/defectforge/defectforge/model/kernel"
	"github.com/defectforge/defectforge/model/spec"
)

// smallest is a model of the smallest networks.
func smallest() spec.Model { return spec.Model{Latent: 3, GeneratorDepth: 1, DiscriminatorDepth: 1} }

// networks are the smallest ones, with random weights.
func networks() (d, g *Net) {
	d, g = NewDiscriminator(smallest()), NewGenerator(smallest())
	randomise(d, g)
	return d, g
}

func randomise(nets ...*Net) {
	rng := rand.New(rand.NewSource(3))
	for _, n := range nets {
		for _, t := range n.Params() {
			for i := range t.Data {
				t.Data[i] = float32(0.3 * rng.NormFloat64())
				if len(t.Shape) == 1 {
					t.Data[i]++
				}
			}
		}
		for _, l := range n.layers {
			if l.spectral != nil {
				for i := range l.spectral.u.Data {
					l.spectral.u.Data[i] = float32(rng.NormFloat64())
				}
			}
		}
	}
}

func values(rng *rand.Rand, n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(rng.NormFloat64())
	}
	return x
}

func TestStateNamesAreThoseOfThePyTorchModule(t *testing.T) {
	m := spec.Model{Latent: 100, GeneratorDepth: 2, DiscriminatorDepth: 2}
	d, g := NewDiscriminator(m), NewGenerator(m)
	names := func(n *Net) (out []string) {
		for _, t := range append(n.Params(), n.Buffers()...) {
			out = append(out, t.Name)
		}
		for _, c := range n.Counters() {
			out = append(out, c.Name)
		}
		return out
	}
	require.Len(t, names(d), 1+5*3+4*5)
	require.Subset(t, names(d), []string{
		"layer1.0.weight_orig", "layer1.0.weight_u", "layer5.0.weight_v", "layer2.1.running_mean",
		"layer5.1.num_batches_tracked", "output_layer.0.weight"})
	m.DiscriminatorNorm = spec.NormNone
	require.Len(t, names(NewDiscriminator(m)), 1+5*3, "without batch norm")
	m.DiscriminatorNorm = spec.NormFree
	require.Equal(t, []string{"layer1.0.weight", "layer2.0.weight"}, names(NewDiscriminator(m))[:2], "without spectral norm")
	require.Len(t, names(NewDiscriminator(m)), 6)
	require.Len(t, names(g), 1+5*6)
	require.Subset(t, names(g), []string{"layer1.0.weight", "layer5.1.bias", "output_layer.0.weight"})
	require.Equal(t, []int{100, 32, 4, 4}, g.layers[0].weight.Shape)
	require.Equal(t, []int{32, 16, 4, 4}, d.layers[4].weight.Shape)
}

// What one step does to the state beside the weights: three power iterations
// and three batches for the discriminator, one batch for the generator.
func TestForwardPassesMoveTheState(t *testing.T) {
	d, g := networks()
	trainer, err := NewTrainer(NewWorkspace(CPU{}), d, g, 3, Ways{})
	require.NoError(t, err)
	defer trainer.Close()
	rng := rand.New(rand.NewSource(4))
	u := append([]float32{}, d.layers[1].spectral.u.Data...)
	require.NoError(t, trainer.Generate(Draws{Latents: values(rng, 9)}))
	require.Equal(t, u, d.layers[1].spectral.u.Data)
	_, _, err = trainer.Judge(values(rng, 3*spec.ImageLen), Terms{Label: 1}, Terms{})
	require.NoError(t, err)
	require.NotEqual(t, u, d.layers[1].spectral.u.Data)
	u = append([]float32{}, d.layers[1].spectral.u.Data...)
	_, err = trainer.Fool(nil, Terms{}, Terms{Label: 1})
	require.NoError(t, err)
	require.NotEqual(t, u, d.layers[1].spectral.u.Data, "the generator's phase iterates too")
	for _, c := range d.Counters() {
		require.EqualValues(t, 3, c.Value[0], c.Name)
	}
	for _, c := range g.Counters() {
		require.EqualValues(t, 1, c.Value[0], c.Name)
	}
}

// The generator's gradient through the discriminator, against differences of
// the loss itself. The batch statistics and vectors are put back each time.
func TestFoolDifferentiatesThroughBothNetworks(t *testing.T) {
	d, g := networks()
	requireFoolsGradient(t, d, g, Terms{Label: 1})
}

func TestFoolDifferentiatesThroughAugmentations(t *testing.T) {
	_, g := networks()
	m := smallest()
	m.DiscriminatorNorm = spec.NormNone
	d := NewDiscriminator(m)
	rng := rand.New(rand.NewSource(11))
	for _, p := range append(d.Params(), d.Buffers()...) {
		copy(p.Data, values(rng, len(p.Data)))
	}
	requireFoolsGradient(t, d, g, Terms{Label: 1, Augment: []kernel.Augmentation{
		{Brightness: 0.3, Saturation: 0.4, Contrast: 1.3, Rows: 9, Columns: -16, Top: 80, Bottom: 144, Left: -20, Right: 44},
		{Brightness: -0.2, Saturation: 1.9, Contrast: 0.6, Rows: -3, Columns: 7, Top: 10, Bottom: 74, Left: 30, Right: 94},
		kernel.NoAugmentation,
	}})
}

func TestFoolDifferentiatesThroughDoublingsAndNoise(t *testing.T) {
	for _, m := range modern() {
		d, g := NewDiscriminator(m), NewGenerator(m)
		randomise(d, g)
		requireFoolsGradient(t, d, g, Terms{Criterion: Critic, Label: 1})
		requireFoolsGradient(t, d, g, Terms{Criterion: Paired, Label: 1})
	}
}

// modern are the smallest networks of other kinds.
func modern() []spec.Model {
	m := smallest()
	m.Channels, m.Size, m.Generator, m.GeneratorNoise = spec.ChannelsGrey, 64, spec.GeneratorUpsample, true
	m.DiscriminatorNorm, m.DiscriminatorHead = spec.NormFree, spec.HeadPatch
	other := m
	other.Channels, other.Generator, other.DiscriminatorHead = spec.ChannelsColour, "", ""
	finest := m
	finest.GeneratorFine, finest.DiscriminatorHead, finest.MinibatchStddev = 2, spec.HeadBoth, true
	return []spec.Model{m, other, finest}
}

// noisy are draws for n images.
func noisy(g *Net, n int) Draws {
	rng := rand.New(rand.NewSource(5))
	out := Draws{Latents: values(rng, n*g.layers[0].in)}
	for _, side := range g.NoiseSides() {
		out.Noise = append(out.Noise, values(rng, n*side*side))
	}
	return out
}

// The pairs' loss, against differences of it along its own gradient.
func TestPairedJudgementDifferentiates(t *testing.T) {
	for _, m := range modern() {
		d, g := NewDiscriminator(m), NewGenerator(m)
		randomise(d, g)
		trainer, err := NewTrainer(NewWorkspace(CPU{}), d, g, 3, Ways{Paired: true, Augment: true})
		require.NoError(t, err)
		require.NoError(t, trainer.Generate(noisy(g, 3)))
		images := values(rand.New(rand.NewSource(7)), 3*m.ImageLen())
		by := slices.Repeat([]kernel.Augmentation{{Mirror: true, Turns: 1, Down: 3, Saturation: 1, Contrast: 1}}, 3)
		loss := func() float64 {
			real, fake, err := trainer.Judge(images, Terms{Criterion: Paired, Label: 1, Augment: by}, Terms{Criterion: Paired, Augment: by})
			require.NoError(t, err)
			require.Equal(t, real.Loss, fake.Loss)
			return real.Loss + fake.Loss
		}
		loss()
		requireSlopes(t, loss, d.Params(), trainer.gradients)
		trainer.Close()
	}
}

func requireFoolsGradient(t *testing.T, d, g *Net, terms Terms) {
	ways := Ways{Augment: terms.Augment != nil, Paired: terms.Criterion == Paired}
	trainer, err := NewTrainer(NewWorkspace(CPU{}), d, g, 3, ways)
	require.NoError(t, err)
	defer trainer.Close()
	first := d.layers[0]
	images := values(rand.New(rand.NewSource(8)), 3*first.in*first.inSide*first.inSide)
	loss := func() float64 {
		require.NoError(t, trainer.Generate(noisy(g, 3)))
		o, err := trainer.Fool(images, Terms{Augment: terms.Augment}, terms)
		require.NoError(t, err)
		return o.Loss
	}
	for range 150 { // u and v settle, so that sigma's move with them is of second order
		loss()
	}
	requireSlopes(t, loss, g.Params(), trainer.fool.gradients)
}

// requireSlopes compares gradients with differences of the loss.
func requireSlopes(t *testing.T, loss func() float64, params []*Tensor, gradients []Buffer) {
	grads, largest := make([][]float32, len(params)), 0.0
	for i, v := range gradients {
		grads[i] = slices.Clone(v.Host)
		largest = max(largest, kernel.Norm(v.Host))
	}
	for i, p := range params {
		// The kinks of leaky ReLUs show where much cancels out. Along the gradient's own direction the loss changes the most.
		norm := 0.0
		for _, v := range grads[i] {
			norm += float64(v) * float64(v)
		}
		norm = math.Sqrt(norm)
		const h = 5e-4
		move := func(by float64) {
			for k, v := range grads[i] {
				p.Data[k] += float32(by * float64(v) / norm)
			}
		}
		move(h)
		up := loss()
		move(-2 * h)
		down := loss()
		move(h)
		require.InDelta(t, norm, (up-down)/(2*h), 0.05*norm+0.01*largest, p.Name)
	}
}

func TestGeneratedImagesAreTakenOverNotMadeAgain(t *testing.T) {
	d, g := networks()
	trainer, err := NewTrainer(NewWorkspace(CPU{}), d, g, 3, Ways{})
	require.NoError(t, err)
	defer trainer.Close()
	require.NoError(t, trainer.Generate(Draws{Latents: values(rand.New(rand.NewSource(6)), 9)}))
	image := data(trainer.generation.images.Value())
	before := append([]float32{}, image...)
	clear(g.layers[5].weight.Data) // were the forward pass run again, the images would be grey
	_, err = trainer.Fool(nil, Terms{}, Terms{Label: 1})
	require.NoError(t, err)
	require.Equal(t, before, data(trainer.generation.images.Value()))
	require.NoError(t, trainer.Generate(Draws{Latents: values(rand.New(rand.NewSource(6)), 9)}))
	require.NotEqual(t, before, image, "Generate does run it")
}

func TestBatchSizesShareParametersAndMemory(t *testing.T) {
	d, g := networks()
	ws := NewWorkspace(CPU{})
	large, err := NewTrainer(ws, d, g, 5, Ways{})
	require.NoError(t, err)
	defer large.Close()
	arrays := len(ws.arrays)
	small, err := NewTrainer(ws, d, g, 3, Ways{})
	require.NoError(t, err)
	defer small.Close()
	require.Len(t, ws.arrays, arrays, "the smaller batch takes no memory of its own")
	images := values(rand.New(rand.NewSource(7)), 5*spec.ImageLen)
	require.NoError(t, large.Generate(Draws{Latents: values(rand.New(rand.NewSource(8)), 5*3)}))
	first, _, err := small.Judge(images[:3*spec.ImageLen], Terms{Label: 1}, Terms{})
	require.NoError(t, err)
	_, _, err = large.Judge(images, Terms{Label: 1}, Terms{})
	require.NoError(t, err)
	d.layers[5].weight.Data[0] += 10
	second, _, err := small.Judge(images[:3*spec.ImageLen], Terms{Label: 1}, Terms{})
	require.NoError(t, err)
	require.NotEqual(t, first.Loss, second.Loss)
}

func TestStatisticsFollowPyTorch(t *testing.T) {
	n := newNorm("x", 1)
	observe := func(mean, variance float32, count int) {
		running := Norm{N: count, Area: 1, RunningMean: CPU{}.Adopt(n.runningMean.Data), RunningVar: CPU{}.Adopt(n.runningVar.Data)}
		running.observe([]float32{mean}, []float32{variance}, n.count())
	}
	observe(2, 3, 4)
	require.InDelta(t, 0.2, n.runningMean.Data[0], 1e-7)
	require.InDelta(t, 0.9+0.1*4, n.runningVar.Data[0], 1e-6, "the unbiased variance: 3*4/3")
	net := &Net{layers: []*layer{{norm: n}}}
	net.ForgetStatistics()
	for _, m := range []float32{1, 2, 6} {
		observe(m, m, 2)
	}
	require.InDelta(t, 3, n.runningMean.Data[0], 1e-6, "a plain average")
	require.InDelta(t, 6, n.runningVar.Data[0], 1e-6)
	require.EqualValues(t, 3, n.batches[0])
}

// The generator's phase needs the discriminator's input gradients alone.
func TestFoolLeavesTheDiscriminatorsWeightGradientsOut(t *testing.T) {
	d, g := networks()
	trainer, err := NewTrainer(NewWorkspace(CPU{}), d, g, 3, Ways{})
	require.NoError(t, err)
	defer trainer.Close()
	count := func(p *program) map[string]int {
		out := map[string]int{}
		for _, n := range p.graph.AllNodes() {
			if op, ok := n.Op().(*convByWeight); ok {
				out[op.name[:strings.Index(op.name, ".")]]++
			}
		}
		return out
	}
	require.Equal(t, map[string]int{"discriminator": 6}, count(trainer.judge.(*apart).real.program))
	require.Equal(t, map[string]int{"discriminator": 6}, count(trainer.judge.(*apart).fake.program))
	require.Equal(t, map[string]int{"generator": 6}, count(trainer.fool.program))
	require.Empty(t, count(trainer.generation.program))
}
