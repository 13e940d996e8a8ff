package graph

import (
	"math"
	"math/rand"
	"slices"

	"gorgonia.org/gorgonia"

	"github.com/defectforge/defectforge/model/kernel"
)

// gradientCase is an operation on a few values, and the same in float64.
type gradientCase struct {
	name      string
	op        gorgonia.Op
	inputs    []*Tensor
	reference func(in [][]float64) []float64
}

func random(rng *rand.Rand, name string, shape ...int) *Tensor {
	t := newTensor(name, shape...)
	for i := range t.Data {
		t.Data[i] = float32(rng.NormFloat64())
	}
	return t
}

// convolve is y(n,o,i,j) = sum over c,a,b of x(n,c,i*s-p+a,j*s-p+b) w(o,c,a,b).
// visit is called with the three positions of every product.
func convolve(l *layer, n int, visit func(y, x, w int)) {
	g := l.geometry(n)
	k := g.K
	oh, ow := (g.H+2*g.Pad-k)/g.Stride+1, (g.W+2*g.Pad-k)/g.Stride+1
	for i := range n * g.O * oh * ow * g.C * k * k {
		b, a, c := i%k, i/k%k, i/(k*k)%g.C
		y := i / (k * k) / g.C
		col, row, o, img := y%ow, y/ow%oh, y/ow/oh%g.O, y/ow/oh/g.O
		r, s := row*g.Stride-g.Pad+a, col*g.Stride-g.Pad+b
		if r >= 0 && r < g.H && s >= 0 && s < g.W {
			visit(y, ((img*g.C+c)*g.H+r)*g.W+s, (o*g.C+c)*k*k+a*k+b)
		}
	}
}

func convCase(rng *rand.Rand, name string, l *layer) gradientCase {
	const n = 2
	l.name, l.Slope = name, linear
	net := &Net{name: "test", layers: []*layer{l}}
	shape := []int{l.out, l.in, l.kernel, l.kernel}
	if l.transposed {
		shape = []int{l.in, l.out, l.kernel, l.kernel}
	}
	l.weight = random(rng, "weight", shape...)
	if l.spectral != nil {
		l.spectral = newSpectral("spectral", l.weight)
		copy(l.spectral.u.Data, random(rng, "u", shape[0]).Data)
	}
	op := newConv(pass{net: net, n: n, ws: NewWorkspace(CPU{}), learns: true}, l, true)
	side := l.inSide
	if l.doubled {
		side *= 2
	}
	return gradientCase{name, op, []*Tensor{random(rng, "x", n, l.in, side, side), l.weight},
		func(in [][]float64) []float64 {
			x, w, f := in[0], in[1], 1.0
			if s := l.spectral; s != nil { // u and v are constants of the gradient
				sigma := 0.0
				for i, v := range w {
					sigma += float64(s.u.Data[i/s.cols]) * v * float64(s.v.Data[i%s.cols])
				}
				f = 1 / sigma
			}
			y := make([]float64, n*l.out*l.outSide*l.outSide)
			convolve(l, n, func(yi, xi, wi int) {
				if l.transposed {
					yi, xi = xi, yi
				}
				y[yi] += f * x[xi] * w[wi]
			})
			return y
		}}
}

func normCase(rng *rand.Rand, name string, slope float32) gradientCase {
	const n, c, side = 3, 2, 4
	l := &layer{name: name, in: c, out: c, inSide: side, outSide: side, Activation: Activation{Slope: slope}, norm: newNorm("norm", c)}
	op := newBatchNorm(pass{net: &Net{name: "test"}, n: n, ws: NewWorkspace(CPU{}), learns: true}, l)
	inputs := []*Tensor{random(rng, "x", n, c, side, side), random(rng, "scale", c), random(rng, "shift", c)}
	return gradientCase{name, op, inputs, func(in [][]float64) []float64 {
		x, y := in[0], make([]float64, len(in[0]))
		for ch := range c {
			mean, variance := 0.0, 0.0
			each := func(f func(i int)) {
				for i := range x {
					if i/(side*side)%c == ch {
						f(i)
					}
				}
			}
			each(func(i int) { mean += x[i] / (n * side * side) })
			each(func(i int) { variance += (x[i] - mean) * (x[i] - mean) / (n * side * side) })
			each(func(i int) {
				y[i] = (x[i]-mean)/math.Sqrt(variance+1e-5)*in[1][ch] + in[2][ch]
				if y[i] < 0 {
					y[i] *= float64(slope)
				}
			})
		}
		return y
	}}
}

func activationCase(rng *rand.Rand, name string, slope float32, tanh bool) gradientCase {
	l := &layer{name: name, out: 3, outSide: 5, Activation: Activation{slope, tanh}}
	op := newActivation(pass{net: &Net{name: "test"}, n: 2, ws: NewWorkspace(CPU{})}, l)
	return gradientCase{name, op, []*Tensor{random(rng, "x", 2, 3, 5, 5)}, func(in [][]float64) []float64 {
		y := make([]float64, len(in[0]))
		for i, x := range in[0] {
			switch {
			case tanh:
				y[i] = math.Tanh(x)
			case x < 0:
				y[i] = float64(slope) * x
			default:
				y[i] = x
			}
		}
		return y
	}}
}

// upsampleCase is torch.nn.functional.interpolate, bilinear with align_corners
// false: the pixel i of 2n lies at (i+0.5)/2-0.5 among n, and at their edge outside.
func upsampleCase(rng *rand.Rand, name string, side int) gradientCase {
	l := &layer{name: name, in: 3, inSide: side}
	op := newUpsample(pass{net: &Net{name: "test"}, n: 2, ws: NewWorkspace(CPU{})}, l, true)
	return gradientCase{name, op, []*Tensor{random(rng, "x", 2, 3, side, side)}, func(in [][]float64) []float64 {
		at := func(plane []float64, i, j float64) float64 {
			i, j = math.Min(math.Max(i, 0), float64(side-1)), math.Min(math.Max(j, 0), float64(side-1))
			sum := 0.0
			for k, v := range plane {
				di, dj := math.Abs(i-float64(k/side)), math.Abs(j-float64(k%side))
				sum += math.Max(1-di, 0) * math.Max(1-dj, 0) * v
			}
			return sum
		}
		var y []float64
		for plane := range slices.Chunk(in[0], side*side) {
			for i := range 2 * side {
				for j := range 2 * side {
					y = append(y, at(plane, (float64(i)+0.5)/2-0.5, (float64(j)+0.5)/2-0.5))
				}
			}
		}
		return y
	}}
}

func noiseCase(rng *rand.Rand, name string) gradientCase {
	const n, c, side = 2, 3, 4
	x, maps := random(rng, "x", n, c, side, side), random(rng, "maps", n, 1, side, side)
	l := &layer{name: name, out: c, outSide: side}
	op := newNoise(pass{net: &Net{name: "test"}, n: n, ws: NewWorkspace(CPU{}), learns: true}, l, hostArray(x.Data, x.Shape...))
	op.maps.Buffer = CPU{}.Adopt(maps.Data)
	return gradientCase{name, op, []*Tensor{x, random(rng, "strength", c)}, func(in [][]float64) []float64 {
		y := slices.Clone(in[0])
		for i := range y {
			y[i] += in[1][i/(side*side)%c] * float64(maps.Data[i/(side*side*c)*side*side+i%(side*side)])
		}
		return y
	}}
}

// augmentations of a small image: one of all parts, one that does nothing.
var augmentations = []kernel.Augmentation{
	{Brightness: 0.25, Saturation: 0.3, Contrast: 1.4, Rows: 2, Columns: -1, Top: 3, Bottom: 6, Left: 1, Right: 5},
	kernel.NoAugmentation,
}

func augmentationCase(rng *rand.Rand, name string, by []kernel.Augmentation) gradientCase {
	return augmentationOf(rng, name, by, 3, 6, 7)
}

func squareCase(rng *rand.Rand, name string) gradientCase {
	return augmentationOf(rng, name, []kernel.Augmentation{
		{Saturation: 1, Contrast: 1, Turns: 1}, {Saturation: 1, Contrast: 1, Turns: 3, Upend: true, Down: 2},
		{Saturation: 1, Contrast: 1, Turns: 1, Mirror: true, Aside: -3}, {Brightness: 0.1, Contrast: 0.8, Turns: 2, Rows: 2}}, 2, 5, 5)
}

func augmentationOf(rng *rand.Rand, name string, by []kernel.Augmentation, c, h, w int) gradientCase {
	op := newAugmentation(NewWorkspace(CPU{}), &Terms{Augment: by}, len(by), c, h, w)
	return gradientCase{name, op, []*Tensor{random(rng, "x", len(by), c, h, w)}, func(in [][]float64) []float64 {
		var y []float64
		for i, a := range by {
			y = append(y, augmented(in[0][i*c*h*w:(i+1)*c*h*w], a, c, h, w)...)
		}
		return y
	}}
}

// augmented is kernel.Augmentation's definition, part after part.
func augmented(x []float64, a kernel.Augmentation, c, h, w int) []float64 {
	x = slices.Clone(x)
	for ch := range c {
		moved(x[ch*h*w:(ch+1)*h*w], a, h, w)
	}
	mean := 0.0
	for p := range h * w {
		pixel := 0.0
		for ch := range c {
			x[ch*h*w+p] += float64(a.Brightness)
			pixel += x[ch*h*w+p] / float64(c)
		}
		for ch := range c {
			v := &x[ch*h*w+p]
			*v = (*v-pixel)*float64(a.Saturation) + pixel
			mean += *v / float64(c*h*w)
		}
	}
	y := make([]float64, len(x))
	for i := range y {
		ch, row, column := i/(h*w), i/w%h, i%w
		r, s := row+a.Rows, column+a.Columns
		cut := row >= a.Top && row < a.Bottom && column >= a.Left && column < a.Right
		if r >= 0 && r < h && s >= 0 && s < w && !cut {
			y[i] = (x[(ch*h+r)*w+s]-mean)*float64(a.Contrast) + mean
		}
	}
	return y
}

// moved does the parts that move a plane's pixels, one after another.
func moved(x []float64, a kernel.Augmentation, h, w int) {
	each := func(from func(i, j int) (int, int)) {
		old := slices.Clone(x)
		for i := range h {
			for j := range w {
				r, s := from(i, j)
				x[i*w+j] = old[r*w+s]
			}
		}
	}
	if a.Mirror {
		each(func(i, j int) (int, int) { return i, w - 1 - j })
	}
	if a.Upend {
		each(func(i, j int) (int, int) { return h - 1 - i, j })
	}
	for range a.Turns {
		each(func(i, j int) (int, int) { return h - 1 - j, i })
	}
	mirrored := func(i, n int) int {
		for i < 0 || i >= n {
			if i < 0 {
				i = -i
			} else {
				i = 2*(n-1) - i
			}
		}
		return i
	}
	each(func(i, j int) (int, int) { return mirrored(i+a.Down, h), mirrored(j+a.Aside, w) })
}

func gradientCases() []gradientCase {
	rng := rand.New(rand.NewSource(1))
	return []gradientCase{
		convCase(rng, "convolution", &layer{in: 3, out: 2, inSide: 8, kernel: 4, outSide: 4, stride: 2, pad: 1}),
		convCase(rng, "convolution to one value", &layer{in: 3, out: 1, inSide: 4, kernel: 4, outSide: 1, stride: 1}),
		convCase(rng, "convolution with spectral norm", &layer{
			in: 3, out: 5, inSide: 6, kernel: 4, outSide: 3, stride: 2, pad: 1, spectral: &spectral{}}),
		convCase(rng, "transposed convolution", &layer{
			transposed: true, kernel: 4, in: 4, out: 2, inSide: 3, outSide: 6, stride: 2, pad: 1}),
		convCase(rng, "transposed convolution of latents", &layer{
			transposed: true, kernel: 4, in: 5, out: 3, inSide: 1, outSide: 4, stride: 1}),
		convCase(rng, "convolution behind a doubling", &layer{in: 3, out: 4, inSide: 3, outSide: 6, doubled: true, kernel: 3, stride: 1, pad: 1}),
		convCase(rng, "convolution to a map of logits", &layer{in: 3, out: 1, inSide: 4, outSide: 4, kernel: 3, stride: 1, pad: 1}),
		upsampleCase(rng, "doubling", 5),
		upsampleCase(rng, "doubling of one pixel", 1),
		noiseCase(rng, "noise"),
		normCase(rng, "batch norm and ReLU", 0),
		normCase(rng, "batch norm and leaky ReLU", leakySlope),
		normCase(rng, "batch norm alone", linear),
		activationCase(rng, "leaky ReLU", leakySlope, false),
		activationCase(rng, "tanh", 0, true),
		augmentationCase(rng, "augmentation", augmentations),
		augmentationCase(rng, "colour", []kernel.Augmentation{{Brightness: 0.4, Saturation: 1.8, Contrast: 0.6}, {Brightness: -0.4, Contrast: 1.5}}),
		augmentationCase(rng, "translation and cutout", []kernel.Augmentation{
			{Saturation: 1, Contrast: 1, Rows: -3, Columns: 1, Top: -2, Bottom: 3, Left: 4, Right: 9},
			{Saturation: 1, Contrast: 1, Rows: 2, Columns: -4, Top: 3, Bottom: 6, Left: -3, Right: 2}}),
		augmentationCase(rng, "flips and shifts", []kernel.Augmentation{
			{Saturation: 1, Contrast: 1, Mirror: true}, {Saturation: 1, Contrast: 1, Upend: true, Aside: -4},
			{Saturation: 1, Contrast: 1, Mirror: true, Upend: true, Down: 3}, {Saturation: 1, Contrast: 1, Down: -2, Aside: 6},
			{Brightness: 0.2, Saturation: 0.7, Contrast: 1.3, Mirror: true, Down: 1, Aside: -2, Rows: 1, Top: 1, Bottom: 3, Right: 2}}),
		squareCase(rng, "quarter turns"),
		spreadCase(rng, "spread of two groups", 8, 1),
		spreadCase(rng, "spread of a ragged batch", 3, 1),
		spreadCase(rng, "spread of two batches", 16, 2),
	}
}
