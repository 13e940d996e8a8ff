package graph

import (
	"math"
	"math/rand"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"gorgonia.org/gorgonia"

	"github.com/defectforge/defectforge/model/spec"
)

// spreadCase is an operation on batches of one pass that are judged one by one.
func spreadCase(rng *rand.Rand, name string, n, batches int) gradientCase {
	const c, side = 3, 2
	p := pass{net: &Net{name: "test"}, n: n, ws: NewWorkspace(CPU{}), batches: batches}
	op := newSpread(p, &layer{name: name, in: c + 1, inSide: side})
	return gradientCase{name, op, []*Tensor{random(rng, "x", n, c, side, side)}, func(in [][]float64) (y []float64) {
		for batch := range slices.Chunk(in[0], len(in[0])/batches) {
			y = append(y, spreadOf(batch, n/batches, c, side*side)...)
		}
		return y
	}}
}

// spreadOf is PyTorch's reshape(g, m, c, area), the deviation along g and the mean
// along c and area, repeated g times and joined to x.
func spreadOf(x []float64, n, c, area int) (y []float64) {
	g := n
	if n%4 == 0 {
		g = 4
	}
	m := n / g
	numbers := make([]float64, m)
	for b := range m {
		for k := range c * area {
			mean, variance := 0.0, 0.0
			for a := range g {
				mean += x[(a*m+b)*c*area+k] / float64(g)
			}
			for a := range g {
				d := x[(a*m+b)*c*area+k] - mean
				variance += d * d / float64(g)
			}
			numbers[b] += math.Sqrt(variance+1e-8) / float64(c*area)
		}
	}
	for i := range n {
		y = append(y, x[i*c*area:(i+1)*c*area]...)
		y = append(y, slices.Repeat([]float64{numbers[i%m]}, area)...)
	}
	return y
}

// A network of one block with all that ends a discriminator: a head of the block's
// own, the batch's spread and the image's logit.
func TestHeadsDifferentiate(t *testing.T) {
	const n = 8
	rng := rand.New(rand.NewSource(13))
	block := &layer{name: "layer1", in: 2, out: 3, inSide: 8, outSide: 4, kernel: 4, stride: 2, pad: 1,
		Activation: Activation{Slope: leakySlope}}
	block.weight = random(rng, "block", 3, 2, 4, 4)
	block.patches = newPatches(block)
	copy(block.patches.weight.Data, random(rng, "patches", 3).Data)
	end := &layer{name: "output_layer", spread: true, in: 4, out: 1, inSide: 4, outSide: 1, kernel: 4, stride: 1,
		Activation: Activation{Slope: linear}}
	end.weight = random(rng, "end", 1, 4, 4, 4)
	net := &Net{name: "test", layers: []*layer{block, end}}
	images := random(rng, "images", n, 2, 8, 8)
	require.Len(t, net.Params(), 3)

	p := newProgram(NewWorkspace(CPU{}))
	defer p.close()
	x, err := p.input("images", hostArray(images.Data, images.Shape...))
	require.NoError(t, err)
	logits, err := p.chain(net, x, pass{net: net, n: n, ws: p.ws, learns: true}.stages(true))
	require.NoError(t, err)
	require.Equal(t, []int{n, 1 + 16, 1, 1}, []int(logits.Shape()))
	cost := newProbe(rng, logits.Shape())
	loss, err := gorgonia.ApplyOp(cost, logits)
	require.NoError(t, err)
	inputs := []*Tensor{images, block.weight, block.patches.weight, end.weight}
	grads, err := gorgonia.Grad(loss, x, p.nodes[block.weight], p.nodes[block.patches.weight], p.nodes[end.weight])
	require.NoError(t, err)
	require.NoError(t, p.compile())
	require.NoError(t, p.run())

	in := make([][]float64, len(inputs))
	for i, v := range inputs {
		in[i] = widen(v.Data)
	}
	reference := func() []float64 { return headsOf(in, block, end, n) }
	requireClose(t, reference(), data(logits.Value()), 1e-6, "logits")
	for i, v := range inputs {
		requireClose(t, differences(in[i], func() float64 { return dot(cost.c, reference()) }), data(grads[i].Value()), 2e-6, v.Name)
	}
}

