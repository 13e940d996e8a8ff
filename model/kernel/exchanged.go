package kernel

// The weights' gradient of a convolution of stride 1 is also that of its adjoint,
// with dy in the place of x, x in that of dy, and the taps in reverse. That packs
// the patches of the thinner side, once for each tap.

// exchanges reports whether this is worth its while.
func (c Conv) exchanges() bool { return c.Stride == 1 && 4*c.O <= c.C }

func (c Conv) backwardWeightsExchanged(dw, x, dy []float32, scale float32) {
	kk := c.K * c.K
	other := Conv{N: c.N, C: c.O, H: c.OutH(), W: c.OutW(), O: c.C, K: c.K, Stride: 1, Pad: c.K - 1 - c.Pad, BF16: c.BF16}
	turned := tensors.get(len(dw)) // (c,o,k,k)
	other.BackwardWeights(turned, dy, x, scale)
	for o := range c.O {
		for ch := range c.C {
			from, to := turned[(ch*c.O+o)*kk:][:kk], dw[(o*c.C+ch)*kk:][:kk]
			for i, v := range from {
				to[kk-1-i] = v
			}
		}
	}
	tensors.put(turned)
}
