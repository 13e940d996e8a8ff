package storagetest

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/defectforge/defectforge/storage"
)

// DeleteAll deletes whatever lies below a prefix.
func DeleteAll(t testing.TB, b storage.Bucket, prefix string) {
	t.Helper()
	for info, err := range b.List(t.Context(), prefix) {
		require.NoError(t, err)
		require.NoError(t, b.Delete(t.Context(), info.Key))
	}
}
