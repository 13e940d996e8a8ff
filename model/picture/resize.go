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
	var out []uint8
	planes := split(crop)
	taps := weights(s, side)
	for _, p := range planes {
		out = append(out, p.resize(side, side, taps, taps)...)
	}
	for range 3 - len(planes) {
		out = append(out, out[:side*side]...)
	}
	return out
}

// margin is half of d, rounded to the nearest whole number, halves to even.
func margin(d int) int { return int(math.RoundToEven(float64(d) / 2)) }

// Resize scales an opaque image to w by h pixels with an antialiased bilinear
// filter: a triangle as wide as the scale, applied to rows and then to columns
// in 8-bit fixed point. It is Pillow's arithmetic, bit for bit.
func Resize(img *image.RGBA, w, h int) *image.RGBA {
	dst := image.NewRGBA(image.Rect(0, 0, w, h))
	planes := split(img)
	across, down := weights(img.Rect.Dx(), w), weights(img.Rect.Dy(), h)
	for i := range dst.Pix {
		dst.Pix[i] = 255
	}
	for c, p := range planes {
		for i, v := range p.resize(w, h, across, down) {
			dst.Pix[4*i+c] = v
			if len(planes) == 1 {
				dst.Pix[4*i+1], dst.Pix[4*i+2] = v, v
			}
		}
	}
	return dst
}

// plane is one channel of an image, in rows.
type plane struct {
	w, h int
	pix  []uint8
}

// split gives an image's channels R, G and B, or one for all of them where they
// are equal, as in grey images.
func split(img *image.RGBA) []plane {
	w, h := img.Rect.Dx(), img.Rect.Dy()
	pix := make([]uint8, 3*w*h)
	r, g, b := pix[:w*h:w*h], pix[w*h:2*w*h:2*w*h], pix[2*w*h:]
	grey := true
	for y := range h {
		row, at := img.Pix[y*img.Stride:][:4*w], y*w
		for x := range w {
			p := row[4*x : 4*x+3 : 4*x+3]
			r[at+x], g[at+x], b[at+x] = p[0], p[1], p[2]
			grey = grey && p[0] == p[1] && p[1] == p[2]
		}
	}
	if grey {
		return []plane{{w, h, r}}
	}
	return []plane{{w, h, r}, {w, h, g}, {w, h, b}}
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

// resize applies the taps of rows, then those of columns, giving w by h samples.
// An axis that keeps its length is left as it is.
func (p plane) resize(w, h int, across, down []tap) []uint8 {
	if p.w != w {
		p = p.alongRows(across)
	}
	if p.h != h {
		p = p.alongColumns(down)
	}
	return p.pix
}

// half rounds a sum of weighted samples to the nearest.
const half = 1 << (precision - 1)

func (p plane) alongRows(taps []tap) plane {
	out := plane{len(taps), p.h, make([]uint8, len(taps)*p.h)}
	for y := range p.h {
		row, to := p.pix[y*p.w:][:p.w], out.pix[y*out.w:][:len(taps)]
		for x, t := range taps {
			sum := int32(half)
			in := row[t.first:][:len(t.weights)]
			for i, k := range t.weights {
				sum += int32(in[i]) * k
			}
			to[x] = clip(sum)
		}
	}
	return out
}

func (p plane) alongColumns(taps []tap) plane {
	out := plane{p.w, len(taps), make([]uint8, p.w*len(taps))}
	sums := make([]int32, p.w)
	for y, t := range taps {
		for x := range sums {
			sums[x] = half
		}
		for i, k := range t.weights {
			for x, v := range p.pix[(t.first+i)*p.w:][:p.w] {
				sums[x] += int32(v) * k
			}
		}
		for x, sum := range sums {
			out.pix[y*p.w+x] = clip(sum)
		}
	}
	return out
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

// What lossy compression may leave of colour in a grey picture, in grey levels
// between a pixel's largest and smallest channel: on average, and in all but a
// thousandth of the pixels.
const (
	greyMean   = 1.5
	greyMost   = 6
	greyBeyond = 1000
)

// Grey reports whether a planar picture (3,h,w) has no colour beyond what compression
// leaves in a grey one.
func Grey(chw []uint8) bool {
	n := len(chw) / 3
	sum, beyond := 0, 0
	for i := range n {
		r, g, b := chw[i], chw[n+i], chw[2*n+i]
		d := int(max(r, g, b)) - int(min(r, g, b))
		sum += d
		if d > greyMost {
			beyond++
		}
	}
	return float64(sum) <= greyMean*float64(n) && greyBeyond*beyond <= n
}
