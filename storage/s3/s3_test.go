package s3_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/defectforge/defectforge/storage"
	"github.com/defectforge/defectforge/storage/s3"
	"github.com/defectforge/defectforge/storage/storagetest"
)

// realStore is the store to test against.
func realStore(t *testing.T) s3.Config {
	t.Helper()
	endpoint, access, secret := storagetest.RealStore(t)
	return s3.Config{Endpoint: endpoint, AccessKey: access, SecretKey: secret, Bucket: "defectforge-test", CreateBucket: true}
}

func open(t *testing.T, config s3.Config) *s3.Bucket {
	t.Helper()
	b, err := s3.Open(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestRealStore(t *testing.T) {
	config := realStore(t)
	storagetest.Run(t, func(t *testing.T) storage.Bucket { return open(t, config) })
}

func TestRealStoreRefusals(t *testing.T) {
	config := realStore(t)
	good := open(t, config)
	foreign := good.Client().Bucket("no-such-bucket-here")
	if exists, err := foreign.Exists(t.Context()); err != nil || exists {
		t.Errorf("a missing bucket exists: %t, %v", exists, err)
	}
	if _, _, err := foreign.Get(t.Context(), "key"); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("get from a missing bucket: %v", err)
	}
	for _, err := range foreign.List(t.Context(), "") {
		if !errors.Is(err, storage.ErrNotFound) {
			t.Errorf("list of a missing bucket: %v", err)
		}
	}
	if _, err := put(t, foreign, "x", storage.Condition{IfETag: "0123"}); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("conditional put into a missing bucket: %v", err)
	}
	config.SecretKey = secretKey
	_, err := s3.Open(t.Context(), config)
	if err == nil || errors.Is(err, storage.ErrNotFound) || strings.Contains(err.Error(), secretKey) {
		t.Errorf("a wrong secret: %v", err)
	}
}

// TestRealStoreStreams sends and fetches an object much larger than what may be
// in memory meanwhile.
func TestRealStoreStreams(t *testing.T) {
	if testing.Short() {
		t.Skip("moves 700 MiB; not with -short")
	}
	const size, limit = 700 << 20, 64 << 20
	s := storage.New(open(t, realStore(t)))
	dir := t.TempDir()
	path := filepath.Join(dir, "large")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("the end"), size-7); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	runtime.GC() // not what tests before have left
	peak := watchHeap(t)
	start := time.Now()
	obj, err := s.PutArtifactFile(t.Context(), path, ".bin")
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("stored in %v", time.Since(start))
	defer func() {
		if err := s.Bucket().Delete(t.Context(), obj.Key); err != nil {
			t.Error(err)
		}
	}()
	start = time.Now()
	r, err := s.Open(t.Context(), obj)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if n, err := io.Copy(io.Discard, r); n != size || err != nil {
		t.Errorf("fetched %d bytes: %v", n, err)
	}
	t.Logf("fetched in %v, at most %d MiB of heap", time.Since(start), peak()>>20)
	if peak() > limit {
		t.Errorf("%d bytes of heap, limit %d", peak(), limit)
	}
}

// watchHeap samples the heap in use until the test ends.
func watchHeap(t *testing.T) (peak func() uint64) {
	var most atomic.Uint64
	ticker := time.NewTicker(20 * time.Millisecond)
	done := make(chan struct{})
	go func() {
		for {
			select {
			case <-done:
				return
			case <-ticker.C:
				var stats runtime.MemStats
				runtime.ReadMemStats(&stats)
				most.Store(max(most.Load(), stats.HeapInuse))
			}
		}
	}()
	t.Cleanup(func() { ticker.Stop(); close(done) })
	return most.Load
}
