package devstack

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/server/common/log/tag"
)

func TestLockNamesTheOther(t *testing.T) {
	path := t.TempDir()
	dir, err := openDataDir(path)
	require.NoError(t, err)
	require.False(t, dir.unclean)
	_, err = openDataDir(path)
	require.ErrorIs(t, err, ErrLocked)
	require.ErrorContains(t, err, "process "+strconv.Itoa(os.Getpid()))
	require.ErrorContains(t, err, path)
	require.NoError(t, dir.close())
	dir, err = openDataDir(path)
	require.NoError(t, err)
	require.NoError(t, dir.lock.Unlock()) // as when killed: the note stays
	dir, err = openDataDir(path)
	require.NoError(t, err)
	require.True(t, dir.unclean)
	require.NoError(t, dir.close())
}

func TestCredentialsAreDrawnOnce(t *testing.T) {
	dir, err := openDataDir(t.TempDir())
	require.NoError(t, err)
	first, err := dir.credentials()
	require.NoError(t, err)
	require.Len(t, first.SecretKey, 40)
	again, err := dir.credentials()
	require.NoError(t, err)
	require.Equal(t, first, again)
	info, err := os.Stat(dir.file("credentials.json"))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	require.NoError(t, os.WriteFile(dir.file("credentials.json"), []byte(`{"access_key":"x"}`), 0o600))
	_, err = dir.credentials()
	require.ErrorContains(t, err, "remove the file")
}

func TestPorts(t *testing.T) {
	dir, err := openDataDir(t.TempDir())
	require.NoError(t, err)
	first, err := dir.ports(t.Context(), Config{})
	require.NoError(t, err)
	require.NotEqual(t, first.Temporal, first.UI)
	require.NotEqual(t, first.UI, first.Store)
	again, err := dir.ports(t.Context(), Config{})
	require.NoError(t, err)
	require.Equal(t, first, again, "kept")

	l, err := net.Listen("tcp", address(first.UI))
	require.NoError(t, err)
	defer func() { _ = l.Close() }()
	moved, err := dir.ports(t.Context(), Config{})
	require.NoError(t, err)
	require.NotEqual(t, first.UI, moved.UI, "what is taken is drawn anew")
	require.Equal(t, first.Store, moved.Store)

	_, err = dir.ports(t.Context(), Config{UIPort: first.UI})
	require.ErrorIs(t, err, ErrPortTaken)
	require.ErrorContains(t, err, "devstack.ui_port is "+strconv.Itoa(first.UI))
	_, err = dir.ports(t.Context(), Config{UIPort: first.Store, StorePort: first.Store})
	require.ErrorIs(t, err, ErrPortTaken)
	_, err = dir.ports(t.Context(), Config{TemporalPort: 70000})
	require.ErrorContains(t, err, "devstack.temporal_port is 70000")
}

// TestStalePorts holds a kept port for a moment, as what a killed process left
// behind does.
func TestStalePorts(t *testing.T) {
	dir, err := openDataDir(t.TempDir())
	require.NoError(t, err)
	first, err := dir.ports(t.Context(), Config{})
	require.NoError(t, err)
	l, err := net.Listen("tcp", address(first.Store))
	require.NoError(t, err)
	dir.unclean = true
	time.AfterFunc(200*time.Millisecond, func() { _ = l.Close() })
	again, err := dir.ports(t.Context(), Config{})
	require.NoError(t, err)
	require.Equal(t, first, again)
}

func TestDatabaseOfAnotherVersion(t *testing.T) {
	name := filepath.Join(t.TempDir(), "strange %20?&#ü name.db")
	current := serverVersion
	serverVersion = "1.31.0"
	_, err := openDatabase(t.Context(), name)
	serverVersion = current
	require.NoError(t, err)
	_, err = os.Stat(name)
	require.NoError(t, err, "the file has the very name it was given")
	_, err = openDatabase(t.Context(), name)
	require.ErrorIs(t, err, ErrVersion)
	require.ErrorContains(t, err, "is of 1.31.0, this is "+current)
	require.ErrorContains(t, err, "move")
}

