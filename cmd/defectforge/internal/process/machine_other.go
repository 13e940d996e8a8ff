//go:build !linux

package process

// FreeDisk is not asked for here.
func FreeDisk(string) (uint64, bool) { return 0, false }

// FreeMemory is not asked for here.
func FreeMemory() (uint64, bool) { return 0, false }