// headsOf is the network of TestHeadsDifferentiate in float64.
func headsOf(in [][]float64, block, end *layer, n int) (logits []float64) {
	features := make([]float64, n*block.out*16)
	convolve(block, n, func(y, x, w int) { features[y] += in[0][x] * in[1][w] })
	for i, v := range features {
		features[i] = math.Max(v, leakySlope*v)
	}
	patches, images := make([]float64, n*16), make([]float64, n)
	convolve(block.patches, n, func(y, x, w int) { patches[y] += features[x] * in[2][w] })
	wider := spreadOf(features, n, block.out, 16)
	convolve(end, n, func(y, x, w int) { images[y] += wider[x] * in[3][w] })
	for i, v := range images {
		logits = append(append(logits, v), patches[i*16:(i+1)*16]...)
	}
	return logits
}

// differences are those of value along each of x.
func differences(x []float64, value func() float64) []float64 {
	const h = 1e-6
	out := make([]float64, len(x))
	for k, at := range x {
		x[k] = at + h
		up := value()
		x[k] = at - h
		out[k] = (up - value()) / (2 * h)
		x[k] = at
	}
	return out
}

func dot(a []float32, b []float64) (sum float64) {
	for i, v := range a {
		sum += float64(v) * b[i]
	}
	return sum
}

func TestAFineBlockAndBothHeads(t *testing.T) {
	m := spec.Model{Latent: 5, GeneratorDepth: 2, DiscriminatorDepth: 2, Generator: spec.GeneratorUpsample, GeneratorFine: 3, Channels: spec.ChannelsGrey}
	g := NewGenerator(m)
	last := g.layers[len(g.layers)-1]
	require.Equal(t, []int{3, 2, 3, 3}, g.layers[5].weight.Shape)
	require.Equal(t, []int{1, 3, 3, 3}, last.weight.Shape)
	require.Equal(t, 128, last.inSide)
	require.False(t, last.doubled)
	m.DiscriminatorHead, m.MinibatchStddev, m.Size = spec.HeadBoth, true, 64
	d := NewDiscriminator(m)
	require.Equal(t, []int{1, 8, 1, 1}, d.layers[2].patches.weight.Shape)
	require.Equal(t, 8, d.layers[2].patches.outSide, "an eighth of the side")
	require.Equal(t, []int{1, 16 + 1, 4, 4}, d.layers[4].weight.Shape)
}

// All of these go through the backend, too.
func TestAFinestStepGoesThroughTheBackendAlone(t *testing.T) {
	dev := newDevice(t)
	dev.logits = 1 + 8*8
	m := modern()[2]
	d, g := NewDiscriminator(m), NewGenerator(m)
	trainer, err := NewTrainer(NewWorkspace(dev), d, g, 3, Ways{})
	require.NoError(t, err)
	defer trainer.Close()
	require.NoError(t, trainer.Generate(noisy(g, 3)))
	_, _, err = trainer.Judge(make([]float32, 3*m.ImageLen()), Terms{}, Terms{})
	require.NoError(t, err)
	_, err = trainer.Fool(nil, Terms{}, Terms{})
	require.NoError(t, err)
	require.Equal(t, DirectWork(d, g, 3), dev.work)
	calls := dev.counts()
	for call, want := range map[string]int{"spread": 3, "spread by input": 3, "join": 3, "part": 3, "add": 3 + len(d.Params())} {
		require.Equal(t, want, calls[call], call)
	}
}

// Real and generated images that are judged in one batch have spreads of their own.
func TestPairedImagesDoNotSeeEachOthersSpread(t *testing.T) {
	m := modern()[2]
	d, g := NewDiscriminator(m), NewGenerator(m)
	randomise(d, g)
	trainer, err := NewTrainer(NewWorkspace(CPU{}), d, g, 4, Ways{Paired: true})
	require.NoError(t, err)
	defer trainer.Close()
	images := values(rand.New(rand.NewSource(7)), 4*m.ImageLen())
	judged := func(latents float32) (onReal, onFake Outcome) {
		draws := noisy(g, 4)
		draws.Latents[0] = latents
		require.NoError(t, trainer.Generate(draws))
		onReal, onFake, err := trainer.Judge(images, Terms{Criterion: Paired, Label: 1}, Terms{Criterion: Paired})
		require.NoError(t, err)
		return onReal, onFake
	}
	real, fake := judged(1)
	realAgain, otherFake := judged(-5)
	require.Equal(t, real.Logit, realAgain.Logit)
	require.NotEqual(t, fake.Logit, otherFake.Logit)
}
