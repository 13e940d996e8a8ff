package release

import (
	"context"
	"errors"
	"fmt"

	"github.com/defectforge/defectforge/storage"
)

// Signer signs a manifest. Equal messages and comments must give equal
// signatures. Package sign has one.
type Signer interface {
	// Sign returns the signature file of message, with a comment that it covers.
	Sign(message []byte, comment string) ([]byte, error)
}

// Verifier checks a manifest's signature. Package sign has one.
type Verifier interface {
	// Verify fails unless signature is one of message by the wanted key.
	Verify(message, signature []byte) error
}

// Option changes how a release is published, opened, verified or pulled.
type Option func(*options)

type options struct {
	signer         Signer
	verifier       Verifier
	allowWithdrawn bool
}

// WithSigner makes Publish sign the manifest.
func WithSigner(s Signer) Option { return func(o *options) { o.signer = s } }

// WithVerifier demands that the manifest has a signature that v accepts.
func WithVerifier(v Verifier) Option { return func(o *options) { o.verifier = v } }

// AllowWithdrawn lets Pull and PullSet take a release that has been withdrawn.
func AllowWithdrawn() Option { return func(o *options) { o.allowWithdrawn = true } }

func collect(list []Option) options {
	var o options
	for _, set := range list {
		set(&o)
	}
	return o
}

const maxSignature = 8 << 10 // bytes

// putSignature signs the manifest before it is there: whoever sees a manifest that
// was to be signed sees its signature.
func (o options) putSignature(ctx context.Context, b storage.Bucket, m Manifest, raw []byte) error {
	if o.signer == nil {
		return nil
	}
	signature, err := o.signer.Sign(raw, fmt.Sprintf("defectforge release %s of class %s", m.Release, m.Class))
	if err != nil {
		return fmt.Errorf("sign manifest: %w", err)
	}
	return write(ctx, b, Prefix(m.Class, m.Release)+SignatureName, signature)
}

// signature returns the manifest's signature, nil where there is none, checked
// if that is wanted. What is wrong with it is an ErrSignature.
func (o options) signature(ctx context.Context, b storage.Reader, class, release string, manifest []byte) ([]byte, error) {
	signature, _, err := storage.ViewOf(b).ReadNamed(ctx, Prefix(class, release)+SignatureName, maxSignature)
	switch {
	case errors.Is(err, storage.ErrNotFound) && o.verifier == nil:
		return nil, nil
	case errors.Is(err, storage.ErrNotFound):
		return nil, fmt.Errorf("%s: %w: missing", SignatureName, ErrSignature)
	case errors.Is(err, storage.ErrTooLarge), errors.Is(err, storage.ErrCorrupt):
		return nil, fmt.Errorf("%s: %w: %w", SignatureName, ErrSignature, err)
	case err != nil:
		return nil, err
	}
	if o.verifier != nil {
		if err := o.verifier.Verify(manifest, signature); err != nil {
			return nil, fmt.Errorf("%s: %w: %w", SignatureName, ErrSignature, err)
		}
	}
	return signature, nil
}
