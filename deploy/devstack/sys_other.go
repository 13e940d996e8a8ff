//go:build !linux

package devstack

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
)

// executable is this binary.
func executable() string {
	if name, err := os.Executable(); err == nil {
		return name
	}
	return os.Args[0]
}

// detach does nothing here: the child ignores a terminal's signals and ends
// with its standard input.
func detach(*exec.Cmd) {}

// syncFS flushes every file below dir, as there is no call for a whole file
// system.
func syncFS(dir string) error {
	err := filepath.WalkDir(dir, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return ignoreGone(err)
		}
		f, err := os.OpenFile(name, os.O_RDWR, 0)
		if err != nil {
			return ignoreGone(err)
		}
		return errors.Join(f.Sync(), f.Close())
	})
	if err != nil {
		return fmt.Errorf("sync store: %w", err)
	}
	return nil
}

func ignoreGone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
