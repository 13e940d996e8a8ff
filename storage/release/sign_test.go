package release_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/defectforge/defectforge/storage"
	"github.com/defectforge/defectforge/storage/memory"
	"github.com/defectforge/defectforge/storage/release"
	"github.com/defectforge/defectforge/storage/storagetest"
)

// seal stands in for a key: its signature is the digest with the key's name.
type seal string

func (s seal) Sign(message []byte, comment string) ([]byte, error) {
	return fmt.Appendf(nil, "%s %s %s", s, storage.Digest(message), comment), nil
}

func (s seal) Verify(message, signature []byte) error {
	if !strings.HasPrefix(string(signature), fmt.Sprintf("%s %s ", s, storage.Digest(message))) {
		return errors.New("does not fit")
	}
	return nil
}

func TestSignature(t *testing.T) {
	b := memory.New()
	p, err := release.Publish(t.Context(), b, draft("a"), release.WithSigner(seal("key")))
	if err != nil {
		t.Fatal(err)
	}
	if unsigned := mustPublish(t, memory.New(), draft("a")); unsigned != p {
		t.Errorf("a signature changes the release: %+v, without %+v", p, unsigned)
	}
	key := p.Prefix + "manifest.json.minisig"
	good := contents(t, b, key)
	if !strings.HasSuffix(string(good), " defectforge release "+p.Release+" of class scratches") {
		t.Errorf("signature %q", good)
	}
	verify := func(what, want string, opts ...release.Option) {
		t.Helper()
		r, err := release.Verify(t.Context(), b, "scratches", "latest", opts...)
		if err != nil || r.Signature != want || r.OK != (want != release.SignatureInvalid) {
			t.Errorf("%s: %+v (%v)", what, r, err)
		}
		_, err = release.Open(t.Context(), b, "scratches", "latest", opts...)
		if bad := want == release.SignatureInvalid; bad != errors.Is(err, release.ErrSignature) || bad != (err != nil) {
			t.Errorf("%s: open: %v", what, err)
		}
	}
	verify("right key", release.SignatureValid, release.WithVerifier(seal("key")))
	verify("no key", release.SignatureUnchecked)
	verify("another key", release.SignatureInvalid, release.WithVerifier(seal("other")))
	put(t, b, key, append([]byte("x"), good...))
	verify("damaged", release.SignatureInvalid, release.WithVerifier(seal("key")))
	put(t, b, key, []byte(strings.Repeat("x", 10<<10)))
	verify("too large", release.SignatureInvalid, release.WithVerifier(seal("key")))
	if err := b.Delete(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	verify("gone", release.SignatureInvalid, release.WithVerifier(seal("key")))
	verify("gone and not demanded", release.SignatureNone)
	dir := filepath.Join(t.TempDir(), "set")
	if _, err := release.Pull(t.Context(), b, "scratches", "latest", dir, release.WithVerifier(seal("key"))); !errors.Is(err, release.ErrSignature) {
		t.Errorf("pull: %v", err)
	}
	// Signing on from now on: the next publish adds it, and another key can't.
	if _, err := release.Publish(t.Context(), b, draft("a"), release.WithSigner(seal("key"))); err != nil {
		t.Fatal(err)
	}
	verify("signed later", release.SignatureValid, release.WithVerifier(seal("key")))
	if _, err := release.Publish(t.Context(), b, draft("a"), release.WithSigner(seal("other"))); !errors.Is(err, release.ErrConflict) {
		t.Errorf("signed by another key: %v", err)
	}
}

// TestNeverVisibleUnsigned stops a signing publisher at each of its calls: who
// demands a signature sees a whole, signed release or none.
func TestNeverVisibleUnsigned(t *testing.T) {
	counter := storagetest.NewFaulty(memory.New(), storagetest.FailAt(0, storagetest.None))
	if _, err := release.Publish(t.Context(), counter, draft("a"), release.WithSigner(seal("key"))); err != nil {
		t.Fatal(err)
	}
	for n := 1; n <= counter.Calls(); n++ {
		for _, fault := range []storagetest.Fault{storagetest.Before, storagetest.After} {
			b := memory.New()
			_, _ = release.Publish(t.Context(), storagetest.NewFaulty(b, storagetest.FailAt(n, fault)), draft("a"), release.WithSigner(seal("key")))
			list, err := release.List(t.Context(), b, "")
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range list {
				if r, err := release.Verify(t.Context(), b, s.Class, s.Release, release.WithVerifier(seal("key"))); err != nil || !r.OK {
					t.Fatalf("call %d, fault %d: visible: %+v (%v)", n, fault, r, err)
				}
			}
			if _, err := release.Publish(t.Context(), b, draft("a"), release.WithSigner(seal("key"))); err != nil {
				t.Fatalf("call %d, fault %d: again: %v", n, fault, err)
			}
		}
	}
}
