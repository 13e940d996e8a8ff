package kernel

import (
	"fmt"
	"math"
)

const (
	spreadGroup   = 4
	spreadEpsilon = 1e-8
)

// Spread copies x (n,c,area) to y (n,c+1,area) and gives each image one more
// channel, which holds one number everywhere: how much the images of its group
// differ (Karras et al., "Progressive growing of GANs", 2018). Groups are of four
// images, or the whole batch where n is no multiple of four. Of m groups, image i
// belongs to number i mod m. With mean and variance over a group's images, biased,
// its number is
//
//	the mean over the c*area features of sqrt(variance + 1e-8)
//
// accumulated in float64.
func Spread(y, x []float32, n, c, area int) {
	runSpread(spreading{op: (*spreading).forward, large: y, x: x, n: n, features: c * area, area: area})
}

// SpreadBackward computes dx, the gradient by x, of dy, the gradient by y. With s
// the sum of dy over the last channels of a group of g images,
//
//	dx = dy + s/(c*area*g) * (x - mean)/sqrt(variance + 1e-8)
func SpreadBackward(dx, dy, x []float32, n, c, area int) {
	if len(dx) != len(x) {
		panic(fmt.Sprintf("kernel: spread of %d values with a gradient of %d", len(x), len(dx)))
	}
	runSpread(spreading{op: (*spreading).backward, large: dy, x: x, dx: dx, n: n, features: c * area, area: area})
}

type spreading struct {
	op                func(s *spreading, group int)
	large, x, dx      []float32 // large: y, or its gradient
	n, features, area int
	groups            int
}

var spreads freelist[spreading]

func runSpread(v spreading) {
	if v.n < 1 || v.area < 1 || v.features < v.area || len(v.x) != v.n*v.features || len(v.large) != v.n*(v.features+v.area) {
		panic(fmt.Sprintf("kernel: spread of %d images of %d features and %d more with slices of %d and %d values",
			v.n, v.features, v.area, len(v.x), len(v.large)))
	}
	s := spreads.get()
	*s = v
	s.groups = 1
	if v.n%spreadGroup == 0 {
		s.groups = v.n / spreadGroup
	}
	parallel(s, s.groups)
	*s = spreading{}
	spreads.put(s)
}

func (s *spreading) do(item int, _ *scratch) { s.op(s, item) }

// moments are the mean of a feature over a group, and its deviation.
func (s *spreading) moments(group, feature int) (mean, deviation float64) {
	size := float64(s.n / s.groups)
	for i := group; i < s.n; i += s.groups {
		mean += float64(s.x[i*s.features+feature])
	}
	mean /= size
	for i := group; i < s.n; i += s.groups {
		d := float64(s.x[i*s.features+feature]) - mean
		deviation += d * d
	}
	return mean, math.Sqrt(deviation/size + spreadEpsilon)
}

func (s *spreading) forward(group int) {
	sum := 0.0
	for k := range s.features {
		_, deviation := s.moments(group, k)
		sum += deviation
	}
	number := float32(sum / float64(s.features))
	for i := group; i < s.n; i += s.groups {
		y := s.large[i*(s.features+s.area):][:s.features+s.area]
		copy(y, s.x[i*s.features:][:s.features])
		for k := range s.area {
			y[s.features+k] = number
		}
	}
}

func (s *spreading) backward(group int) {
	sum, count := 0.0, 0
	for i := group; i < s.n; i += s.groups {
		dy := s.large[i*(s.features+s.area):][:s.features+s.area]
		copy(s.dx[i*s.features:][:s.features], dy)
		sum += active.sum64(dy[s.features:])
		count++
	}
	share := sum / float64(s.features*count)
	for k := range s.features {
		mean, deviation := s.moments(group, k)
		for i := group; i < s.n; i += s.groups {
			at := i*s.features + k
			s.dx[at] = float32(float64(s.dx[at]) + share*(float64(s.x[at])-mean)/deviation)
		}
	}
}
