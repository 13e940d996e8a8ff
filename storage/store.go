package storage

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
)

// ErrTooLarge: an object exceeds the limit that the caller set.
var ErrTooLarge = errors.New("object too large")

// Object names one stored object and its content.
type Object struct {
	Key    string `json:"key"`
	SHA256 string `json:"sha256"` // lower-case hex
	Size   int64  `json:"size"`   // bytes
}

// ArtifactPrefix begins the keys of artifacts.
const ArtifactPrefix = "artifacts/sha256/"

// Store keeps artifacts in a bucket. It may be used concurrently.
type Store struct {
	View
	bucket Bucket
}

// New returns a store on b.
func New(b Bucket) *Store { return &Store{ViewOf(b), b} }

// Bucket returns the bucket that the store keeps everything in.
func (s *Store) Bucket() Bucket { return s.bucket }

// Digest returns the SHA-256 of data in lower-case hex.
func Digest(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// PutArtifact stores data under a key that names its content,
// artifacts/sha256/ab/<digest><ext>; ext is "" or like ".json". Bytes that are
// there already are not sent again, unless they have been there for long.
func (s *Store) PutArtifact(ctx context.Context, data []byte, ext string) (Object, error) {
	return s.putArtifact(ctx, bytes.NewReader(data), Digest(data), int64(len(data)), ext)
}

// PutArtifactFile is PutArtifact for the file at path, which is read twice and
// never held in memory.
func (s *Store) PutArtifactFile(ctx context.Context, path, ext string) (Object, error) {
	return withFile(path, func(f *os.File, digest string, size int64) (Object, error) {
		return s.putArtifact(ctx, f, digest, size, ext)
	})
}

// ArtifactKey is the key of the artifact with a digest; ErrKey where digest is
// none, or ext no part of a key.
func ArtifactKey(digest, ext string) (string, error) {
	if !validDigest(digest) {
		return "", fmt.Errorf("%w: digest %q", ErrKey, digest)
	}
	key := ArtifactPrefix + digest[:2] + "/" + digest + ext
	if err := ValidKey(key); err != nil {
		return "", fmt.Errorf("extension %q: %w", ext, err)
	}
	return key, nil
}

func (s *Store) putArtifact(ctx context.Context, body io.ReadSeeker, digest string, size int64, ext string) (Object, error) {
	key, err := ArtifactKey(digest, ext)
	if err != nil {
		return Object{}, fmt.Errorf("store artifact: %w", err)
	}
	obj := Object{Key: key, SHA256: digest, Size: size}
	info, err := s.bucket.Stat(ctx, obj.Key)
	there := err == nil && info.Size == size && (info.SHA256 == digest || info.SHA256 == "")
	switch {
	case there && !info.old():
		return obj, nil
	case err != nil && !errors.Is(err, ErrNotFound):
		return Object{}, fmt.Errorf("store artifact: %w", err)
	}
	// Whatever else lies there can't be the artifact: it is replaced. An old one is
	// written again, so that no clean-up takes it; see Keep.
	if err := s.put(ctx, obj, body); err != nil || !there {
		return obj, wrapPut(err)
	}
	waited, err := s.Settle(ctx, info.Modified)
	if err == nil && waited {
		err = s.put(ctx, obj, body)
	}
	return obj, wrapPut(err)
}

func (s *Store) put(ctx context.Context, obj Object, body io.ReadSeeker) error {
	_, err := s.bucket.Put(ctx, obj.Key, body, obj.Size, obj.SHA256, Condition{})
	return err
}

func wrapPut(err error) error {
	if err != nil {
		return fmt.Errorf("store artifact: %w", err)
	}
	return nil
}

// PutNamed stores data under key, in place of what was there.
func (s *Store) PutNamed(ctx context.Context, key string, data []byte) (Object, error) {
	return s.putNamed(ctx, key, bytes.NewReader(data), Digest(data), int64(len(data)))
}

// PutNamedFile is PutNamed for the file at path, which is read twice and never
// held in memory.
func (s *Store) PutNamedFile(ctx context.Context, key, path string) (Object, error) {
	return withFile(path, func(f *os.File, digest string, size int64) (Object, error) {
		return s.putNamed(ctx, key, f, digest, size)
	})
}

func (s *Store) putNamed(ctx context.Context, key string, body io.ReadSeeker, digest string, size int64) (Object, error) {
	if err := ValidKey(key); err != nil {
		return Object{}, fmt.Errorf("store object: %w", err)
	}
	if _, err := s.bucket.Put(ctx, key, body, size, digest, Condition{}); err != nil {
		return Object{}, fmt.Errorf("store object: %w", err)
	}
	return Object{Key: key, SHA256: digest, Size: size}, nil
}

// withFile opens path, digests it and hands it on, at its start.
func withFile(path string, use func(f *os.File, digest string, size int64) (Object, error)) (Object, error) {
	f, err := os.Open(path)
	if err != nil {
		return Object{}, fmt.Errorf("store file: %w", err)
	}
	defer f.Close()
	h := sha256.New()
	size, err := io.Copy(h, f)
	if err != nil {
		return Object{}, fmt.Errorf("digest file: %w", err)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return Object{}, fmt.Errorf("store file: %w", err)
	}
	return use(f, hex.EncodeToString(h.Sum(nil)), size)
}
