package activities

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"image"
	"slices"
	"strings"
	"sync"

	"github.com/corona10/goimagehash"
	"golang.org/x/sync/errgroup"

	"github.com/defectforge/defectforge/activities/ledger"
	"github.com/defectforge/defectforge/model/picture"
	"github.com/defectforge/defectforge/model/quality"
	"github.com/defectforge/defectforge/model/spec"
	"github.com/defectforge/defectforge/storage"
)

// scanned is what is kept of an image that can be used.
type scanned struct {
	ledger.DatasetImage
	hash  uint64
	thumb []uint8 // for quality.Overlaps; nil in large data sets
	cells *cells  // the same
	peak  int     // the largest sample of an image of more than 8 bits, else 0
}

// scan reads the objects below a prefix.
type scan struct {
	source   storage.View
	prefix   string
	decoder  decoder
	progress func(done, total int)

	found int // objects listed

	mu         sync.Mutex
	done       int
	images     []scanned
	quarantine []ledger.Quarantined
}

// run fills in images and quarantine, both sorted by name.
func (s *scan) run(ctx context.Context) error {
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(readers())
	var listing error
	for info, err := range s.source.Reader().List(gctx, s.prefix) {
		if err != nil {
			listing = fmt.Errorf("list objects: %w", err)
			break
		}
		if info.Key == s.prefix || strings.HasSuffix(info.Key, "/") && info.Size == 0 {
			continue // how consoles mark a folder
		}
		s.found++
		group.Go(func() error { return s.read(gctx, info) })
		if gctx.Err() != nil {
			break
		}
	}
	// A reader that failed is why the listing ended: its error comes first.
	if err := cmp.Or(group.Wait(), listing, ctx.Err()); err != nil {
		return err
	}
	s.settle()
	return nil
}

// settle makes what was read independent of the order in which it was.
func (s *scan) settle() {
	s.images = sortedByName(s.images, func(i scanned) string { return i.Name })
	if len(s.images) > maxPaired {
		for i := range s.images {
			s.images[i].thumb, s.images[i].cells = nil, nil
		}
	}
	s.quarantine = sortedByName(s.quarantine, func(q ledger.Quarantined) string { return q.Name })
}

// read looks at one object. It fails only where the store does.
func (s *scan) read(ctx context.Context, info storage.Info) error {
	name := strings.TrimPrefix(info.Key, s.prefix)
	data, err := []byte(nil), storage.ErrTooLarge
	if info.Size <= s.decoder.limits.MaxBytes {
		data, _, err = s.source.ReadNamed(ctx, info.Key, s.decoder.limits.MaxBytes)
	}
	switch {
	case errors.Is(err, storage.ErrTooLarge):
		s.add(nil, &ledger.Quarantined{
			Name:   name,
			Reason: unusable(fmt.Errorf("%w: %d exceeds %d", picture.ErrTooManyBytes, info.Size, s.decoder.limits.MaxBytes)),
		})
		return nil
	case errors.Is(err, storage.ErrCorrupt):
		s.add(nil, &ledger.Quarantined{Name: name, Reason: "corrupt: the bytes are not those of the SHA-256 they were stored with"})
		return nil
	case err != nil:
		return err
	}
	found := scanned{DatasetImage: ledger.DatasetImage{Name: name, Key: info.Key, SHA256: storage.Digest(data), Size: int64(len(data))}}
	header, err := s.decoder.decode(ctx, data, s.decoder.limits, found.measure)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		s.add(nil, &ledger.Quarantined{Name: name, Reason: unusable(err)})
		return nil
	}
	found.peak = header.Peak
	found.MorePages, found.Transparent = header.MorePages, header.Transparent
	found.Width, found.Height, found.Encoding = header.Width, header.Height, header.Format
	s.add(&found, nil)
	return nil
}

// measure takes from the pixels what images are compared by.
func (f *scanned) measure(img *image.RGBA) error {
	hash, err := goimagehash.PerceptionHash(picture.Resize(img, quality.ThumbSize, quality.ThumbSize))
	if err != nil {
		return err
	}
	f.hash = hash.GetHash()
	f.PHash = fmt.Sprintf("%016x", f.hash)
	f.thumb = picture.Luminance(picture.Square(img, quality.ThumbSize))
	f.cells = measureCells(img)
	return nil
}

// reason is err's text, short enough to be shown in a list.
func reason(err error) string {
	const limit = 200
	text := strings.ToValidUTF8(err.Error(), "?")
	if len(text) > limit {
		text = strings.ToValidUTF8(text[:limit], "") + "..."
	}
	return text
}

func (s *scan) add(image *scanned, q *ledger.Quarantined) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.done++
	if s.progress != nil {
		s.progress(s.done, 0)
	}
	if q != nil {
		s.quarantine = append(s.quarantine, *q)
		return
	}
	if len(s.images) >= maxPaired { // too many to be compared; settle forgets the others, too
		image.thumb, image.cells = nil, nil
	}
	s.images = append(s.images, *image)
}

// dropDuplicates leaves out what the recipe calls duplicates, and lists it by name.
func dropDuplicates(images []scanned, in spec.Ingest) (kept []scanned, dropped []ledger.Duplicate) {
	kept = images
	if in.Duplicates != spec.DuplicatesOff {
		kept, dropped = dropExact(kept)
	}
	kept, near := dropNear(kept, in)
	return kept, sortedByName(append(dropped, near...), func(d ledger.Duplicate) string { return d.Name })
}

// dropExact leaves out images with the bytes of an earlier one, by name.
func dropExact(images []scanned) (kept []scanned, dropped []ledger.Duplicate) {
	first := map[string]string{}
	for _, i := range images {
		if of, seen := first[i.SHA256]; seen {
			dropped = append(dropped, ledger.Duplicate{Name: i.Name, Of: of, Kind: ledger.DuplicateExact})
			continue
		}
		first[i.SHA256] = i.Name
		kept = append(kept, i)
	}
	return kept, dropped
}

// dropNear leaves out images that are near duplicates of an earlier one that is kept.
func dropNear(images []scanned, in spec.Ingest) (kept []scanned, dropped []ledger.Duplicate) {
	if in.Duplicates == spec.DuplicatesExact || in.Duplicates == spec.DuplicatesOff {
		return images, nil
	}
	var known hashes // of kept, and of the image in question
	for _, i := range images {
		of, n := -1, len(kept)
		known = append(known[:n], i.hash)
		known.near(n, in.DuplicateDistance, func(j int) bool {
			if kept[j].verdict(&i, in.Duplicates) == samePicture {
				of = j
			}
			return of >= 0
		})
		if of >= 0 {
			dropped = append(dropped, ledger.Duplicate{Name: i.Name, Of: kept[of].Name, Kind: ledger.DuplicateNear})
			continue
		}
		kept = append(kept, i)
	}
	return kept, dropped
}

// sortedByName sorts list and makes an empty one of nil, which JSON shows as [].
func sortedByName[T any](list []T, name func(T) string) []T {
	slices.SortFunc(list, func(a, b T) int { return cmp.Compare(name(a), name(b)) })
	return append([]T{}, list...)
}
