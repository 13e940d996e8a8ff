package storage

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// ErrKey: a string that is not fit to be a key that this program makes.
var ErrKey = errors.New("invalid key")

// Limits of the keys that this program makes. Stores that keep objects as
// files can't hold a longer component.
const (
	maxKey       = 1024
	maxComponent = 255
)

// ValidKey fails with ErrKey unless key is fit for every store: at most 1024
// bytes, components of 1 to 255 bytes separated by single slashes, none of them
// "." or "..", and nothing but ASCII letters, digits and ". _ - % =" in them.
// Keys found in foreign buckets need not be valid.
func ValidKey(key string) error {
	if key == "" || len(key) > maxKey {
		return fmt.Errorf("%w: %d bytes, want 1 to %d", ErrKey, len(key), maxKey)
	}
	for part := range strings.SplitSeq(key, "/") {
		switch {
		case part == "":
			return fmt.Errorf("%w %q: empty component", ErrKey, key)
		case part == "." || part == "..":
			return fmt.Errorf("%w %q: component %q", ErrKey, key, part)
		case len(part) > maxComponent:
			return fmt.Errorf("%w %q: a component of %d bytes, at most %d are allowed", ErrKey, key, len(part), maxComponent)
		}
		for i := range len(part) {
			if c := part[i]; !plain(c) && c != '%' && c != '=' {
				return fmt.Errorf("%w %q: character %q", ErrKey, key, c)
			}
		}
	}
	return nil
}

func plain(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' ||
		c == '.' || c == '_' || c == '-'
}

// SafeName maps any file name to a valid key component; different names give
// different components. Bytes other than ASCII letters, digits and ". _ -" are
// percent-encoded. Names too long for that keep their beginning and ending and
// get a digest between.
func SafeName(name string) string {
	switch name {
	case "": // no encoded name is a lone percent sign
		return "%"
	case ".", "..":
		return strings.Repeat("%2E", len(name))
	}
	var b strings.Builder
	for i := range len(name) {
		if c := name[i]; plain(c) {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	safe := b.String()
	if len(safe) <= maxComponent {
		return safe
	}
	sum := sha256.Sum256([]byte(name))
	head := strings.TrimRight(safe[:160], "%")
	tail := ""
	if dot := strings.LastIndexByte(safe, '.'); dot >= 0 && len(safe)-dot <= 16 {
		tail = safe[dot:]
	}
	// "%-" is no escape, so no shorter name comes out like this.
	return head + "%-" + hex.EncodeToString(sum[:16]) + tail
}

// validDigest reports whether s is a SHA-256 in lower-case hex.
func validDigest(s string) bool {
	if len(s) != 2*sha256.Size {
		return false
	}
	for i := range len(s) {
		if c := s[i]; !('0' <= c && c <= '9' || 'a' <= c && c <= 'f') {
			return false
		}
	}
	return true
}
