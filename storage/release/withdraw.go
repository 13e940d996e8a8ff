package release

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/defectforge/defectforge/storage"
)

// Withdrawal marks a release as not to be used. The release itself stays as it
// is, so that whoever is reading it is not disturbed.
type Withdrawal struct {
	Format  string    `json:"format"`
	Class   string    `json:"class"`
	Release string    `json:"release"`
	Reason  string    `json:"reason"`
	At      time.Time `json:"at"`
}

const (
	withdrawalFormat = "defectforge.withdrawn/1"
	withdrawnDir     = "withdrawn"
	maxReason        = 4096 // bytes
	maxWithdrawal    = 64 << 10
)

func withdrawalKey(class, release string) string {
	return Root + class + "/" + withdrawnDir + "/" + release + ".json"
}

// Withdraw marks a release as not to be used, for good, and reports whether
// that is news: the first withdrawal stands, whatever later ones say. Newest
// means the release that the class's pointer names, withdrawn or not, so that a
// repeated call never moves on to the one before it. It fails with
// storage.ErrNotFound where there is no such release.
func Withdraw(ctx context.Context, b storage.Bucket, class, release, reason string, at time.Time) (Withdrawal, bool, error) {
	w, first, err := withdraw(ctx, b, class, release, reason, at)
	if err != nil {
		return Withdrawal{}, false, fmt.Errorf("withdraw release of class %q: %w", class, err)
	}
	return w, first, nil
}

func withdraw(ctx context.Context, b storage.Bucket, class, release, reason string, at time.Time) (Withdrawal, bool, error) {
	if err := validClass(class); err != nil {
		return Withdrawal{}, false, err
	}
	if release == Newest || release == "" {
		latest, err := ReadLatest(ctx, b, class)
		if err != nil {
			return Withdrawal{}, false, err
		}
		release = latest.Release
	}
	if err := validName(release); err != nil {
		return Withdrawal{}, false, err
	}
	w := Withdrawal{Format: withdrawalFormat, Class: class, Release: release, Reason: reason, At: at.UTC().Truncate(time.Second)}
	if err := w.validate(); err != nil {
		return Withdrawal{}, false, err
	}
	if _, err := b.Stat(ctx, Prefix(class, release)+ManifestName); err != nil {
		return Withdrawal{}, false, err
	}
	return w.mark(ctx, b)
}

// mark writes the withdrawal where there is none yet, and returns the one that
// stands.
func (w Withdrawal) mark(ctx context.Context, b storage.Bucket) (Withdrawal, bool, error) {
	raw, key := w.encode(), withdrawalKey(w.Class, w.Release)
	absent := storage.Condition{IfAbsent: true}
	_, err := b.Put(ctx, key, bytes.NewReader(raw), int64(len(raw)), storage.Digest(raw), absent)
	first := err == nil
	if err != nil && !errors.Is(err, storage.ErrPrecondition) {
		return Withdrawal{}, false, err
	}
	if err := b.Sync(ctx); err != nil {
		return Withdrawal{}, false, err
	}
	if first {
		return w, true, nil
	}
	earlier, err := readWithdrawal(ctx, b, w.Class, w.Release)
	if err == nil && earlier == nil {
		err = fmt.Errorf("%q: %w", key, storage.ErrNotFound)
	}
	if err != nil {
		return Withdrawal{}, false, err
	}
	return *earlier, false, nil
}

func (w Withdrawal) encode() []byte { return append(line(w), '\n') }

func (w Withdrawal) validate() error {
	if w.Reason == "" || len(w.Reason) > maxReason || !utf8.ValidString(w.Reason) {
		return fmt.Errorf("reason of %d bytes: %w: say why, in at most %d bytes of UTF-8", len(w.Reason), ErrMalformed, maxReason)
	}
	return nil
}

// Error says when and why the release was withdrawn.
func (w *Withdrawal) Error() string {
	return fmt.Sprintf("release %s of class %q was withdrawn on %s: %s", w.Release, w.Class, w.At.Format(time.DateOnly), w.Reason)
}

// Is makes a withdrawal, as an error, an ErrWithdrawn.
func (w *Withdrawal) Is(target error) bool { return target == ErrWithdrawn }

// readWithdrawal returns the release's withdrawal, nil where it has none. One
// that can't be understood counts all the same: the doubt is the release's.
func readWithdrawal(ctx context.Context, b storage.Reader, class, release string) (*Withdrawal, error) {
	raw, _, err := storage.ViewOf(b).ReadNamed(ctx, withdrawalKey(class, release), maxWithdrawal)
	unclear := func(err error) *Withdrawal {
		return &Withdrawal{Format: withdrawalFormat, Class: class, Release: release, Reason: "the withdrawal can't be read: " + err.Error()}
	}
	switch {
	case errors.Is(err, storage.ErrNotFound):
		return nil, nil
	case errors.Is(err, storage.ErrCorrupt), errors.Is(err, storage.ErrTooLarge):
		return unclear(err), nil
	case err != nil:
		return nil, fmt.Errorf("read withdrawal of release %s of class %q: %w", release, class, err)
	}
	var w Withdrawal
	if err := decode(raw, &w, withdrawalFormat); err != nil {
		return unclear(err), nil
	}
	if err := w.validate(); err != nil || w.Class != class || w.Release != release || !bytes.Equal(w.encode(), raw) {
		return unclear(ErrMalformed), nil
	}
	return &w, nil
}

// Resolve turns Newest into the name of the class's newest release that has not
// been withdrawn, or, if all have been, of the newest one. It returns the
// release's withdrawal, nil where there is none, and the digest of its manifest
// where the pointer states it.
func Resolve(ctx context.Context, b storage.Reader, class, release string) (name, digest string, w *Withdrawal, err error) {
	if err := validClass(class); err != nil {
		return "", "", nil, err
	}
	if release != Newest && release != "" {
		if err := validName(release); err != nil {
			return "", "", nil, err
		}
		w, err := readWithdrawal(ctx, b, class, release)
		return release, "", w, err
	}
	latest, err := ReadLatest(ctx, b, class)
	if err != nil {
		return "", "", nil, err
	}
	return latest.usable(ctx, b)
}

// usable is what Resolve turns Newest into.
func (l Latest) usable(ctx context.Context, b storage.Reader) (name, digest string, w *Withdrawal, err error) {
	newest, err := readWithdrawal(ctx, b, l.Class, l.Release)
	if err != nil || newest == nil {
		return l.Release, l.ManifestSHA256, nil, err
	}
	for _, earlier := range slices.Backward(l.Earlier) {
		w, err := readWithdrawal(ctx, b, l.Class, earlier)
		if err != nil || w == nil {
			return earlier, "", nil, err
		}
	}
	return l.Release, l.ManifestSHA256, newest, nil
}

func validName(release string) error {
	if !isHex(release, nameLength) {
		return fmt.Errorf("release %q: %w: a name has %d hex digits; or use %q", release, ErrMalformed, nameLength, Newest)
	}
	return nil
}
