package quality

import (
	"bytes"
	"image"
	"image/jpeg"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/defectforge/defectforge/model/picture"
	"github.com/defectforge/defectforge/model/spec"
)

// control is a change to real images that stand for generated ones. What nobody
// sees must be let through, what everybody sees must not; the rest is shown.
type control struct {
	name string
	kind string // harmless, shown or bad
	make func(r *rand.Rand, real thirds, other realSet) []uint8
}

const (
	harmless = "must pass"
	shown    = "shown"
	bad      = "must fail"
)

// controls are all changes, harmless ones first.
func controls() []control {
	return slices.Concat([]control{
		changed("nothing", harmless, func(_ *rand.Rand, p []float64) []float64 { return p }),
		changed("Gaussian blur, sigma 0.5", harmless, smoothed(0.5)),
		changed("unsharp mask, half of what sigma 1 takes", harmless, func(_ *rand.Rand, p []float64) []float64 {
			soft := smoothed(1)(nil, p)
			return pointwise(p, func(i int, v float64) float64 { return v + 0.5*(v-soft[i]) })
		}),
		changed("JPEG, quality 60", harmless, compressed(60)),
		changed("JPEG, quality 85", harmless, compressed(85)),
		changed("noise, sigma 1", harmless, grainy(1)),
		changed("noise, sigma 2", harmless, grainy(2)),
		changed("noise, sigma 3", harmless, grainy(3)),
		changed("half of them 2 levels brighter, half darker", harmless, func(r *rand.Rand, p []float64) []float64 {
			by := float64(4*r.IntN(2) - 2)
			return pointwise(p, func(_ int, v float64) float64 { return v + by })
		}),
		changed("gamma 1.05", harmless, func(_ *rand.Rand, p []float64) []float64 {
			return pointwise(p, func(_ int, v float64) float64 { return 255 * math.Pow(v/255, 1.05) })
		}),
		changed("shifted by half a pixel", harmless, func(_ *rand.Rand, p []float64) []float64 { return halfShifted(p) }),
		changed("200 grey levels", harmless, func(_ *rand.Rand, p []float64) []float64 {
			return pointwise(p, func(_ int, v float64) float64 { return math.Round(v*199/255) * 255 / 199 })
		}),
		changed("noise, sigma 4", shown, grainy(4)),
		changed("noise, sigma 8", shown, grainy(8)),
		changed("noise, sigma 16", bad, grainy(16)),
		changed("to 64 pixels and back", bad, func(_ *rand.Rand, p []float64) []float64 { return smallAndBack(p, spec.Size/2) }),
		changed("mean of 5x5", bad, func(_ *rand.Rand, p []float64) []float64 { return toFloats(blurred(toBytes(p))) }),
		changed("Gaussian blur, sigma 1", bad, smoothed(1)),
		changed("Gaussian blur, sigma 1.5", bad, smoothed(1.5)),
		changed("Gaussian blur, sigma 2", bad, smoothed(2)),
	}, grids(), wrong())
}

// grids are what transposed convolutions leave.
func grids() (out []control) {
	for _, g := range []struct {
		name      string
		period    int
		amplitude float64
		kind      string
	}{
		{"grid of 2 pixels, 2 levels", 2, 2, shown},
		{"grid of 2 pixels, 4 levels", 2, 4, shown},
		{"grid of 2 pixels, 8 levels", 2, 8, bad},
		{"grid of 4 pixels, 2 levels", 4, 2, shown},
		{"grid of 4 pixels, 4 levels", 4, 4, shown},
		{"grid of 4 pixels, 8 levels", 4, 8, bad},
	} {
		out = append(out, changed(g.name, g.kind, func(_ *rand.Rand, p []float64) []float64 {
			return pointwise(p, func(i int, v float64) float64 {
				y, x := i/spec.Size%g.period, i%spec.Size%g.period
				if (y < g.period/2) == (x < g.period/2) {
					return v + g.amplitude
				}
				return v - g.amplitude
			})
		}))
	}
	return out
}

// wrong are sets that show something else than the real images.
func wrong() []control {
	return []control{
		changed("enlarged by a half", bad, func(_ *rand.Rand, p []float64) []float64 {
			side := spec.Size * 2 / 3
			from := (spec.Size - side) / 2
			img := asImage(p).SubImage(image.Rect(from, from, from+side, from+side)).(*image.RGBA)
			return firstOf(picture.Resize(img, spec.Size, spec.Size))
		}),
		changed("blocks of 16 pixels shuffled", bad, func(r *rand.Rand, p []float64) []float64 { return shuffled(r, p, 16) }),
		changed("half the contrast", bad, func(_ *rand.Rand, p []float64) []float64 {
			mean := 0.0
			for _, v := range p {
				mean += v / float64(len(p))
			}
			return pointwise(p, func(_ int, v float64) float64 { return mean + (v-mean)/2 })
		}),
		{"six images, ten times each", bad, func(r *rand.Rand, real thirds, _ realSet) []uint8 {
			n := len(real.fresh) / spec.ImageLen
			return manyOf(60, func(i int) []uint8 { return noisy(r, pixelsOf(real.fresh, i%6*n/6), 3) })
		}},
		{"one image, with noise", bad, setCases["collapsed to one image"]},
		{"another class", bad, setCases["another class"]},
		{"pure noise", bad, setCases["pure noise"]},
	}
}

