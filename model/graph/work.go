package graph

import "github.com/defectforge/defectforge/model/kernel"

// DirectWork is how many floating-point operations the convolutions of a step of
// Trainer would be by the direct algorithm, for batches of n: two for each
// multiplication, those of padding's zeros included. It follows the phases: two
// judgements from which d learns, the generation, and the generator's learning
// through a fixed d.
func DirectWork(d, g *Net, n int) (work float64) {
	for i, l := range d.layers {
		passes := 2*2 + 2 // JudgeReal and JudgeGenerated: forward, by weight; Fool: forward, by input
		if i > 0 {
			passes += 2 // by input, which the first layer leaves out where d learns
		}
		work += float64(passes) * direct(l.geometry(n))
		if l.patches != nil {
			work += float64(passes) * direct(l.patches.geometry(n))
		}
	}
	for i, l := range g.layers {
		passes := 2 // Generate, by weight
		if i > 0 {
			passes++
		}
		work += float64(passes) * direct(l.geometry(n))
	}
	return work
}

// direct is one pass over a convolution.
func direct(c kernel.Conv) float64 {
	return 2 * float64(c.N*c.O*c.OutH()*c.OutW()) * float64(c.C*c.K*c.K)
}
