package activities

import (
	"image"
	"math"
	"math/bits"
	"slices"

	"github.com/defectforge/defectforge/model/spec"
)

const (
	// cellGrid is the side of the grid of cells over a whole picture.
	cellGrid = 64
	// maxVerified is of how many images cells are kept, 8 KiB each; of further ones
	// perceptual hashes alone decide.
	maxVerified = 20_000
	// cellPixels is the least side of a cell in either of two pictures, in pixels:
	// resampling moves light by about one.
	cellPixels = 8
)

// cells are a picture's mean luminances in a grid, taken from every pixel: a defect of
// few pixels moves the mean of its cell, which perceptual hashes don't see.
type cells struct {
	w, h  int
	means []float32 // (cellGrid, cellGrid), in grey levels
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
	out := &cells{w: w, h: h, means: make([]float32, len(sums))}
	for i, sum := range sums {
		out.means[i] = float32(sum * cellGrid * cellGrid / (float64(w) * float64(h)))
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

// at are the means of a coarser grid.
func (c *cells) at(grid int) []float64 {
	out, per := make([]float64, grid*grid), cellGrid/grid
	for i, mean := range c.means {
		out[i/cellGrid/per*grid+i%cellGrid/per] += float64(mean) / float64(per*per)
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
	left := make([]float64, len(x))
	copy(left, y)
	weights := slices.Repeat([]float64{1}, len(x))
	spread := 0.0
	for range 3 { // what stands out is left out of the next fit
		offset, gain := fitLine(x, y, weights)
		if gain < 0.5 || gain > 2 {
			return otherScene
		}
		for i := range x {
			left[i] = math.Abs(y[i] - offset - gain*x[i])
		}
		spread = 1.4826 * median(left)
		for i, v := range left {
			weights[i] = 1
			if v > 3*spread {
				weights[i] = 0
			}
		}
	}
	switch {
	case spread > sceneSpread:
		return otherScene
	case slices.Max(left) > max(outstandingLeast, outstanding*spread):
		return sameScene
	}
	return samePicture
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
	sorted := slices.Sorted(slices.Values(values))
	return (sorted[(len(sorted)-1)/2] + sorted[len(sorted)/2]) / 2
}

// alike reports whether the perceptual hashes of two images are within distance.
func (f *scanned) alike(o *scanned, distance int) bool {
	return bits.OnesCount64(f.hash^o.hash) <= distance
}

// verdict is what the cells of two images say. Where they are not kept, or the recipe
// is one of before there were any, hashes are all there is to go by, so that the hash's
// word is taken: samePicture.
func (f *scanned) verdict(o *scanned, duplicates string) resemblance {
	if duplicates == "" || f.cells == nil || o.cells == nil {
		return samePicture
	}
	return f.cells.compare(o.cells)
}

// nearDuplicate reports whether o is to be left out for the sake of f.
func (f *scanned) nearDuplicate(o *scanned, in spec.Ingest) bool {
	switch in.Duplicates {
	case spec.DuplicatesExact, spec.DuplicatesOff:
		return false
	}
	return f.alike(o, in.DuplicateDistance) && f.verdict(o, in.Duplicates) == samePicture
}
