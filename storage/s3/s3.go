package s3

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"time"

	"github.com/minio/minio-go/v7"

	"github.com/defectforge/defectforge/storage"
)

// Bucket is a storage.Bucket in a store that speaks S3. Its errors for what the
// store refuses are of type *Error.
type Bucket struct {
	client *Client
	name   string
}

// Name is the bucket's.
func (b *Bucket) Name() string { return b.name }

// Client returns the connection, for other buckets of the same store.
func (b *Bucket) Client() *Client { return b.client }

// ensure fails unless the bucket exists, and may create it.
func (b *Bucket) ensure(ctx context.Context, create bool, region string) error {
	exists, err := b.Exists(ctx)
	if err != nil || exists {
		return err
	}
	if !create {
		return &Error{Op: b.op("open", ""), kind: storage.ErrNotFound, Text: "create it, or allow it to be created"}
	}
	err = b.client.core.MakeBucket(ctx, b.name, minio.MakeBucketOptions{Region: region})
	switch code := minio.ToErrorResponse(err).Code; code {
	case "BucketAlreadyOwnedByYou", "BucketAlreadyExists": // somebody else was quicker
		return nil
	}
	return b.client.fail(ctx, b.op("create", ""), err)
}

// Exists reports whether the bucket is there.
func (b *Bucket) Exists(ctx context.Context) (bool, error) {
	exists, err := b.client.core.BucketExists(ctx, b.name)
	if err == nil {
		return exists, nil
	}
	if err = b.client.fail(ctx, b.op("look for", ""), err); errors.Is(err, storage.ErrNotFound) {
		return false, nil // some stores give another code for it
	}
	return false, err
}

// Get implements storage.Bucket.
func (b *Bucket) Get(ctx context.Context, key string) (io.ReadCloser, storage.Info, error) {
	// One plain request: the library's other reader asks twice and resumes by
	// itself, which Store does with better knowledge.
	body, info, _, err := b.client.core.GetObject(ctx, b.name, key, minio.GetObjectOptions{})
	if err != nil {
		return nil, storage.Info{}, b.client.fail(ctx, b.op("get", key), err)
	}
	return body, describe(key, info), nil
}

// Stat implements storage.Bucket.
func (b *Bucket) Stat(ctx context.Context, key string) (storage.Info, error) {
	info, err := b.client.core.StatObject(ctx, b.name, key, minio.StatObjectOptions{})
	if err != nil {
		return storage.Info{}, b.client.fail(ctx, b.op("stat", key), err)
	}
	return describe(key, info), nil
}

// digestField names the digest among an object's user metadata.
const digestField = "Sha256"

func describe(key string, info minio.ObjectInfo) storage.Info {
	digest := info.UserMetadata[digestField]
	if raw, err := hex.DecodeString(digest); err != nil || len(raw) != 32 {
		digest = ""
	}
	return storage.Info{Key: key, Size: info.Size, ETag: info.ETag, Modified: info.LastModified, SHA256: digest}
}

// List implements storage.Bucket. Listings carry no digests.
func (b *Bucket) List(ctx context.Context, prefix string) iter.Seq2[storage.Info, error] {
	return func(yield func(storage.Info, error) bool) {
		owner := false
		options := minio.ListObjectsOptions{Prefix: prefix, Recursive: true, FetchOwner: &owner}
		for info := range b.client.core.ListObjectsIter(ctx, b.name, options) {
			err := info.Err
			if err == nil {
				err = ctx.Err()
			}
			if err != nil {
				yield(storage.Info{}, b.client.fail(ctx, b.op("list", prefix), err))
				return
			}
			if !yield(describe(info.Key, info), nil) {
				return
			}
		}
		// The library ends quietly where the context does.
		if err := ctx.Err(); err != nil {
			yield(storage.Info{}, b.client.fail(ctx, b.op("list", prefix), err))
		}
	}
}

// Delete implements storage.Bucket.
func (b *Bucket) Delete(ctx context.Context, key string) error {
	err := b.client.core.RemoveObject(ctx, b.name, key, minio.RemoveObjectOptions{})
	if minio.ToErrorResponse(err).Code == "NoSuchKey" {
		return nil
	}
	return b.client.fail(ctx, b.op("delete", key), err)
}

// Sync implements storage.Bucket: it posts to Config.SyncURL, if there is one.
func (b *Bucket) Sync(ctx context.Context) error {
	if b.client.syncURL == "" {
		return ctx.Err()
	}
	op := "sync object store at " + b.client.host
	for attempt := 0; ; attempt++ {
		err := b.client.sync(ctx)
		if err == nil {
			return nil
		}
		if attempt == syncRetries || !pause(ctx, attempt) {
			return b.client.fail(ctx, op, err)
		}
	}
}

// syncRetries bounds how often a failed sync is repeated: enough for a store
// that is being restarted.
const syncRetries = 8

func (c *Client) sync(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.syncURL, nil)
	if err != nil {
		return errors.New("the sync URL is malformed")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("the sync URL answered %s", resp.Status)
	}
	return nil
}

// pause waits before another attempt, 50 ms doubling to 2 s; false if ctx ends.
func pause(ctx context.Context, attempt int) bool {
	timer := time.NewTimer(min(50*time.Millisecond<<attempt, 2*time.Second))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// checksum is the header form of a hex digest.
func checksum(digest string) string {
	raw, _ := hex.DecodeString(digest)
	return base64.StdEncoding.EncodeToString(raw)
}
