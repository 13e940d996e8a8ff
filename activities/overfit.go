package activities

import (
	"context"
	"fmt"
	"math"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/defectforge/defectforge/activities/ledger"
	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/model/picture"
	"github.com/defectforge/defectforge/model/quality"
	"github.com/defectforge/defectforge/model/spec"
	"github.com/defectforge/defectforge/storage"
)

// maxCandidate bounds a candidate's PNG, in bytes.
const maxCandidate = 1 << 20

// Checker compares candidates with the real images.
type Checker struct {
	Store   *storage.Store
	Scratch string // folder for temporary files; empty means the system's
}

// overfitMemo is where checks are remembered.
func overfitMemo(in step.OverfitInput) ledger.Memo[step.OverfitResult] {
	return ledger.Memo[step.OverfitResult]{
		Stage: "overfit", Version: 4,
		Inputs: []any{in.Candidates.SHA256, in.Dataset.SHA256, in.Tensors.SHA256, in.Overfit},
		Refs: func(_ context.Context, _ *storage.Store, r step.OverfitResult) ([]step.Ref, error) {
			return []step.Ref{r.Neighbours, r.Sheet}, nil
		},
	}
}

// CheckOverfit finds every candidate's nearest real images, held out ones
// included, and its nearest ones when it may be mirrored, turned and shifted.
// It rejects candidates that are nearer than real images of different groups
// are to each other, that repeat another candidate, or that are blank. A check
// of the same candidates and images is found, not repeated.
func (c Checker) CheckOverfit(ctx context.Context, in step.OverfitInput) (step.OverfitResult, error) {
	out, found, err := overfitMemo(in).Do(ctx, c.Store, in.Refresh, func() (step.OverfitResult, error) {
		return c.check(ctx, in)
	})
	out.Cached = found
	return out, err
}

func (c Checker) check(ctx context.Context, in step.OverfitInput) (step.OverfitResult, error) {
	dir, cleanUp, err := scratch(c.Scratch)
	if err != nil {
		return step.OverfitResult{}, err
	}
	defer cleanUp()
	o := &overfitCheck{Checker: c, in: in}
	defer o.close()
	if err := o.open(ctx, dir); err != nil {
		return step.OverfitResult{}, err
	}
	if err := o.findCopies(ctx); err != nil {
		return step.OverfitResult{}, err
	}
	return o.store(ctx)
}

// overfitCheck is one check under way.
type overfitCheck struct {
	Checker
	in                step.OverfitInput
	training, holdout *ledger.Images
	names             []ledger.DatasetImage // of training's rows, then of holdout's
	candidates        ledger.CandidateList
	pixels            []uint8 // of the candidates, (n,3,128,128)
	list              ledger.NeighbourList
	copies            quality.Copies
	nearest           []float64 // each candidate's smallest distance
	repeated          int
	blank             int
}

func (o *overfitCheck) close() {
	for _, im := range []*ledger.Images{o.training, o.holdout} {
		if im != nil {
			_ = im.Close() // only read from
		}
	}
}

// open fetches what is compared.
func (o *overfitCheck) open(ctx context.Context, dir string) error {
	dataset, err := ledger.Datasets.Read(ctx, o.Store, o.in.Dataset)
	if err != nil {
		return err
	}
	index, err := ledger.Tensors.Read(ctx, o.Store, o.in.Tensors)
	if err != nil {
		return err
	}
	if index.Dataset != o.in.Dataset.SHA256 {
		return ledger.Permanent(step.ErrBadInput, "tensors of data set %s: the check is for %s", index.Dataset, o.in.Dataset.SHA256)
	}
	for _, part := range []struct {
		split string
		to    **ledger.Images
	}{{ledger.SplitTraining, &o.training}, {ledger.SplitHoldout, &o.holdout}} {
		if *part.to, err = ledger.OpenImages(ctx, o.Store, index, dir, part.split); err != nil {
			return err
		}
		names, err := index.RowsOf(dataset, part.split)
		if err != nil {
			return err
		}
		o.names = append(o.names, names...)
	}
	if o.training.Len() < 2 {
		return ledger.Permanent(step.ErrTooFewImages,
			"%d training images: at least 2 are needed to know how near they are to each other", o.training.Len())
	}
	if o.candidates, err = ledger.Candidates.Read(ctx, o.Store, o.in.Candidates); err != nil {
		return err
	}
	if len(o.candidates.Images) == 0 {
		return ledger.Permanent(step.ErrBadInput, "list of candidates %s: is empty", o.in.Candidates.Key)
	}
	o.pixels, err = fetchCandidates(ctx, o.Store, o.candidates.Images)
	return err
}

