package classifier

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/defectforge/defectforge/model/kernel"
)

// stripes draws count images (C,64,64) of each of two classes: stripes along the
// rows and along the columns, of random phase and width, with noise.
func stripes(seed uint64, channels, count int) (images []float32, labels []int) {
	images, labels = make([]float32, 2*count*channels*area), make([]int, 2*count)
	kernel.NewStream(seed, "test stripes", 0).Normal(images)
	way := make([]float32, 4*count)
	kernel.NewStream(seed, "test stripes", 1).Uniform(way, 0, 1)
	for i := range labels {
		labels[i] = i % 2
		for j := range channels * area {
			along := j % Side
			if labels[i] == 0 {
				along = j / Side % Side
			}
			v := math.Sin(2*math.Pi*float64(way[2*i]) + float64(along)*(0.5+0.5*float64(way[2*i+1])))
			at := i*channels*area + j
			images[at] = 0.3*images[at] + 0.5*float32(v)
		}
	}
	return images, labels
}

func TestNetLearnsTextures(t *testing.T) {
	for _, channels := range []int{1, 3} {
		images, labels := stripes(1, channels, 16)
		n := New(7, channels, 2, 30)
		first := n.Step(images, labels)
		require.InDelta(t, math.Ln2, first, 0.6)
		last := 0.0
		for range 29 {
			last = n.Step(images, labels)
		}
		require.Less(t, last, 0.1)
		fresh, want := stripes(2, channels, 25) // no multiple of the batch
		right := 0
		for i, got := range n.Predict(fresh) {
			if got == want[i] {
				right++
			}
		}
		require.GreaterOrEqual(t, right, 48)
	}
}

// TestGradients holds every kind of parameter's gradient against differences of
// the loss.
func TestGradients(t *testing.T) {
	n := New(3, 1, 3, 1)
	images, labels := stripes(5, 1, 3)
	labels[2] = 2
	kernel.NewStream(9, "test", 0).Normal(n.bias)
	n.differentiate(images, labels)
	want := append([]float32{}, n.gradients...)
	at := map[string]int{"linear": len(n.params) - len(n.linear) - 3, "bias": len(n.params) - 2}
	offset := 0
	for i, b := range n.blocks {
		name := string(rune('1' + i))
		at["weight "+name] = offset + 5
		at["gamma "+name] = offset + len(b.weight) + 2
		at["beta "+name] = offset + len(b.weight) + len(b.gamma) + 1
		offset += len(b.weight) + 2*len(b.gamma)
	}
	for name, i := range at {
		const h = 2e-3
		kept := n.params[i]
		n.params[i] = kept + h
		above := n.differentiate(images, labels)
		n.params[i] = kept - h
		below := n.differentiate(images, labels)
		n.params[i] = kept
		require.InDelta(t, (above-below)/(2*h), want[i], 2e-3+0.03*math.Abs(float64(want[i])), name)
		require.NotZero(t, want[i], name)
	}
}

func TestSameBitsOnAnyNumberOfThreads(t *testing.T) {
	defer kernel.SetThreads(0)
	images, labels := stripes(4, 1, 16)
	var want []float32
	for _, threads := range []int{1, 2, 5} {
		kernel.SetThreads(threads)
		n := New(11, 1, 2, 5)
		for range 5 {
			n.Step(images, labels)
		}
		if want == nil {
			want = n.params
		}
		require.Equal(t, want, n.params, "%d threads", threads)
	}
	other := New(12, 1, 2, 5)
	require.NotEqual(t, New(11, 1, 2, 5).params, other.params)
}

func TestNetRefusesWhatDoesNotFit(t *testing.T) {
	require.Panics(t, func() { New(1, 2, 2, 1) })
	require.Panics(t, func() { New(1, 1, 1, 1) })
	n := New(1, 1, 2, 1)
	images, labels := stripes(1, 1, 2)
	require.Panics(t, func() { n.Step(images[1:], labels) })
	require.Panics(t, func() { n.Step(images[:area], labels[:1]) })
	require.Panics(t, func() { n.Predict(images[1:]) })
	n.Step(images, labels)
	require.Panics(t, func() { n.Step(images, labels) })
}

func BenchmarkStep(b *testing.B) {
	images, labels := stripes(1, 1, 16)
	n := New(1, 1, 2, math.MaxInt32)
	for b.Loop() {
		n.Step(images, labels)
	}
}
