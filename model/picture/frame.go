package picture

import "image"

// Pad scales the whole picture to fit into side by side pixels and lays it in the
// middle of its mean colour. Planar, as Square's.
func Pad(img *image.RGBA, side int) []uint8 {
	w, h := img.Rect.Dx(), img.Rect.Dy()
	long := max(w, h)
	width, height := max((w*side+long/2)/long, 1), max((h*side+long/2)/long, 1)
	small := Resize(img, width, height)
	var sums [3]int
	for i, v := range small.Pix {
		if c := i % 4; c < 3 {
			sums[c] += int(v)
		}
	}
	out := make([]uint8, 3*side*side)
	left, top := (side-width)/2, (side-height)/2
	for c := range 3 {
		plane, mean := out[c*side*side:(c+1)*side*side], uint8(sums[c]/(width*height))
		for i := range plane {
			plane[i] = mean
		}
		for y := range height {
			for x := range width {
				plane[(top+y)*side+left+x] = small.Pix[y*small.Stride+4*x+c]
			}
		}
	}
	return out
}

// Stretch scales the whole picture to side by side pixels, whatever its shape. Planar,
// as Square's.
func Stretch(img *image.RGBA, side int) []uint8 { return Square(Resize(img, side, side), side) }

// Tiling divides a picture into squares of Tile pixels, or of its shorter side where
// that is less or Tile is 0, Stride pixels apart, or Tile where Stride is 0. The last
// ones end at the border, so that nothing is left out.
type Tiling struct{ Tile, Stride int }

// side is the tiles' in a picture of w by h pixels.
func (t Tiling) side(w, h int) int {
	if t.Tile > 0 {
		return min(t.Tile, w, h)
	}
	return min(w, h)
}

// along is the number of tiles in a line of n pixels.
func (t Tiling) along(n, side int) int { return (n-side+t.stride(side)-1)/t.stride(side) + 1 }

func (t Tiling) stride(side int) int {
	if t.Stride > 0 {
		return t.Stride
	}
	return side
}

// Count is the number of tiles of a picture of w by h pixels; the same when it lies on
// its side.
func (t Tiling) Count(w, h int) int {
	side := t.side(w, h)
	return t.along(w, side) * t.along(h, side)
}

// Square is tile k, counted in rows, resized as the function Square does.
func (t Tiling) Square(img *image.RGBA, k, size int) []uint8 {
	w, h := img.Rect.Dx(), img.Rect.Dy()
	side := t.side(w, h)
	columns := t.along(w, side)
	left, top := min(k%columns*t.stride(side), w-side), min(k/columns*t.stride(side), h-side)
	return Square(img.SubImage(image.Rect(left, top, left+side, top+side).Add(img.Rect.Min)).(*image.RGBA), size)
}
