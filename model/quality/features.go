package quality

import (
	"context"
	"math"

	"gonum.org/v1/gonum/mat"

	"github.com/defectforge/defectforge/model/spec"
)

// Feature spaces in which sets of images are compared. Neither needs anything
// downloaded, and each sees what the other is blind to: PixelSpace where light
// and dark lie, TextureFeatures what the surface is like wherever it lies.

const (
	// pixelSide is the side of the down-sampled pictures of PixelSpace.
	pixelSide = 32
	pixelLen  = pixelSide * pixelSide
	// maxFitted bounds the images that a PixelSpace is fitted on.
	maxFitted = 400
)

// PixelSpace is the principal components of down-sampled grey pictures.
type PixelSpace struct {
	mean       []float64   // of pixelLen pixels
	components [][]float64 // orthonormal, by falling variance
	scale      float64
}

// FitPixels finds the first dims principal components of the reference images,
// uint8 (n,3,128,128), as luminance of 32x32 pixels. Of more than 400 images it
// takes 400 evenly spaced ones. Fewer components come of fewer images. It panics
// where reference is no whole number of images or dims is below 1.
func FitPixels(reference []uint8, dims int) *PixelSpace {
	if dims < 1 {
		panic("quality: dims below 1")
	}
	all := countImages(reference)
	n := min(all, maxFitted)
	rows := make([][]float64, n)
	s := &PixelSpace{mean: make([]float64, pixelLen), scale: 1}
	for i := range rows {
		rows[i] = smallGrey(pixelsOf(reference, i*all/n))
		for j, v := range rows[i] {
			s.mean[j] += v / float64(n)
		}
	}
	for _, row := range rows {
		for j := range row {
			row[j] -= s.mean[j]
		}
	}
	s.fit(rows, dims)
	return s
}

// fit takes the components from the n x n matrix of inner products of the
// centred rows: its eigenvectors u give the components X'u/sqrt(lambda), which
// is cheaper than the covariance of the pixels while images are few.
func (s *PixelSpace) fit(rows [][]float64, dims int) {
	n := len(rows)
	if n < 2 {
		return
	}
	gram := mat.NewSymDense(n, nil)
	for i := range n {
		for j := i; j < n; j++ {
			gram.SetSym(i, j, dot(rows[i], rows[j]))
		}
	}
	var eigen mat.EigenSym
	if !eigen.Factorize(gram, true) {
		return // of finite numbers it always converges
	}
	values := eigen.Values(nil) // rising
	var vectors mat.Dense
	eigen.VectorsTo(&vectors)
	variance := 0.0
	for k := n - 1; k >= 0 && len(s.components) < dims; k-- {
		if values[k] <= 1e-9*values[n-1] || values[k] <= 0 {
			break
		}
		component := make([]float64, pixelLen)
		for i, row := range rows {
			u := vectors.At(i, k) / math.Sqrt(values[k])
			for j, v := range row {
				component[j] += u * v
			}
		}
		s.components = append(s.components, component)
		variance += values[k] / float64(n)
	}
	if len(s.components) > 0 {
		s.scale = math.Sqrt(float64(len(s.components)) / variance)
	}
}

// Features are the images' coordinates, one row each, scaled by one factor so
// that the reference images' mean square is one over all coordinates. images is
// uint8 (n,3,128,128); other lengths panic.
func (s *PixelSpace) Features(images []uint8) [][]float64 {
	out := make([][]float64, countImages(images))
	_ = each(context.Background(), len(out), func(i int) { // nothing ends it
		grey := smallGrey(pixelsOf(images, i))
		for j := range grey {
			grey[j] -= s.mean[j]
		}
		out[i] = make([]float64, len(s.components))
		for k, c := range s.components {
			out[i][k] = s.scale * dot(grey, c)
		}
	})
	return out
}

// smallGrey is the luminance averaged over squares of 4x4 pixels.
func smallGrey(chw []uint8) []float64 {
	const side = spec.Size / pixelSide
	full := grey(chw)
	out := make([]float64, pixelLen)
	for i, v := range full {
		y, x := i/spec.Size, i%spec.Size
		out[y/side*pixelSide+x/side] += v / (side * side)
	}
	return out
}

// grey is the luminance of one image (3,128,128) after ITU-R BT.601, 0 to 255.
func grey(chw []uint8) []float64 {
	out := make([]float64, PlaneLen)
	for i := range out {
		r, g, b := float64(chw[i]), float64(chw[PlaneLen+i]), float64(chw[2*PlaneLen+i])
		out[i] = 0.299*r + 0.587*g + 0.114*b
	}
	return out
}

func countImages(images []uint8) int {
	if len(images)%spec.ImageLen != 0 {
		panic("quality: not a whole number of images")
	}
	return len(images) / spec.ImageLen
}

func pixelsOf(images []uint8, i int) []uint8 {
	return images[i*spec.ImageLen : (i+1)*spec.ImageLen]
}

func dot(a, b []float64) float64 {
	sum := 0.0
	for i, v := range a {
		sum += v * b[i]
	}
	return sum
}
