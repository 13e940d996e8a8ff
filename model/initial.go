package model

import (
	"math"
	"strings"

	"github.com/defectforge/defectforge/model/graph"
	"github.com/defectforge/defectforge/model/kernel"
	"github.com/defectforge/defectforge/model/spec"
)

const dcganDeviation = 0.02

// initialize draws a network's first weights. Every tensor has a stream of its
// own, so one does not depend on the others' sizes.
func initialize(net *graph.Net, r spec.Recipe) {
	for _, p := range net.Params() {
		stream := kernel.NewStream(r.Seed, "weights."+net.Name()+"."+p.Name, 0)
		isScale := len(p.Shape) == 1 && strings.HasSuffix(p.Name, ".weight")
		switch {
		case len(p.Shape) == 1 && !isScale: // batch norm's shift
			clear(p.Data)
		case r.Model.InitialWeights == spec.InitPyTorch && isScale:
			fill(p.Data, 1)
		case r.Model.InitialWeights == spec.InitPyTorch:
			bound := float32(1 / math.Sqrt(float64(p.Shape[1]*p.Shape[2]*p.Shape[3])))
			stream.Uniform(p.Data, -bound, bound)
		default:
			mean := float32(0)
			if isScale {
				mean = 1
			}
			stream.Normal(p.Data)
			for i, v := range p.Data {
				p.Data[i] = mean + dcganDeviation*v
			}
		}
	}
	for _, b := range net.Buffers() {
		if strings.HasSuffix(b.Name, "_u") || strings.HasSuffix(b.Name, "_v") {
			kernel.NewStream(r.Seed, "weights."+net.Name()+"."+b.Name, 0).Normal(b.Data)
			unit(b.Data)
		}
	}
}

func fill(x []float32, v float32) {
	for i := range x {
		x[i] = v
	}
}

// unit scales x to length one.
func unit(x []float32) {
	f := 1 / max(kernel.Norm(x), 1e-12)
	for i, v := range x {
		x[i] = float32(float64(v) * f)
	}
}
