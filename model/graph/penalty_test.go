package graph

import (
	"math/rand"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/defectforge/defectforge/model/kernel"
)

// The penalty's gradient, against differences of |grad D|^2 along it. With kinks
// and spectral norm it is PyTorch's in TestParityOfEachSwitch.
func TestGradientPenaltyDifferentiates(t *testing.T) {
	for _, m := range modern() {
		m.MinibatchStddev = false // with which recipes have no penalties
		d, g := NewDiscriminator(m), NewGenerator(m)
		randomise(d, g)
		for _, l := range d.layers { // at kinks |grad D|^2 jumps, which differences take in
			l.Slope = linear
		}
		ways := Ways{Penalties: [2]float64{3, 0.5}}
		trainer, err := NewTrainer(NewWorkspace(CPU{}), d, g, 3, ways)
		require.NoError(t, err)
		require.NoError(t, trainer.Generate(noisy(g, 3)))
		images := values(rand.New(rand.NewSource(7)), 3*m.ImageLen())
		none := Terms{Criterion: Weighed, Weights: make([]float64, 3)}
		loss := func() float64 {
			real, fake, err := trainer.Judge(images, none, none)
			require.NoError(t, err)
			require.Positive(t, real.Penalty)
			require.Positive(t, fake.Penalty)
			return real.Penalty + fake.Penalty
		}
		loss()
		requireSlopes(t, loss, d.Params(), trainer.gradients)
		requirePenalty(t, d, images, trainer.penalties[0], 3)
		trainer.Close()
	}
}

// requirePenalty compares the penalty with D's differences along its own slope.
func requirePenalty(t *testing.T, d *Net, images []float32, p *penalty, weight float64) {
	n := p.n
	sums := make([]Buffer, len(d.Params()))
	for i, x := range d.Params() {
		sums[i] = CPU{}.Alloc(len(x.Data))
	}
	got, err := p.at(CPU{}.Adopt(images), Terms{}, weight, sums)
	require.NoError(t, err)
	want, size := 0.0, len(images)/n
	for i := range n {
		along := p.slope.gradients[0].Host[i*size:][:size]
		want += weight / 2 * kernel.Dot(along, along) / float64(n)
	}
	require.InEpsilon(t, want, got, 1e-9)
	require.InEpsilon(t, want, p.change.loss.outcomes[0].Loss/2, 1e-5, "along itself the slope is twice the penalty")
}
