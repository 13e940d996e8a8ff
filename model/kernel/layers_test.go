//go:build unix

package kernel

import (
	"fmt"
	"os"
	"syscall"
	"testing"
	"time"
)

// cpuTime is the processor time this process has used. Unlike the clock it is
// little disturbed by other processes.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// least is the least processor time of several calls on one thread.
func least(f func()) time.Duration {
	defer SetThreads(0)
	SetThreads(1)
	f()
	best := time.Hour
	begin := cpuTime()
	for n := 0; n < 3 || (cpuTime()-begin < 100*time.Millisecond && n < 200); n++ {
		at := cpuTime()
		f()
		best = min(best, cpuTime()-at)
	}
	return best
}

// TestLayerTable prints what each layer of both recipes takes on one thread, if
// DEFECTFORGE_LAYERS names a recipe or is "all". The sums weigh each call by how
// often a training step makes it.
func TestLayerTable(t *testing.T) {
	only := os.Getenv("DEFECTFORGE_LAYERS")
	if only == "" {
		t.Skip("DEFECTFORGE_LAYERS is not set: no table wanted")
	}
	for _, recipe := range []struct {
		name   string
		gd, dd int
	}{{"quick", 16, 16}, {"classic", 64, 128}} {
		if only != "all" && only != recipe.name {
			continue
		}
		total := 0.0
		total += table(recipe.name+" D", network(recipe.dd, false, 12), [3]float64{3, 3, 2}, 2)
		total += table(recipe.name+" G", network(recipe.gd, true, 12), [3]float64{1, 1, 1}, 0)
		fmt.Printf("%s: convolutions of a step %.1f ms of one core\n", recipe.name, total)
	}
}

// table prints a network's layers. The first layer's input gradient is needed
// firstInput fewer times than the others'.
func table(what string, net []Conv, calls [3]float64, fewer float64) (total float64) {
	for i, c := range net {
		x, w := benchData(c.N*c.C*c.H*c.W), benchData(c.O*c.C*c.K*c.K)
		y := benchData(c.N * c.O * c.OutH() * c.OutW())
		times := [3]time.Duration{
			least(func() { c.Forward(y, x, w, 1) }),
			least(func() { c.BackwardInput(x, y, w, 1) }),
			least(func() { c.BackwardWeights(w, x, y, 1) }),
		}
		fmt.Printf("%-9s %d  %4d->%4d", what, i+1, c.C, c.O)
		for k, d := range times {
			ms := d.Seconds() * 1e3
			n := calls[k]
			if i == 0 && k == 1 {
				n -= fewer
			}
			total += n * ms
			fmt.Printf("  %s %8.3f ms %6.1f GF/s", [3]string{"fwd", "inp", "wgt"}[k], ms, c.flops()/d.Seconds()/1e9)
		}
		fmt.Println()
	}
	return total
}

// TestVectorTable prints what the other kernels of the recipes take, like
// TestLayerTable.
func TestVectorTable(t *testing.T) {
	only := os.Getenv("DEFECTFORGE_LAYERS")
	if only == "" {
		t.Skip("DEFECTFORGE_LAYERS is not set: no table wanted")
	}
	depth, other := 16, 16
	if only == "classic" {
		depth, other = 128, 64
	}
	conv := network(depth, false, 12)
	gen := network(other, true, 12)
	row := func(what string, values int, calls float64, f func()) {
		d := least(f)
		fmt.Printf("%-28s %8.3f ms a call, %8.3f ms a step, %6.2f values/ns\n",
			what, d.Seconds()*1e3, calls*d.Seconds()*1e3, float64(values)/float64(d.Nanoseconds()))
	}
	var weights int
	for i, c := range conv[:5] {
		n, hw := c.N*c.O*c.OutH()*c.OutW(), c.OutH()*c.OutW()
		x, y, dy := benchData(n), benchData(n), benchData(n)
		p := make([][]float32, 6)
		for k := range p {
			p[k] = benchData(c.O)
		}
		row(fmt.Sprintf("D%d leaky", i+1), n, 3, func() { LeakyReLU(y, x, 0.2) })
		row(fmt.Sprintf("D%d leaky backward", i+1), n, 3, func() { LeakyReLUBackward(y, dy, x, 0.2) })
		row(fmt.Sprintf("D%d batch norm", i+1), n, 3, func() { BatchNormForward(y, p[0], p[1], x, p[2], p[3], c.N, c.O, hw, 1e-5, 0.2) })
		row(fmt.Sprintf("D%d batch norm backward", i+1), n, 3, func() {
			BatchNormBackward(y, p[4], p[5], dy, x, p[0], p[1], p[2], p[3], c.N, c.O, hw, 1e-5, 0.2)
		})
		k := c.O * c.C * c.K * c.K
		w, v, u := benchData(k), benchData(k/c.O), benchData(c.O)
		row(fmt.Sprintf("D%d spectral norm", i+1), k, 3, func() { MatTVec(v, w, u, c.O, k/c.O); MatVec(u, w, v, c.O, k/c.O) })
		weights += k
	}
	for _, c := range gen {
		weights += c.O * c.C * c.K * c.K
	}
	w, m, v, g := benchData(weights), benchData(weights), make([]float32, weights), benchData(weights)
	row("Adam, both nets", weights, 1, func() { Adam(w, m, v, g, 1e-4, 0.5, 0.999, 10, 1e-8) })
	row("Dot of the weights", weights, 1, func() { Dot(w, g) })
	row("Axpy of the weights", weights, 1, func() { Axpy(m, g, 0.1) })
	img := benchData(12 * 3 * 128 * 128)
	row("tanh", len(img), 1, func() { Tanh(img, img) })
	row("tanh backward", len(img), 1, func() { TanhBackward(img, img, img) })
}
