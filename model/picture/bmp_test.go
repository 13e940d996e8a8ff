package picture

import (
	"encoding/binary"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// bmpOf writes a bitmap of 4x2 pixels: the header's fields of the given size,
// what follows it, and the pixels.
func bmpOf(size uint32, bits uint16, compression uint32, behind, pixels []byte) []byte {
	le := binary.LittleEndian
	header := le.AppendUint32(nil, size)
	if size == 12 {
		header = le.AppendUint16(le.AppendUint16(header, 4), 2)
	} else {
		header = le.AppendUint32(le.AppendUint32(header, 4), 2)
	}
	header = le.AppendUint16(le.AppendUint16(header, 1), bits)
	if size > 16 {
		header = le.AppendUint32(header, compression)
	}
	header = append(header, make([]byte, 124)...)[:size]
	out := []byte("BM")
	out = le.AppendUint32(out, uint32(14+len(header)+len(behind)+len(pixels)))
	out = le.AppendUint32(out, 0)
	out = le.AppendUint32(out, uint32(14+len(header)+len(behind)))
	return slices.Concat(out, header, behind, pixels)
}

// bmpPalette has colours whose red is ten times their number.
func bmpPalette(n, step int) []byte {
	out := make([]byte, n*step)
	for i := range n {
		out[i*step+2] = uint8(10 * i)
	}
	return out
}

func TestBMP(t *testing.T) {
	le := binary.LittleEndian
	masks := func(m ...uint32) (out []byte) {
		for _, m := range m {
			out = le.AppendUint32(out, m)
		}
		return out
	}
	u16 := func(v ...uint16) (out []byte) {
		for _, v := range v {
			out = le.AppendUint16(out, v)
		}
		return out
	}
	fifth := bmpOf(124, 32, 3, nil, slices.Repeat([]byte{1, 2, 3, 0}, 8))
	copy(fifth[14+40:], masks(0xff0000, 0xff00, 0xff, 0xff000000))
	eight := []byte{0, 1, 2, 3, 4, 5, 6, 7}
	for name, test := range map[string]struct {
		data []byte
		want []uint8 // the reds, from the top left
	}{
		"8 bits":       {bmpOf(40, 8, 0, bmpPalette(256, 4), eight), []uint8{40, 50, 60, 70, 0, 10, 20, 30}},
		"OS/2, 8 bits": {bmpOf(12, 8, 0, bmpPalette(256, 3), eight), []uint8{40, 50, 60, 70, 0, 10, 20, 30}},
		"OS/2, 4 bits": {bmpOf(12, 4, 0, bmpPalette(16, 3), []byte{0x01, 0x23, 0, 0, 0x45, 0x67, 0, 0}),
			[]uint8{40, 50, 60, 70, 0, 10, 20, 30}},
		"OS/2's second": {bmpOf(64, 4, 0, bmpPalette(16, 4), []byte{0x01, 0x23, 0, 0, 0x45, 0x67, 0, 0}),
			[]uint8{40, 50, 60, 70, 0, 10, 20, 30}},
		"cut off": {bmpOf(16, 4, 0, bmpPalette(16, 4), []byte{0x01, 0x23, 0, 0, 0x45, 0x67}),
			[]uint8{40, 50, 60, 70, 0, 10, 20, 30}},
		"2 bits": {bmpOf(40, 2, 0, bmpPalette(4, 4), []byte{0x1b, 0, 0, 0, 0xe4, 0, 0, 0}),
			[]uint8{30, 20, 10, 0, 0, 10, 20, 30}},
		"run lengths": {bmpOf(40, 8, 1, bmpPalette(256, 4), []byte{2, 1, 2, 5, 0, 0, 0, 3, 6, 7, 8, 0, 1, 9, 0, 1}),
			[]uint8{60, 70, 80, 90, 10, 10, 50, 50}},
		"run lengths, no end": {bmpOf(40, 8, 1, bmpPalette(256, 4), []byte{4, 1, 0, 0, 4, 2}), []uint8{20, 20, 20, 20, 10, 10, 10, 10}},
		"runs that skip":      {bmpOf(40, 8, 1, bmpPalette(256, 4), []byte{0, 2, 2, 1, 2, 3, 0, 1}), []uint8{0, 0, 30, 30, 0, 0, 0, 0}},
		"runs beyond the row": {bmpOf(40, 8, 1, bmpPalette(256, 4), []byte{200, 1, 0, 0, 4, 2, 0, 0, 9, 9, 0, 1}),
			[]uint8{20, 20, 20, 20, 10, 10, 10, 10}},
		"runs of 4 bits": {bmpOf(40, 4, 2, bmpPalette(16, 4), []byte{3, 0x12, 1, 0x50, 0, 0, 0, 4, 0x67, 0x89, 0, 1}),
			[]uint8{60, 70, 80, 90, 10, 20, 10, 50}},
		"5 bits each": {bmpOf(40, 16, 0, nil, u16(0x7c00, 0x03ff, 0, 0x3c00, 0, 0, 0, 0x7fff)), []uint8{0, 0, 0, 255, 255, 0, 0, 123}},
		"masks": {bmpOf(40, 16, 3, masks(0xf800, 0x7e0, 0x1f), u16(0xf800, 0x07ff, 0, 0, 0, 0, 0, 0)),
			[]uint8{0, 0, 0, 0, 255, 0, 0, 0}},
		"32 bits":      {bmpOf(40, 32, 0, nil, slices.Repeat([]byte{1, 2, 3, 0}, 8)), slices.Repeat([]uint8{3}, 8)},
		"nothing seen": {fifth, slices.Repeat([]uint8{3}, 8)},
		"24 bits":      {bmpOf(12, 24, 0, nil, slices.Repeat([]byte{1, 2, 9}, 8)), slices.Repeat([]uint8{9}, 8)},
	} {
		img, info, err := Decode(test.data, limits)
		require.NoError(t, err, name)
		require.Equal(t, Info{Format: "bmp", Width: 4, Height: 2, Orientation: 1, Transparent: name == "nothing seen"}, info, name)
		for i, want := range test.want {
			require.Equal(t, want, img.RGBAAt(i%4, i/4).R, "%s, pixel %d", name, i)
		}
	}
}

func TestBMPRefuses(t *testing.T) {
	pixels := make([]byte, 64)
	for name, test := range map[string]struct {
		data []byte
		text string
	}{
		"JPEG inside":   {bmpOf(40, 24, 4, nil, pixels), "unsupported image: BMP with a JPEG or PNG inside; take that out"},
		"CMYK":          {bmpOf(40, 32, 11, nil, pixels), "unsupported image: BMP with CMYK colours"},
		"OS/2, Huffman": {bmpOf(64, 1, 3, nil, pixels), "unsupported image: BMP with OS/2's Huffman compression"},
		"OS/2, RLE24":   {bmpOf(64, 24, 4, nil, pixels), "unsupported image: BMP with OS/2's run lengths of 24 bits"},
		"unknown":       {bmpOf(40, 24, 77, nil, pixels), "unsupported image: BMP with compression 77"},
		"64 bits":       {bmpOf(40, 64, 0, nil, pixels), "unsupported image: BMP with 64 bits per pixel"},
		"no colour":     {bmpOf(40, 8, 0, bmpPalette(2, 4), []byte{0, 1, 0, 1, 0, 1, 0, 9}), "damaged image: BMP with colour 9 of a palette of 2"},
		"wrong runs":    {bmpOf(40, 24, 1, nil, pixels), "damaged image: BMP with run lengths of 24 bits"},
		"short":         {bmpOf(40, 24, 0, nil, pixels[:20]), "truncated image"},
		"short runs":    {bmpOf(40, 8, 1, bmpPalette(256, 4), []byte{4, 1, 0, 0, 2, 1}), "truncated image"},
		"short header":  {bmpOf(40, 24, 0, nil, pixels)[:40], "truncated image"},
	} {
		_, _, err := Decode(test.data, limits)
		require.EqualError(t, err, test.text, name)
	}
}
