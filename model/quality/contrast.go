package quality

import (
	"math"

	"github.com/defectforge/defectforge/model/spec"
)

const (
	// contrastReach is the standard deviation, in pixels of the fine size, of what is
	// local in local contrast.
	contrastReach = 5.0
	// contrastFloor is added to the local contrast that is divided by, as a share of
	// the whole picture's, so that nearly flat places don't become all noise;
	// contrastLeast are grey levels, for pictures that are flat throughout.
	contrastFloor, contrastLeast = 0.5, 0.5
)

// contrastWindow weighs what is local.
var contrastWindow = func() []float64 {
	const reach = 12
	weights, sum := make([]float64, 2*reach+1), 0.0
	for i := range weights {
		d := float64(i-reach) / contrastReach
		weights[i] = math.Exp(-d * d / 2)
		sum += weights[i]
	}
	for i := range weights {
		weights[i] /= sum
	}
	return weights
}()

// localContrast is a plane (128,128) at half its size, less its local mean and over
// its local standard deviation: what is left of a picture that was made brighter,
// darker, harder or softer. (64,64)
func localContrast(plane []uint8) []float32 {
	half := make([]float64, fineLen)
	for i := range half {
		y, x := 2*(i/fineSide), 2*(i%fineSide)
		at := y*spec.Size + x
		half[i] = float64(int(plane[at])+int(plane[at+1])+int(plane[at+spec.Size])+int(plane[at+spec.Size+1])) / 4
	}
	total := 0.0
	squares := make([]float64, fineLen)
	for i, mean := range weighed(half, fineSide, contrastWindow) {
		half[i] -= mean
		squares[i] = half[i] * half[i]
		total += squares[i]
	}
	floor := contrastFloor*math.Sqrt(total/fineLen) + contrastLeast
	out := make([]float32, fineLen)
	for i, local := range weighed(squares, fineSide, contrastWindow) {
		out[i] = float32(half[i] / (math.Sqrt(local) + floor))
	}
	return out
}

// halfSize averages 2x2 pixels of the fine size. (32,32)
func halfSize(fine []float32) []float32 {
	out := make([]float32, coarseLen)
	for i := range out {
		at := 2*(i/coarseSide)*fineSide + 2*(i%coarseSide)
		out[i] = (fine[at] + fine[at+1] + fine[at+fineSide] + fine[at+fineSide+1]) / 4
	}
	return out
}

// cut copies the square (inner,inner) whose first corner is (top,left).
func cut(dst, src []float32, side, top, left, inner int) {
	for y := range inner {
		copy(dst[y*inner:(y+1)*inner], src[(top+y)*side+left:])
	}
}

// unit takes the mean from v and scales it to length 1; what has no contrast becomes 0.
func unit(v []float32) {
	sum := 0.0
	for _, x := range v {
		sum += float64(x)
	}
	mean, squares := sum/float64(len(v)), 0.0
	for _, x := range v {
		squares += (float64(x) - mean) * (float64(x) - mean)
	}
	by := 0.0
	if squares > 1e-12 {
		by = 1 / math.Sqrt(squares)
	}
	for i, x := range v {
		v[i] = float32((float64(x) - mean) * by)
	}
}

// along scales and turns a vector.
func (p pose) along(x, y float64) (float64, float64) {
	sin, cos := math.Sincos(p.degrees * math.Pi / 180)
	return p.scale * (cos*x - sin*y), p.scale * (sin*x + cos*y)
}

