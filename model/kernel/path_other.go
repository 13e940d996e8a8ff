//go:build !amd64 || noasm

package kernel

// paths lists what this build can run.
func paths() []*path { return []*path{&goPath} }
