package activities

import (
	"image"
	"math"
	"math/bits"
	"slices"
)

const (
	// cellGrid is the side of the grid of cells over a whole picture.
	cellGrid = 64
	// cellPixels is the least side of a cell in either of two pictures, in pixels:
	// resampling moves light by about one.
	cellPixels = 8
)

// cells are a picture's mean luminances in a grid, taken from every pixel: a defect of
// few pixels moves the mean of its cell, which perceptual hashes don't see.
type cells struct {
	w, h  int
	means []uint16 // (cellGrid, cellGrid), in 256ths of a grey level
}

// measureCells divides the upright picture. Pixels that cells divide count in each by
// the part that lies there.
func measureCells(img *image.RGBA) *cells {
	w, h := img.Rect.Dx(), img.Rect.Dy()
	across, down := cellShares(w), cellShares(h)
	var sums [cellGrid * cellGrid]float64
	for y := range h {
		var row [cellGrid]float64
		line := img.Pix[y*img.Stride:][:4*w]
		for x, shares := range across {
			v := 0.299*float64(line[4*x]) + 0.587*float64(line[4*x+1]) + 0.114*float64(line[4*x+2])
			for k, share := range shares.of {
				row[shares.first+k] += v * share
			}
		}
		for k, share := range down[y].of {
			for x, v := range row {
				sums[(down[y].first+k)*cellGrid+x] += v * share
			}
		}
	}
	out := &cells{w: w, h: h, means: make([]uint16, len(sums))}
	for i, sum := range sums {
		out.means[i] = uint16(math.Round(256 * sum * cellGrid * cellGrid / (float64(w) * float64(h))))
	}
	return out
}

// cellShare is which cells a pixel lies in, and by how much of it.
type cellShare struct {
	first int
	of    []float64
}

// cellShares are those of n pixels in a line.
func cellShares(n int) []cellShare {
	out := make([]cellShare, n)
	for x := range out {
		first, last := x*cellGrid/n, ((x+1)*cellGrid-1)/n
		out[x] = cellShare{first, make([]float64, last-first+1)}
		for k := range out[x].of {
			// In units of 1/(n cellGrid) of the line: a pixel is cellGrid long, a cell n.
			from, to := max(x*cellGrid, (first+k)*n), min((x+1)*cellGrid, (first+k+1)*n)
			out[x].of[k] = float64(to-from) / cellGrid
		}
	}
	return out
}

// at are the means of a grid, coarser or the same.
func (c *cells) at(grid int) []float64 {
	out, per := make([]float64, grid*grid), cellGrid/grid
	unit := 1 / float64(256*per*per)
	for y := range cellGrid {
		row := out[y/per*grid:][:grid]
		for x, mean := range c.means[y*cellGrid:][:cellGrid] {
			row[x/per] += unit * float64(mean)
		}
	}
	return out
}

// resemblance is what the cells of two pictures say.
type resemblance int

const (
	otherScene  resemblance = iota // they show different things
	sameScene                      // the same, but for something in it, as of parts in a fixture
	samePicture                    // the same, apart from brightness, contrast, noise, compression and size
)

const (
	// sceneSpread is the largest spread of the cells' differences, in grey levels, that
	// noise and compression leave.
	sceneSpread = 3.0
	// A cell stands out beyond outstanding times the spread, and beyond outstandingLeast
	// grey levels.
	outstanding, outstandingLeast = 8.0, 0.75
)

// compare fits the brightness and contrast of one picture to the other's, and looks
// whether any cell differs by more than all others do.
func (c *cells) compare(o *cells) resemblance {
	if math.Abs(math.Log(float64(c.w)*float64(o.h)/(float64(c.h)*float64(o.w)))) > 0.02 {
		return otherScene
	}
	grid := cellGrid
	for grid > 4 && min(c.w, c.h, o.w, o.h) < grid*cellPixels {
		grid /= 2
	}
	x, y := c.at(grid), o.at(grid)
	line, spread := fitRobust(x, y)
	if line.gain < 0.5 || line.gain > 2 || spread > sceneSpread {
		return otherScene
	}
	most := max(outstandingLeast, outstanding*spread)
	for i := range x {
		if line.residual(x[i], y[i]) > most {
			return sameScene
		}
	}
	return samePicture
}

// fitted is how many cells, evenly spaced, a line is fitted to: enough for their spread,
// and few enough to compare thousands of images in pairs, at some 60 microseconds each.
const fitted = 256

// line is how one picture's levels follow from the other's.
type line struct{ offset, gain float64 }

func (l line) residual(x, y float64) float64 { return math.Abs(y - l.offset - l.gain*x) }

// fitRobust fits brightness and contrast, leaving out what stands out, and gives the
// standard deviation of the rest, from the median.
func fitRobust(x, y []float64) (l line, spread float64) {
	step := max(len(x)/fitted, 1)
	// An odd step goes through all columns of a grid whose side is a power of two.
	step += 1 - step%2
	var px, py, left, weights []float64
	for i := 0; i < len(x); i += step {
		px, py, weights, left = append(px, x[i]), append(py, y[i]), append(weights, 1), append(left, 0)
	}
	for range 3 {
		l.offset, l.gain = fitLine(px, py, weights)
		for i := range px {
			left[i] = l.residual(px[i], py[i])
		}
		spread = 1.4826 * median(left)
		for i, v := range left {
			weights[i] = 1
			if v > 3*spread {
				weights[i] = 0
			}
		}
	}
	return l, spread
}

// fitLine is the line through weighted points with the least squares; of points with
// one x, the one of gain 1.
func fitLine(x, y, weights []float64) (offset, gain float64) {
	var n, sx, sy, sxx, sxy float64
	for i, w := range weights {
		n, sx, sy = n+w, sx+w*x[i], sy+w*y[i]
	}
	if n == 0 {
		return 0, 1
	}
	mx, my := sx/n, sy/n
	for i, w := range weights {
		sxx += w * (x[i] - mx) * (x[i] - mx)
		sxy += w * (x[i] - mx) * (y[i] - my)
	}
	gain = 1
	if sxx > n { // a spread of a grey level or more
		gain = sxy / sxx
	}
	return my - gain*mx, gain
}

func median(values []float64) float64 {
	sorted := slices.Clone(values)
	slices.Sort(sorted)
	return (sorted[(len(sorted)-1)/2] + sorted[len(sorted)/2]) / 2
}

// verdict is what the cells of two images say. Where they are not kept, or the recipe
// is from before there were any, the hash's word is taken: samePicture.
func (f *scanned) verdict(o *scanned, duplicates string) resemblance {
	if duplicates == "" || f.cells == nil || o.cells == nil {
		return samePicture
	}
	return f.cells.compare(o.cells)
}

// hashes are the images' perceptual hashes, side by side: all pairs are looked at.
type hashes []uint64

// near calls do with each earlier image, rising, whose hash is within distance of that
// of image i, until do says that it is enough.
func (h hashes) near(i, distance int, do func(j int) (enough bool)) {
	for j, hash := range h[:i] {
		if bits.OnesCount64(hash^h[i]) <= distance && do(j) {
			return
		}
	}
}
