package graph

import (
	"math"
	"math/rand"
	"testing"

	"github.com/stretchr/testify/require"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// probe is the scalar sum of c*y, which makes any operation's result a cost.
type probe struct {
	frame
	c     []float32
	value *gorgonia.F32
	grad  *array
}

func hostArray(x []float32, shape ...int) *array { return &array{CPU{}.Adopt(x), shape} }

func data(v gorgonia.Value) []float32 { return buffer(v).Host }

func newProbe(rng *rand.Rand, shape tensor.Shape) *probe {
	p := &probe{frame: frame{name: "probe", dims: []int{shape.Dims()}}, value: gorgonia.NewF32(0)}
	p.c = make([]float32, shape.TotalSize())
	for i := range p.c {
		p.c[i] = float32(rng.NormFloat64())
	}
	p.grad = hostArray(p.c, shape...)
	return p
}

func (p *probe) Do(in ...gorgonia.Value) (gorgonia.Value, error) {
	sum := 0.0
	for i, y := range data(in[0]) {
		sum += float64(p.c[i]) * float64(y)
	}
	*p.value = gorgonia.F32(sum)
	return p.value, nil
}

func (p *probe) DiffWRT(int) []bool { return []bool{true} }

func (p *probe) SymDiff(_ gorgonia.Nodes, _, dy *gorgonia.Node) (gorgonia.Nodes, error) {
	dx, err := gorgonia.ApplyOp(&sideResult{frame{name: "probe.dx", dims: []int{0}, out: p.grad}}, dy)
	return gorgonia.Nodes{dx}, err
}

// gradients runs c's operation and a probe, and returns the result and the
// gradients by all inputs.
func gradients(t *testing.T, c gradientCase, cost *probe) ([]float32, [][]float32) {
	p := newProgram(NewWorkspace(CPU{}))
	var in gorgonia.Nodes
	for _, x := range c.inputs {
		node, err := p.input(x.Name, hostArray(x.Data, x.Shape...))
		require.NoError(t, err)
		in = append(in, node)
	}
	y, err := gorgonia.ApplyOp(c.op, in...)
	require.NoError(t, err)
	loss, err := gorgonia.ApplyOp(cost, y)
	require.NoError(t, err)
	grads, err := gorgonia.Grad(loss, in...)
	require.NoError(t, err)
	require.NoError(t, p.compile())
	defer p.close()
	require.NoError(t, p.run())
	var out [][]float32
	for _, g := range grads {
		out = append(out, data(g.Value()))
	}
	return data(y.Value()), out
}

func widen(x []float32) []float64 {
	out := make([]float64, len(x))
	for i, v := range x {
		out[i] = float64(v)
	}
	return out
}

// requireClose fails where |got-want| > tolerance*|want|, in the Euclidean norm.
func requireClose(t *testing.T, want []float64, got []float32, tolerance float64, what string) {
	require.Len(t, got, len(want), what)
	diff, norm := 0.0, 0.0
	for i := range want {
		diff += (want[i] - float64(got[i])) * (want[i] - float64(got[i]))
		norm += want[i] * want[i]
	}
	require.Positive(t, norm, what)
	require.LessOrEqual(t, math.Sqrt(diff/norm), tolerance, what)
}

func TestGradientsAgainstFiniteDifferences(t *testing.T) {
	for _, c := range gradientCases() {
		t.Run(c.name, func(t *testing.T) {
			shape, err := c.op.InferShape()
			require.NoError(t, err)
			cost := newProbe(rand.New(rand.NewSource(2)), shape)
			in := make([][]float64, len(c.inputs))
			for i, x := range c.inputs { // before the run: some operations work in place
				in[i] = widen(x.Data)
			}
			y, grads := gradients(t, c, cost)
			requireClose(t, c.reference(in), y, 1e-6, "result")
			value := func() float64 {
				sum := 0.0
				for i, v := range c.reference(in) {
					sum += float64(cost.c[i]) * v
				}
				return sum
			}
			for i, x := range c.inputs {
				const h = 1e-6
				want := make([]float64, len(x.Data))
				for k := range want {
					at := in[i][k]
					in[i][k] = at + h
					up := value()
					in[i][k] = at - h
					want[k] = (up - value()) / (2 * h)
					in[i][k] = at
				}
				requireClose(t, want, grads[i], 2e-6, "gradient by "+x.Name)
			}
		})
	}
}
