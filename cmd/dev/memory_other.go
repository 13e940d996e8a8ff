//go:build !linux

package main

import "errors"

// peakMemory is this process's largest resident set so far, in MiB.
func peakMemory() (float64, error) {
	return 0, errors.New("read peak memory: only on Linux")
}