func TestDatabaseWithoutStamp(t *testing.T) {
	name := filepath.Join(t.TempDir(), "t.db")
	db, err := sql.Open("sqlite", name)
	require.NoError(t, err)
	_, err = db.Exec("CREATE TABLE x (y)")
	require.NoError(t, errors.Join(err, db.Close()))
	_, err = openDatabase(t.Context(), name)
	require.ErrorIs(t, err, ErrVersion)
}

// TestDatabaseSetupWasKilled finds half a draft, which must not matter.
func TestDatabaseSetupWasKilled(t *testing.T) {
	name := filepath.Join(t.TempDir(), "t.db")
	require.NoError(t, os.WriteFile(name+".new", []byte("half"), 0o600))
	require.NoError(t, os.WriteFile(name+".new-journal", []byte("half"), 0o600))
	_, err := openDatabase(t.Context(), name)
	require.NoError(t, err)
}

func TestDatabaseIsDurable(t *testing.T) {
	conf, err := openDatabase(t.Context(), filepath.Join(t.TempDir(), "t.db"))
	require.NoError(t, err)
	require.Equal(t, "wal", conf.ConnectAttributes["journal_mode"])
	require.Equal(t, "full", conf.ConnectAttributes["synchronous"])
}

func TestLogFileRotates(t *testing.T) {
	name := filepath.Join(t.TempDir(), "x.log")
	l, err := openLog(name, 10)
	require.NoError(t, err)
	for _, line := range []string{"12345678\n", "abcdefgh\n", "last\n"} {
		_, err := l.Write([]byte(line))
		require.NoError(t, err)
	}
	require.NoError(t, l.Close())
	_, err = l.Write([]byte("after the end"))
	require.NoError(t, err)
	old, err := os.ReadFile(name + ".1")
	require.NoError(t, err)
	require.Equal(t, "abcdefgh\n", string(old))
	require.Equal(t, "last", lastLine(name))
}

// TestFatalIsReported: the server's Fatal must not end our process.
func TestFatalIsReported(t *testing.T) {
	file, err := openLog(filepath.Join(t.TempDir(), "x.log"), logLimit)
	require.NoError(t, err)
	var reported error
	done, returned := make(chan struct{}), false
	go func() {
		defer close(done)
		serverLogger(file, func(err error) { reported = err }).Fatal("no more", tag.Error(errors.New("port gone")))
		returned = true
	}()
	<-done
	require.False(t, returned, "Fatal does not return")
	require.EqualError(t, reported, "temporal server gave up: no more: port gone")
	b, err := os.ReadFile(file.name)
	require.NoError(t, err)
	require.True(t, bytes.Contains(b, []byte("no more")))
}

func TestAttributeTypes(t *testing.T) {
	_, err := attributeTypes(map[string]string{"Stage": "Keyword", "Count": "Int"})
	require.NoError(t, err)
	_, err = attributeTypes(map[string]string{"Stage": "Word"})
	require.ErrorContains(t, err, `search attribute Stage has type "Word"`)
}

func TestNoDataDir(t *testing.T) {
	_, err := Start(t.Context(), Config{})
	require.ErrorContains(t, err, "data_dir")
}

// TestTemporalThatCannotStart has the frontend's port taken after it was found
// free, which the library answers with a panic, an exit or an error.
func TestTemporalThatCannotStart(t *testing.T) {
	dir, err := openDataDir(t.TempDir())
	require.NoError(t, err)
	p, err := dir.ports(t.Context(), Config{})
	require.NoError(t, err)
	l, err := net.Listen("tcp", address(p.Temporal))
	require.NoError(t, err)
	defer func() { _ = l.Close() }()
	failed := make(chan error, 1)
	server, err := startTemporal(t.Context(), dir, p, Config{Namespace: "default"}, func(err error) { failed <- err })
	require.ErrorContains(t, err, "address already in use")
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := server.stop(ctx); err != nil {
		t.Logf("stop after a failed start: %v", err)
	}
}
