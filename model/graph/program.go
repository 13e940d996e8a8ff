package graph

import (
	"fmt"
	"runtime"

	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// pass says how a network takes part in a graph.
type pass struct {
	net      *Net
	n        int // batch
	ws       *Workspace
	kept     *bool  // see frame
	learns   bool   // the weights' gradients are wanted
	side     string // ends the names of these, to keep them from those of another pass
	evaluate bool   // batch norm uses its running statistics
}

// frame is that of an operation of a layer whose result is the layer's output.
func (p pass) frame(l *layer, operation string, dims ...int) frame {
	name := p.net.name + "." + l.name + "." + operation
	f := newFrame(p.ws, name, []int{p.n, l.out, l.outSide, l.outSide}, dims...)
	f.kept = p.kept
	return f
}

// stage is one operation with the parameters it reads.
type stage struct {
	op     gorgonia.Op
	params []*Tensor
}

// stages makes the operations of a network. wantX says that the gradient of the
// network's own input is wanted.
func (p pass) stages(wantX bool) []stage {
	var out []stage
	for i, l := range p.net.layers {
		if p.evaluate && l.transposed {
			out = append(out, newInference(p, l))
			continue
		}
		out = append(out, stage{newConv(p, l, wantX || i > 0), []*Tensor{l.weight}})
		switch {
		case l.norm != nil:
			out = append(out, stage{newBatchNorm(p, l), []*Tensor{l.norm.scale, l.norm.shift}})
		case l.Tanh || l.Slope != linear:
			out = append(out, stage{newActivation(p, l), nil})
		}
	}
	return out
}

// program is one expression graph and the machine that runs it.
type program struct {
	ws      *Workspace
	graph   *gorgonia.ExprGraph
	machine gorgonia.VM
	nodes   map[*Tensor]*gorgonia.Node
}

func newProgram(ws *Workspace) *program {
	return &program{ws: ws, graph: gorgonia.NewGraph(), nodes: map[*Tensor]*gorgonia.Node{}}
}

// input is a node that stands for a.
func (p *program) input(name string, a *array) (*gorgonia.Node, error) {
	n := gorgonia.NewTensor(p.graph, tensor.Float32, a.shape.Dims(), gorgonia.WithShape(a.shape...), gorgonia.WithName(name))
	if err := gorgonia.Let(n, a); err != nil {
		return nil, fmt.Errorf("bind %s: %w", name, err)
	}
	return n, nil
}

// chain applies the stages to x, one after another.
func (p *program) chain(net *Net, x *gorgonia.Node, stages []stage) (*gorgonia.Node, error) {
	for _, s := range stages {
		in := gorgonia.Nodes{x}
		for _, t := range s.params {
			node, err := p.input(net.name+"."+t.Name, &array{p.ws.adopt(t), t.Shape})
			if err != nil {
				return nil, err
			}
			p.nodes[t] = node
			in = append(in, node)
		}
		var err error
		if x, err = gorgonia.ApplyOp(s.op, in...); err != nil {
			return nil, fmt.Errorf("apply %s: %w", s.op, err)
		}
	}
	return x, nil
}

// compile readies the machine. Gorgonia merges nodes of equal 32-bit hashes
// without comparing them, so these must differ.
func (p *program) compile() error {
	seen := map[uint32]*gorgonia.Node{}
	for _, n := range p.graph.AllNodes() {
		if other := seen[n.Hashcode()]; other != nil {
			return fmt.Errorf("compile graph: nodes %v and %v have one hash", other, n)
		}
		seen[n.Hashcode()] = n
	}
	p.machine = gorgonia.NewTapeMachine(p.graph)
	// The machine's finalizer does nothing without CUDA, but the operations
	// lead back to the machine, and the collector never frees a cycle with a
	// finalizer: each closed GAN would keep its arrays.
	runtime.SetFinalizer(p.machine, nil)
	return nil
}

func (p *program) run() error {
	p.machine.Reset()
	if err := p.machine.RunAll(); err != nil {
		return fmt.Errorf("run graph: %w", err)
	}
	return nil
}

func (p *program) close() { _ = p.machine.Close() }

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

// Run makes images (n,3,128,128) in [-1,1] of latents (n,latent). The result is
// valid until the next run of any graph of the workspace.
func (g *Generation) Run(latents []float32) ([]float32, error) {
	if err := g.generate(latents); err != nil {
		return nil, err
	}
	images, err := g.ws.backend.Read(buffer(g.images.Value()))
	if err != nil {
		return nil, fmt.Errorf("read images: %w", err)
	}
	return images, nil
}

func (g *Generation) generate(latents []float32) error {
	if len(latents) != g.latents.shape.TotalSize() {
		panic(fmt.Sprintf("graph: %d latent values, want %d", len(latents), g.latents.shape.TotalSize()))
	}
	g.ws.backend.Upload(&g.latents.Buffer, latents)
	g.kept = false
	return g.run()
}

// Close frees the machine.
func (g *Generation) Close() { g.close() }
