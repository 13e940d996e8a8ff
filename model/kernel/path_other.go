//go:build !amd64 || noasm

package kernel

func choosePath() *path { return &goPath }

// paths lists what this build and machine can run, for tests.
func paths() []*path { return []*path{&goPath} }
