package config

import (
	"fmt"
	"io"
	"log/slog"
)

// Secret is text that never shows itself: fmt with any verb, JSON, YAML and
// slog print "[hidden]", or nothing where it is empty. Reveal returns the text.
type Secret string

const hidden = "[hidden]"

// Reveal is the secret itself.
func (s Secret) Reveal() string { return string(s) }

func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return hidden
}

// Format covers the verbs that String does not, %d and %x among them.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// MarshalText serves JSON and every other text encoding.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// MarshalYAML hides the secret in YAML.
func (s Secret) MarshalYAML() (any, error) { return s.String(), nil }

// LogValue hides the secret in slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }
