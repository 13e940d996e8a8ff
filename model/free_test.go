package model

import (
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/defectforge/defectforge/model/spec"
	"github.com/defectforge/defectforge/model/spec/spectest"
)

// TestClosedGANsAreFreed: a worker makes a GAN for each leg, so what one holds
// must go with it.
func TestClosedGANsAreFreed(t *testing.T) {
	held := func() int64 {
		runtime.GC()
		runtime.GC() // what the first one's sync.Pools still held
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	recipe := spectest.Quick()
	batch := make([]float32, spec.MinBatch*spec.ImageLen)
	var before, open int64
	for range 4 {
		before = held()
		g, err := New(recipe)
		require.NoError(t, err)
		_, err = g.Step(batch)
		require.NoError(t, err)
		open = held() - before
		g.Close()
		runtime.KeepAlive(g)
	}
	require.Greater(t, open, int64(10<<20), "bytes of an open GAN")
	require.Less(t, held()-before, open/10, "bytes left of a closed one")
}
