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
	kept     *bool   // see frame
	learns   bool    // the weights' gradients are wanted
	side     string  // ends the names of these, to keep them from those of another pass
	evaluate bool    // batch norm uses its running statistics
	batches  int     // that are judged one after the other in one; 0: one
	memory   string  // sets the arrays apart, so that a pass in between leaves them alone
	at       []*conv // the layers of another pass, which this one is the derivative of; see penalty
}

// frame is that of an operation of a layer whose result is the layer's output.
func (p pass) frame(l *layer, operation string, dims ...int) frame {
	name := p.net.name + p.memory + "." + l.name + "." + operation
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
		if p.evaluate && l.transposed && l.noise == nil {
			out = append(out, newInference(p, l))
			continue
		}
		switch {
		case l.doubled:
			out = append(out, stage{newUpsample(p, l, wantX || i > 0), nil})
		case l.spread:
			out = append(out, stage{newSpread(p, l), nil})
		}
		conv := newConv(p, l, wantX || i > 0)
		if p.at != nil {
			conv.Spectral, conv.rests = p.at[i].Spectral, true
		}
		out = append(out, stage{conv, []*Tensor{l.weight}})
		if l.noise != nil {
			out = append(out, stage{newNoise(p, l, conv.out), []*Tensor{l.noise}})
		}
		switch {
		case l.norm != nil && p.evaluate:
			out = append(out, stage{newNormInference(p, l), []*Tensor{l.norm.scale, l.norm.shift}})
		case l.norm != nil:
			out = append(out, stage{newBatchNorm(p, l), []*Tensor{l.norm.scale, l.norm.shift}})
		case l.Slope != linear && p.at != nil:
			out = append(out, stage{newGate(p, l, p.at[i].out), nil})
		case l.Tanh || l.Slope != linear:
			out = append(out, stage{newActivation(p, l), nil})
		}
		if l.patches != nil {
			out = append(out, stage{newTap(p, l, last(out).result()), []*Tensor{l.patches.weight}})
		}
	}
	return p.join(out)
}

// noises are the stages that add noise, in order.
func noises(stages []stage) []*noise {
	var out []*noise
	for _, s := range stages {
		if n, ok := s.op.(*noise); ok {
			out = append(out, n)
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
