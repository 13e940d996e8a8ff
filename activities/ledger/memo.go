package ledger

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/model/spec"
	"github.com/defectforge/defectforge/storage"
)

// maxRemembered bounds a remembered result's JSON, in bytes.
const maxRemembered = 16 << 20

// Memo is where a stage remembers what it makes of some inputs: as JSON below
// Cache, named by the inputs' digest. A run that asks with the same inputs finds
// the result in place of making it anew.
type Memo[T any] struct {
	// Stage names the folder.
	Stage string
	// Version begins at 1 and goes up whenever the same inputs give another result:
	// what was remembered before is then not found. The first version's folder is
	// called Stage, later ones have their number behind it, as in overfit-3.
	Version int
	// Inputs are whatever decides the result, and nothing else. Their JSON is
	// digested: a new field in them forgets every result, unless it is left out
	// where it makes no difference.
	Inputs any
	// Refs names the objects without which a result is useless, also those that
	// its documents list. It is nil for results that stand alone.
	Refs func(ctx context.Context, s *storage.Store, result T) ([]step.Ref, error)
}

// Folder is the prefix of all that is remembered, ending with a slash.
func (m Memo[T]) Folder() string {
	name := m.Stage
	if m.Version > 1 {
		name += "-" + strconv.Itoa(m.Version)
	}
	return Cache + name + "/"
}

// Key is where the result is remembered.
func (m Memo[T]) Key() string { return m.Folder() + spec.Digest(m.Inputs) + ".json" }

// Do finds the result or makes and remembers it; found says which.
// Refresh has it made even where it would be found.
func (m Memo[T]) Do(
	ctx context.Context, s *storage.Store, refresh bool, produce func() (T, error),
) (result T, found bool, err error) {
	if !refresh {
		if result, found, err = m.Look(ctx, s); err != nil || found {
			return result, found, err
		}
	}
	if result, err = produce(); err != nil {
		return result, false, err
	}
	return result, false, m.Remember(ctx, s, result)
}

// Look finds the result, if there is one and all that it refers to is still
// stored; from now on clean-ups leave that alone.
func (m Memo[T]) Look(ctx context.Context, s *storage.Store) (T, bool, error) {
	var none T
	result, found, err := m.recall(ctx, s)
	if err != nil || !found || m.Refs == nil {
		return result, found, err
	}
	refs, err := m.Refs(ctx, s, result)
	if err == nil {
		found, err = Kept(ctx, s, refs...)
	}
	switch {
	case Lost(err), err == nil && !found:
		return none, false, nil // making it anew mends whatever is gone
	case err != nil:
		return none, false, fmt.Errorf("look for the result of %s: %w", m.Stage, err)
	}
	return result, true, nil
}

// Remember stores a result, in place of an earlier one.
func (m Memo[T]) Remember(ctx context.Context, s *storage.Store, result T) error {
	raw, err := json.Marshal(result)
	if err != nil {
		return fmt.Errorf("remember result of %s: %w", m.Stage, err)
	}
	if len(raw) > maxRemembered {
		return fmt.Errorf("remember result of %s: %w: %d bytes, limit %d", m.Stage, storage.ErrTooLarge, len(raw), maxRemembered)
	}
	if _, err := s.PutNamed(ctx, m.Key(), raw); err != nil {
		return fmt.Errorf("remember result of %s: %w", m.Stage, err)
	}
	return nil
}

// Update changes what is remembered, the zero value where nothing is.
// Of two that do so at once, one change may be lost: remember nothing this way that
// can't be made again.
func (m Memo[T]) Update(ctx context.Context, s *storage.Store, change func(known T) T) error {
	known, _, err := m.recall(ctx, s)
	if err != nil {
		return err
	}
	return m.Remember(ctx, s, change(known))
}

// recall reads what is remembered. What no longer fits T, or is damaged, counts
// as absent.
func (m Memo[T]) recall(ctx context.Context, s *storage.Store) (T, bool, error) {
	var none, known T
	raw, _, err := s.ReadNamed(ctx, m.Key(), maxRemembered)
	switch {
	case Lost(err):
		return none, false, nil
	case err != nil:
		return none, false, fmt.Errorf("look up earlier result of %s: %w", m.Stage, err)
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if dec.Decode(&known) != nil {
		return none, false, nil
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return none, false, nil
	}
	return known, true, nil
}

// lookups is how many objects are looked for at once.
const lookups = 16

// Kept reports whether all of refs are stored, in their full size, and keeps them
// from clean-ups.
func Kept(ctx context.Context, s *storage.Store, refs ...step.Ref) (bool, error) {
	var missing atomic.Bool
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(lookups)
	for _, r := range refs {
		group.Go(func() error {
			if missing.Load() {
				return nil
			}
			ok, err := s.Keep(ctx, storage.Object(r))
			if !ok {
				missing.Store(true)
			}
			return err
		})
	}
	err := group.Wait()
	return err == nil && !missing.Load(), err
}
