// Package picture turns image files into pixels and pixels into image files:
// decoding with limits, the way to 128x128, contact sheets and a drawn data set
// for demonstrations. It reads and writes bytes only.
package picture

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/jpeg"
	"image/png"
	"io"
)

// Why an image can't be used. Each error that Decode and Inspect return wraps
// one of these, and its text is short enough to be shown as the reason.
var (
	ErrEmpty         = errors.New("empty file")
	ErrNotImage      = errors.New("not an image")
	ErrUnsupported   = errors.New("unsupported image")
	ErrTooManyBytes  = errors.New("too many bytes")
	ErrTooManyPixels = errors.New("too many pixels")
	ErrTooSmall      = errors.New("too small")
	ErrTruncated     = errors.New("truncated image")
	ErrDamaged       = errors.New("damaged image")
)

// Limits bounds what is decoded at all; zero means no limit.
type Limits struct {
	MaxBytes  int64 // of the file
	MaxPixels int64 // width times height, as the header states them
	MinSide   int   // width and height, each
	// Levels is the sample of an image of 16 bits that becomes white, or OwnLevels. 0
	// is 65535: the upper 8 bits are kept.
	Levels int
}

// Info is what an image's header says.
type Info struct {
	Format        string // "png", "jpeg", "bmp", "tiff", "webp" or "gif"
	Width, Height int    // as stored, before orientation is applied
	Orientation   int    // EXIF orientation, 1 to 8; 1 where none is stated
	// MorePages is how many pages of a TIFF, or frames of an animation, follow the
	// one that is decoded: the first, in a TIFF the first at full resolution.
	MorePages int
	// Transparent says that the opacity is zero everywhere. It means nothing then,
	// and the colours below it are the picture. Only Decode finds it.
	Transparent bool
	// Peak is the largest sample of an image of more than 8 bits, out of 65535; 0 for
	// others. Only Decode finds it.
	Peak int
}

// maxScans bounds the scans of a progressive JPEG: each walks over the whole
// picture, so that a small file with many of them keeps a decoder busy for
// hours. Encoders write about ten.
const maxScans = 200

// codec reads one format. config completes info from the header; decode gives the
// picture and the point of it that falls on the corner of what is shown.
type codec struct {
	config func(data []byte, info *Info) error
	decode func(data []byte) (img image.Image, at image.Point, err error)
}

var codecs = map[string]codec{
	"png":  {configPNG, cornered(decodePNGFile)},
	"jpeg": {configJPEG, cornered(decodeJPEG)},
	"gif":  {configGIF, decodeGIF},
	"bmp":  {configBMP, cornered(decodeBMP)},
	"tiff": {configTIFF, cornered(decodeTIFF)},
	"webp": {configWebP, decodeWebP},
}

// cornered is for formats whose pictures begin at the corner.
func cornered(decode func([]byte) (image.Image, error)) func([]byte) (image.Image, image.Point, error) {
	return func(data []byte) (image.Image, image.Point, error) {
		img, err := decode(data)
		return img, image.Point{}, err
	}
}

// Inspect reads the header and checks it against the limits, without decoding
// pixels.
func Inspect(data []byte, limits Limits) (info Info, err error) {
	defer guard(&err)
	if len(data) == 0 {
		return Info{}, ErrEmpty
	}
	if limits.MaxBytes > 0 && int64(len(data)) > limits.MaxBytes {
		return Info{}, fmt.Errorf("%w: %d exceeds %d", ErrTooManyBytes, len(data), limits.MaxBytes)
	}
	format := sniff(data)
	c, known := codecs[format]
	if !known {
		if other := otherFormat(data); other != "" {
			return Info{}, fmt.Errorf("%w: %s; convert it to PNG or JPEG", ErrUnsupported, other)
		}
		return Info{}, ErrNotImage
	}
	info = Info{Format: format, Orientation: 1}
	if err := c.config(data, &info); err != nil {
		return info, err
	}
	if info.Width <= 0 || info.Height <= 0 {
		return info, fmt.Errorf("%w: no pixels", ErrDamaged)
	}
	if limits.MaxPixels > 0 && int64(info.Width) > limits.MaxPixels/int64(info.Height) {
		return info, fmt.Errorf("%w: %dx%d exceeds %d", ErrTooManyPixels, info.Width, info.Height, limits.MaxPixels)
	}
	if info.Width < limits.MinSide || info.Height < limits.MinSide {
		return info, fmt.Errorf("%w: %dx%d, less than %d on a side", ErrTooSmall, info.Width, info.Height, limits.MinSide)
	}
	return info, nil
}

