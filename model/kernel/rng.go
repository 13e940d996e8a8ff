package kernel

import (
	"crypto/sha256"
	"encoding/binary"
	"math"
	"math/bits"
)

// Stream is an endless sequence of random numbers, of which value i depends on
// nothing but the stream's seed, purpose and index, and i. It comes from the
// counter-based generator Philox4x32-10 (Salmon et al., "Parallel random
// numbers: as easy as 1, 2, 3", 2011): the key is drawn from seed and purpose,
// the counter holds the block number and the index. A Stream is a value without
// a position: each call begins at the stream's start.
type Stream struct {
	key   [2]uint32
	index uint64
}

// NewStream names a stream. Streams that differ in any of the three are
// independent for all practical purposes.
func NewStream(seed uint64, purpose string, index uint64) Stream {
	var raw [8]byte
	binary.LittleEndian.PutUint64(raw[:], seed)
	sum := sha256.Sum256(append(raw[:], purpose...))
	return Stream{
		key:   [2]uint32{binary.LittleEndian.Uint32(sum[:]), binary.LittleEndian.Uint32(sum[4:])},
		index: index,
	}
}

// philox is ten rounds of Philox4x32.
func philox(ctr [4]uint32, key [2]uint32) [4]uint32 {
	for range 10 {
		hi0, lo0 := bits.Mul32(0xD2511F53, ctr[0])
		hi1, lo1 := bits.Mul32(0xCD9E8D57, ctr[2])
		ctr = [4]uint32{hi1 ^ ctr[1] ^ key[0], lo1, hi0 ^ ctr[3] ^ key[1], lo0}
		key[0] += 0x9E3779B9
		key[1] += 0xBB67AE85
	}
	return ctr
}

// block gives values 4*i to 4*i+3.
func (s Stream) block(i uint64) [4]uint32 {
	return philox([4]uint32{uint32(i), uint32(i >> 32), uint32(s.index), uint32(s.index >> 32)}, s.key)
}

// normals turns block i into four standard normals by Box and Muller's formula,
// in float64.
func (s Stream) normals(i uint64) (v [4]float32) {
	b := s.block(i)
	for j := 0; j < 4; j += 2 {
		r := math.Sqrt(-2 * math.Log((float64(b[j])+0.5)/(1<<32)))
		sin, cos := math.Sincos(2 * math.Pi * (float64(b[j+1]) / (1 << 32)))
		v[j], v[j+1] = float32(r*cos), float32(r*sin)
	}
	return v
}

// Normal fills dst with the stream's standard normals. They reach 6.8 standard
// deviations.
func (s Stream) Normal(dst []float32) {
	fill(dst, s, 0, 0, true)
}

// Uniform fills dst with values in [lo, hi): multiples of 2^-24 of the width,
// rounded to float32.
func (s Stream) Uniform(dst []float32, lo, hi float32) {
	fill(dst, s, lo, hi, false)
}

type filling struct {
	dst    []float32
	stream Stream
	lo, hi float32
	normal bool
}

var fillings freelist[filling]

func fill(dst []float32, s Stream, lo, hi float32, normal bool) {
	f := fillings.get()
	*f = filling{dst: dst, stream: s, lo: lo, hi: hi, normal: normal}
	parallel(f, chunks(len(dst)))
	*f = filling{}
	fillings.put(f)
}

func (f *filling) do(item int, _ *scratch) {
	lo, hi := chunk(item, len(f.dst)) // lo is a multiple of 4
	for i := lo; i < hi; i += 4 {
		v := f.four(uint64(i / 4))
		copy(f.dst[i:hi], v[:])
	}
}

func (f *filling) four(block uint64) [4]float32 {
	if f.normal {
		return f.stream.normals(block)
	}
	b := f.stream.block(block)
	var v [4]float32
	width := float64(f.hi) - float64(f.lo)
	for j, u := range b {
		v[j] = float32(float64(f.lo) + width*(float64(u>>8)/(1<<24)))
		if v[j] >= f.hi && f.hi > f.lo {
			v[j] = math.Nextafter32(f.hi, f.lo)
		}
	}
	return v
}

// Perm is a random permutation of 0..n-1. Its bias, below n^2/2^64, is out of
// any test's reach.
func (s Stream) Perm(n int) []int {
	p := make([]int, n)
	for i := range p {
		b := s.block(uint64(i))
		j, _ := bits.Mul64(uint64(b[1])<<32|uint64(b[0]), uint64(i+1))
		p[i] = p[j]
		p[j] = i
	}
	return p
}
