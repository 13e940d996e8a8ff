package model

import (
	"math"

	"github.com/defectforge/defectforge/model/checkpoint"
	"github.com/defectforge/defectforge/model/graph"
	"github.com/defectforge/defectforge/model/spec"
)

// The techniques for a few hundred images. Each is off where the recipe does
// not name it, and then leaves training and checkpoints as they were.

const (
	anchorShare = 0.01 // of a step in LeCam's anchors
	// An average reaches back over at most this share of the images seen, so
	// that it leaves the first weights behind.
	averageShare = 0.05
)

// anchors are LeCam's: exponential averages of D's mean logits on real and on
// generated images, in float64.
type anchors struct{ real, fake []float64 } // one element each, so that a checkpoint can fill them

func newAnchors(t spec.Train) *anchors {
	if t.LeCam == 0 {
		return nil
	}
	return &anchors{make([]float64, 1), make([]float64, 1)}
}

// follow takes a step's mean logits in; the first step's stand as they are.
func (a *anchors) follow(real, fake float64, first bool) {
	if a == nil {
		return
	}
	share := anchorShare
	if first {
		share = 1
	}
	a.real[0] += share * (real - a.real[0])
	a.fake[0] += share * (fake - a.fake[0])
}

func (a *anchors) tensors() []checkpoint.Tensor {
	if a == nil {
		return nil
	}
	return []checkpoint.Tensor{{Name: "lecam.real", Data: a.real}, {Name: "lecam.fake", Data: a.fake}}
}

// average is the exponential average of a generator's weights. Batch norm's
// running statistics are the generator's own, and so not quite those of the
// averaged weights: samplers estimate them anew.
type average struct {
	net      *graph.Net
	images   []int64 // seen so far, one element
	halfLife float64 // in images
}

func newAverage(r spec.Recipe) *average {
	if r.Train.AverageImages <= 0 {
		return nil
	}
	return &average{
		net:    graph.NewGenerator(r.Model),
		images: make([]int64, 1), halfLife: float64(r.Train.AverageImages),
	}
}

// follow takes in the weights after a step on n images: the average keeps
// 0.5^(n/h) of itself, with h the half-life or, early on, a twentieth of the
// images seen before (Karras et al., "Training generative adversarial networks
// with limited data", 2020).
func (a *average) follow(ws *graph.Workspace, net *graph.Net, n int) {
	if a == nil {
		return
	}
	keep := math.Pow(0.5, float64(n)/min(a.halfLife, averageShare*float64(a.images[0])))
	ws.Follow(a.net, net, float32(1-keep))
	a.images[0] += int64(n)
}

func (a *average) tensors() []checkpoint.Tensor {
	if a == nil {
		return nil
	}
	return append(state(a.net, averagePrefix), checkpoint.Tensor{Name: "average.images", Data: a.images})
}
