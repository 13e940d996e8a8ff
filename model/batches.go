package model

import (
	"github.com/defectforge/defectforge/model/kernel"
	"github.com/defectforge/defectforge/model/spec"
)

// Batches is the order of an epoch, counted from 0: the numbers of the images,
// shuffled by seed and epoch, in batches of r.Train.Batch. The last batch may be
// smaller; below spec.MinBatch it is dropped.
func Batches(r spec.Recipe, images, epoch int) [][]int {
	if images <= 0 || r.Train.Batch < spec.MinBatch {
		return nil
	}
	order := kernel.NewStream(r.Seed, "shuffle", uint64(epoch)).Perm(images)
	var out [][]int
	for len(order) >= spec.MinBatch {
		n := min(r.Train.Batch, len(order))
		out = append(out, order[:n:n])
		order = order[n:]
	}
	return out
}
