// Package classifier asks whether generated images help a classifier: a small
// convolutional net over package kernel, and the protocol that trains it with
// and without them in pairs.
package classifier

import (
	"fmt"
	"math"

	"github.com/defectforge/defectforge/model/kernel"
)

// Side is the side of the images that a Net takes, in pixels.
const Side = 64

const (
	area        = Side * Side
	batch       = 32 // images of a step, and of a prediction at a time
	slope       = 0.2
	epsilon     = 1e-5
	share       = 0.1 // of the newest batch in the running statistics
	rate        = 2e-3
	beta1       = 0.9
	beta2       = 0.999
	adamEpsilon = 1e-8
)

// widths are the channels after each convolution. Each is 4x4 with stride 2, so
// that 64 pixels become 4.
var widths = [4]int{16, 32, 64, 64}

// Net is a classifier of images (C,64,64): four convolutions with batch norm and
// leaky ReLU, the mean over the pixels that are left, and a linear layer. It is
// for one goroutine at a time. The same seed and steps give the same bits on any
// number of threads.
type Net struct {
	channels, classes int
	steps             int // the whole training's
	step              int64
	blocks            []block
	linear, bias      []float32 // (classes, width), (classes)
	dlinear, dbias    []float32

	params, gradients, mean, square []float32 // of all layers; the layers' are parts of them

	input, pooled, dpooled []float32
	logits, dlogits        []float32
}

// block is a convolution with batch norm and activation.
type block struct {
	shape                     kernel.Conv
	weight, gamma, beta       []float32
	dweight, dgamma, dbeta    []float32
	runningMean, runningVar   []float32
	batchMean, batchVar       []float32
	conv, out, dconv, dactive []float32 // for a full batch
}

// New is a net with random weights for images of that many channels, to be trained
// for steps steps: its rate falls evenly to zero over them. It panics unless
// channels is 1 or 3, classes at least 2 and steps at least 1.
func New(seed uint64, channels, classes, steps int) *Net {
	if channels != 1 && channels != 3 || classes < 2 || steps < 1 {
		panic(fmt.Sprintf("classifier: net of %d channels and %d classes for %d steps", channels, classes, steps))
	}
	n := &Net{channels: channels, classes: classes, steps: steps, input: make([]float32, batch*channels*area)}
	in, side, total := channels, Side, 0
	for _, out := range widths {
		n.blocks = append(n.blocks, newBlock(in, out, side))
		total += 16*in*out + 2*out
		in, side = out, side/2
	}
	total += in*classes + classes
	n.params, n.gradients = make([]float32, total), make([]float32, total)
	n.mean, n.square = make([]float32, total), make([]float32, total)
	n.pooled, n.dpooled = make([]float32, batch*in), make([]float32, batch*in)
	n.logits, n.dlogits = make([]float32, batch*classes), make([]float32, batch*classes)
	n.place()
	n.initialise(seed)
	return n
}

func newBlock(in, out, side int) block {
	b := block{shape: kernel.Conv{N: batch, C: in, H: side, W: side, O: out, K: 4, Stride: 2, Pad: 1}}
	size := batch * out * side * side / 4
	for _, t := range []*[]float32{&b.conv, &b.out, &b.dconv, &b.dactive} {
		*t = make([]float32, size)
	}
	for _, t := range []*[]float32{&b.runningMean, &b.runningVar, &b.batchMean, &b.batchVar} {
		*t = make([]float32, out)
	}
	return b
}

// place makes each layer's parameters a part of the whole.
func (n *Net) place() {
	at := 0
	take := func(p, d *[]float32, size int) {
		*p, *d = n.params[at:at+size:at+size], n.gradients[at:at+size:at+size]
		at += size
	}
	for i := range n.blocks {
		b := &n.blocks[i]
		take(&b.weight, &b.dweight, 16*b.shape.C*b.shape.O)
		take(&b.gamma, &b.dgamma, b.shape.O)
		take(&b.beta, &b.dbeta, b.shape.O)
	}
	take(&n.linear, &n.dlinear, n.width()*n.classes)
	take(&n.bias, &n.dbias, n.classes)
}

