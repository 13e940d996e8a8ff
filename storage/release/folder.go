package release

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/defectforge/defectforge/storage"
	"github.com/defectforge/defectforge/storage/folder"
)

// OpenDir opens a release that Pull has put into a folder. See Open.
func OpenDir(ctx context.Context, dir string, opts ...Option) (*Release, error) {
	b, m, err := openFolder(dir)
	if err != nil {
		return nil, err
	}
	return Open(ctx, b, m.Class, m.Release, opts...)
}

// VerifyDir is Verify for a release that Pull has put into a folder. It needs
// no bucket, and so knows neither pointer nor withdrawals.
func VerifyDir(ctx context.Context, dir string, opts ...Option) (Report, error) {
	b, m, err := openFolder(dir)
	if errors.Is(err, ErrMalformed) || errors.Is(err, fs.ErrNotExist) || errors.Is(err, storage.ErrTooLarge) {
		return Report{Signature: SignatureNone, Problems: []string{ManifestName + ": " + err.Error()}}, nil
	}
	if err != nil {
		return Report{}, err
	}
	return Verify(ctx, b, m.Class, m.Release, opts...)
}

func openFolder(dir string) (storage.Reader, Manifest, error) {
	f, err := os.Open(filepath.Join(dir, ManifestName))
	if err != nil {
		return nil, Manifest{}, fmt.Errorf("open release: %w", err)
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, maxManifest+1))
	if err != nil {
		return nil, Manifest{}, fmt.Errorf("open release: %w", err)
	}
	m, err := DecodeManifest(raw)
	if err != nil {
		return nil, Manifest{}, fmt.Errorf("open release in folder %q: %w", dir, err)
	}
	return folder.Open(dir, Prefix(m.Class, m.Release)), m, nil
}
