package devstack

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/gofrs/flock"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestAttachFindsARunningStackOnly(t *testing.T) {
	ctx, cfg := context.Background(), testConfig(t)
	attach := func() (*Stack, bool) {
		s, ok, err := Attach(ctx, cfg)
		require.NoError(t, err)
		return s, ok
	}
	_, ok := attach()
	require.False(t, ok, "nothing has run yet")
	assert.NoFileExists(t, filepath.Join(cfg.DataDir, "lock"), "looking leaves nothing behind")

	s := start(t, cfg)
	found, ok := attach()
	require.True(t, ok)
	assert.Equal(t, s.TemporalAddress, found.TemporalAddress)
	assert.Equal(t, s.Namespace, found.Namespace)
	assert.Equal(t, s.UIURL, found.UIURL)
	assert.Equal(t, s.StoreEndpoint, found.StoreEndpoint)
	assert.Equal(t, s.SecretKey, found.SecretKey)
	assert.Equal(t, s.SyncURL, found.SyncURL)
	require.NoError(t, found.Stop(ctx), "stopping what is not ours does nothing")
	_, ok = attach()
	require.True(t, ok)
	stop(t, s)
	_, ok = attach()
	require.False(t, ok, "it has stopped")
}

// A process that holds the folder but does not answer is starting or stopping.
func TestAttachWantsAnswers(t *testing.T) {
	cfg := testConfig(t)
	dir := &dataDir{path: cfg.DataDir}
	require.NoError(t, os.MkdirAll(cfg.DataDir, 0o700))
	lock := flock.New(dir.file("lock"))
	require.NoError(t, lock.Lock())
	defer func() { _ = lock.Unlock() }()
	_, ok, err := Attach(context.Background(), cfg)
	require.NoError(t, err)
	assert.False(t, ok, "no ports are known yet")

	l, err := net.Listen("tcp", address(0))
	require.NoError(t, err)
	defer l.Close()
	open := l.Addr().(*net.TCPAddr).Port
	require.NoError(t, writeJSON(dir.file("ports.json"), ports{Temporal: open, UI: open, Store: open}))
	require.NoError(t, writeJSON(dir.file("credentials.json"), credentials{AccessKey: "a", SecretKey: "b", SyncToken: "c"}))
	_, ok, err = Attach(context.Background(), cfg)
	require.NoError(t, err)
	assert.True(t, ok)
	require.NoError(t, l.Close())
	_, ok, err = Attach(context.Background(), cfg)
	require.NoError(t, err)
	assert.False(t, ok, "nothing listens")
}
