package activities

import (
	"context"
	"fmt"

	"golang.org/x/sync/errgroup"

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

// CheckOverfit finds every candidate's nearest real images, held out ones
// included, and rejects candidates that are nearer to one than real images are
// to each other, that repeat another candidate, or that are blank. The same
// candidates and images are found, not compared again.
func (c Checker) CheckOverfit(ctx context.Context, in step.OverfitInput) (step.OverfitResult, error) {
	key := spec.Digest([]any{in.Candidates.SHA256, in.Dataset.SHA256, in.Tensors.SHA256, in.Overfit})
	var found step.OverfitResult
	if ok, err := c.Store.Recall(ctx, "overfit", key, &found); err != nil {
		return step.OverfitResult{}, wrap("look up earlier check", err)
	} else if ok {
		if ok, err := present(ctx, c.Store, found.Neighbours, found.Sheet); err != nil || ok {
			return found, err
		}
	}
	dir, release, err := scratch(c.Scratch)
	if err != nil {
		return step.OverfitResult{}, err
	}
	defer release()
	o := &comparison{Checker: c, in: in}
	defer o.close()
	if err := o.open(ctx, dir); err != nil {
		return step.OverfitResult{}, err
	}
	if err := o.compare(ctx); err != nil {
		return step.OverfitResult{}, err
	}
	out, err := o.store(ctx)
	if err != nil {
		return step.OverfitResult{}, err
	}
	return out, wrap("remember check", c.Store.Remember(ctx, "overfit", key, out))
}

// comparison is one check under way.
type comparison struct {
	Checker
	in         step.OverfitInput
	real       *images
	names      []DatasetImage // of real's rows
	candidates CandidateList
	pixels     []uint8 // of the candidates, (n,3,128,128)
	list       NeighbourList
	rows       [][]quality.Neighbour // by candidate
	nearest    []float64             // each candidate's smallest distance
	repeated   int
	blank      int
}

func (o *comparison) close() {
	if o.real != nil {
		_ = o.real.Close() // only read from
	}
}

// open fetches what is compared.
func (o *comparison) open(ctx context.Context, dir string) error {
	dataset, err := readDocument(ctx, o.Store, o.in.Dataset, DecodeDataset)
	if err != nil {
		return err
	}
	index, err := readDocument(ctx, o.Store, o.in.Tensors, DecodeTensorIndex)
	if err != nil {
		return err
	}
	if index.Dataset != o.in.Dataset.SHA256 {
		return permanent(step.ErrBadInput, "tensors of data set %s: the check is for %s", index.Dataset, o.in.Dataset.SHA256)
	}
	if o.names, err = rowNames(dataset, index); err != nil {
		return err
	}
	if o.real, err = openImages(ctx, o.Store, index, dir, SplitTraining, SplitHoldout); err != nil {
		return err
	}
	if o.real.Len() < 2 || o.real.Len() != len(o.names) {
		return permanent(step.ErrTooFewImages, "%d real images: at least 2 are needed to know how near they are to each other", o.real.Len())
	}
	if o.candidates, err = readDocument(ctx, o.Store, o.in.Candidates, DecodeCandidateList); err != nil {
		return err
	}
	if len(o.candidates.Images) == 0 {
		return permanent(step.ErrBadInput, "list of candidates %s: is empty", o.in.Candidates.Key)
	}
	return o.fetch(ctx)
}

// rowNames gives the data set's entry of each row of the index's shards.
func rowNames(dataset Dataset, index TensorIndex) ([]DatasetImage, error) {
	bySHA := make(map[string]DatasetImage, len(dataset.Images))
	for _, im := range dataset.Images {
		bySHA[im.SHA256] = im
	}
	var names []DatasetImage
	for _, shard := range index.Shards {
		for _, sha := range shard.Images {
			im, ok := bySHA[sha]
			if !ok || im.Split != shard.Split {
				return nil, permanent(step.ErrBadInput, "shard %s: image %s is not in the data set's %s split", shard.Ref.Key, sha, shard.Split)
			}
			names = append(names, im)
		}
	}
	return names, nil
}

// fetch reads the candidates' pixels.
func (o *comparison) fetch(ctx context.Context) error {
	o.pixels = make([]uint8, len(o.candidates.Images)*spec.ImageLen)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(transfers)
	for i, c := range o.candidates.Images {
		group.Go(func() error {
			raw, err := o.Store.Read(ctx, storage.Object(c.Image), maxCandidate)
			if err != nil {
				return fmt.Errorf("read candidate %d: %w", c.Index, err)
			}
			img, info, err := picture.Decode(raw, picture.Limits{MaxBytes: maxCandidate, MaxPixels: spec.Size * spec.Size})
			if err != nil || info.Width != spec.Size || info.Height != spec.Size {
				return permanent(step.ErrCorrupt, "candidate %d, %s: is no image of %dx%d: %w", c.Index, c.Image.Key, spec.Size, spec.Size, err)
			}
			copy(o.pixels[i*spec.ImageLen:], picture.Square(img, spec.Size))
			return nil
		})
	}
	return group.Wait()
}

// compare measures all distances and decides about each candidate.
func (o *comparison) compare(ctx context.Context) error {
	source := quality.Source{Shards: len(o.real.shards), Load: func(_ context.Context, i int) ([]uint8, error) { return o.real.Planes(i) }}
	between, err := quality.LeaveOneOut(ctx, source, counter(ctx))
	if err != nil {
		return err
	}
	if o.rows, err = quality.Nearest(ctx, quality.FirstChannels(o.pixels), source, max(o.in.Overfit.Neighbours, 1), counter(ctx)); err != nil {
		return err
	}
	o.list = NeighbourList{
		RejectAt: quality.Quantile(between, o.in.Overfit.RejectQuantile),
		TailAt:   quality.Quantile(between, o.in.Overfit.TailQuantile), RealNearest: between,
	}
	first := make(map[string]int)
	for i, c := range o.candidates.Images {
		check := CandidateCheck{Index: c.Index, SHA256: c.Image.SHA256}
		for _, n := range o.rows[i] {
			real := o.names[n.Index]
			check.Nearest = append(check.Nearest, Neighbour{Name: real.Name, SHA256: real.SHA256, Distance: n.Distance, Split: real.Split})
		}
		o.nearest = append(o.nearest, o.rows[i][0].Distance)
		earlier, seen := first[c.Image.SHA256]
		if !seen {
			first[c.Image.SHA256] = c.Index
		}
		check.Reason = o.reason(i, check.Nearest[0], seen, earlier)
		check.Accepted = check.Reason == ""
		o.list.Candidates = append(o.list.Candidates, check)
	}
	return nil
}

// reason says why candidate i is rejected, or nothing.
func (o *comparison) reason(i int, nearest Neighbour, seen bool, earlier int) string {
	switch {
	case plain(o.pixels[i*spec.ImageLen : (i+1)*spec.ImageLen]):
		o.blank++
		return "blank: a single colour"
	case seen:
		o.repeated++
		return fmt.Sprintf("the same as candidate %d", earlier)
	// Not "nearer than": without a threshold nothing is accepted.
	case !(nearest.Distance >= o.list.RejectAt) || nearest.Distance == 0:
		return fmt.Sprintf("copy: %.4g from %s, nearer than %.4g", nearest.Distance, nearest.Name, o.list.RejectAt)
	}
	return ""
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
func (o *comparison) store(ctx context.Context) (step.OverfitResult, error) {
	raw, err := o.list.Encode()
	if err != nil {
		return step.OverfitResult{}, err
	}
	list, err := o.Store.PutArtifact(ctx, raw, ".json")
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
		Neighbours: step.Ref(list), Sheet: step.Ref(sheet),
		RejectAt: o.list.RejectAt, TailAt: o.list.TailAt,
		TailShare: quality.ShareBelow(o.nearest, o.list.TailAt), Nearest: quality.Quantile(o.nearest, 0),
		Real: o.real.Len(), Repeated: o.repeated, Blank: o.blank,
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
