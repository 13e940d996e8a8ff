// Package checkpoint reads and writes named tensors as safetensors files with
// a checksum over every byte. FORMAT.md has the layout. Bytes are a function
// of the tensors and the metadata alone, and neither side holds a second copy
// of the data.
package checkpoint

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// DType is a tensor's element type, by its name in the file.
type DType string

// The element types that are read and written.
const (
	U8  DType = "U8"
	F32 DType = "F32"
	F64 DType = "F64"
	I64 DType = "I64"
)

// Size is the number of bytes of one element, 0 for an unknown type.
func (d DType) Size() int64 {
	switch d {
	case U8:
		return 1
	case F32:
		return 4
	case F64, I64:
		return 8
	}
	return 0
}

// Errors of this package, to be matched with errors.Is.
var (
	// ErrFormat: the bytes are not a safetensors file of the supported kind.
	ErrFormat = errors.New("not a readable safetensors file")
	// ErrChecksum: the bytes are not those that were written.
	ErrChecksum = errors.New("checksum differs")
	// ErrLimit: the file is larger than the caller's limits.
	ErrLimit = errors.New("limit exceeded")
)

// Tensor is a named array in row-major order. Data is a []uint8, []float32,
// []float64 or []int64 with as many elements as Shape's product; an empty Shape
// is a scalar. Write accepts an empty DType and takes it from Data.
type Tensor struct {
	Name  string
	DType DType
	Shape []int
	Data  any
}

// Entry is a tensor's place in a file, without its data.
type Entry struct {
	Name  string
	DType DType
	Shape []int
	// Offset is the first byte, counted from the start of the data section.
	Offset int64
	// Bytes is the length of the data.
	Bytes int64
}

// Elements is the number of elements.
func (e Entry) Elements() int { return int(e.Bytes / e.DType.Size()) }

// elements is the product of shape, or an error where it is negative or
// overflows.
func elements(shape []int) (int64, error) {
	n := int64(1)
	for _, d := range shape {
		if d < 0 {
			return 0, fmt.Errorf("%w: negative dimension %d", ErrFormat, d)
		}
		if d > 0 && n > math.MaxInt64/8/int64(d) {
			return 0, fmt.Errorf("%w: shape %v overflows", ErrFormat, shape)
		}
		n *= int64(d)
	}
	return n, nil
}

// describe is the element type and length of a supported slice.
func describe(data any) (DType, int, error) {
	switch d := data.(type) {
	case []uint8:
		return U8, len(d), nil
	case []float32:
		return F32, len(d), nil
	case []float64:
		return F64, len(d), nil
	case []int64:
		return I64, len(d), nil
	}
	return "", 0, fmt.Errorf("data of type %T is not supported", data)
}

// newData is a slice of n elements of type d.
func newData(d DType, n int) any {
	switch d {
	case U8:
		return make([]uint8, n)
	case F32:
		return make([]float32, n)
	case F64:
		return make([]float64, n)
	default:
		return make([]int64, n)
	}
}

// encode writes data's elements from i on, little endian, into buf and returns
// the number of bytes written. len(buf) is a multiple of 8.
func encode(buf []byte, data any, i int) int {
	le := binary.LittleEndian
	at := 0
	switch d := data.(type) {
	case []uint8:
		at = copy(buf, d[i:])
	case []float32:
		for ; i < len(d) && at < len(buf); i, at = i+1, at+4 {
			le.PutUint32(buf[at:], math.Float32bits(d[i]))
		}
	case []float64:
		for ; i < len(d) && at < len(buf); i, at = i+1, at+8 {
			le.PutUint64(buf[at:], math.Float64bits(d[i]))
		}
	case []int64:
		for ; i < len(d) && at < len(buf); i, at = i+1, at+8 {
			le.PutUint64(buf[at:], uint64(d[i]))
		}
	}
	return at
}

// decode fills data's elements from i on with the whole of buf.
func decode(data any, i int, buf []byte) {
	le := binary.LittleEndian
	switch d := data.(type) {
	case []uint8:
		copy(d[i:], buf)
	case []float32:
		for at := 0; at < len(buf); i, at = i+1, at+4 {
			d[i] = math.Float32frombits(le.Uint32(buf[at:]))
		}
	case []float64:
		for at := 0; at < len(buf); i, at = i+1, at+8 {
			d[i] = math.Float64frombits(le.Uint64(buf[at:]))
		}
	case []int64:
		for at := 0; at < len(buf); i, at = i+1, at+8 {
			d[i] = int64(le.Uint64(buf[at:]))
		}
	}
}
