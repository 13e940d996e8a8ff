package memory

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"

	"github.com/defectforge/defectforge/storage"
)

// InFolder returns an empty bucket that keeps the bytes of its objects in files of
// its own in dir, which must exist, so that memory does not grow with them. Which
// file is which object's is not written down, so the objects last as long as
// the process does. The folder is the caller's to remove.
func InFolder(dir string) *Bucket {
	return &Bucket{keep: func(body io.Reader) (content, error) { return keepFile(dir, body) }, objects: map[string]object{}}
}

type inFile string // its path

func keepFile(dir string, body io.Reader) (content, error) {
	f, err := os.CreateTemp(dir, "object-*")
	if err != nil {
		return nil, err
	}
	_, err = io.Copy(f, body)
	if err = errors.Join(err, f.Close()); err != nil {
		_ = os.Remove(f.Name()) // the copy's failure is what counts
		return nil, err
	}
	return inFile(f.Name()), nil
}

func (c inFile) open() (io.ReadCloser, error) { return os.Open(string(c)) }

// drop leaves a file where the system does not remove one that is being read; it
// goes with its folder.
func (c inFile) drop() { _ = os.Remove(string(c)) }

// meter counts and digests what is read through it.
type meter struct {
	r    io.Reader
	n    int64
	hash hash.Hash
}

func newMeter(r io.Reader) *meter { return &meter{r: r, hash: sha256.New()} }

func (m *meter) Read(p []byte) (int, error) {
	n, err := m.r.Read(p)
	m.n += int64(n)
	m.hash.Write(p[:n])
	return n, err
}

// check compares what has passed with what its writer states.
func (m *meter) check(size int64, sha256 string) error {
	if m.n != size {
		return fmt.Errorf("%w: a body of %d bytes, stated were %d", storage.ErrCorrupt, m.n, size)
	}
	if digest := hex.EncodeToString(m.hash.Sum(nil)); digest != sha256 {
		return fmt.Errorf("%w: SHA-256 is %s, stated was %s", storage.ErrCorrupt, digest, sha256)
	}
	return nil
}
