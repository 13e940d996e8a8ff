package picture

import (
	"bytes"
	"fmt"
	"image"
	"image/draw"
	"image/jpeg"
	"image/png"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// formula is the picture that testdata/make.py draws.
func formula(w, h int) *image.RGBA {
	img := image.NewRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			p := img.Pix[img.PixOffset(x, y):]
			for c := range 3 {
				p[c] = uint8((x*x*(c+3)+y*y*5+x*y*(7-c))/(11+4*c) + (x/9)*31*(c+1))
			}
			p[3] = 255
		}
	}
	return img
}

func TestSquareEqualsPillow(t *testing.T) {
	for _, size := range [][2]int{{200, 200}, {37, 91}, {500, 333}, {128, 128}, {16, 16}, {131, 128}, {257, 300}, {1, 1}, {1000, 129}} {
		name := fmt.Sprintf("square_%dx%d.png", size[0], size[1])
		f, err := os.Open("testdata/" + name)
		require.NoError(t, err)
		want, err := png.Decode(f)
		require.NoError(t, err)
		f.Close()
		got := Square(formula(size[0], size[1]), 128)
		require.Len(t, got, 3*128*128)
		differ := 0
		for i := range 128 * 128 {
			r, g, b, _ := want.At(i%128, i/128).RGBA()
			for c, v := range []uint32{r, g, b} {
				if uint8(v>>8) != got[c*128*128+i] {
					differ++
				}
			}
		}
		require.Zero(t, differ, "%s: samples that differ from Pillow's", name)
	}
}

func TestSquareOfASubImage(t *testing.T) {
	whole := formula(90, 80)
	part := whole.SubImage(image.Rect(10, 5, 74, 69)).(*image.RGBA)
	alone := image.NewRGBA(image.Rect(0, 0, 64, 64))
	for y := range 64 {
		for x := range 64 {
			alone.Set(x, y, whole.At(x+10, y+5))
		}
	}
	require.Equal(t, Square(alone, 64), Square(part, 64))
	require.Equal(t, Square(alone, 32), Square(part, 32))
}

func TestResizeKeepsFlatColour(t *testing.T) {
	img := image.NewRGBA(image.Rect(0, 0, 333, 77))
	for i := range img.Pix {
		img.Pix[i] = []uint8{17, 255, 0, 255}[i%4]
	}
	got := Resize(img, 100, 200)
	for i := range got.Pix {
		require.Equal(t, []uint8{17, 255, 0, 255}[i%4], got.Pix[i])
	}
}

// A grey picture stays grey through lossy compression; a cast or a mark in colour that
// a person sees does not.
func TestGrey(t *testing.T) {
	metal := BrushedMetal(3, 0)
	rgb := image.NewRGBA(metal.Rect)
	draw.Draw(rgb, rgb.Rect, metal, image.Point{}, draw.Src)
	require.True(t, Grey(Square(rgb, 128)))
	for _, quality := range []int{40, 60, 90} {
		var b bytes.Buffer
		require.NoError(t, jpeg.Encode(&b, rgb, &jpeg.Options{Quality: quality}))
		img, _, err := Decode(b.Bytes(), Limits{})
		require.NoError(t, err)
		require.True(t, Grey(Square(img, 128)), "JPEG at quality %d", quality)
	}
	changed := func(change func(x, y int, p []uint8)) []uint8 {
		img := image.NewRGBA(rgb.Rect)
		copy(img.Pix, rgb.Pix)
		for y := range img.Rect.Dy() {
			for x := range img.Rect.Dx() {
				change(x, y, img.Pix[img.PixOffset(x, y):])
			}
		}
		return Square(img, 128)
	}
	require.True(t, Grey(changed(func(_, _ int, p []uint8) { p[0] = max(p[0], 1) - 1 })), "one level is rounding")
	require.False(t, Grey(changed(func(_, _ int, p []uint8) { p[2] = max(p[2], 4) - 4 })), "a warm cast")
	side := rgb.Rect.Dx() / 16
	require.False(t, Grey(changed(func(x, y int, p []uint8) {
		if x/side == 5 && y/side == 9 {
			p[0], p[1], p[2] = 200, 40, 40
		}
	})), "a red mark of a sixteenth of the side")
}
