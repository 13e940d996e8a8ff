// Package storage keeps a run's artifacts in a bucket: content-addressed,
// verified on every read, written atomically. Drivers for actual stores are in
// its sub-packages.
package storage

import (
	"context"
	"errors"
	"io"
	"iter"
	"time"
)

// Errors that every driver reports, to be matched with errors.Is.
var (
	// ErrNotFound: the key or bucket does not exist.
	ErrNotFound = errors.New("not found")
	// ErrPrecondition: a conditional write found something else in its place.
	ErrPrecondition = errors.New("precondition failed")
	// ErrCorrupt: bytes read do not have the digest or size they should have.
	ErrCorrupt = errors.New("corrupt object")
)

// Info describes one object.
type Info struct {
	Key      string
	Size     int64
	ETag     string
	Modified time.Time
	// SHA256 is the lower-case hex digest that the writer stated, if it did.
	SHA256 string
}

// Condition restricts a write. The zero value writes unconditionally.
type Condition struct {
	// IfAbsent writes only where no object has the key.
	IfAbsent bool
	// IfETag writes only where the present object has this ETag.
	IfETag string
}

// Reader is the reading half of a Bucket, for what is never written to: a folder of
// images, a pulled release, somebody else's bucket. All methods may be called
// concurrently and may be retried. Every driver passes the suite in storagetest; one
// that only reads passes RunReader.
type Reader interface {
	// Get opens the object under key; ErrNotFound where there is none. The
	// reader must be closed. It does not verify digests: Store does.
	Get(ctx context.Context, key string) (io.ReadCloser, Info, error)
	// Stat describes the object under key; ErrNotFound where there is none.
	Stat(ctx context.Context, key string) (Info, error)
	// List yields the objects whose keys begin with prefix, in byte order of
	// keys, page by page in bounded memory. It stops at the first error.
	List(ctx context.Context, prefix string) iter.Seq2[Info, error]
}

// Bucket is what a driver provides. All methods may be called concurrently and
// may be retried: writing the same key with the same bytes twice leaves the
// same object. Every driver passes the suite in storagetest.
type Bucket interface {
	Reader
	// Put stores size bytes of body under key, all of them or none: readers
	// see the former object or the whole new one. sha256 (hex) is kept with
	// the object and checked by the store where it can. It seeks body back to
	// the start to retry. Fails with ErrPrecondition where cond does not hold;
	// never with it when the object present has the very sha256 of body.
	Put(ctx context.Context, key string, body io.ReadSeeker, size int64, sha256 string, cond Condition) (Info, error)
	// Delete removes the object under key; a missing key is no error.
	Delete(ctx context.Context, key string) error
	// Sync returns once everything written before is durable. Stores that are
	// durable on acknowledgement do nothing.
	Sync(ctx context.Context) error
}
