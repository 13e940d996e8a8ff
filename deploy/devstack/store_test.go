package devstack

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	miniocreds "github.com/minio/minio-go/v7/pkg/credentials"
	"github.com/minio/minio-go/v7/pkg/signer"
	"github.com/minio/minio-go/v7/pkg/tags"
	"github.com/stretchr/testify/require"
)

const bucket = "test"

// testStore is a store alone, without Temporal.
type testStore struct {
	*storeProcess
	dir    *dataDir
	keys   credentials
	failed chan error
}

func startTestStore(t *testing.T, dir *dataDir, cfg Config) *testStore {
	t.Helper()
	cfg.Logger = slog.New(slog.DiscardHandler)
	keys, err := dir.credentials()
	require.NoError(t, err)
	ports, err := dir.ports(t.Context(), Config{})
	require.NoError(t, err)
	s := &testStore{dir: dir, keys: keys, failed: make(chan error, 1)}
	s.storeProcess, err = startStore(dir, ports.Store, keys, cfg, func(err error) { s.failed <- err })
	require.NoError(t, err)
	require.NoError(t, s.waitReady(t.Context()))
	return s
}

func newTestStore(t *testing.T, cfg Config) *testStore {
	t.Helper()
	dir, err := openDataDir(filepath.Join(t.TempDir(), "data %20 ü"))
	require.NoError(t, err)
	s := startTestStore(t, dir, cfg)
	t.Cleanup(func() {
		if !s.quitting() {
			require.NoError(t, s.stop(context.Background()))
		}
		require.NoError(t, dir.close())
	})
	require.NoError(t, s.client(t, false).MakeBucket(t.Context(), bucket, minio.MakeBucketOptions{}))
	return s
}

// client tries each request as often as it is told, by default minio-go's ten
// times.
func (s *testStore) client(t *testing.T, trailers bool, tries ...int) *minio.Client {
	t.Helper()
	opts := &minio.Options{Creds: miniocreds.NewStaticV4(s.keys.AccessKey, s.keys.SecretKey, ""), TrailingHeaders: trailers}
	if len(tries) > 0 {
		opts.MaxRetries = tries[0]
	}
	c, err := minio.New(address(s.config.Port), opts)
	require.NoError(t, err)
	return c
}

func TestStoreSpeaksS3(t *testing.T) {
	s := newTestStore(t, Config{})
	t.Run("objects", func(t *testing.T) { testObjects(t, s) })
	t.Run("settings", func(t *testing.T) { testSettings(t, s) })
	t.Run("conditions", func(t *testing.T) { testConditions(t, s) })
	t.Run("trailing checksums", func(t *testing.T) { testTrailers(t, s) })
	t.Run("truncated uploads", func(t *testing.T) { testTruncated(t, s) })
	t.Run("strangers", func(t *testing.T) { testStrangers(t, s) })
	t.Run("sync", func(t *testing.T) { testSync(t, s) })
}

func TestStoreWithSidecars(t *testing.T) {
	s := newTestStore(t, Config{sidecar: true})
	testObjects(t, s)
	testConditions(t, s)
	testTruncated(t, s)
	require.DirExists(t, s.dir.file("store/metadata/"+bucket))
	// The choice stays, whatever a later start would choose.
	dir, err := metadataDir(s.dir, Config{Logger: s.logger})
	require.NoError(t, err)
	require.Equal(t, s.dir.file("store/metadata"), dir)
}

