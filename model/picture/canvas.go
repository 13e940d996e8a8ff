package picture

import "image"

// The ways in which a canvas lays out its pixels.
const (
	grey = iota
	opaque
	straight      // with opacity
	premultiplied // with opacity, by which the colours are multiplied
	inks          // CMYK
)

// canvas is an image in the making: samples are put into channels, as 16-bit
// numbers whatever is kept of them.
type canvas struct {
	layout        int
	deep          bool // keeps 16 bits, not the upper 8
	width, height int
	channels      int
	pix           []byte // rows from the top, channels interleaved, big endian
}

func newCanvas(width, height, layout int, deep bool) *canvas {
	c := &canvas{layout: layout, deep: deep && layout != inks, width: width, height: height, channels: 4}
	if layout == grey {
		c.channels = 1
	}
	size := width * height * c.channels
	if c.deep {
		size *= 2
	}
	c.pix = make([]byte, size)
	if layout == opaque {
		for i := c.sampleSize() * 3; i < size; i += c.sampleSize() * 4 {
			c.pix[i] = 0xff
			if c.deep {
				c.pix[i+1] = 0xff
			}
		}
	}
	return c
}

func (c *canvas) sampleSize() int {
	if c.deep {
		return 2
	}
	return 1
}

// put sets one channel of a pixel.
func (c *canvas) put(x, y, channel int, v uint16) {
	i := (y*c.width+x)*c.channels + channel
	if c.deep {
		c.pix[2*i], c.pix[2*i+1] = uint8(v>>8), uint8(v)
		return
	}
	c.pix[i] = uint8(v >> 8)
}

// image is the canvas as one of Go's images, with the same memory.
func (c *canvas) image() image.Image {
	area, stride := image.Rect(0, 0, c.width, c.height), c.width*c.channels*c.sampleSize()
	switch {
	case c.layout == grey && c.deep:
		return &image.Gray16{Pix: c.pix, Stride: stride, Rect: area}
	case c.layout == grey:
		return &image.Gray{Pix: c.pix, Stride: stride, Rect: area}
	case c.layout == inks:
		return &image.CMYK{Pix: c.pix, Stride: stride, Rect: area}
	case c.layout == straight && c.deep:
		return &image.NRGBA64{Pix: c.pix, Stride: stride, Rect: area}
	case c.layout == straight:
		return &image.NRGBA{Pix: c.pix, Stride: stride, Rect: area}
	case c.deep:
		return &image.RGBA64{Pix: c.pix, Stride: stride, Rect: area}
	}
	return &image.RGBA{Pix: c.pix, Stride: stride, Rect: area}
}
