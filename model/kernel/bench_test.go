package kernel

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// network lists a recipe's convolutions: the discriminator's from the image on,
// then the generator's from the latent vector on. The generator's layers are
// adjoints, so their forward pass is BackwardInput.
func network(depth int, generator bool, batch int) []Conv {
	var all []Conv
	if generator {
		c := 16 * depth
		all = append(all, Conv{N: batch, C: c, H: 4, W: 4, O: 100, K: 4, Stride: 1, Pad: 0})
		for size := 8; size <= 128; size *= 2 {
			next := c / 2
			if size == 128 {
				next = 3
			}
			all = append(all, Conv{N: batch, C: next, H: size, W: size, O: c, K: 4, Stride: 2, Pad: 1})
			c = next
		}
		return all
	}
	c := 3
	for i, size := 0, 128; size >= 8; i, size = i+1, size/2 {
		all = append(all, Conv{N: batch, C: c, H: size, W: size, O: depth << i, K: 4, Stride: 2, Pad: 1})
		c = depth << i
	}
	return append(all, Conv{N: batch, C: c, H: 4, W: 4, O: 1, K: 4, Stride: 1, Pad: 0})
}

func (c Conv) flops() float64 {
	return 2 * float64(c.N*c.O*c.OutH()*c.OutW()) * float64(c.C*c.K*c.K)
}

func benchData(n int) []float32 {
	r := rand.New(rand.NewPCG(1, 2))
	x := make([]float32, n)
	for i := range x {
		x[i] = r.Float32() - 0.5
	}
	return x
}

func BenchmarkConv(b *testing.B) {
	for _, recipe := range []struct {
		name   string
		gd, dd int
	}{{"classic", 64, 128}, {"quick", 16, 16}} {
		for _, net := range []struct {
			name string
			conv []Conv
		}{{"D", network(recipe.dd, false, 12)}, {"G", network(recipe.gd, true, 12)}} {
			for i, c := range net.conv {
				x, w := benchData(c.N*c.C*c.H*c.W), benchData(c.O*c.C*c.K*c.K)
				y := benchData(c.N * c.O * c.OutH() * c.OutW())
				for what, f := range map[string]func(){
					"forward": func() { c.Forward(y, x, w, 1) },
					"input":   func() { c.BackwardInput(x, y, w, 1) },
					"weights": func() { c.BackwardWeights(w, x, y, 1) },
				} {
					b.Run(fmt.Sprintf("%s/%s%d/%s", recipe.name, net.name, i+1, what), func(b *testing.B) {
						f()
						for b.Loop() {
							f()
						}
						b.ReportMetric(c.flops()*float64(b.N)/float64(b.Elapsed().Nanoseconds()), "GFLOP/s")
					})
				}
			}
		}
	}
}

// BenchmarkTile measures the inner loop alone, on one core, from the first-level
// cache: the share of the peak that blocking can reach.
func BenchmarkTile(b *testing.B) {
	before := active
	defer func() { active = before }()
	for _, p := range sets() {
		const k = 128
		width := 2 * p.lanes
		c, panel := aligned(p.rows*width), aligned(k*width)
		off := make([]int32, k)
		for i := range off {
			off[i] = int32(i * width)
		}
		for m := 1; m <= p.rows; m++ {
			a := aligned(k * m)
			b.Run(fmt.Sprintf("%s/%d", p.name, m), func(b *testing.B) {
				for b.Loop() {
					p.tile(c, width, a, m, panel, 0, p.lanes, off)
				}
				b.ReportMetric(2*float64(k*m*width)*float64(b.N)/float64(b.Elapsed().Nanoseconds()), "GFLOP/s")
			})
		}
	}
}
