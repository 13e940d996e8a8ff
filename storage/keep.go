package storage

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// How runs and a clean-up live side by side.
//
// A clean-up removes what nothing refers to and what was written before its
// cutoff, which lies at least MinGrace before its beginning. So whatever a run
// writes is safe. What a run finds instead of writing it is not: no reference to
// it may be recorded yet. Therefore
//
//  1. whoever reuses an object that is older than RenewAfter writes it again first,
//     with the same bytes (Keep, PutArtifact, release.Publish);
//  2. a clean-up says in the bucket that it is removing (Sweeping) before it looks at
//     the first object that it may remove, looks at each object once more right
//     before it removes it, and takes at most RemovalWindow from that look to the
//     removal;
//  3. whoever has written an object again checks whether a clean-up is removing. If none
//     is, the next one sees the new object. If one is, and the object was older
//     than its cutoff, the removal may be on its way: it is waited for, longer than
//     RemovalWindow, and the object is looked for once more (settle).
//
// Either the clean-up sees the renewed object, or the run sees that it is gone
// and makes it again. MinGrace is more than RenewAfter, so that what is too young
// to be renewed is too young to be removed.
const (
	// MinGrace is the least grace period of a clean-up.
	MinGrace = time.Hour
	// RenewAfter is the age from which an object is written again before it is reused.
	RenewAfter = 30 * time.Minute
	// RemovalWindow bounds the time from a clean-up's last look at an object to its
	// removal.
	RemovalWindow = 5 * time.Second
	// skew is how far clocks may be apart.
	skew = 5 * time.Minute
)

// settleTime is how long to wait for a removal that may be on its way.
var settleTime = 3 * RemovalWindow

// sweepingPrefix is where clean-ups say that they are removing.
const sweepingPrefix = "cleanup/sweeping/"

// Sweeping says that a clean-up is removing objects that were written before Cutoff,
// until at the latest Until.
type Sweeping struct {
	Cutoff time.Time `json:"cutoff"`
	Until  time.Time `json:"until"`
}

// Announce says in the bucket that the clean-up called name is about to remove objects.
func (s *Store) Announce(ctx context.Context, name string, w Sweeping) error {
	raw, err := json.Marshal(w)
	if err != nil {
		return fmt.Errorf("announce clean-up: %w", err)
	}
	if _, err := s.PutNamed(ctx, sweepingKey(name), raw); err != nil {
		return fmt.Errorf("announce clean-up: %w", err)
	}
	return nil
}

// Retract takes back what Announce said: the clean-up called name has ended.
func (s *Store) Retract(ctx context.Context, name string) error {
	if err := s.bucket.Delete(ctx, sweepingKey(name)); err != nil {
		return fmt.Errorf("end clean-up: %w", err)
	}
	return nil
}

func sweepingKey(name string) string { return sweepingPrefix + Digest([]byte(name)) + ".json" }

// Settle waits where a clean-up may just be removing an object that was last
// written at modified and has been written again since. It reports whether it has
// waited: then the object may be gone.
func (s *Store) Settle(ctx context.Context, modified time.Time) (bool, error) {
	danger, err := s.endangered(ctx, modified)
	if err != nil || !danger {
		return false, err
	}
	timer := time.NewTimer(settleTime)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true, nil
	case <-ctx.Done():
		return false, ctx.Err()
	}
}

// endangered reports whether a clean-up is under way that would remove an object
// that was last written at modified.
func (s *Store) endangered(ctx context.Context, modified time.Time) (bool, error) {
	for info, err := range s.bucket.List(ctx, sweepingPrefix) {
		if err != nil {
			return false, fmt.Errorf("look for a clean-up: %w", err)
		}
		raw, _, err := s.ReadNamed(ctx, info.Key, 1<<10)
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err != nil {
			return false, fmt.Errorf("look for a clean-up: %w", err)
		}
		var w Sweeping
		if err := json.Unmarshal(raw, &w); err != nil {
			return false, fmt.Errorf("look for a clean-up: %s: %w", info.Key, err)
		}
		if time.Now().Before(w.Until.Add(skew)) && modified.Before(w.Cutoff.Add(skew)) {
			return true, nil
		}
	}
	return false, nil
}

// old reports whether an object that is to be used again must be renewed.
func (i Info) old() bool { return !i.Modified.IsZero() && time.Since(i.Modified) > RenewAfter }

// Keep reports whether obj is stored, and makes sure that a clean-up leaves it
// while the caller uses it. An old object is read and written again; anything that turns
// out not to be obj counts as absent.
func (s *Store) Keep(ctx context.Context, obj Object) (bool, error) {
	info, err := s.bucket.Stat(ctx, obj.Key)
	switch {
	case errors.Is(err, ErrNotFound), err == nil && info.Size != obj.Size:
		return false, nil
	case err != nil:
		return false, fmt.Errorf("look for %s: %w", obj.Key, err)
	case !info.old():
		return true, nil
	}
	err = s.renew(ctx, obj)
	if err == nil {
		var waited bool
		if waited, err = s.Settle(ctx, info.Modified); err == nil && waited {
			_, err = s.bucket.Stat(ctx, obj.Key)
		}
	}
	if errors.Is(err, ErrNotFound) || errors.Is(err, ErrCorrupt) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("keep %s: %w", obj.Key, err)
	}
	return true, nil
}

// renew writes an object again. The bytes pass through a file, as there may be
// many of them.
func (s *Store) renew(ctx context.Context, obj Object) error {
	const small = 1 << 20
	if obj.Size <= small {
		data, err := s.Read(ctx, obj, small)
		if err != nil {
			return err
		}
		return s.put(ctx, obj, bytes.NewReader(data))
	}
	dir, err := os.MkdirTemp("", "defectforge-keep-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "object")
	if err := s.ReadToFile(ctx, obj, path); err != nil {
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return s.put(ctx, obj, f)
}