func testObjects(t *testing.T, s *testStore) {
	c, ctx := s.client(t, false), t.Context()
	for _, size := range []int{0, 1, 64 << 10, 20 << 20} {
		for _, single := range []bool{true, false} {
			data := random(size)
			opts := minio.PutObjectOptions{UserMetadata: map[string]string{"digest": "abc"}, DisableMultipart: single}
			_, err := c.PutObject(ctx, bucket, "objects/a", bytes.NewReader(data), int64(size), opts)
			require.NoError(t, err)
			info, err := c.StatObject(ctx, bucket, "objects/a", minio.StatObjectOptions{})
			require.NoError(t, err)
			require.EqualValues(t, size, info.Size)
			require.Equal(t, "abc", info.UserMetadata["Digest"])
			require.Equal(t, data, s.read(t, "objects/a"))
		}
	}
	_, err := c.CopyObject(ctx, minio.CopyDestOptions{Bucket: bucket, Object: "objects/b"},
		minio.CopySrcOptions{Bucket: bucket, Object: "objects/a"})
	require.NoError(t, err, "a copy, which fails where CopyObjectThreshold is left at zero")
	require.Equal(t, s.read(t, "objects/a"), s.read(t, "objects/b"))
	var keys []string
	for o := range c.ListObjects(ctx, bucket, minio.ListObjectsOptions{Prefix: "objects/", Recursive: true}) {
		require.NoError(t, o.Err)
		keys = append(keys, o.Key)
	}
	require.Equal(t, []string{"objects/a", "objects/b"}, keys)
	require.NoError(t, c.RemoveObject(ctx, bucket, "objects/b", minio.RemoveObjectOptions{}))
	require.True(t, s.missing(t, "objects/b"))
}

// testSettings sends a body to a handler that reads it by itself, as a whole.
func testSettings(t *testing.T, s *testStore) {
	c := s.client(t, false)
	want, err := tags.NewTags(map[string]string{"line": "7"}, false)
	require.NoError(t, err)
	for range 20 {
		require.NoError(t, c.SetBucketTagging(t.Context(), bucket, want))
		got, err := c.GetBucketTagging(t.Context(), bucket)
		require.NoError(t, err)
		require.Equal(t, want.ToMap(), got.ToMap())
	}
}

func testConditions(t *testing.T, s *testStore) {
	c, ctx := s.client(t, true), t.Context()
	size := 8
	put := func(set func(*minio.PutObjectOptions)) (minio.UploadInfo, error) {
		opts := minio.PutObjectOptions{DisableMultipart: true}
		set(&opts)
		return c.PutObject(ctx, bucket, "pointer", bytes.NewReader(random(size)), int64(size), opts)
	}
	absent := func(o *minio.PutObjectOptions) { o.SetMatchETagExcept("*") }
	first, err := put(absent)
	require.NoError(t, err)
	_, err = put(absent)
	require.Equal(t, http.StatusPreconditionFailed, minio.ToErrorResponse(err).StatusCode)
	second, err := put(func(o *minio.PutObjectOptions) { o.SetMatchETag(first.ETag) })
	require.NoError(t, err)
	require.NotEqual(t, first.ETag, second.ETag)
	_, err = put(func(o *minio.PutObjectOptions) { o.SetMatchETag(first.ETag) })
	require.Equal(t, http.StatusPreconditionFailed, minio.ToErrorResponse(err).StatusCode)
	// The answer to a large upload comes before its end: it must be read as an
	// answer, not as a reset connection that clients retry for minutes.
	size, c = 8<<20, s.client(t, true, 1)
	for range 20 {
		_, err = put(absent)
		require.Equal(t, http.StatusPreconditionFailed, minio.ToErrorResponse(err).StatusCode, "%v", err)
	}
}

func testTrailers(t *testing.T, s *testStore) {
	c, ctx := s.client(t, true), t.Context()
	for _, checksum := range []minio.ChecksumType{minio.ChecksumCRC32C, minio.ChecksumSHA256} {
		for _, size := range []int{1, 64<<10 - 1, 64 << 10, 64<<10 + 1, 3 << 20, 20 << 20} {
			data := random(size)
			_, err := c.PutObject(ctx, bucket, "trailers", io.MultiReader(bytes.NewReader(data)), int64(size),
				minio.PutObjectOptions{Checksum: checksum, DisableMultipart: true})
			require.NoError(t, err, "%s, %d bytes", checksum, size)
			require.Equal(t, data, s.read(t, "trailers"))
			if checksum == minio.ChecksumSHA256 {
				info, err := c.StatObject(ctx, bucket, "trailers", minio.StatObjectOptions{Checksum: true})
				require.NoError(t, err)
				require.Equal(t, base64.StdEncoding.EncodeToString(digest(data)), info.ChecksumSHA256)
			}
		}
	}
}

func digest(data []byte) []byte {
	d := sha256.Sum256(data)
	return d[:]
}

