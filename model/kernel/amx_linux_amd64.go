//go:build !noasm

package kernel

import (
	"syscall"

	"github.com/klauspost/cpuid/v2"
)

// hasAMX reports whether the processor multiplies tiles of bfloat16 and the
// kernel lets this process use their registers, for which it has to be asked.
func hasAMX() bool {
	const request, tileData = 0x1023, 18 // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
	if !cpuid.CPU.Supports(cpuid.AMXTILE, cpuid.AMXBF16) {
		return false
	}
	_, _, errno := syscall.RawSyscall(syscall.SYS_ARCH_PRCTL, request, tileData, 0)
	return errno == 0
}