// width is the number of features before the linear layer.
func (n *Net) width() int { return widths[len(widths)-1] }

// initialise draws the weights from N(0, 2/fan_in) (He 2015), the linear layer's
// from N(0, 1/fan_in).
func (n *Net) initialise(seed uint64) {
	for i := range n.blocks {
		b := &n.blocks[i]
		kernel.NewStream(seed, "classifier weights", uint64(i)).Normal(b.weight)
		kernel.Scale(b.weight, b.weight, float32(math.Sqrt(2/float64(16*b.shape.C))))
		for j := range b.gamma {
			b.gamma[j], b.runningVar[j] = 1, 1
		}
	}
	kernel.NewStream(seed, "classifier weights", uint64(len(n.blocks))).Normal(n.linear)
	kernel.Scale(n.linear, n.linear, float32(math.Sqrt(1/float64(n.width()))))
}

// Step trains on a batch of 2 to 32 images (len(labels),C,64,64), about -1 to 1,
// and gives the mean cross entropy before the step. Labels below 0 or beyond the
// classes, slices of other lengths and more steps than announced panic.
func (n *Net) Step(images []float32, labels []int) float64 {
	if n.step == int64(n.steps) {
		panic("classifier: more steps than announced")
	}
	loss := n.differentiate(images, labels)
	left := 1 - float64(n.step)/float64(n.steps)
	n.step++
	kernel.Adam(n.params, n.mean, n.square, n.gradients, rate*left, beta1, beta2, n.step, adamEpsilon)
	for i := range n.blocks {
		n.blocks[i].observe(len(labels))
	}
	return loss
}

// observe moves the running statistics, as PyTorch does.
func (b *block) observe(images int) {
	count := float64(images * b.shape.OutH() * b.shape.OutW())
	unbiased := float32(count / (count - 1))
	for i := range b.batchMean {
		b.runningMean[i] += share * (b.batchMean[i] - b.runningMean[i])
		b.runningVar[i] += share * (b.batchVar[i]*unbiased - b.runningVar[i])
	}
}

// differentiate fills in the gradients of the mean cross entropy, which it gives.
func (n *Net) differentiate(images []float32, labels []int) float64 {
	count := len(labels)
	n.check(images, count)
	if count < 2 {
		panic("classifier: a step needs two images, for their statistics")
	}
	n.forward(images, count, true)
	loss := n.crossEntropy(labels)
	w, last := n.width(), &n.blocks[len(n.blocks)-1]
	kernel.MatMul(n.dlinear, n.dlogits[:count*n.classes], n.pooled[:count*w], n.classes, w, count, true, false)
	clear(n.dbias)
	for i, d := range n.dlogits[:count*n.classes] {
		n.dbias[i%n.classes] += d
	}
	kernel.MatMul(n.dpooled[:count*w], n.dlogits[:count*n.classes], n.linear, count, w, n.classes, false, false)
	spread(last.dactive, n.dpooled[:count*w])
	for i := len(n.blocks) - 1; i >= 0; i-- {
		in, din := images, []float32(nil)
		if i > 0 {
			in, din = n.blocks[i-1].out, n.blocks[i-1].dactive
		}
		n.blocks[i].backward(din, in, count)
	}
	return loss
}

func (n *Net) check(images []float32, count int) {
	if count < 1 || count > batch || len(images) != count*n.channels*area {
		panic(fmt.Sprintf("classifier: %d values for %d images of %d channels", len(images), count, n.channels))
	}
}

