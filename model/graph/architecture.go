package graph

import (
	"fmt"

	"github.com/defectforge/defectforge/model/spec"
)

// blocks is the number of layers that halve an image's side down to firstSide.
func blocks(m spec.Model) (n int) {
	for side := m.ImageSide(); side > firstSide; side /= 2 {
		n++
	}
	return n
}

// NewDiscriminator is the network of depths d, 2d, 4d and so on from an image to
// one logit (n,1,1,1), or a map of them (n,1,4,4), or both one and those of a map
// (n,1+m,1,1), with the model's norms: batch norm from the second block on. All arrays are zero, apart from the running
// variances, which are one.
func NewDiscriminator(m spec.Model) *Net {
	net := &Net{name: "discriminator"}
	in, side := m.ImageChannels(), m.ImageSide()
	for i := range blocks(m) {
		l := &layer{
			name: fmt.Sprintf("layer%d", i+1), in: in, out: m.DiscriminatorDepth << i, inSide: side, outSide: side / 2,
			kernel: kernelSize, stride: 2, pad: 1, Activation: Activation{Slope: leakySlope},
		}
		name := l.name + ".0.weight"
		if m.DiscriminatorNorm != spec.NormFree {
			name += "_orig"
		}
		l.weight = newTensor(name, l.out, l.in, l.kernel, l.kernel)
		if m.DiscriminatorNorm != spec.NormFree {
			l.spectral = newSpectral(l.name+".0", l.weight)
		}
		if i > 0 && m.BatchNorm() {
			l.norm = newNorm(l.name+".1", l.out)
		}
		net.layers = append(net.layers, l)
		in, side = l.out, l.outSide
	}
	if m.DiscriminatorHead == spec.HeadBoth {
		net.layers[patchesAt].patches = newPatches(net.layers[patchesAt])
	}
	if m.MinibatchStddev {
		in++
	}
	last := &layer{
		name: "output_layer", spread: m.MinibatchStddev, in: in, out: 1, inSide: side, outSide: 1, kernel: kernelSize, stride: 1,
		Activation: Activation{Slope: linear},
	}
	if m.DiscriminatorHead == spec.HeadPatch {
		last.outSide, last.kernel, last.pad = side, smallKernel, 1
	}
	last.weight = newTensor("output_layer.0.weight", 1, in, last.kernel, last.kernel)
	net.layers = append(net.layers, last)
	return net
}

// NewGenerator is the network from latents (n,latent,1,1) to images, of the depth
// d in its last features and twice as many in those before, and so on. A transposed
// convolution makes the first features; each further layer doubles the side, by a
// transposed convolution or by a doubling with a convolution behind it, until it is
// that of the image. All arrays
// are zero, apart from the running variances, which are one.
func NewGenerator(m spec.Model) *Net {
	net := &Net{name: "generator"}
	in, side := m.Latent, 1
	for i, width := range generatorWidths(m) {
		l := generatorLayer(m, fmt.Sprintf("layer%d", i+1), in, width, side)
		if m.GeneratorNoise {
			l.noise = newTensor(l.name+".noise", l.out)
		}
		l.norm = newNorm(l.name+".1", l.out)
		net.layers = append(net.layers, l)
		in, side = l.out, l.outSide
	}
	last := generatorLayer(m, "output_layer", in, m.ImageChannels(), side)
	last.Activation = Activation{Slope: linear, Tanh: true}
	net.layers = append(net.layers, last)
	return net
}

// generatorWidths are the channels of all layers but the last.
func generatorWidths(m spec.Model) []int {
	var out []int
	for i := blocks(m) - 1; i >= 0; i-- {
		out = append(out, m.GeneratorDepth<<i)
	}
	if m.GeneratorFine > 0 {
		out = append(out, m.GeneratorFine)
	}
	return out
}

func generatorLayer(m spec.Model, name string, in, out, side int) *layer {
	l := &layer{name: name, in: in, out: out, inSide: side, outSide: 2 * side, kernel: kernelSize, stride: 2, pad: 1}
	switch {
	case side == 1:
		l.transposed, l.stride, l.pad, l.outSide = true, 1, 0, firstSide
	case side == m.ImageSide(): // behind the block at full resolution
		l.kernel, l.stride, l.pad, l.outSide = smallKernel, 1, 1, side
	case m.Generator == spec.GeneratorUpsample:
		l.doubled, l.kernel, l.stride, l.pad = true, smallKernel, 1, 1
	default:
		l.transposed = true
	}
	shape := []int{l.out, l.in, l.kernel, l.kernel}
	if l.transposed {
		shape[0], shape[1] = l.in, l.out
	}
	l.weight = newTensor(name+".0.weight", shape...)
	return l
}