// changed is a control that changes each fresh image's grey levels, all channels
// alike, which are rounded afterwards.
func changed(name, kind string, change func(r *rand.Rand, plane []float64) []float64) control {
	return control{name, kind, func(r *rand.Rand, real thirds, _ realSet) []uint8 {
		return manyOf(len(real.fresh)/spec.ImageLen, func(i int) []uint8 {
			plane := toFloats(pixelsOf(real.fresh, i)[:PlaneLen])
			return slices.Repeat(toBytes(change(r, plane)), spec.Channels)
		})
	}}
}

func pointwise(p []float64, f func(i int, v float64) float64) []float64 {
	out := make([]float64, len(p))
	for i, v := range p {
		out[i] = f(i, v)
	}
	return out
}

func toFloats(p []uint8) []float64 {
	out := make([]float64, len(p))
	for i, v := range p {
		out[i] = float64(v)
	}
	return out
}

func toBytes(p []float64) []uint8 {
	out := make([]uint8, len(p))
	for i, v := range p {
		out[i] = uint8(min(max(math.Round(v), 0), 255))
	}
	return out
}

func grainy(sigma float64) func(*rand.Rand, []float64) []float64 {
	return func(r *rand.Rand, p []float64) []float64 {
		return pointwise(p, func(_ int, v float64) float64 { return v + sigma*r.NormFloat64() })
	}
}

func smoothed(sigma float64) func(*rand.Rand, []float64) []float64 {
	reach := int(math.Ceil(4 * sigma))
	weights, sum := make([]float64, 2*reach+1), 0.0
	for k := range weights {
		d := float64(k-reach) / sigma
		weights[k] = math.Exp(-d * d / 2)
		sum += weights[k]
	}
	for k := range weights {
		weights[k] /= sum
	}
	return func(_ *rand.Rand, p []float64) []float64 { return filtered(p, weights, reach) }
}

// filtered weighs the neighbours along rows and then along columns; weights[k]
// belongs to the neighbour k-left places on.
func filtered(p, weights []float64, left int) []float64 {
	along := func(p []float64, at func(i, k int) int) []float64 {
		return pointwise(p, func(i int, _ float64) float64 {
			sum := 0.0
			for k, w := range weights {
				sum += w * p[at(i, k-left)]
			}
			return sum
		})
	}
	rows := along(p, func(i, k int) int { return i - i%spec.Size + reflect(i%spec.Size+k, spec.Size) })
	return along(rows, func(i, k int) int { return reflect(i/spec.Size+k, spec.Size)*spec.Size + i%spec.Size })
}

// halfShifted takes the picture half a pixel further right and down, by a sinc
// under a Lanczos window of 8 pixels, which keeps it as sharp as it was.
func halfShifted(p []float64) []float64 {
	const lobes = 4
	weights, sum := make([]float64, 2*lobes), 0.0
	for k := range weights {
		x := math.Pi * (float64(k-lobes) + 0.5)
		weights[k] = lobes * math.Sin(x) * math.Sin(x/lobes) / (x * x)
		sum += weights[k]
	}
	for k := range weights {
		weights[k] /= sum
	}
	return filtered(p, weights, lobes)
}

func compressed(quality int) func(*rand.Rand, []float64) []float64 {
	return func(_ *rand.Rand, p []float64) []float64 {
		grey := &image.Gray{Pix: toBytes(p), Stride: spec.Size, Rect: image.Rect(0, 0, spec.Size, spec.Size)}
		var file bytes.Buffer
		if err := jpeg.Encode(&file, grey, &jpeg.Options{Quality: quality}); err != nil {
			panic(err) // a buffer takes everything
		}
		img, err := jpeg.Decode(&file)
		if err != nil {
			panic(err) // the encoder's own file
		}
		return toFloats(img.(*image.Gray).Pix)
	}
}

func asImage(p []float64) *image.RGBA {
	img := image.NewRGBA(image.Rect(0, 0, spec.Size, spec.Size))
	for i, v := range toBytes(p) {
		copy(img.Pix[4*i:], []uint8{v, v, v, 255})
	}
	return img
}

func firstOf(img *image.RGBA) []float64 {
	out := make([]float64, PlaneLen)
	for i := range out {
		out[i] = float64(img.Pix[4*i])
	}
	return out
}

func smallAndBack(p []float64, side int) []float64 {
	return firstOf(picture.Resize(picture.Resize(asImage(p), side, side), spec.Size, spec.Size))
}

// shuffled moves blocks of the picture about.
func shuffled(r *rand.Rand, p []float64, side int) []float64 {
	per := spec.Size / side
	order := r.Perm(per * per)
	return pointwise(p, func(i int, _ float64) float64 {
		y, x := i/spec.Size, i%spec.Size
		from := order[y/side*per+x/side]
		return p[(from/per*side+y%side)*spec.Size+from%per*side+x%side]
	})
}
