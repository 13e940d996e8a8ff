package checkpoint

import (
	"bytes"
	"encoding/binary"
	"flag"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the golden file anew")

// sample has every element type, a scalar, an empty tensor, awkward names and
// values.
func sample() (map[string]string, []Tensor) {
	return map[string]string{"kind": "sample", "note": "a \"quoted\" <word> ü"}, []Tensor{
		{Name: "weights", Shape: []int{2, 3}, Data: []float32{0, -1.5, float32(math.Inf(1)), 1e-45, 3, math.MaxFloat32}},
		{Name: "bytes", DType: U8, Shape: []int{3}, Data: []uint8{0, 127, 255}},
		{Name: "a.count", Shape: nil, Data: []int64{-7}},
		{Name: "doubles", Shape: []int{1, 2}, Data: []float64{math.Pi, 0}},
		{Name: "empty", Shape: []int{0, 4}, Data: []float32{}},
	}
}

func written(t testing.TB, meta map[string]string, tensors []Tensor) []byte {
	var b bytes.Buffer
	require.NoError(t, Write(&b, meta, tensors))
	return b.Bytes()
}

func TestReadGivesBackWhatWasWritten(t *testing.T) {
	meta, tensors := sample()
	raw := written(t, meta, tensors)
	for name, size := range map[string]int64{"size known": int64(len(raw)), "size unknown": -1} {
		t.Run(name, func(t *testing.T) {
			got, gotMeta, err := Read(bytes.NewReader(raw), size, Limits{})
			require.NoError(t, err)
			require.Equal(t, meta, gotMeta)
			require.Len(t, got, len(tensors))
			for _, want := range tensors {
				i := slices.IndexFunc(got, func(x Tensor) bool { return x.Name == want.Name })
				require.GreaterOrEqual(t, i, 0, want.Name)
				require.Equal(t, want.Data, got[i].Data)
				require.Equal(t, append([]int{}, want.Shape...), got[i].Shape)
			}
		})
	}
}

func TestNotANumberKeepsItsBits(t *testing.T) {
	bits := uint32(0x7fc12345)
	raw := written(t, nil, []Tensor{{Name: "x", Shape: []int{1}, Data: []float32{math.Float32frombits(bits)}}})
	got, _, err := Read(bytes.NewReader(raw), int64(len(raw)), Limits{})
	require.NoError(t, err)
	require.Equal(t, bits, math.Float32bits(got[0].Data.([]float32)[0]))
}

func TestTensorsLargerThanTheBuffer(t *testing.T) {
	x := make([]float32, 3*chunk/4+5)
	for i := range x {
		x[i] = float32(i)
	}
	raw := written(t, nil, []Tensor{{Name: "x", Shape: []int{len(x)}, Data: x}})
	got, _, err := Read(bytes.NewReader(raw), int64(len(raw)), Limits{})
	require.NoError(t, err)
	require.Equal(t, x, got[0].Data)
}

func TestBytesDoNotDependOnOrder(t *testing.T) {
	meta, tensors := sample()
	want := written(t, meta, tensors)
	slices.Reverse(tensors)
	require.Equal(t, want, written(t, meta, tensors))
}

func TestGoldenFile(t *testing.T) {
	path := filepath.Join("testdata", "golden.v1.safetensors")
	meta, tensors := sample()
	raw := written(t, meta, tensors)
	if *update {
		require.NoError(t, os.WriteFile(path, raw, 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, want, raw, "the format has changed: raise Version, or take the change back")
}

func TestEveryFlipIsDetected(t *testing.T) {
	raw := written(t, map[string]string{"k": "v"}, []Tensor{
		{Name: "w", Shape: []int{3}, Data: []float32{1, 2, 3}},
		{Name: "n", Data: []int64{1}},
	})
	for i := range raw {
		for bit := range 8 {
			bad := slices.Clone(raw)
			bad[i] ^= 1 << bit
			for _, foreign := range []bool{false, true} {
				_, _, err := Read(bytes.NewReader(bad), int64(len(bad)), Limits{Foreign: foreign})
				require.Error(t, err, "bit %d of byte %d, foreign %v: %q", bit, i, foreign, bad)
			}
		}
	}
}

func TestEveryCutIsDetected(t *testing.T) {
	meta, tensors := sample()
	raw := written(t, meta, tensors)
	for n := range raw {
		_, _, err := Read(bytes.NewReader(raw[:n]), -1, Limits{})
		require.Error(t, err, "cut to %d bytes", n)
		_, _, err = Read(bytes.NewReader(raw[:n]), int64(n), Limits{})
		require.ErrorIs(t, err, ErrFormat, "cut to %d bytes", n)
	}
	longer := append(slices.Clone(raw), 0)
	_, _, err := Read(bytes.NewReader(longer), -1, Limits{})
	require.ErrorIs(t, err, ErrFormat)
}

// file is a file with the given JSON header and data, without a checksum.
func file(head, data string) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(head)))
	return append(append(b, head...), data...)
}

func TestForeignFiles(t *testing.T) {
	raw := file(`{"__metadata__":{"by":"other"},"x":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}`, "ab")
	got, meta, err := Read(bytes.NewReader(raw), int64(len(raw)), Limits{Foreign: true})
	require.NoError(t, err)
	require.Equal(t, map[string]string{"by": "other"}, meta)
	require.Equal(t, []uint8("ab"), got[0].Data)
	_, _, err = Read(bytes.NewReader(raw), int64(len(raw)), Limits{})
	require.ErrorIs(t, err, ErrFormat, "a file without checksum must not pass as one of ours")
}

