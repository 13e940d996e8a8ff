package release

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/defectforge/defectforge/storage"
)

// Latest is a class's pointer to its newest release.
type Latest struct {
	Format         string `json:"format"`
	Class          string `json:"class"`
	Release        string `json:"release"`
	Sequence       int    `json:"sequence"` // 1 for a class's first release
	ManifestSHA256 string `json:"manifest_sha256"`
	// Earlier are the releases that were the latest before, oldest first:
	// number i has sequence i+1. It is how a repeated publish knows that its
	// work has been done and overtaken.
	Earlier []string `json:"earlier"`
}

const maxLatest = 8 << 20 // bytes

func (l Latest) encode() []byte { return append(line(l), '\n') }

func decodeLatest(raw []byte, class string) (Latest, error) {
	var l Latest
	if err := decode(raw, &l, latestFormat); err != nil {
		return Latest{}, fmt.Errorf("%s of class %q: %w", latestName, class, err)
	}
	valid := l.Class == class && isHex(l.Release, nameLength) && isHex(l.ManifestSHA256, 64) &&
		l.Sequence == len(l.Earlier)+1 && bytes.Equal(l.encode(), raw)
	for _, e := range l.Earlier {
		valid = valid && isHex(e, nameLength) && e != l.Release
	}
	if !valid {
		return Latest{}, fmt.Errorf("%s of class %q: %w", latestName, class, ErrMalformed)
	}
	return l, nil
}

func latestKey(class string) string { return Root + class + "/" + latestName }

// ReadLatest returns a class's pointer; storage.ErrNotFound where nothing has
// been published.
func ReadLatest(ctx context.Context, b storage.Reader, class string) (Latest, error) {
	l, _, err := readLatest(ctx, b, class)
	return l, err
}

func readLatest(ctx context.Context, b storage.Reader, class string) (Latest, string, error) {
	if err := validClass(class); err != nil {
		return Latest{}, "", err
	}
	raw, info, err := storage.ViewOf(b).ReadNamed(ctx, latestKey(class), maxLatest)
	if err != nil {
		return Latest{}, "", fmt.Errorf("read latest release of class %q: %w", class, err)
	}
	l, err := decodeLatest(raw, class)
	return l, info.ETag, err
}

// advance points the class at a committed release, unless it has been pointed
// at it before. It returns the release's sequence and whether it is the latest.
func advance(ctx context.Context, b storage.Bucket, class, release, digest string) (int, bool, error) {
	for attempt := 0; ; attempt++ {
		var next Latest
		var cond storage.Condition
		current, etag, err := readLatest(ctx, b, class)
		switch {
		case errors.Is(err, storage.ErrNotFound):
			cond.IfAbsent = true
			next = Latest{Earlier: []string{}}
		case err != nil:
			return 0, false, err
		case current.Release == release && current.ManifestSHA256 != digest:
			return 0, false, fmt.Errorf("move latest release of class %q: %w: %s has manifest %s, not %s",
				class, ErrConflict, release, current.ManifestSHA256, digest)
		case current.Release == release:
			return current.Sequence, true, nil
		default:
			if i := slices.Index(current.Earlier, release); i >= 0 {
				return i + 1, false, nil
			}
			cond.IfETag = etag
			next.Earlier = append(current.Earlier, current.Release)
		}
		next.Format, next.Class, next.Release, next.ManifestSHA256 = latestFormat, class, release, digest
		next.Sequence = len(next.Earlier) + 1
		raw := next.encode()
		_, err = b.Put(ctx, latestKey(class), bytes.NewReader(raw), int64(len(raw)), storage.Digest(raw), cond)
		if err == nil {
			return next.Sequence, true, nil
		}
		// Whoever was quicker has made progress, so that this ends.
		if !errors.Is(err, storage.ErrPrecondition) || !rest(ctx, attempt) {
			return 0, false, fmt.Errorf("move latest release of class %q: %w", class, err)
		}
	}
}

// rest waits a random time that grows with the attempts to 200 ms; false if ctx
// ends.
func rest(ctx context.Context, attempt int) bool {
	timer := time.NewTimer(rand.N(min(time.Duration(attempt+1)*5*time.Millisecond, 200*time.Millisecond)))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