// fetchCandidates reads candidates' pixels, (n,3,128,128).
func fetchCandidates(ctx context.Context, store *storage.Store, list []ledger.Candidate) ([]uint8, error) {
	pixels := make([]uint8, len(list)*spec.ImageLen)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(transfers)
	for i, c := range list {
		group.Go(func() error {
			raw, err := store.Read(ctx, storage.Object(c.Image), maxCandidate)
			if err != nil {
				return fmt.Errorf("read candidate %d: %w", c.Index, err)
			}
			img, info, err := picture.Decode(raw, picture.Limits{MaxBytes: maxCandidate, MaxPixels: spec.Size * spec.Size})
			if err != nil || info.Width != spec.Size || info.Height != spec.Size {
				return ledger.Permanent(step.ErrCorrupt, "candidate %d, %s: is no image of %dx%d: %w", c.Index, c.Image.Key, spec.Size, spec.Size, err)
			}
			copy(pixels[i*spec.ImageLen:], picture.Square(img, spec.Size))
			return nil
		})
	}
	return pixels, group.Wait()
}

// planes gives package quality the images' first channels.
func planes(im *ledger.Images) quality.Source {
	return quality.Source{Shards: im.Shards(), Images: im.Len(), Load: func(_ context.Context, i int) ([]uint8, error) { return im.Planes(i) }}
}

// luminances gives package quality the images in grey.
func luminances(im *ledger.Images) quality.Source {
	return quality.Source{Shards: im.Shards(), Images: im.Len(), Load: func(_ context.Context, i int) ([]uint8, error) {
		first, end := im.RowsOf(i)
		out, row := make([]uint8, 0, (end-first)*quality.PlaneLen), make([]uint8, spec.ImageLen)
		for at := first; at < end; at++ {
			if err := im.Row(row, at); err != nil {
				return nil, err
			}
			out = append(out, picture.Luminance(row)...)
		}
		return out, nil
	}}
}

// findCopies measures all distances and decides about each candidate.
func (o *overfitCheck) findCopies(ctx context.Context) (err error) {
	n := o.training.Len()
	o.copies, err = quality.FindCopies(ctx, quality.CopyInput{
		Candidates: quality.FirstChannels(o.pixels), Training: planes(o.training), Holdout: planes(o.holdout),
		Groups: ledger.Groups(o.names[:n]), HoldoutGroups: ledger.Groups(o.names[n:]),
		RejectQuantile: o.in.Overfit.RejectQuantile, TailQuantile: o.in.Overfit.TailQuantile,
		Neighbours: o.in.Overfit.Neighbours, Progress: counter(ctx),
		Luminances: &quality.Luminances{Candidates: greys(o.pixels), Training: luminances(o.training), Holdout: luminances(o.holdout)},
	})
	if err != nil {
		return err
	}
	c := o.copies
	o.list = ledger.NeighbourList{
		RejectAt: orZero(c.RejectAt), TailAt: orZero(c.TailAt), TailQuantile: o.in.Overfit.TailQuantile,
		TransformedRejectAt: orZero(c.TransformedRejectAt), TransformedTailAt: orZero(c.TransformedTailAt),
		DisguisedRejectAt: c.DisguisedRejectAt,
		RealNearest:       c.Null, RealTransformed: c.NullTransformed, HoldoutNearest: c.Holdout, HoldoutGroups: c.HoldoutGroups, Notes: c.Notes,
	}
	first := make(map[string]int)
	for i, candidate := range o.candidates.Images {
		check := o.check(i, candidate)
		earlier, seen := first[candidate.Image.SHA256]
		if !seen {
			first[candidate.Image.SHA256] = candidate.Index
		}
		check.Reason = o.reason(i, seen, earlier)
		check.Accepted = check.Reason == ""
		o.list.Candidates = append(o.list.Candidates, check)
	}
	return nil
}

