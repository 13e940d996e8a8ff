package activities

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestScratchRemovesWhatKilledProcessesLeft(t *testing.T) {
	base := t.TempDir()
	old := time.Now().Add(-time.Hour)
	age := func(dir string) { require.NoError(t, os.Chtimes(dir, old, old)) }

	inUse, free, err := scratch(base)
	require.NoError(t, err)
	age(inUse)
	left := filepath.Join(base, scratchPrefix+"left")
	require.NoError(t, os.Mkdir(left, 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(left, "save.safetensors"), []byte("x"), 0o600))
	age(left)
	fresh := filepath.Join(base, scratchPrefix+"fresh")
	require.NoError(t, os.Mkdir(fresh, 0o700))
	foreign := filepath.Join(base, "somebody-else")
	require.NoError(t, os.Mkdir(foreign, 0o700))
	age(foreign)

	mine, freeMine, err := scratch(base)
	require.NoError(t, err)
	require.NoDirExists(t, left)
	for _, dir := range []string{inUse, fresh, foreign, mine} {
		require.DirExists(t, dir)
	}
	free()
	freeMine()
	require.NoDirExists(t, inUse)
	require.NoDirExists(t, mine)
}

func TestScratchSaysWhereItCouldNotBeMade(t *testing.T) {
	_, _, err := scratch(filepath.Join(t.TempDir(), "missing"))
	require.ErrorContains(t, err, "make scratch folder")
	require.ErrorContains(t, err, "missing")
}
