package main

import (
	"fmt"
	"syscall"
)

// peakMemory is this process's largest resident set so far, in MiB.
func peakMemory() (float64, error) {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0, fmt.Errorf("read peak memory: %w", err)
	}
	return float64(u.Maxrss) / 1024, nil
}
