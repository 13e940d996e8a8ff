package release

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	"github.com/defectforge/defectforge/storage"
)

// Report is the outcome of Verify.
type Report struct {
	Class          string `json:"class"`
	Release        string `json:"release"`
	ManifestSHA256 string `json:"manifest_sha256"` // as it is in the bucket
	Files          int    `json:"files"`           // that the manifest lists
	Bytes          int64  `json:"bytes"`           // that the manifest lists
	// Signature is SignatureNone, SignatureUnchecked, SignatureValid or
	// SignatureInvalid.
	Signature string `json:"signature"`
	// Withdrawn says that the release, as it was published or not, is not to be
	// used.
	Withdrawn *Withdrawal `json:"withdrawn,omitempty"`
	OK        bool        `json:"ok"`
	// Problems name what is wrong, each beginning with the file's path, by path.
	Problems []string `json:"problems"`
}

// What Verify found out about the manifest's signature.
const (
	SignatureNone      = "none"      // there is none, and none was demanded
	SignatureUnchecked = "unchecked" // there is one, and no key to check it with
	SignatureValid     = "valid"
	SignatureInvalid   = "invalid" // a problem, as is the lack of one that was demanded
)

// Verify reads every byte of a release, by name or Newest, and compares it with
// the manifest, and the manifest with its name and, if it is the latest, with
// the class's pointer. It reports everything that is missing, differs or should
// not be there; WithVerifier, also what is wrong with the manifest's signature.
// Only a store that can't be asked is an error.
func Verify(ctx context.Context, b storage.Reader, class, release string, opts ...Option) (Report, error) {
	if err := validClass(class); err != nil {
		return Report{}, err
	}
	r := Report{Class: class, Release: release, Signature: SignatureNone, Problems: []string{}}
	latest, err := ReadLatest(ctx, b, class)
	if release == Newest || release == "" {
		if err != nil {
			return r.end(latestName, err)
		}
		if r.Release, _, _, err = latest.usable(ctx, b); err != nil {
			return Report{}, err
		}
	}
	if err != nil || r.Release != latest.Release {
		latest = Latest{}
	}
	if err := validName(r.Release); err != nil {
		return Report{}, err
	}
	if r.Withdrawn, err = readWithdrawal(ctx, b, class, r.Release); err != nil {
		return Report{}, err
	}
	m, err := r.manifest(ctx, b, latest, collect(opts))
	if err != nil || len(m.Files) == 0 {
		return r, err
	}
	if err := r.files(ctx, b, m); err != nil {
		return Report{}, fmt.Errorf("verify release %s of class %q: %w", r.Release, class, err)
	}
	if err := r.extras(ctx, b, m); err != nil {
		return Report{}, fmt.Errorf("verify release %s of class %q: %w", r.Release, class, err)
	}
	slices.Sort(r.Problems)
	r.OK = len(r.Problems) == 0
	return r, nil
}

// end closes the report with what keeps it from going on, or returns an error
// where that is the store.
func (r *Report) end(path string, err error) (Report, error) {
	switch {
	case errors.Is(err, storage.ErrNotFound):
		r.Problems = append(r.Problems, path+": missing")
	case errors.Is(err, ErrMalformed), errors.Is(err, storage.ErrCorrupt), errors.Is(err, storage.ErrTooLarge):
		r.Problems = append(r.Problems, path+": "+err.Error())
	default:
		return Report{}, err
	}
	return *r, nil
}

// manifest reads and checks the manifest; without files if it can't be used.
func (r *Report) manifest(ctx context.Context, b storage.Reader, latest Latest, o options) (Manifest, error) {
	raw, _, err := storage.ViewOf(b).ReadNamed(ctx, Prefix(r.Class, r.Release)+ManifestName, maxManifest)
	if err != nil {
		_, err = r.end(ManifestName, err)
		return Manifest{}, err
	}
	r.ManifestSHA256 = storage.Digest(raw)
	if err := r.signature(ctx, b, raw, o); err != nil {
		return Manifest{}, err
	}
	if latest.Release != "" && latest.ManifestSHA256 != r.ManifestSHA256 {
		r.Problems = append(r.Problems,
			fmt.Sprintf("%s: SHA-256 is %s, %s says %s", ManifestName, r.ManifestSHA256, latestName, latest.ManifestSHA256))
	}
	m, err := DecodeManifest(raw)
	if err == nil && (m.Class != r.Class || m.Release != r.Release) {
		err = fmt.Errorf("%w: it is that of release %s of class %q", ErrMalformed, m.Release, m.Class)
	}
	if err != nil {
		_, err = r.end(ManifestName, err)
		return Manifest{}, err
	}
	r.Files, r.Bytes = len(m.Files), m.Bytes()
	return m, nil
}

// signature looks for the manifest's signature and, where it can, checks it.
func (r *Report) signature(ctx context.Context, b storage.Reader, manifest []byte, o options) error {
	signature, err := o.signature(ctx, b, r.Class, r.Release, manifest)
	switch {
	case errors.Is(err, ErrSignature):
		r.Signature = SignatureInvalid
		r.Problems = append(r.Problems, err.Error())
	case err != nil:
		return err
	case signature != nil && o.verifier != nil:
		r.Signature = SignatureValid
	case signature != nil:
		r.Signature = SignatureUnchecked
	}
	return nil
}

// files compares every listed file.
func (r *Report) files(ctx context.Context, b storage.Reader, m Manifest) error {
	var mu sync.Mutex
	return storage.Each(ctx, workers, m.Files, func(ctx context.Context, f File) error {
		problem, err := inspect(ctx, b, Prefix(m.Class, m.Release)+f.Path, f)
		if err != nil {
			return err
		}
		if problem != "" {
			mu.Lock()
			defer mu.Unlock()
			r.Problems = append(r.Problems, f.Path+": "+problem)
		}
		return nil
	})
}

// inspect says what is wrong with one file, or nothing.
func inspect(ctx context.Context, b storage.Reader, key string, want File) (string, error) {
	body, info, err := b.Get(ctx, key)
	if errors.Is(err, storage.ErrNotFound) {
		return "missing", nil
	}
	if err != nil {
		return "", err
	}
	defer body.Close()
	if info.Size != want.Size {
		return fmt.Sprintf("%d bytes, the manifest says %d", info.Size, want.Size), nil
	}
	h := sha256.New()
	n, err := io.Copy(h, io.LimitReader(body, want.Size+1))
	if err != nil {
		return "", fmt.Errorf("read %q: %w", key, err)
	}
	if n != want.Size {
		return fmt.Sprintf("%d bytes or more, the manifest says %d", n, want.Size), nil
	}
	if digest := hex.EncodeToString(h.Sum(nil)); digest != want.SHA256 {
		return fmt.Sprintf("SHA-256 is %s, the manifest says %s", digest, want.SHA256), nil
	}
	return "", nil
}

// extras finds what lies below the prefix and is not listed.
func (r *Report) extras(ctx context.Context, b storage.Reader, m Manifest) error {
	prefix := Prefix(m.Class, m.Release)
	for info, err := range b.List(ctx, prefix) {
		if err != nil {
			return err
		}
		path := strings.TrimPrefix(info.Key, prefix)
		_, listed := slices.BinarySearchFunc(m.Files, path, func(f File, p string) int { return strings.Compare(f.Path, p) })
		if !listed && path != ManifestName && path != SignatureName {
			r.Problems = append(r.Problems, path+": not in the manifest")
		}
	}
	return nil
}