// Decode reads an image file: PNG, JPEG, BMP, TIFF, WebP or GIF. Of several pages
// or frames the first is taken, as Info.MorePages says. The result is opaque,
// 8 bits per channel, upright (its EXIF orientation applied) and begins at (0,0).
// Grey becomes three equal channels. Samples with more bits are scaled by
// limits.Levels. Transparency is laid over white, as viewers
// show it, unless nothing at all would be seen (Info.Transparent). CMYK is
// converted by Go's plain formula, without colour profiles.
//
// What is missing behind the last pixel is overlooked: the end marker of a JPEG or
// a PNG, the end code of an LZW stream. Missing pixels are not.
//
// Nothing is decoded that is beyond the limits, and no input makes it panic.
func Decode(data []byte, limits Limits) (img *image.RGBA, info Info, err error) {
	defer guard(&err)
	info, err = Inspect(data, limits)
	if err != nil {
		return nil, info, err
	}
	src, at, err := codecs[info.Format].decode(data)
	if err != nil {
		return nil, info, err
	}
	part := src.Bounds().Sub(at)
	if whole := image.Rect(0, 0, info.Width, info.Height); part != whole && (!shownInParts[info.Format] || !part.In(whole)) {
		return nil, info, fmt.Errorf("%w: %v pixels under a header of %dx%d", ErrDamaged,
			src.Bounds().Size(), info.Width, info.Height)
	}
	if info.Transparent = transparent(src); info.Transparent {
		src = opaqueOf(src)
	}
	info.Peak = deepen(src, limits.Levels)
	return upright(flatten(src, at, info.Width, info.Height), info.Orientation), info, nil
}

// flatten draws src over white; at is the point of src that falls on (0,0).
func flatten(src image.Image, at image.Point, w, h int) *image.RGBA {
	if rgba, ok := src.(*image.RGBA); ok && at == rgba.Rect.Min && at == (image.Point{}) && rgba.Opaque() {
		return rgba
	}
	dst := image.NewRGBA(image.Rect(0, 0, w, h))
	op := draw.Src
	if o, ok := src.(interface{ Opaque() bool }); !ok || !o.Opaque() || src.Bounds() != dst.Rect.Add(at) {
		draw.Draw(dst, dst.Rect, image.NewUniform(color.White), image.Point{}, draw.Src)
		op = draw.Over
	}
	draw.Draw(dst, src.Bounds().Sub(at), src, src.Bounds().Min, op)
	return dst
}

// reader notes whether more was asked for than there is.
type reader struct {
	*bytes.Reader
	short bool
}

func (r *reader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	r.short = r.short || n == 0 && err != nil
	return n, err
}

func (r *reader) ReadAt(p []byte, at int64) (int, error) {
	n, err := r.Reader.ReadAt(p, at)
	r.short = r.short || n < len(p)
	return n, err
}

// explain turns a decoder's error into one of this package's.
func (r *reader) explain(err error) error {
	var (
		unsupportedJPEG jpeg.UnsupportedError
		unsupportedPNG  png.UnsupportedError
	)
	switch {
	case r.short, errors.Is(err, io.ErrUnexpectedEOF):
		return ErrTruncated
	case errors.As(err, &unsupportedJPEG), errors.As(err, &unsupportedPNG):
		return fmt.Errorf("%w: %v", ErrUnsupported, err)
	}
	return fmt.Errorf("%w: %v", ErrDamaged, err)
}

// guard turns a decoder's panic into an error: a file must not stop a run.
func guard(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("%w: %v", ErrDamaged, p)
	}
}