// greys are images (n,3,128,128) in grey.
func greys(images []uint8) []uint8 {
	out := make([]uint8, 0, len(images)/spec.Channels)
	for image := range slices.Chunk(images, spec.ImageLen) {
		out = append(out, picture.Luminance(image)...)
	}
	return out
}

// orZero is v, or 0 where it is no number, which JSON can't hold.
func orZero(v float64) float64 {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return 0
	}
	return v
}

// check names candidate i's neighbours.
func (o *overfitCheck) check(i int, c ledger.Candidate) ledger.CandidateCheck {
	check := ledger.CandidateCheck{Index: c.Index, SHA256: c.Image.SHA256, Training: o.copies.ToTraining[i]}
	for _, n := range o.copies.Nearest[i] {
		check.Nearest = append(check.Nearest, o.neighbour(n.Index, n.Distance))
	}
	o.nearest = append(o.nearest, o.copies.Nearest[i][0].Distance)
	for _, t := range []struct {
		found []quality.Transformed
		to    **ledger.TransformedNeighbour
	}{{o.copies.Transformed, &check.Transformed}, {o.copies.TransformedHeld, &check.TransformedHeld}} {
		if n := t.found[i]; n.Index >= 0 {
			*t.to = &ledger.TransformedNeighbour{Neighbour: o.neighbour(n.Index, n.Distance), How: n.Words()}
		}
	}
	if d := o.copies.Disguised[i]; d.Index >= 0 {
		check.Disguised = &ledger.TransformedNeighbour{Neighbour: o.neighbour(d.Index, d.Distance), How: d.Words()}
	}
	return check
}

func (o *overfitCheck) neighbour(real int, distance float64) ledger.Neighbour {
	im := o.names[real]
	return ledger.Neighbour{Name: im.Name, SHA256: im.SHA256, Distance: distance, Split: im.Split}
}

// reason says why candidate i is rejected, or nothing.
func (o *overfitCheck) reason(i int, seen bool, earlier int) string {
	switch {
	case plain(o.pixels[i*spec.ImageLen : (i+1)*spec.ImageLen]):
		o.blank++
		return "blank: a single colour"
	case seen:
		o.repeated++
		return fmt.Sprintf("the same as candidate %d", earlier)
	}
	why, _, _ := o.copies.Reason(i, func(real int) string { return o.names[real].Name })
	return why
}

// plain reports whether each channel of an image has one value throughout.
func plain(pixels []uint8) bool {
	plane := spec.Size * spec.Size
	for i, v := range pixels {
		if v != pixels[i/plane*plane] {
			return false
		}
	}
	return true
}

// store writes the list and the sheet and sums up.
func (o *overfitCheck) store(ctx context.Context) (step.OverfitResult, error) {
	list, err := ledger.Neighbours.Put(ctx, o.Store, o.list)
	if err != nil {
		return step.OverfitResult{}, fmt.Errorf("store list of neighbours: %w", err)
	}
	png, err := o.sheet()
	if err != nil {
		return step.OverfitResult{}, err
	}
	sheet, err := o.Store.PutArtifact(ctx, png, ".png")
	if err != nil {
		return step.OverfitResult{}, fmt.Errorf("store comparison sheet: %w", err)
	}
	out := step.OverfitResult{
		Neighbours: list, Sheet: step.Ref(sheet),
		RejectAt: o.list.RejectAt, TailAt: o.list.TailAt,
		TailShare: orZero(o.copies.TailShare()), TransformedShare: orZero(o.copies.TransformedShare()), Nearest: quality.Quantile(o.nearest, 0),
		Real: len(o.names), Repeated: o.repeated, Blank: o.blank,
	}
	for _, c := range o.list.Candidates {
		if c.Accepted {
			out.Accepted++
		} else {
			out.Rejected++
		}
	}
	return out, nil
}
