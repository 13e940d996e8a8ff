package model

import (
	"slices"

	"github.com/defectforge/defectforge/model/spec"
)

// ToFloat maps grey levels to [-1,1]: dst = src/127.5 - 1. Lengths are equal.
func ToFloat(dst []float32, src []uint8) {
	if len(dst) != len(src) {
		panic("model: lengths differ")
	}
	for i, v := range src {
		dst[i] = float32(v)/127.5 - 1
	}
}

// ToUint8 is ToFloat's inverse, rounded to the nearest grey level and clamped;
// NaN gives 0. Lengths are equal.
func ToUint8(dst []uint8, src []float32) {
	if len(dst) != len(src) {
		panic("model: lengths differ")
	}
	for i, v := range src {
		x := (v+1)*127.5 + 0.5
		switch {
		case x >= 255:
			dst[i] = 255
		case x > 0:
			dst[i] = uint8(x)
		default:
			dst[i] = 0
		}
	}
}

// FromRGB turns images (n,3,s,s), with s the model's side, into what Step takes:
// with one channel, that is their luminance, rounded to a grey level. It appends to
// dst.
func FromRGB(dst []float32, images []uint8, m spec.Model) []float32 {
	if m.ImageChannels() == spec.Channels {
		dst = slices.Grow(dst, len(images))[:len(dst)+len(images)]
		ToFloat(dst[len(dst)-len(images):], images)
		return dst
	}
	for chw := range slices.Chunk(images, spec.Channels*m.ImageLen()) {
		r, g, b := chw[:m.ImageLen()], chw[m.ImageLen():2*m.ImageLen()], chw[2*m.ImageLen():]
		for i := range r {
			dst = append(dst, float32(luminance(r[i], g[i], b[i]))/127.5-1)
		}
	}
	return dst
}

// luminance is that of ITU-R BT.601, whose weights add up to one: grey stays as it
// is.
func luminance(r, g, b uint8) uint8 {
	return uint8((299*int(r) + 587*int(g) + 114*int(b) + 500) / 1000)
}

// ToRGB gives a sampler's images three channels, equal ones where the model has
// one.
func ToRGB(images []uint8, m spec.Model) []uint8 {
	if m.ImageChannels() == spec.Channels {
		return images
	}
	out := make([]uint8, 0, spec.Channels*len(images))
	for plane := range slices.Chunk(images, m.ImageLen()) {
		for range spec.Channels {
			out = append(out, plane...)
		}
	}
	return out
}
