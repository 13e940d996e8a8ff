package picture

import (
	"image"
	"math"
	"math/rand/v2"
)

// MetalSize is the side of a BrushedMetal picture, in pixels.
const MetalSize = 200

// BrushedMetal draws a scratched sheet of brushed metal under uneven light, one
// of an endless series: equal seed and index give equal pixels, any others
// another picture.
func BrushedMetal(seed uint64, index int) *image.Gray {
	m := metal{r: rand.New(rand.NewPCG(seed, uint64(index)^0x9e3779b97f4a7c15))}
	m.light()
	m.brush()
	for range 1 + m.r.IntN(2) {
		m.scratch()
	}
	img := image.NewGray(image.Rect(0, 0, MetalSize, MetalSize))
	for i, v := range m.level {
		img.Pix[i] = uint8(math.Round(min(max(v+m.r.NormFloat64(), 0), 255)))
	}
	return img
}

// metal is a picture in the making, in grey levels.
type metal struct {
	r     *rand.Rand
	level [MetalSize * MetalSize]float64
}

func (m *metal) between(low, high float64) float64 { return low + (high-low)*m.r.Float64() }

// light lays down a slope of brightness and one broad reflection.
func (m *metal) light() {
	base, slope := m.between(80, 145), m.between(10, 50)
	turn := m.between(0, 2*math.Pi)
	bright, at, wide := m.between(10, 60), m.between(0, MetalSize), m.between(30, 90)
	lean := m.between(-0.5, 0.5)
	for i := range m.level {
		x, y := float64(i%MetalSize), float64(i/MetalSize)
		along := ((x-MetalSize/2)*math.Cos(turn) + (y-MetalSize/2)*math.Sin(turn)) / (MetalSize / 2)
		off := (y + lean*(x-MetalSize/2) - at) / wide
		m.level[i] = base + slope*along + bright*math.Exp(-off*off/2)
	}
}

// brush adds fine grooves along the rows, long and uneven, and a few that are
// deeper.
func (m *metal) brush() {
	strength, memory := m.between(1, 2.5), m.between(0.95, 0.99)
	fresh := math.Sqrt(1 - memory*memory)
	above := make([]float64, MetalSize)
	for y := range MetalSize {
		deep := 1.0
		if m.r.IntN(12) == 0 {
			deep = m.between(1.5, 2.5)
		}
		groove := m.r.NormFloat64()
		for x := range MetalSize {
			groove = memory*groove + fresh*m.r.NormFloat64()
			// Neighbouring rows share a little of their grooves.
			above[x] = 0.35*above[x] + groove
			m.level[y*MetalSize+x] += strength * deep * above[x]
		}
	}
}

// scratch draws one scratch: a line that sets in and fades, faint or deep,
// brighter than the metal, with a shadow on one side. All cross the grooves, as
// on sheets that pass over one roll.
func (m *metal) scratch() {
	x, y := m.between(0.1, 0.9)*MetalSize, m.between(0.1, 0.9)*MetalSize
	angle, bend := math.Pi/2+m.between(-0.2, 0.2), m.between(-0.001, 0.001)
	length, width := m.between(40, 230), m.between(1, 2.5)
	depth, shadow := m.between(40, 110), m.between(-0.4, -0.1)
	side := float64(1 - 2*m.r.IntN(2))
	x -= math.Cos(angle) * length / 2
	y -= math.Sin(angle) * length / 2
	const pace = 0.5
	pressure := 1.0
	for s := 0.0; s < length; s += pace {
		pressure = min(max(pressure+0.06*m.r.NormFloat64(), 0.25), 1.2)
		ends := min(min(s, length-s)/(0.2*length), 1)
		strength := depth * pressure * ends * pace
		nx, ny := -math.Sin(angle), math.Cos(angle)
		m.dab(x, y, width, strength)
		m.dab(x+side*nx*2*width, y+side*ny*2*width, width, strength*shadow)
		x += pace * math.Cos(angle)
		y += pace * math.Sin(angle)
		angle += pace * bend
	}
}

// dab adds a soft dot.
func (m *metal) dab(x, y, width, strength float64) {
	reach := int(math.Ceil(3 * width))
	cx, cy := int(math.Floor(x)), int(math.Floor(y))
	for py := max(cy-reach, 0); py <= min(cy+reach, MetalSize-1); py++ {
		for px := max(cx-reach, 0); px <= min(cx+reach, MetalSize-1); px++ {
			dx, dy := float64(px)+0.5-x, float64(py)+0.5-y
			m.level[py*MetalSize+px] += strength / width * 0.45 * math.Exp(-(dx*dx+dy*dy)/(2*width*width))
		}
	}
}
