// Package sign signs and checks manifests in minisign's format, so that the
// minisign program checks them too. It is apart from package release to keep
// that one free of other modules.
package sign

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"aead.dev/minisign"
)

// maxKey bounds a key file, in bytes.
const maxKey = 4 << 10

// Key is a private key. It never shows itself in logs or messages.
type Key struct{ private minisign.PrivateKey }

// LoadKey reads the private key in the file at path. The password is needed for
// an encrypted key only.
func LoadKey(path, password string) (*Key, error) {
	raw, err := readSmall(path)
	if err != nil {
		return nil, fmt.Errorf("read signing key: %w", err)
	}
	if !minisign.IsEncrypted(raw) {
		var private minisign.PrivateKey
		if err := private.UnmarshalText(raw); err != nil {
			return nil, fmt.Errorf("signing key %q: is no private key of minisign; make one with `minisign -G`", path)
		}
		return &Key{private}, nil
	}
	if password == "" {
		return nil, fmt.Errorf("signing key %q: is encrypted; give its password", path)
	}
	private, err := minisign.DecryptKey(password, raw)
	if err != nil {
		return nil, fmt.Errorf("signing key %q: the password does not open it", path)
	}
	return &Key{private}, nil
}

// Sign returns the signature file of message. Equal input gives equal bytes.
func (k *Key) Sign(message []byte, comment string) ([]byte, error) {
	if strings.ContainsAny(comment, "\r\n") {
		return nil, errors.New("sign: the comment has more than one line")
	}
	r := minisign.NewReader(bytes.NewReader(message))
	if _, err := io.Copy(io.Discard, r); err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	return r.SignWithComments(k.private, comment, fmt.Sprintf("signature from minisign secret key %016X", k.private.ID())), nil
}

// Public is the key that checks what k signs.
func (k *Key) Public() *PublicKey {
	return &PublicKey{k.private.Public().(minisign.PublicKey)}
}

// Format keeps the key out of every message.
func (k *Key) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "[signing key %016X]", k.private.ID()) }

// MarshalText keeps the key out of JSON.
func (k *Key) MarshalText() ([]byte, error) { return fmt.Appendf(nil, "%v", k), nil }

// PublicKey checks signatures.
type PublicKey struct{ key minisign.PublicKey }

// LoadPublicKey takes a public key as text, or the name of a file with one.
func LoadPublicKey(keyOrPath string) (*PublicKey, error) {
	text := []byte(strings.TrimSpace(keyOrPath))
	var p PublicKey
	if err := p.key.UnmarshalText(text); err == nil {
		return &p, nil
	}
	raw, err := readSmall(keyOrPath)
	if err != nil {
		return nil, fmt.Errorf("public key %q: is neither a key of minisign nor a file with one: %w", keyOrPath, err)
	}
	if err := p.key.UnmarshalText(bytes.TrimSpace(raw)); err != nil {
		return nil, fmt.Errorf("public key in %q: is none of minisign: %w", keyOrPath, err)
	}
	return &p, nil
}

// Verify fails unless signature is one of message by this key.
func (p *PublicKey) Verify(message, signature []byte) error {
	var s minisign.Signature
	if err := s.UnmarshalText(signature); err != nil {
		return fmt.Errorf("is no signature of minisign: %w", err)
	}
	// Base64 leaves bits of the last character unused: a second spelling of the
	// same signature is not what the signer wrote.
	if !bytes.Equal(covered([]byte(s.String())), covered(signature)) {
		return errors.New("is no signature of minisign: its text is not what the program writes")
	}
	if s.KeyID != p.key.ID() {
		return fmt.Errorf("is of key %016X, not %016X", s.KeyID, p.key.ID())
	}
	ok := minisign.Verify(p.key, message, signature)
	if s.Algorithm == minisign.HashEdDSA {
		r := minisign.NewReader(bytes.NewReader(message))
		if _, err := io.Copy(io.Discard, r); err != nil {
			return err
		}
		ok = r.Verify(p.key, signature)
	}
	if !ok {
		return fmt.Errorf("does not fit: the manifest is not what key %016X signed", p.key.ID())
	}
	return nil
}

// covered is a signature file without its first line, which is for people, and
// without what systems differ in about line ends.
func covered(signature []byte) []byte {
	_, rest, _ := bytes.Cut(bytes.ReplaceAll(signature, []byte("\r"), nil), []byte("\n"))
	return bytes.TrimSpace(rest)
}

// String is the key as `minisign -P` takes it.
func (p *PublicKey) String() string { return p.key.String() }

func readSmall(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, maxKey+1))
	if err == nil && len(raw) > maxKey {
		err = fmt.Errorf("%q: more than %d bytes are no key", path, maxKey)
	}
	return raw, err
}
