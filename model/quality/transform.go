package quality

import "math"

// transform is a workspace for the two-dimensional discrete Fourier transform of
// 64x64 values, not scaled.
type transform struct {
	data, other [thumbLen]complex64
}

// twiddles are the powers of the 64th root of unity exp(-2 pi i / 64).
var twiddles = func() (w [ThumbSize]complex64) {
	for k := range w {
		sin, cos := math.Sincos(-2 * math.Pi * float64(k) / ThumbSize)
		w[k] = complex(float32(cos), float32(sin))
	}
	return w
}()

// run transforms data in place and leaves it transposed; a transformed,
// transposed picture that runs again is therefore back in order.
func (t *transform) run() {
	t.columns()
	for y := range ThumbSize {
		for x := range ThumbSize {
			t.data[x*ThumbSize+y] = t.other[y*ThumbSize+x]
		}
	}
	t.columns()
	t.data = t.other
}

// columns transforms each column of data into other: Stockham's algorithm of
// radix 4, all columns side by side.
func (t *transform) columns() {
	from, to := &t.data, &t.other
	stride := ThumbSize
	for n := ThumbSize; n > 1; n /= 4 {
		quarter := n / 4
		for p := range quarter {
			step := p * (ThumbSize / n)
			w1, w2, w3 := twiddles[step], twiddles[2*step], twiddles[3*step]
			butterflies(from[stride*p:], from[stride*(p+quarter):], from[stride*(p+2*quarter):], from[stride*(p+3*quarter):],
				to[4*stride*p:][:4*stride], w1, w2, w3, stride)
		}
		from, to = to, from
		stride *= 4
	}
}

func butterflies(a, b, c, d, out []complex64, w1, w2, w3 complex64, n int) {
	a, b, c, d = a[:n], b[:n], c[:n], d[:n]
	out0, out1, out2, out3 := out[:n], out[n:2*n], out[2*n:3*n], out[3*n:4*n]
	for k := range n {
		sum, difference := a[k]+c[k], a[k]-c[k]
		sum2, turned := b[k]+d[k], b[k]-d[k]
		turned = complex(-imag(turned), real(turned))
		out0[k] = sum + sum2
		out1[k] = w1 * (difference - turned)
		out2[k] = w2 * (sum - sum2)
		out3[k] = w3 * (difference + turned)
	}
}