// forward computes the logits, by the batch's statistics in training.
func (n *Net) forward(images []float32, count int, training bool) {
	x := images
	for i := range n.blocks {
		x = n.blocks[i].forward(x, count, training)
	}
	w := n.width()
	pool(n.pooled[:count*w], x)
	kernel.MatMul(n.logits[:count*n.classes], n.pooled[:count*w], n.linear, count, n.classes, w, false, true)
	for i := range n.logits[:count*n.classes] {
		n.logits[i] += n.bias[i%n.classes]
	}
}

// sized is the convolution of count images, and its output's area and length.
func (b *block) sized(count int) (c kernel.Conv, hw, size int) {
	c = b.shape
	c.N = count
	hw = c.OutH() * c.OutW()
	return c, hw, count * c.O * hw
}

func (b *block) forward(x []float32, count int, training bool) []float32 {
	c, hw, size := b.sized(count)
	c.Forward(b.conv[:size], x[:count*c.C*c.H*c.W], b.weight, 1)
	if training {
		kernel.BatchNormForward(b.out[:size], b.batchMean, b.batchVar, b.conv[:size], b.gamma, b.beta, count, c.O, hw, epsilon, slope)
	} else {
		kernel.BatchNormInfer(b.out[:size], b.conv[:size], b.gamma, b.beta, b.runningMean, b.runningVar, count, c.O, hw, epsilon, slope)
	}
	return b.out[:size]
}

// backward turns dactive into the parameters' gradients and, where it is not nil,
// into that of the input x.
func (b *block) backward(dx, x []float32, count int) {
	c, hw, size := b.sized(count)
	in := count * c.C * c.H * c.W
	kernel.BatchNormBackward(b.dconv[:size], b.dgamma, b.dbeta, b.dactive[:size], b.conv[:size],
		b.batchMean, b.batchVar, b.gamma, b.beta, count, c.O, hw, epsilon, slope)
	c.BackwardWeights(b.dweight, x[:in], b.dconv[:size], 1)
	if dx != nil {
		c.BackwardInput(dx[:in], b.dconv[:size], b.weight, 1)
	}
}

// pool gives the mean of each of x's len(dst) equal parts.
func pool(dst, x []float32) {
	hw := len(x) / len(dst)
	for i := range dst {
		sum := float32(0)
		for _, v := range x[i*hw : (i+1)*hw] {
			sum += v
		}
		dst[i] = sum / float32(hw)
	}
}

// spread is pool's adjoint for parts of 4x4 pixels.
func spread(dx, dy []float32) {
	const hw = 16
	for i, d := range dy {
		for j := range hw {
			dx[i*hw+j] = d / hw
		}
	}
}

// crossEntropy gives the mean over the images, and its gradient by the logits.
func (n *Net) crossEntropy(labels []int) float64 {
	loss, count := 0.0, float64(len(labels))
	for i, label := range labels {
		row, d := n.logits[i*n.classes:][:n.classes], n.dlogits[i*n.classes:][:n.classes]
		top, sum := math.Inf(-1), 0.0
		for _, v := range row {
			top = max(top, float64(v))
		}
		for _, v := range row {
			sum += math.Exp(float64(v) - top)
		}
		for j, v := range row {
			d[j] = float32(math.Exp(float64(v)-top) / sum / count)
		}
		d[label] -= float32(1 / count)
		loss += (top + math.Log(sum) - float64(row[label])) / count
	}
	return loss
}

// Predict gives the most likely class of each image (N,C,64,64), by the running
// statistics. A length that is no whole number of images panics.
func (n *Net) Predict(images []float32) []int {
	size := n.channels * area
	out := make([]int, 0, len(images)/size)
	for len(images) > 0 {
		count := min(max(len(images)/size, 1), batch)
		n.check(images[:min(count*size, len(images))], count)
		n.forward(images[:count*size], count, false)
		for i := range count {
			best, row := 0, n.logits[i*n.classes:][:n.classes]
			for j, v := range row {
				if v > row[best] {
					best = j
				}
			}
			out = append(out, best)
		}
		images = images[count*size:]
	}
	return out
}
