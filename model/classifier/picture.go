package classifier

import (
	"fmt"

	"github.com/defectforge/defectforge/model/spec"
)

// Picture is one image as the classifier sees it.
type Picture struct {
	pixels []uint8 // (3,64,64)
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
	return p
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
			from := placeOf(y, x, turn)
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

// placeOf is the pixel that turn brings to row y, column x.
func placeOf(y, x, turn int) int {
	for range turn / 2 {
		y, x = x, Side-1-y
	}
	if turn%2 == 1 {
		x = Side - 1 - x
	}
	return y*Side + x
}
