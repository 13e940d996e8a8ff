package kernel

import "fmt"

// Upsample doubles planes of height by width pixels, bilinearly and with pixels
// as areas, as PyTorch's interpolate does with align_corners=False. In one
// dimension, with x[-1] = x[0] and x[n] = x[n-1],
//
//	y[2*i]   = x[i-1]/4 + 3*x[i]/4
//	y[2*i+1] = 3*x[i]/4 + x[i+1]/4
//
// and in two the same of the same, columns last.
func Upsample(y, x []float32, planes, height, width int) {
	runUpsampling(upsampling{op: (*upsampling).forward, large: y, small: x, height: height, width: width}, planes)
}

// UpsampleBackward computes dx, the gradient by x, of dy, the gradient by y.
func UpsampleBackward(dx, dy []float32, planes, height, width int) {
	runUpsampling(upsampling{op: (*upsampling).backward, large: dy, small: dx, height: height, width: width}, planes)
}

const nearShare, farShare = 0.75, 0.25 // shares of the two pixels between which a new one lies

type upsampling struct {
	op            func(u *upsampling, large, small []float32, s *scratch)
	large, small  []float32
	height, width int // of a small plane
}

var upsamplings freelist[upsampling]

func runUpsampling(v upsampling, planes int) {
	if size := planes * v.height * v.width; size < 1 || len(v.small) != size || len(v.large) != 4*size {
		panic(fmt.Sprintf("kernel: doubling of %d planes (%d,%d) with slices of %d and %d values",
			planes, v.height, v.width, len(v.small), len(v.large)))
	}
	u := upsamplings.get()
	*u = v
	parallel(u, planes)
	*u = upsampling{}
	upsamplings.put(u)
}

func (u *upsampling) do(item int, s *scratch) {
	size := u.height * u.width
	u.op(u, u.large[4*item*size:4*(item+1)*size], u.small[item*size:(item+1)*size], s)
}

func (u *upsampling) forward(large, small []float32, s *scratch) {
	w := u.width
	s.a = grow(s.a, 3*w)
	line := s.a[:w]
	for i := range 2 * u.height {
		// Row i lies between its own small row and the one above or below.
		own := i / 2
		other := clamp(own+2*(i%2)-1, 0, u.height-1)
		active.scale(line, small[own*w:][:w], nearShare)
		active.axpy(line, small[other*w:][:w], farShare)
		doubleRow(large[2*i*w:][:2*w], line, s.a[w:])
	}
}

// doubleRow is Upsample in one dimension. tmp has room for dst.
func doubleRow(dst, line, tmp []float32) {
	w := len(line)
	even, odd := tmp[:w], tmp[w:2*w]
	active.scale(even, line, nearShare)
	copy(odd, even)
	active.axpy(even[1:], line[:w-1], farShare)
	active.axpy(odd[:w-1], line[1:], farShare)
	even[0] += farShare * line[0]
	odd[w-1] += farShare * line[w-1]
	active.zip(dst, even, odd, 1)
}

func (u *upsampling) backward(large, small []float32, s *scratch) {
	w := u.width
	s.a = grow(s.a, 3*w)
	line := s.a[:w]
	clear(small)
	for i := range 2 * u.height {
		halveRow(line, large[2*i*w:][:2*w], s.a[w:])
		own := i / 2
		other := clamp(own+2*(i%2)-1, 0, u.height-1)
		active.axpy(small[own*w:][:w], line, nearShare)
		active.axpy(small[other*w:][:w], line, farShare)
	}
}

// halveRow is doubleRow's adjoint. tmp has room for src.
func halveRow(line, src, tmp []float32) {
	w := len(line)
	even, odd := tmp[:w], tmp[w:2*w]
	active.pairs(even, odd, src)
	active.add(line, even, odd)
	active.scale(line, line, nearShare)
	active.axpy(line[:w-1], even[1:], farShare)
	active.axpy(line[1:], odd[:w-1], farShare)
	line[0] += farShare * even[0]
	line[w-1] += farShare * odd[w-1]
}
