// Package kernel holds the float32 arithmetic of the networks: convolutions and
// their adjoints, matrix products, batch normalisation, activations, Adam, and
// counter-based random numbers.
//
// Tensors are contiguous slices in NCHW order, convolution weights in OIHW
// order. Unless a comment says otherwise, outputs are overwritten and must not
// overlap inputs. A slice of the wrong length is the caller's bug and panics.
//
// Work is divided into a partition that follows from the shapes alone; threads
// only take parts of it. So results are the same bits for every thread count.
// They differ in the last bits between instruction sets, see Features.
//
// Products go through packed tiles in assembly, see path and engine; patches of
// a convolution are gathered while packing. Large convolutions of 4x4 and stride 2
// take Winograd's way, F(2x2,2x2) on their four phases, whose rounding error is about
// one and a half times that of the direct sum. Those of 3x3 and stride 1 take
// F(4x4,3x3), with a quarter of the multiplications and an error of about 1e-6. The
// loops in assembly are written by the generator in asmgen; their definitions are
// the plain Go loops of the same name.
//
// Products of bytes (ByteRows) are whole numbers and the same on every instruction
// set.
//
// Once a shape has been seen, calls allocate nothing: scratch memory comes from
// a pool that the package keeps.
package kernel