// testTruncated has clients die in the middle of an upload, in each way that a
// body can be sent: nothing of it may ever be seen. Each way is used for a whole
// upload first, to show that it would work.
func testTruncated(t *testing.T, s *testStore) {
	whole := random(1 << 20)
	for name, put := range map[string]func(*testing.T, io.Reader) error{
		"signed chunks": func(t *testing.T, body io.Reader) error {
			return s.minioPut(t, body, minio.PutObjectOptions{DisableMultipart: true})
		},
		"signed trailer": func(t *testing.T, body io.Reader) error {
			return s.minioPut(t, body, minio.PutObjectOptions{DisableMultipart: true, Checksum: minio.ChecksumCRC32C})
		},
		"presigned": func(t *testing.T, body io.Reader) error {
			to, err := s.client(t, false).PresignedPutObject(t.Context(), bucket, "half", time.Minute)
			require.NoError(t, err)
			return do(request(t, to, body))
		},
		"unsigned": func(t *testing.T, body io.Reader) error {
			r := request(t, s.url("half"), body)
			r.Header.Set("X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD")
			return do(signer.SignV4(*r, s.keys.AccessKey, s.keys.SecretKey, "", region))
		},
		"unsigned trailer": func(t *testing.T, body io.Reader) error {
			r := request(t, s.url("half"), body)
			r.Header.Set("X-Amz-Content-Sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER")
			sum := minio.ChecksumCRC32C.EncodeToString(whole)
			return do(signer.SignV4Trailer(*r, s.keys.AccessKey, s.keys.SecretKey, "", region, http.Header{"X-Amz-Checksum-Crc32c": {sum}}))
		},
	} {
		t.Run(name, func(t *testing.T) {
			require.NoError(t, put(t, bytes.NewReader(whole)))
			require.Equal(t, whole, s.read(t, "half"))
			require.NoError(t, s.client(t, false).RemoveObject(t.Context(), bucket, "half", minio.RemoveObjectOptions{}))
			require.Error(t, put(t, io.MultiReader(bytes.NewReader(whole[:len(whole)/2]), dying{})))
			time.Sleep(100 * time.Millisecond) // the server notices at its own pace
			require.True(t, s.missing(t, "half"), "half an object was published")
		})
	}
}

const region = "us-east-1"

func (s *testStore) minioPut(t *testing.T, body io.Reader, opts minio.PutObjectOptions) error {
	_, err := s.client(t, opts.Checksum.IsSet()).PutObject(t.Context(), bucket, "half", io.MultiReader(body), 1<<20, opts)
	return err
}

func (s *testStore) url(key string) *url.URL {
	return &url.URL{Scheme: "http", Host: address(s.config.Port), Path: "/" + bucket + "/" + key}
}

// request announces 1 MiB, whatever body has.
func request(t *testing.T, to *url.URL, body io.Reader) *http.Request {
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPut, to.String(), io.NopCloser(body))
	require.NoError(t, err)
	r.ContentLength = 1 << 20
	return r
}

func do(r *http.Request) error {
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(res.Body)
		return fmt.Errorf("%s: %s", res.Status, text)
	}
	return nil
}

var errDied = errors.New("client died")

// dying is the end of a body whose sender dies.
type dying struct{}

func (dying) Read([]byte) (int, error) {
	time.Sleep(20 * time.Millisecond) // so that what was sent has arrived
	return 0, errDied
}

func (s *testStore) read(t *testing.T, key string) []byte {
	t.Helper()
	o, err := s.client(t, false).GetObject(t.Context(), bucket, key, minio.GetObjectOptions{})
	require.NoError(t, err)
	data, err := io.ReadAll(o)
	require.NoError(t, err)
	return data
}

func (s *testStore) missing(t *testing.T, key string) bool {
	t.Helper()
	_, err := s.client(t, false).StatObject(t.Context(), bucket, key, minio.StatObjectOptions{})
	if err == nil {
		return false
	}
	require.Equal(t, http.StatusNotFound, minio.ToErrorResponse(err).StatusCode, "%v", err)
	return true
}

func testStrangers(t *testing.T, s *testStore) {
	c, err := minio.New(address(s.config.Port), &minio.Options{Creds: miniocreds.NewStaticV4(s.keys.AccessKey, "wrong", "")})
	require.NoError(t, err)
	_, err = c.ListBuckets(t.Context())
	require.Equal(t, http.StatusForbidden, minio.ToErrorResponse(err).StatusCode)
}

