package picture

import (
	"image"
	"math"
)

// Square crops img to the square in its middle and resizes that to side by
// side pixels. The result is planar, channels R, G, B, each side*side bytes in
// rows (CHW). It equals what Pillow makes of the same pixels with
// crop and resize((side, side), BILINEAR).
//
// The middle is torchvision's CenterCrop: an odd margin of 2k+1 pixels gives
// the even one of k and k+1 to the left or top.
func Square(img *image.RGBA, side int) []uint8 {
	w, h := img.Rect.Dx(), img.Rect.Dy()
	s := min(w, h)
	left, top := margin(w-s), margin(h-s)
	crop := img.SubImage(image.Rect(left, top, left+s, top+s).Add(img.Rect.Min)).(*image.RGBA)
	resized := Resize(crop, side, side)
	out := make([]uint8, 3*side*side)
	for i := range side * side {
		out[i] = resized.Pix[4*i]
		out[i+side*side] = resized.Pix[4*i+1]
		out[i+2*side*side] = resized.Pix[4*i+2]
	}
	return out
}

// margin is half of d, rounded to the nearest whole number, halves to even.
func margin(d int) int { return int(math.RoundToEven(float64(d) / 2)) }

// Resize scales an opaque image to w by h pixels with an antialiased bilinear
// filter: a triangle as wide as the scale, applied to rows and then to columns
// in 8-bit fixed point. It is Pillow's arithmetic, bit for bit.
func Resize(img *image.RGBA, w, h int) *image.RGBA {
	if img.Rect.Dx() != w {
		img = resample(img, w, img.Rect.Dy(), weights(img.Rect.Dx(), w), true)
	}
	if img.Rect.Dy() != h {
		img = resample(img, w, h, weights(img.Rect.Dy(), h), false)
	}
	if img.Rect.Min != (image.Point{}) || img.Stride != 4*w {
		img = resample(img, w, h, weights(w, w), true) // weights of 1: a copy
	}
	return img
}

// precision is the number of fraction bits of a weight: 32 less the 8 of a
// sample and 2 of headroom.
const precision = 32 - 8 - 2

// tap is what makes one output sample: weights of the inputs from first on.
type tap struct {
	first   int
	weights []int32
}

// weights computes the taps that scale a line of in samples to out samples.
// Products are rounded before they are added (the conversions see to it), so
// that every processor computes the same.
func weights(in, out int) []tap {
	scale := float64(in) / float64(out)
	support := max(scale, 1)
	taps := make([]tap, out)
	for i := range taps {
		center := float64((float64(i) + 0.5) * scale)
		first := max(int(center-support+0.5), 0)
		end := min(int(center+support+0.5), in)
		raw := make([]float64, end-first)
		sum := 0.0
		for j := range raw {
			x := (float64(j+first) - center + 0.5) * float64(1/support)
			raw[j] = max(1-math.Abs(x), 0)
			sum += raw[j]
		}
		fixed := make([]int32, len(raw))
		for j, v := range raw {
			if sum != 0 {
				v /= sum
			}
			fixed[j] = int32(0.5 + float64(v*(1<<precision)))
		}
		taps[i] = tap{first, fixed}
	}
	return taps
}

// resample applies taps along rows or columns, giving an image of w by h.
func resample(img *image.RGBA, w, h int, taps []tap, alongRow bool) *image.RGBA {
	dst := image.NewRGBA(image.Rect(0, 0, w, h))
	step := img.Stride
	if alongRow {
		step = 4
	}
	for y := range h {
		for x := range w {
			var t tap
			var at int
			if alongRow {
				t = taps[x]
				at = y*img.Stride + 4*t.first
			} else {
				t = taps[y]
				at = t.first*img.Stride + 4*x
			}
			const half = 1 << (precision - 1)
			r, g, b := int32(half), int32(half), int32(half)
			for _, k := range t.weights {
				p := img.Pix[at : at+3 : at+3]
				r += int32(p[0]) * k
				g += int32(p[1]) * k
				b += int32(p[2]) * k
				at += step
			}
			d := dst.Pix[dst.PixOffset(x, y):][:4:4]
			d[0], d[1], d[2], d[3] = clip(r), clip(g), clip(b), 255
		}
	}
	return dst
}

func clip(v int32) uint8 { return uint8(min(max(v>>precision, 0), 255)) }

// Luminance is the grey picture of a planar one: ITU-R 601 luma, rounded down.
func Luminance(chw []uint8) []uint8 {
	n := len(chw) / 3
	out := make([]uint8, n)
	for i := range out {
		out[i] = uint8((299*int(chw[i]) + 587*int(chw[n+i]) + 114*int(chw[2*n+i])) / 1000)
	}
	return out
}
