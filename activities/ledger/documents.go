package ledger

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/storage"
)

// ErrFormat: a document of another kind or version than the one asked for, or
// one that is not well formed.
var ErrFormat = errors.New("unreadable document")

// MaxDocument bounds the documents that are read whole, in bytes.
const MaxDocument = 1 << 30

// Format is one kind of document: JSON, one object, whose field "format" names
// kind and version, so that neither a document of another kind nor one of a later
// version is taken for the wanted one. Equal content gives equal bytes. T embeds
// Header.
type Format[T any] struct {
	Name string
	// Limit bounds the document, in bytes; 0 means a GiB.
	Limit int64
}

// Header begins every document.
type Header struct {
	Format string `json:"format"`
}

func (h *Header) stamp(format string) { h.Format = format }

// stamped is doc with its format. A type without a Header is a caller's bug.
func (f Format[T]) stamped(doc T) T {
	any(&doc).(interface{ stamp(string) }).stamp(f.Name)
	return doc
}

// Encode renders a document on one line.
func (f Format[T]) Encode(doc T) ([]byte, error) {
	raw, err := json.Marshal(f.stamped(doc))
	return ended(raw, err)
}

// EncodeIndented renders a document that people read too.
func (f Format[T]) EncodeIndented(doc T) ([]byte, error) { return Indented(f.stamped(doc)) }

// Indented renders a value that people read too.
func Indented(v any) ([]byte, error) {
	raw, err := json.MarshalIndent(v, "", "  ")
	return ended(raw, err)
}

func ended(raw []byte, err error) ([]byte, error) {
	if err != nil {
		return nil, fmt.Errorf("encode document: %w", err)
	}
	return append(raw, '\n'), nil
}

// Decode reads a document of this very format; ErrFormat where raw is none, or
// has a field that the format does not know.
func (f Format[T]) Decode(raw []byte) (T, error) {
	var zero, doc T
	var head Header
	if err := json.Unmarshal(raw, &head); err != nil {
		return zero, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	if head.Format != f.Name {
		return zero, fmt.Errorf("%w: format %q, want %q", ErrFormat, head.Format, f.Name)
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&doc); err != nil {
		return zero, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return zero, fmt.Errorf("%w: something follows the document", ErrFormat)
	}
	return doc, nil
}

// Read reads the document that ref names.
func (f Format[T]) Read(ctx context.Context, s *storage.Store, ref step.Ref) (T, error) {
	return read(ctx, s, ref, f.limit(), f.Decode)
}

// Put stores a document as an artifact.
func (f Format[T]) Put(ctx context.Context, s *storage.Store, doc T) (step.Ref, error) {
	raw, err := f.Encode(doc)
	if err != nil {
		return step.Ref{}, err
	}
	obj, err := s.PutArtifact(ctx, raw, ".json")
	return step.Ref(obj), err
}

func (f Format[T]) limit() int64 {
	if f.Limit > 0 {
		return f.Limit
	}
	return MaxDocument
}

// ReadAs reads the document that ref names by its owner's decoder.
func ReadAs[T any](ctx context.Context, s *storage.Store, ref step.Ref, decode func([]byte) (T, error)) (T, error) {
	return read(ctx, s, ref, MaxDocument, decode)
}

func read[T any](ctx context.Context, s *storage.Store, ref step.Ref, limit int64, decode func([]byte) (T, error)) (T, error) {
	var doc T
	raw, err := s.Read(ctx, storage.Object(ref), limit)
	if err == nil {
		doc, err = decode(raw)
	}
	if err != nil {
		return doc, fmt.Errorf("read %s: %w", ref.Key, err)
	}
	return doc, nil
}

// Lost reports whether err says that a document or an object is gone or damaged,
// so that no retry brings it back.
func Lost(err error) bool {
	for _, lasting := range []error{storage.ErrNotFound, storage.ErrCorrupt, storage.ErrTooLarge, ErrFormat} {
		if errors.Is(err, lasting) {
			return true
		}
	}
	return false
}
