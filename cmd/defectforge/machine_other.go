//go:build !linux

package main

// freeDisk is not asked for here.
func freeDisk(string) (uint64, bool) { return 0, false }

// freeMemory is not asked for here.
func freeMemory() (uint64, bool) { return 0, false }
