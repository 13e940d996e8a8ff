package storage

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
)

// maxRemembered bounds a remembered value's JSON, in bytes.
const maxRemembered = 16 << 20

// Remember stores v, as JSON, as what stage makes of the inputs that
// fingerprint stands for, in place of an earlier value. Both become components
// of a key.
func (s *Store) Remember(ctx context.Context, stage, fingerprint string, v any) error {
	key, err := cacheKey(stage, fingerprint)
	if err != nil {
		return fmt.Errorf("remember outcome: %w", err)
	}
	raw, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("remember outcome of %s: %w", stage, err)
	}
	if len(raw) > maxRemembered {
		return fmt.Errorf("remember outcome of %s: %w: %d bytes, limit %d", stage, ErrTooLarge, len(raw), maxRemembered)
	}
	if _, err := s.PutNamed(ctx, key, raw); err != nil {
		return fmt.Errorf("remember outcome of %s: %w", stage, err)
	}
	return nil
}

// Recall fills v, a non-nil pointer, with what was remembered for stage and
// fingerprint and reports whether there was anything. A value that v's type
// can't hold any more, or whose bytes are damaged, counts as absent. Whether
// the objects that the value names still exist is for the caller to find out.
func (s *Store) Recall(ctx context.Context, stage, fingerprint string, v any) (bool, error) {
	target := reflect.ValueOf(v)
	if target.Kind() != reflect.Pointer || target.IsNil() {
		panic("storage: Recall needs a non-nil pointer")
	}
	key, err := cacheKey(stage, fingerprint)
	if err != nil {
		return false, fmt.Errorf("recall outcome: %w", err)
	}
	raw, _, err := s.ReadNamed(ctx, key, maxRemembered)
	switch {
	case errors.Is(err, ErrNotFound), errors.Is(err, ErrCorrupt), errors.Is(err, ErrTooLarge):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("recall outcome of %s: %w", stage, err)
	}
	// A fresh value, so that a decoding that fails half-way leaves v alone.
	fresh := reflect.New(target.Type().Elem())
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if err := dec.Decode(fresh.Interface()); err != nil {
		return false, nil
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return false, nil
	}
	target.Elem().Set(fresh.Elem())
	return true, nil
}

func cacheKey(stage, fingerprint string) (string, error) {
	for _, part := range []string{stage, fingerprint} {
		if err := validPart(part); err != nil {
			return "", err
		}
	}
	key := "cache/" + stage + "/" + fingerprint + ".json"
	return key, ValidKey(key)
}
