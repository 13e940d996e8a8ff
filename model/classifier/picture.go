package classifier

import (
	"fmt"
	"slices"
	"sync"

	"github.com/defectforge/defectforge/model/picture"
	"github.com/defectforge/defectforge/model/quality"
	"github.com/defectforge/defectforge/model/spec"
)

// Picture is one image as the classifiers see it.
type Picture struct {
	pixels []uint8 // (3,64,64), for nets
	light  []uint8 // luminance (128,128), for textures
	turned [turns]texture
}

// turns are all ways to mirror and turn a picture.
const turns = 8

// texture are a picture's features, computed when they are first asked for.
type texture struct {
	once sync.Once
	row  []float64
}

// NewPicture takes an image (3,128,128), averaged over squares of 2x2 pixels,
// rounded. Other lengths panic.
func NewPicture(chw []uint8) *Picture {
	const half = spec.Size / Side
	if len(chw) != spec.ImageLen {
		panic(fmt.Sprintf("classifier: picture of %d bytes", len(chw)))
	}
	p := &Picture{pixels: make([]uint8, 3*area)}
	for i := range p.pixels {
		c, y, x := i/area, i%area/Side, i%Side
		sum := half * half / 2
		for dy := range half {
			for dx := range half {
				sum += int(chw[(c*spec.Size+half*y+dy)*spec.Size+half*x+dx])
			}
		}
		p.pixels[i] = uint8(sum / (half * half))
	}
	p.light = picture.Luminance(chw)
	return p
}

// textures are the features of the picture after a turn, as for write.
func (p *Picture) textures(turn int) []float64 {
	t := &p.turned[turn]
	t.once.Do(func() {
		plane := make([]uint8, len(p.light))
		for i := range plane {
			plane[i] = p.light[placeOf(i/spec.Size, i%spec.Size, turn, spec.Size)]
		}
		t.row = quality.SurfaceFeatures(slices.Repeat(plane, spec.Channels))[0]
	})
	return t.row
}

// grey reports whether the channels are equal.
func (p *Picture) grey() bool {
	for i, v := range p.pixels[:area] {
		if p.pixels[area+i] != v || p.pixels[2*area+i] != v {
			return false
		}
	}
	return true
}

// write puts the picture into dst (C,64,64), -1 to 1, after turn, 0 to 7: its
// lowest bit mirrors, the others count quarter turns. One channel is the
// luminance after ITU-R BT.601.
func (p *Picture) write(dst []float32, turn int) {
	for y := range Side {
		for x := range Side {
			from := placeOf(y, x, turn, Side)
			if at := y*Side + x; len(dst) == area {
				r, g, b := float32(p.pixels[from]), float32(p.pixels[area+from]), float32(p.pixels[2*area+from])
				dst[at] = (0.299*r+0.587*g+0.114*b)/127.5 - 1
			} else {
				for c := range 3 {
					dst[c*area+at] = float32(p.pixels[c*area+from])/127.5 - 1
				}
			}
		}
	}
}

// placeOf is the pixel that turn brings to row y, column x of a picture so wide.
func placeOf(y, x, turn, side int) int {
	for range turn / 2 {
		y, x = x, side-1-y
	}
	if turn%2 == 1 {
		x = side - 1 - x
	}
	return y*side + x
}
