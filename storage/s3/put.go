package s3

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"path"
	"sync"

	"github.com/minio/minio-go/v7"

	"github.com/defectforge/defectforge/storage"
)

// putRetries bounds how often an upload is repeated after an answer that
// another attempt may change: a conflict with a concurrent writer, or bytes
// that were damaged on their way. The library itself repeats what the network
// and overloaded stores spoil.
const putRetries = 6

// lookFirst is the size in bytes above which a condition is looked into before
// the body is sent, to spare sending it in vain.
const lookFirst = 1 << 20

// Put implements storage.Bucket. The object goes in one request, however large
// (S3 itself allows 5 GiB): only that is atomic together with a condition. The
// request is signed over the body's SHA-256, so that the store refuses bytes
// that were damaged or cut short on their way.
func (b *Bucket) Put(
	ctx context.Context, key string, body io.ReadSeeker, size int64, digest string, cond storage.Condition,
) (storage.Info, error) {
	op := b.op("put", key)
	src, err := newSource(body, size, digest)
	if err != nil {
		return storage.Info{}, b.client.fail(ctx, op, err)
	}
	if size > lookFirst {
		if decided, info, err := b.decided(ctx, op, key, size, digest, cond); decided {
			return info, err
		}
	}
	for attempt := 0; ; attempt++ {
		uploaded, err := b.client.core.PutObject(ctx, b.name, key, src, size, "", digest, putOptions(key, digest, cond))
		if err == nil {
			return storage.Info{Key: key, Size: size, ETag: uploaded.ETag, Modified: uploaded.LastModified, SHA256: digest}, nil
		}
		err = b.client.fail(ctx, op, err)
		if refused(err, cond) {
			return b.settle(ctx, op, key, size, digest)
		}
		if unanswered(err) {
			if decided, info, err := b.decided(ctx, op, key, size, digest, cond); decided {
				return info, err
			}
		}
		if attempt == putRetries || !repeatable(err, attempt) || !pause(ctx, attempt) {
			return storage.Info{}, err
		}
	}
}

func putOptions(key, digest string, cond storage.Condition) minio.PutObjectOptions {
	kind := mime.TypeByExtension(path.Ext(key))
	opts := minio.PutObjectOptions{
		DisableMultipart:     true,
		DisableContentSha256: true, // no chunked signature: the whole body's digest is signed
		ContentType:          kind,
		UserMetadata:         map[string]string{digestField: digest, "x-amz-checksum-sha256": checksum(digest)},
	}
	if cond.IfAbsent {
		opts.SetMatchETagExcept("*")
	}
	if cond.IfETag != "" {
		opts.SetMatchETag(cond.IfETag)
	}
	return opts
}

// refused reports whether cond did not hold. A store answers 404 where there is
// nothing to match an ETag with.
func refused(err error, cond storage.Condition) bool {
	if errors.Is(err, storage.ErrPrecondition) {
		return true
	}
	var e *Error
	return cond.IfETag != "" && errors.As(err, &e) && e.Code != "NoSuchBucket" && errors.Is(err, storage.ErrNotFound)
}

// unanswered reports whether the store gave no answer, though there was time.
func unanswered(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Status == 0 && e.kind == nil
}

// decided reports whether cond is known not to hold, and what a write results in
// then. Stores that refuse a write before they have read it may close the
// connection while the client still sends, so that it never sees the refusal.
func (b *Bucket) decided(
	ctx context.Context, op, key string, size int64, digest string, cond storage.Condition,
) (bool, storage.Info, error) {
	if cond == (storage.Condition{}) {
		return false, storage.Info{}, nil
	}
	present, err := b.Stat(ctx, key)
	holds := err != nil && cond.IfETag == "" || err == nil && !cond.IfAbsent && present.ETag == cond.IfETag
	if holds || err != nil && !errors.Is(err, storage.ErrNotFound) {
		return false, storage.Info{}, nil
	}
	info, err := b.settle(ctx, op, key, size, digest)
	return true, info, err
}

// repeatable reports whether another attempt may fare better.
func repeatable(err error, attempt int) bool {
	var e *Error
	if !errors.As(err, &e) {
		return false
	}
	return e.Status == http.StatusConflict || errors.Is(err, storage.ErrCorrupt) && attempt < 2 || e.Code == "IncompleteBody"
}

// settle decides what a refused write amounts to: the refusal may have been
// provoked by this very write, of which an earlier reply was lost.
func (b *Bucket) settle(ctx context.Context, op, key string, size int64, digest string) (storage.Info, error) {
	info, err := b.Stat(ctx, key)
	if err != nil && !errors.Is(err, storage.ErrNotFound) {
		return storage.Info{}, err
	}
	if err == nil && info.Size == size {
		same := info.SHA256 == digest
		if info.SHA256 == "" { // written by another tool
			if same, err = b.holds(ctx, key, digest); err != nil {
				return storage.Info{}, err
			}
		}
		if same {
			info.SHA256 = digest
			return info, nil
		}
	}
	return storage.Info{}, &Error{Op: op, kind: storage.ErrPrecondition, Status: http.StatusPreconditionFailed}
}

// holds reports whether the bytes under key have the digest.
func (b *Bucket) holds(ctx context.Context, key, digest string) (bool, error) {
	r, _, err := b.Get(ctx, key)
	if err != nil {
		return false, err
	}
	defer r.Close()
	h := sha256.New()
	if _, err := io.Copy(h, r); err != nil {
		return false, b.client.fail(ctx, b.op("read", key), err)
	}
	return hex.EncodeToString(h.Sum(nil)) == digest, nil
}

// source is an upload's body: it hides whatever else the caller's reader can
// do, of which the library would make use. The lock is for attempts that
// overlap: an old one's sender may still read when the next one rewinds. What
// such a mix-up sends has another digest than was signed, and is refused.
type source struct {
	mu   sync.Mutex
	body io.ReadSeeker
}

func newSource(body io.ReadSeeker, size int64, digest string) (*source, error) {
	if raw, err := hex.DecodeString(digest); err != nil || len(raw) != sha256.Size {
		return nil, fmt.Errorf("%w: stated SHA-256 %q is none", storage.ErrCorrupt, digest)
	}
	end, err := body.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, fmt.Errorf("measure body: %w", err)
	}
	if end != size {
		return nil, fmt.Errorf("%w: a body of %d bytes, stated were %d", storage.ErrCorrupt, end, size)
	}
	if _, err := body.Seek(0, io.SeekStart); err != nil {
		return nil, fmt.Errorf("rewind body: %w", err)
	}
	return &source{body: body}, nil
}

func (s *source) Read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.body.Read(p)
}

func (s *source) Seek(offset int64, whence int) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.body.Seek(offset, whence)
}