func TestMalformedFilesAreRefused(t *testing.T) {
	for name, raw := range map[string][]byte{
		"empty":             nil,
		"not JSON":          file(`[1,2]`, ""),
		"gap":               file(`{"x":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}`, "ab"),
		"overlap":           file(`{"x":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"y":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}`, "ab"),
		"shape and size":    file(`{"x":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}`, "abcd"),
		"unknown type":      file(`{"x":{"dtype":"BF16","shape":[1],"data_offsets":[0,2]}}`, "ab"),
		"negative shape":    file(`{"x":{"dtype":"U8","shape":[-1],"data_offsets":[0,0]}}`, ""),
		"overflowing shape": file(`{"x":{"dtype":"U8","shape":[4294967296,4294967296],"data_offsets":[0,0]}}`, ""),
		"backward":          file(`{"x":{"dtype":"U8","shape":[0],"data_offsets":[2,0]}}`, ""),
		"data follows":      file(`{}`, "a"),
		"metadata type":     file(`{"__metadata__":{"a":1}}`, ""),
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := Read(bytes.NewReader(raw), int64(len(raw)), Limits{Foreign: true})
			require.ErrorIs(t, err, ErrFormat)
		})
	}
}

func TestLimits(t *testing.T) {
	meta, tensors := sample()
	raw := written(t, meta, tensors)
	for name, l := range map[string]Limits{
		"header": {Header: 64}, "tensors": {Tensors: 4}, "data": {Data: 20},
	} {
		_, _, err := Read(bytes.NewReader(raw), int64(len(raw)), l)
		require.ErrorIs(t, err, ErrLimit, name)
	}
	huge := binary.LittleEndian.AppendUint64(nil, 1<<62)
	_, _, err := Read(bytes.NewReader(huge), -1, Limits{})
	require.ErrorIs(t, err, ErrLimit)
}

func TestAnotherVersionIsRefused(t *testing.T) {
	raw := written(t, nil, []Tensor{{Name: "x", Shape: []int{1}, Data: []uint8{1}}})
	other := bytes.Replace(raw, []byte(`"format_version":"1"`), []byte(`"format_version":"2"`), 1)
	_, _, err := Read(bytes.NewReader(other), int64(len(other)), Limits{Foreign: true})
	require.ErrorIs(t, err, ErrFormat)
	require.ErrorContains(t, err, `"2"`)
}

func TestWriteRefusesWhatItCannotRepresent(t *testing.T) {
	one := Tensor{Name: "x", Shape: []int{1}, Data: []uint8{1}}
	for name, tensors := range map[string][]Tensor{
		"name twice":    {one, one},
		"no name":       {{Shape: []int{1}, Data: []uint8{1}}},
		"metadata name": {{Name: metadataKey, Shape: []int{1}, Data: []uint8{1}}},
		"shape":         {{Name: "x", Shape: []int{2}, Data: []uint8{1}}},
		"type":          {{Name: "x", Shape: []int{1}, Data: []int32{1}}},
		"type named":    {{Name: "x", DType: F32, Shape: []int{1}, Data: []uint8{1}}},
	} {
		require.Error(t, Write(io.Discard, nil, tensors), name)
	}
	require.Error(t, Write(io.Discard, map[string]string{KeyChecksum: "x"}, []Tensor{one}))
}

func TestMetadataCannotImitateTheChecksum(t *testing.T) {
	meta := map[string]string{"a": string(checksumField(noChecksum)), "b": strings.Repeat("0", 64)}
	raw := written(t, meta, nil)
	_, got, err := Read(bytes.NewReader(raw), int64(len(raw)), Limits{})
	require.NoError(t, err)
	require.Equal(t, meta, got)
}

func TestReadIntoSkipsAndChecksPlaces(t *testing.T) {
	meta, tensors := sample()
	raw := written(t, meta, tensors)
	open := func() *Reader {
		rd, err := NewReader(bytes.NewReader(raw), int64(len(raw)), Limits{})
		require.NoError(t, err)
		return rd
	}
	w := make([]float32, 6)
	err := open().ReadInto(func(e Entry) (any, error) {
		if e.Name == "weights" {
			return w, nil
		}
		return nil, nil
	})
	require.NoError(t, err)
	require.Equal(t, float32(-1.5), w[1])
	for _, wrong := range []any{make([]float32, 5), make([]float64, 6), "text"} {
		err := open().ReadInto(func(e Entry) (any, error) {
			if e.Name == "weights" {
				return wrong, nil
			}
			return nil, nil
		})
		require.ErrorContains(t, err, "weights")
	}
}

// FuzzRead: no input crashes the reader, and what it accepts is written again
// as the same bytes.
func FuzzRead(f *testing.F) {
	meta, tensors := sample()
	f.Add(written(f, meta, tensors))
	f.Add(file(`{"x":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}`, "ab"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, raw []byte) {
		_, _, _ = Read(bytes.NewReader(raw), int64(len(raw)), Limits{Foreign: true})
		got, meta, err := Read(bytes.NewReader(raw), int64(len(raw)), Limits{})
		if err != nil {
			return
		}
		require.Equal(t, raw, written(t, meta, got))
	})
}