// sample reads a square picture of the given side in a pose, about the middle of both,
// bilinearly; beyond the border its last pixels go on. p's shift counts in pixels of
// src.
func sample(dst []float32, side int, src []float32, srcSide int, p pose) {
	ax, ay := p.along(1, 0) // a step across
	bx, by := p.along(0, 1) // a step down
	middle, last := float64(side-1)/2, float64(srcSide-1)
	startX := last/2 + p.dx - middle*(ax+bx)
	startY := last/2 + p.dy - middle*(ay+by)
	for y := range side {
		for x := range side {
			u := min(max(startX+float64(x)*ax+float64(y)*bx, 0), last)
			v := min(max(startY+float64(x)*ay+float64(y)*by, 0), last)
			iu, iv := min(int(u), srcSide-2), min(int(v), srcSide-2)
			fu, fv := float32(u-float64(iu)), float32(v-float64(iv))
			at := iv*srcSide + iu
			top := src[at] + fu*(src[at+1]-src[at])
			bottom := src[at+srcSide] + fu*(src[at+srcSide+1]-src[at+srcSide])
			dst[y*side+x] = top + fv*(bottom-top)
		}
	}
}

const (
	// fineInner is the side of what is compared at the fine size, as at the coarse one.
	fineInner    = 2 * coarseInner
	fineInnerLen = fineInner * fineInner
)

// fit brings ranked real images of this part to fit the candidates.
func (u *unmasking) fit(planes []uint8, first int) {
	n := len(planes) / PlaneLen
	wanted := make([]bool, n)
	for _, list := range u.ranks {
		for _, l := range list {
			if l.index >= first && l.index < first+n {
				wanted[l.index-first] = true
			}
		}
	}
	contrasts := make([][]float32, n)
	eachRun(n, func(j int) {
		if wanted[j] {
			contrasts[j] = localContrast(planes[j*PlaneLen : (j+1)*PlaneLen])
		}
	})
	eachRun(u.n, func(i int) {
		for _, l := range u.ranks[i] {
			if l.index >= first && l.index < first+n {
				u.take(i, l, contrasts[l.index-first])
			}
		}
	})
}

// take improves the pose of one match step by step, and keeps the result where it
// is candidate i's best.
func (u *unmasking) take(i int, l match, real []float32) {
	const margin = (fineSide - fineInner) / 2
	var candidate, read [fineInnerLen]float32
	cut(candidate[:], u.fine[i*Orientations+l.orientation], fineSide, margin, margin, fineInner)
	unit(candidate[:])
	correlate := func(p pose) float64 {
		sample(read[:], fineInner, real, fineSide, p)
		return correlateUnit(candidate[:], read[:])
	}
	at, value := l.pose, correlate(l.pose)
	for _, step := range []pose{{0.04, 2, 1, 1}, {0.02, 1, 0.5, 0.5}, {0.01, 0.5, 0.25, 0.25}} {
		for better := true; better; {
			better = false
			for _, by := range []pose{
				{dx: step.dx}, {dx: -step.dx}, {dy: step.dy}, {dy: -step.dy},
				{scale: step.scale}, {scale: -step.scale}, {degrees: step.degrees}, {degrees: -step.degrees},
			} {
				next := pose{at.scale + by.scale, at.degrees + by.degrees, at.dx + by.dx, at.dy + by.dy}
				if !next.allowed() {
					continue
				}
				if v := correlate(next); math.Abs(v) > math.Abs(value) {
					at, value, better = next, v, true
				}
			}
		}
	}
	if d := 1 - math.Abs(value); d < u.best[i].Distance {
		u.best[i] = Disguised{
			Index: l.index, Orientation: l.orientation, Scale: at.scale, Degrees: at.degrees,
			DX: 2 * at.dx, DY: 2 * at.dy, Inverted: value < 0, Distance: max(d, 0),
		}
	}
}

// allowed bounds a pose to what is looked for.
func (p pose) allowed() bool {
	const shift = 2 * (coarseReach + 1)
	return p.scale >= 0.75 && p.scale <= 1.17 && math.Abs(p.degrees) <= 8 && math.Abs(p.dx) <= shift && math.Abs(p.dy) <= shift
}

// correlateUnit is the correlation of a, of mean 0 and length 1, with b.
func correlateUnit(a, b []float32) float64 {
	var product, sum, squares float64
	for i, x := range b {
		v := float64(x)
		product += float64(a[i]) * v
		sum += v
		squares += v * v
	}
	if left := squares - sum*sum/float64(len(b)); left > 1e-12 {
		return product / math.Sqrt(left)
	}
	return 0
}
