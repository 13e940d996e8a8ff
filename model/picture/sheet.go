package picture

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"math"

	"golang.org/x/image/font"
	"golang.org/x/image/font/basicfont"
	"golang.org/x/image/math/fixed"
)

// Layout of sheets, in pixels.
const (
	gap        = 6
	lineHeight = 14
	charWidth  = 7
)

var (
	ink    = color.RGBA{0x22, 0x22, 0x22, 0xff}
	marker = color.RGBA{0xd0, 0x20, 0x20, 0xff}
)

// EncodePNG renders one square planar picture (CHW, three channels) as an RGB
// PNG. Equal pixels give equal bytes.
func EncodePNG(chw []uint8) ([]byte, error) {
	img, err := interleave(chw)
	if err != nil {
		return nil, fmt.Errorf("encode PNG: %w", err)
	}
	return encodePNG(img)
}

// EncodeGreyPNG renders one square plane of grey levels as a grey PNG (mode L).
// Equal pixels give equal bytes.
func EncodeGreyPNG(plane []uint8) ([]byte, error) {
	side := int(math.Round(math.Sqrt(float64(len(plane)))))
	if side == 0 || side*side != len(plane) {
		return nil, fmt.Errorf("encode PNG: %d bytes are no square plane", len(plane))
	}
	return encodePNG(&image.Gray{Pix: plane, Stride: side, Rect: image.Rect(0, 0, side, side)})
}

// Grid lays square planar pictures of one size out in rows of columns, as an
// RGB PNG.
func Grid(images [][]uint8, columns int) ([]byte, error) {
	var rows []SheetRow
	for len(images) > 0 && columns > 0 {
		n := min(columns, len(images))
		row := SheetRow{}
		for _, image := range images[:n] {
			row.Tiles = append(row.Tiles, Tile{Image: image})
		}
		rows, images = append(rows, row), images[n:]
	}
	return ContactSheet(rows)
}

// SheetRow is a row of a contact sheet.
type SheetRow struct {
	Tiles []Tile
}

// Tile is a picture with what is written below it.
type Tile struct {
	Image   []uint8  // square, planar (CHW)
	Caption []string // lines; what does not fit the picture's width is cut
	Marked  bool     // framed in red
}

// ContactSheet lays rows of tiles out as an RGB PNG. All pictures have one
// size. In rows with captions the first tile stands a little apart from the
// others, which are there to be compared with it.
func ContactSheet(rows []SheetRow) ([]byte, error) {
	if len(rows) == 0 || len(rows[0].Tiles) == 0 {
		return nil, errors.New("draw contact sheet: no pictures")
	}
	first, err := interleave(rows[0].Tiles[0].Image)
	if err != nil {
		return nil, fmt.Errorf("draw contact sheet: %w", err)
	}
	side := first.Rect.Dx()
	width, height := 0, gap
	for _, row := range rows {
		width = max(width, left(row, len(row.Tiles), side))
		height += rowHeight(row, side)
	}
	sheet := image.NewRGBA(image.Rect(0, 0, width, height))
	draw.Draw(sheet, sheet.Rect, image.White, image.Point{}, draw.Src)
	top := gap
	for _, row := range rows {
		for i, tile := range row.Tiles {
			if err := tile.draw(sheet, image.Pt(left(row, i, side), top), side); err != nil {
				return nil, fmt.Errorf("draw contact sheet: %w", err)
			}
		}
		top += rowHeight(row, side)
	}
	return encodePNG(sheet)
}

func captioned(row SheetRow) (lines int) {
	for _, t := range row.Tiles {
		lines = max(lines, len(t.Caption))
	}
	return lines
}

func rowHeight(row SheetRow, side int) int {
	return side + gap + captioned(row)*lineHeight
}

// left is where tile i begins.
func left(row SheetRow, i, side int) int {
	x := gap + i*(side+gap)
	if i > 0 && captioned(row) > 0 {
		x += 2 * gap
	}
	return x
}

func (t Tile) draw(sheet *image.RGBA, at image.Point, side int) error {
	img, err := interleave(t.Image)
	if err != nil {
		return err
	}
	if img.Rect.Dx() != side {
		return fmt.Errorf("a picture of %d pixels among ones of %d", img.Rect.Dx(), side)
	}
	area := image.Rectangle{at, at.Add(image.Pt(side, side))}
	if t.Marked {
		draw.Draw(sheet, area.Inset(-gap/2), image.NewUniform(marker), image.Point{}, draw.Src)
	}
	draw.Draw(sheet, area, img, image.Point{}, draw.Src)
	for i, line := range t.Caption {
		pen := font.Drawer{Dst: sheet, Src: image.NewUniform(ink), Face: basicfont.Face7x13,
			Dot: fixed.P(at.X, at.Y+side+(i+1)*lineHeight)}
		pen.DrawString(fit(line, side/charWidth))
	}
	return nil
}

// fit cuts text to n characters, in the middle, and replaces what the font
// does not have.
func fit(text string, n int) string {
	runes := []rune(text)
	for i, r := range runes {
		if r < ' ' || r > '~' {
			runes[i] = '?'
		}
	}
	if len(runes) <= n {
		return string(runes)
	}
	if n < 3 {
		return string(runes[:n])
	}
	head := (n - 2) / 3 // names differ at their ends
	return string(runes[:head]) + ".." + string(runes[len(runes)-(n-2-head):])
}

// interleave turns a square planar picture into an image.
func interleave(chw []uint8) (*image.RGBA, error) {
	side := int(math.Round(math.Sqrt(float64(len(chw)) / 3)))
	if side == 0 || 3*side*side != len(chw) {
		return nil, fmt.Errorf("%d bytes are no square picture of three channels", len(chw))
	}
	img := image.NewRGBA(image.Rect(0, 0, side, side))
	n := side * side
	for i := range n {
		p := img.Pix[4*i : 4*i+4 : 4*i+4]
		p[0], p[1], p[2], p[3] = chw[i], chw[n+i], chw[2*n+i], 255
	}
	return img, nil
}

func encodePNG(img image.Image) ([]byte, error) {
	var buf bytes.Buffer
	if err := png.Encode(&buf, img); err != nil {
		return nil, fmt.Errorf("encode PNG: %w", err)
	}
	return buf.Bytes(), nil
}
