package kernel

import "fmt"

// Augmentation changes one image (c,h,w) in six ways, one after another:
//
//	flip         mirrored left to right with Mirror, top to bottom with Upend
//	turn         by Turns quarter turns, clockwise; of a square image
//	shift        y(i,j) = x(i+Down,j+Aside), mirrored at the borders, whose pixels
//	             are not repeated
//	colour       x += Brightness, then per pixel x = m + Saturation*(x-m) with m
//	             the mean over the channels, then x = M + Contrast*(x-M) with M
//	             the mean over the image
//	translation  y(i,j) = x(i+Rows,j+Columns), zero from outside
//	cutout       zero in rows Top to Bottom-1 of columns Left to Right-1; the
//	             rectangle may reach over the border
//
// It is a linear function of the image, apart from the brightness; the means
// take part in the gradient. NoAugmentation is the identity.
type Augmentation struct {
	Mirror, Upend                    bool
	Turns                            int // 0 to 3
	Down, Aside                      int
	Brightness, Saturation, Contrast float32
	Rows, Columns                    int
	Top, Bottom, Left, Right         int
}

// NoAugmentation leaves an image as it is.
var NoAugmentation = Augmentation{Saturation: 1, Contrast: 1}

// colours reports whether a changes more than places.
func (a *Augmentation) colours() bool {
	return a.Brightness != 0 || a.Saturation != 1 || a.Contrast != 1
}

// Augment computes y = by(x) for images x (n,c,h,w), of which image i is changed
// by by[i]. Means are accumulated in float64.
func Augment(y, x []float32, by []Augmentation, c, h, w int) {
	runAugment(augment{op: (*augment).forward, dst: y, src: x, by: by, c: c, h: h, w: w})
}

// AugmentBackward computes dx, the gradient by x, of dy, the gradient by y.
func AugmentBackward(dx, dy []float32, by []Augmentation, c, h, w int) {
	runAugment(augment{op: (*augment).backward, dst: dx, src: dy, by: by, c: c, h: h, w: w})
}

type augment struct {
	op       func(a *augment, by *Augmentation, dst, src []float32, s *scratch)
	dst, src []float32
	by       []Augmentation
	c, h, w  int
}

var augments freelist[augment]

func runAugment(v augment) {
	if size := len(v.by) * v.c * v.h * v.w; len(v.dst) != size || len(v.src) != size {
		panic(fmt.Sprintf("kernel: %d augmentations (%d,%d,%d) of slices of %d and %d values",
			len(v.by), v.c, v.h, v.w, len(v.src), len(v.dst)))
	}
	a := augments.get()
	*a = v
	parallel(a, len(v.by))
	*a = augment{}
	augments.put(a)
}

func (a *augment) do(item int, s *scratch) {
	size := a.c * a.h * a.w
	at := item * size
	a.op(a, &a.by[item], a.dst[at:at+size], a.src[at:at+size], s)
}

// segments calls visit for each run of n visible pixels of a row: those from
// to on in the result are those from from on in the source.
func (a *augment) segments(by *Augmentation, visit func(to, from, n int)) {
	lo, hi := max(0, -by.Columns), min(a.w, a.w-by.Columns)
	for i := max(0, -by.Rows); i < min(a.h, a.h-by.Rows); i++ {
		to, from := i*a.w, (i+by.Rows)*a.w+by.Columns
		run := func(left, right int) {
			if left < right {
				visit(to+left, from+left, right-left)
			}
		}
		if i < by.Top || i >= by.Bottom || by.Left >= by.Right {
			run(lo, hi)
			continue
		}
		run(lo, min(hi, by.Left))
		run(max(lo, by.Right), hi)
	}
}

// forward: the colours come down to y = Contrast*Saturation*x +
// Contrast*(1-Saturation)*m + Brightness + (1-Contrast)*M, of the original m and M.
func (a *augment) forward(by *Augmentation, dst, src []float32, s *scratch) {
	if by.moves() {
		if !by.more() {
			a.move(by, dst, src, s)
			return
		}
		s.a = grow(s.a, len(src))
		a.move(by, s.a, src, s)
		src = s.a
	}
	clear(dst)
	plane := a.h * a.w
	own, pixel, rest := by.factors()
	shift := by.Brightness
	if rest != 0 {
		shift += float32(float64(rest) * mean(src))
	}
	colours := by.colours()
	a.segments(by, func(to, from, n int) {
		for ch := range a.c {
			d, s := dst[ch*plane+to:][:n], src[ch*plane+from:][:n]
			if !colours {
				copy(d, s)
				continue
			}
			for j, v := range s {
				d[j] = own*v + shift
			}
		}
		if pixel != 0 {
			a.addPixelMeans(dst[to:], src[from:], n, pixel)
		}
	})
}

// backward is forward's adjoint: what is not visible has no gradient of its own,
// but takes part in the image's mean.
func (a *augment) backward(by *Augmentation, dst, src []float32, s *scratch) {
	if by.moves() {
		if !by.more() {
			a.moveBack(by, dst, src, s)
			return
		}
		s.a = grow(s.a, len(src))
		defer a.moveBack(by, dst, s.a, s)
		dst = s.a
	}
	plane := a.h * a.w
	own, pixel, rest := by.factors()
	shift := float32(0)
	if rest != 0 {
		sum := 0.0
		a.segments(by, func(to, _, n int) {
			for ch := range a.c {
				sum += active.sum64(src[ch*plane+to:][:n])
			}
		})
		shift = float32(float64(rest) * sum / float64(len(src)))
	}
	for i := range dst {
		dst[i] = shift
	}
	a.segments(by, func(to, from, n int) {
		for ch := range a.c {
			d, s := dst[ch*plane+from:][:n], src[ch*plane+to:][:n]
			for j, v := range s {
				d[j] += own * v
			}
		}
		if pixel != 0 {
			a.addPixelMeans(dst[from:], src[to:], n, pixel)
		}
	})
}

// factors are those of the value itself, of its pixel's mean over the channels,
// and of the image's mean.
func (a *Augmentation) factors() (own, pixel, image float32) {
	return a.Contrast * a.Saturation, a.Contrast * (1 - a.Saturation), 1 - a.Contrast
}

// addPixelMeans adds factor times the mean over the channels of n pixels of src
// to each channel of dst.
func (a *augment) addPixelMeans(dst, src []float32, n int, factor float32) {
	plane := a.h * a.w
	factor /= float32(a.c)
	for j := range n {
		sum := float32(0)
		for ch := range a.c {
			sum += src[ch*plane+j]
		}
		sum *= factor
		for ch := range a.c {
			dst[ch*plane+j] += sum
		}
	}
}

// mean is x's, accumulated in float64.
func mean(x []float32) float64 { return active.sum64(x) / float64(len(x)) }
