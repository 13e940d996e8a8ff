package activities

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"
)

const (
	scratchPrefix = "defectforge-scratch-"
	scratchLock   = ".lock"
	// scratchGrace keeps a folder that is being made from being taken for one
	// that was left behind.
	scratchGrace = time.Minute
)

// scratch makes a folder for an activity's temporary files below base, the
// system's where base is empty. Killed processes leave theirs behind, with
// checkpoints of hundreds of megabytes in them: those are removed first. Their
// locks are free, as the system releases those of a process that ends.
func scratch(base string) (dir string, cleanUp func(), err error) {
	if base == "" {
		base = os.TempDir()
	}
	sweepScratch(base)
	if dir, err = os.MkdirTemp(base, scratchPrefix); err != nil {
		return "", nil, fmt.Errorf("make scratch folder: %w", err)
	}
	lock := flock.New(filepath.Join(dir, scratchLock))
	if ok, err := lock.TryLock(); err != nil || !ok {
		if err == nil {
			err = errors.New("somebody else holds it")
		}
		return "", nil, errors.Join(fmt.Errorf("lock scratch folder %s: %w", dir, err), os.RemoveAll(dir))
	}
	return dir, func() {
		// What can't be removed now is removed by a later activity.
		_ = lock.Close()
		_ = os.RemoveAll(dir)
	}, nil
}

// sweepScratch removes folders below base whose process is gone. Failures are
// left for the next time.
func sweepScratch(base string) {
	dirs, _ := filepath.Glob(filepath.Join(base, scratchPrefix+"*"))
	for _, dir := range dirs {
		info, err := os.Lstat(dir)
		if err != nil || !info.IsDir() || time.Since(info.ModTime()) < scratchGrace {
			continue
		}
		lock := flock.New(filepath.Join(dir, scratchLock))
		if ok, err := lock.TryLock(); err == nil && ok {
			_ = lock.Close()
			_ = os.RemoveAll(dir)
		}
	}
}
