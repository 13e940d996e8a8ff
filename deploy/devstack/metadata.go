package devstack

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/pkg/xattr"
)

// storeFormat records how a store keeps metadata: the choice is made once, as
// the other way would not find what is there.
type storeFormat struct {
	Metadata string `json:"metadata"`
}

const (
	inXattrs   = "xattr"
	inSidecars = "sidecar"
)

// metadataDir returns the folder for metadata files, or "" where the file
// system keeps extended attributes, which is preferred: an object and its
// metadata then appear in one atomic step.
func metadataDir(dir *dataDir, cfg Config) (string, error) {
	name := dir.file("store/format.json")
	sidecars := dir.file("store/metadata")
	testErr := testXattr(dir.file("store"))
	var format storeFormat
	switch err := readJSON(name, &format); {
	case errors.Is(err, fs.ErrNotExist):
		format.Metadata = inXattrs
		if testErr != nil || cfg.sidecar {
			format.Metadata = inSidecars
			cfg.Logger.Warn("the data folder's file system keeps no extended attributes: object metadata goes to files of its own,"+
				" and a crash while an object is being replaced may leave it with the metadata of the other", "cause", testErr)
		}
		if err := writeJSON(name, format); err != nil {
			return "", err
		}
	case err != nil:
		return "", err
	}
	switch format.Metadata {
	case inXattrs:
		if testErr != nil {
			return "", fmt.Errorf("the store in %s keeps metadata in extended attributes, and its file system refuses them (%w):"+
				" move the folder, attributes included, to one that has them", dir.file("store"), testErr)
		}
		return "", nil
	case inSidecars:
		return sidecars, os.MkdirAll(sidecars, 0o700)
	}
	return "", fmt.Errorf("read %s: unknown way to keep metadata %q: the store is of a newer defectforge", name, format.Metadata)
}

// testXattr sets and reads an attribute of about the size that objects have.
func testXattr(dir string) error {
	f, err := os.CreateTemp(dir, "xattr-test-*")
	if err != nil {
		return fmt.Errorf("test extended attributes: %w", err)
	}
	defer func() {
		_ = f.Close()
		_ = os.Remove(f.Name())
	}()
	const name = "user.defectforge.test"
	if err := xattr.FSet(f, name, make([]byte, 1024)); err != nil {
		return err
	}
	if b, err := xattr.FGet(f, name); err != nil || len(b) != 1024 {
		return fmt.Errorf("read attribute back: %d bytes, %w", len(b), err)
	}
	return nil
}
