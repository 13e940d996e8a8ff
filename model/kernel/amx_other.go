//go:build amd64 && !linux && !noasm

package kernel

// hasAMX is false where no way to ask for the tile registers is known.
func hasAMX() bool { return false }