func testSync(t *testing.T, s *testStore) {
	for want, token := range map[int]string{http.StatusNoContent: s.keys.SyncToken, http.StatusForbidden: "guess"} {
		res, err := http.Post(syncURL(s.config.Port, token), "", nil)
		require.NoError(t, err)
		_ = res.Body.Close()
		require.Equal(t, want, res.StatusCode)
	}
}

func TestStoreComesBack(t *testing.T) {
	s := newTestStore(t, Config{})
	c := s.client(t, false)
	data := random(1000)
	_, err := c.PutObject(t.Context(), bucket, "kept", bytes.NewReader(data), 1000, minio.PutObjectOptions{})
	require.NoError(t, err)
	url := "http://" + address(s.config.Port) + healthPath(s.config.HealthKey)
	for range 3 {
		pid := int(s.pid.Load())
		require.NoError(t, syscall.Kill(pid, syscall.SIGINT))
		require.NoError(t, syscall.Kill(pid, syscall.SIGTERM))
		time.Sleep(50 * time.Millisecond)
		require.NoError(t, get(t.Context(), url), "neither a Ctrl-C nor a request to end that the parent got too ends it")
		require.Equal(t, pid, int(s.pid.Load()))
		require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
		killed := time.Now()
		require.Eventually(t, func() bool { return int(s.pid.Load()) != pid && get(t.Context(), url) == nil },
			30*time.Second, 5*time.Millisecond)
		t.Logf("back after %s", time.Since(killed).Round(time.Millisecond))
		require.Equal(t, data, s.read(t, "kept"))
	}
	require.Empty(t, s.failed)
}

func TestStoreGivesUp(t *testing.T) {
	dir, err := openDataDir(t.TempDir())
	require.NoError(t, err)
	failed := make(chan error, 1)
	s := &storeProcess{
		config:  storeConfig{Port: 1, DataDir: dir.file("absent"), LockFile: dir.file("store/lock")},
		logName: dir.file("logs/store.log"), logger: slog.New(slog.DiscardHandler),
		fail: func(err error) { failed <- err }, pause: time.Millisecond,
		ready: make(chan error, 1), quit: make(chan struct{}), done: make(chan struct{}),
	}
	go s.supervise()
	err = s.waitReady(t.Context())
	require.ErrorContains(t, err, "ended 10 times in a row")
	require.ErrorContains(t, err, "absent", "the reason, from the child's log")
	require.Error(t, <-failed)
	require.NoError(t, s.stop(t.Context()))
}

// TestStoreWaitsForAStaleOne: of two children on one folder, as when a killed
// parent's is still there, the second serves once the first has ended.
func TestStoreWaitsForAStaleOne(t *testing.T) {
	first := newTestStore(t, Config{})
	port, err := freePort(nil)
	require.NoError(t, err)
	second, err := startStore(first.dir, port, first.keys, Config{Logger: first.logger}, func(error) {})
	require.NoError(t, err)
	defer func() { require.NoError(t, second.stop(context.Background())) }()
	url := "http://" + address(port) + healthPath(second.config.HealthKey)
	time.Sleep(500 * time.Millisecond)
	require.ErrorContains(t, get(t.Context(), url), "refused")
	require.NoError(t, first.stop(t.Context()))
	require.NoError(t, second.waitReady(t.Context()))
	require.NoError(t, get(t.Context(), url))
}

// TestStoreEndsWithItsInput is how the child follows its parent where there is
// no parent-death signal.
func TestStoreEndsWithItsInput(t *testing.T) {
	s := newTestStore(t, Config{})
	cmd := exec.Command(os.Args[0], StoreCommand)
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	require.NoError(t, in.Close())
	require.Error(t, cmd.Wait(), "without a configuration")

	began := time.Now()
	pid := int(s.pid.Load())
	require.NoError(t, s.stop(t.Context()))
	require.Less(t, time.Since(began), stopPatience, "it ends by itself")
	require.ErrorIs(t, syscall.Kill(pid, 0), syscall.ESRCH)
}
