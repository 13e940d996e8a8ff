package model

import (
	"fmt"
	"slices"

	"github.com/defectforge/defectforge/model/graph"
	"github.com/defectforge/defectforge/model/kernel"
	"github.com/defectforge/defectforge/model/spec"
)

// draws makes the random numbers that images are made of: latents from a purpose's
// stream, and each layer's noise from a stream beside it, so that one does not
// depend on the others' sizes. What it gives is valid until the next call.
type draws struct {
	seed    uint64
	latent  int
	sides   []int // of the noise
	latents []float32
	noise   [][]float32
}

func newDraws(r spec.Recipe, net *graph.Net) *draws {
	sides := net.NoiseSides()
	return &draws{seed: r.Seed, latent: r.Model.Latent, sides: sides, noise: make([][]float32, len(sides))}
}

// batch is n images from the streams of one index.
func (d *draws) batch(purpose string, index uint64, n int) graph.Draws {
	d.grow(n)
	kernel.NewStream(d.seed, purpose, index).Normal(d.latents)
	for i, maps := range d.noise {
		kernel.NewStream(d.seed, noisePurpose(purpose, i), index).Normal(maps)
	}
	return graph.Draws{Latents: d.latents, Noise: d.noise}
}

// each is n images from first on, of which each has streams of its own.
func (d *draws) each(purpose string, first, n int) graph.Draws {
	d.grow(n)
	for k := range n {
		index := uint64(first + k)
		kernel.NewStream(d.seed, purpose, index).Normal(d.latents[k*d.latent:][:d.latent])
		for i, side := range d.sides {
			kernel.NewStream(d.seed, noisePurpose(purpose, i), index).Normal(d.noise[i][k*side*side:][:side*side])
		}
	}
	return graph.Draws{Latents: d.latents, Noise: d.noise}
}

func noisePurpose(purpose string, layer int) string {
	return fmt.Sprintf("%s.noise%d", purpose, layer+1)
}

func (d *draws) grow(n int) {
	d.latents = grown(d.latents, n*d.latent)
	for i, side := range d.sides {
		d.noise[i] = grown(d.noise[i], n*side*side)
	}
}

// grown is x with n values, which are arbitrary.
func grown(x []float32, n int) []float32 { return slices.Grow(x[:0], n)[:n] }
