package graph

import (
	"fmt"

	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// Draws are the random numbers that a batch of n images is made of.
type Draws struct {
	Latents []float32 // (n,latent)
	// Noise holds the maps (n,side,side) of each layer that adds noise, whose
	// sides are those of Net.NoiseSides.
	Noise [][]float32
}

// NoiseSides are the sides of the maps of the layers that add noise, in order.
func (n *Net) NoiseSides() []int {
	var out []int
	for _, l := range n.layers {
		if l.noise != nil {
			out = append(out, l.outSide)
		}
	}
	return out
}

// Generation runs a generator forward on batches of one size.
type Generation struct {
	*program
	n       int
	stages  []stage
	latents *array // stands for the caller's
	images  *gorgonia.Node
	kept    bool
}

// NewGeneration builds the graph for batches of n. evaluate says whether batch
// norm uses its running statistics or the batch's, which then enter them. With
// evaluate the weights must not change after the first run, which packs them.
func NewGeneration(ws *Workspace, g *Net, n int, evaluate bool) (*Generation, error) {
	gen := &Generation{program: newProgram(ws), n: n}
	gen.latents = &array{shape: tensor.Shape{n, g.layers[0].in, 1, 1}}
	p := pass{net: g, n: n, ws: ws, kept: &gen.kept, learns: !evaluate, evaluate: evaluate}
	gen.stages = p.stages(false)
	z, err := gen.input("latents", gen.latents)
	if err != nil {
		return nil, err
	}
	if gen.images, err = gen.chain(g, z, gen.stages); err != nil {
		return nil, fmt.Errorf("build generator: %w", err)
	}
	return gen, gen.compile()
}

// Run makes images (n,c,h,w) in [-1,1]. The result is valid until the next run of
// any graph of the workspace.
func (g *Generation) Run(d Draws) ([]float32, error) {
	if err := g.generate(d); err != nil {
		return nil, err
	}
	images, err := g.ws.backend.Read(buffer(g.images.Value()))
	if err != nil {
		return nil, fmt.Errorf("read images: %w", err)
	}
	return images, nil
}

func (g *Generation) generate(d Draws) error {
	if len(d.Latents) != g.latents.shape.TotalSize() {
		panic(fmt.Sprintf("graph: %d latent values, want %d", len(d.Latents), g.latents.shape.TotalSize()))
	}
	g.ws.backend.Upload(&g.latents.Buffer, d.Latents)
	for i, op := range noises(g.stages) {
		if want := op.maps.shape.TotalSize(); len(d.Noise[i]) != want {
			panic(fmt.Sprintf("graph: %d values of noise for %s, want %d", len(d.Noise[i]), op.name, want))
		}
		g.ws.backend.Upload(&op.maps.Buffer, d.Noise[i])
	}
	g.kept = false
	return g.run()
}

// out is the array that the images stand in.
func (g *Generation) out() *array { return g.stages[len(g.stages)-1].op.(*activation).out }

// Close frees the machine.
func (g *Generation) Close() { g.close() }
