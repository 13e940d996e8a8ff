// Command asmgen writes the kernels' assembly for amd64. It is a module of its
// own so that the product does not depend on its libraries.
package main

//go:generate go run . -out ../loops_amd64.s -stubs ../stubs_amd64.go -pkg kernel

import . "github.com/mmcloughlin/avo/build"

func main() {
	Package("github.com/defectforge/defectforge/model/kernel/asmgen")
	ConstraintExpr("!noasm")
	for m := 1; m <= avx512.rows; m++ {
		tile(avx512, m)
	}
	for m := 1; m <= avx2.rows; m++ {
		tile(avx2, m)
	}
	transpose512()
	transpose256()
	for _, lanes := range []int{avx512.lanes, avx2.lanes} {
		gather(2*lanes/4, 4)
		gather(2*lanes/8, 8)
	}
	vectors()
	winograd()
	winograd3()
	bfloat16()
	bytes()
	amx()
	peak(avx512)
	peak(avx2)
	Generate()
}
