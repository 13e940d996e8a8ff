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

// ToFloat maps grey levels to [-1,1]: dst = src/127.5 - 1. Lengths are equal.
func ToFloat(dst []float32, src []uint8) {
	if len(dst) != len(src) {
		panic("model: lengths differ")
	}
	for i, v := range src {
		dst[i] = float32(v)/127.5 - 1
	}
}

// ToUint8 is ToFloat's inverse, rounded to the nearest grey level and clamped;
// NaN gives 0. Lengths are equal.
func ToUint8(dst []uint8, src []float32) {
	if len(dst) != len(src) {
		panic("model: lengths differ")
	}
	for i, v := range src {
		x := (v+1)*127.5 + 0.5
		switch {
		case x >= 255:
			dst[i] = 255
		case x > 0:
			dst[i] = uint8(x)
		default:
			dst[i] = 0
		}
	}
}
