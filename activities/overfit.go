package activities

import (
	"context"
	"fmt"
	"math"

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

// overfitStage is what earlier checks are remembered under; the number counts
// changes of what is compared.
const overfitStage = "overfit-3"

// CheckOverfit finds every candidate's nearest real images, held out ones
// included, and its nearest ones when it may be mirrored, turned and
// shifted. It rejects candidates that are nearer than real images of different
// groups are to each other, that repeat another candidate, or that are blank. The
// same candidates and images are found, not compared again.
func (c Checker) CheckOverfit(ctx context.Context, in step.OverfitInput) (step.OverfitResult, error) {
	key := overfitKey(in)
	if !in.Refresh {
		if found, ok, err := c.recall(ctx, key); err != nil || ok {
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
	return out, wrap("remember check", c.Store.Remember(ctx, overfitStage, key, out))
}

// overfitKey names a check.
func overfitKey(in step.OverfitInput) string {
	return spec.Digest([]any{in.Candidates.SHA256, in.Dataset.SHA256, in.Tensors.SHA256, in.Overfit})
}

// recall finds an earlier check whose documents are stored still.
func (c Checker) recall(ctx context.Context, key string) (step.OverfitResult, bool, error) {
	var found step.OverfitResult
	if ok, err := c.Store.Recall(ctx, overfitStage, key, &found); err != nil || !ok {
		return step.OverfitResult{}, false, wrap("look up earlier check", err)
	}
	ok, err := present(ctx, c.Store, found.Neighbours, found.Sheet)
	found.Cached = ok
	return found, ok, err
}

// comparison is one check under way.
type comparison struct {
	Checker
	in                step.OverfitInput
	training, holdout *images
	names             []DatasetImage // of training's rows, then of holdout's
	candidates        CandidateList
	pixels            []uint8 // of the candidates, (n,3,128,128)
	list              NeighbourList
	copies            quality.Copies
	nearest           []float64 // each candidate's smallest distance
	repeated          int
	blank             int
}

func (o *comparison) close() {
	for _, im := range []*images{o.training, o.holdout} {
		if im != nil {
			_ = im.Close() // only read from
		}
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
	for _, part := range []struct {
		split string
		to    **images
	}{{SplitTraining, &o.training}, {SplitHoldout, &o.holdout}} {
		if *part.to, err = openImages(ctx, o.Store, index, dir, part.split); err != nil {
			return err
		}
		names, err := rowNames(dataset, index, part.split)
		if err != nil {
			return err
		}
		o.names = append(o.names, names...)
	}
	if o.training.Len() < 2 {
		return permanent(step.ErrTooFewImages, "%d training images: at least 2 are needed to know how near they are to each other", o.training.Len())
	}
	if o.candidates, err = readDocument(ctx, o.Store, o.in.Candidates, DecodeCandidateList); err != nil {
		return err
	}
	if len(o.candidates.Images) == 0 {
		return permanent(step.ErrBadInput, "list of candidates %s: is empty", o.in.Candidates.Key)
	}
	o.pixels, err = fetchCandidates(ctx, o.Store, o.candidates.Images)
	return err
}

// rowNames gives the data set's entry of each row of a split's shards.
func rowNames(dataset Dataset, index TensorIndex, split string) ([]DatasetImage, error) {
	bySHA := make(map[string]int, len(dataset.Images))
	for i, im := range dataset.Images {
		if im.Split == split {
			bySHA[im.SHA256] = i
		}
	}
	names := make([]DatasetImage, 0, len(bySHA))
	for _, shard := range index.Shards {
		if shard.Split != split {
			continue
		}
		for _, sha := range shard.Images {
			i, ok := bySHA[sha]
			if !ok {
				return nil, permanent(step.ErrBadInput, "shard %s: image %s is not in the data set's %s split", shard.Ref.Key, sha, shard.Split)
			}
			names = append(names, dataset.Images[i])
		}
	}
	return names, nil
}

// groupsOf names the images' groups; nil where the data set knows none.
func groupsOf(names []DatasetImage) []string {
	groups := make([]string, len(names))
	for i, n := range names {
		if n.Group == "" {
			return nil
		}
		groups[i] = n.Group
	}
	return groups
}

// fetchCandidates reads candidates' pixels, (n,3,128,128).
func fetchCandidates(ctx context.Context, store *storage.Store, list []Candidate) ([]uint8, error) {
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
				return permanent(step.ErrCorrupt, "candidate %d, %s: is no image of %dx%d: %w", c.Index, c.Image.Key, spec.Size, spec.Size, err)
			}
			copy(pixels[i*spec.ImageLen:], picture.Square(img, spec.Size))
			return nil
		})
	}
	return pixels, group.Wait()
}

// planeSource gives package quality the images' first channels.
func (im *images) planeSource() quality.Source {
	return quality.Source{Shards: len(im.shards), Images: im.n, Load: func(_ context.Context, i int) ([]uint8, error) { return im.Planes(i) }}
}

// compare measures all distances and decides about each candidate.
func (o *comparison) compare(ctx context.Context) (err error) {
	n := o.training.Len()
	o.copies, err = quality.FindCopies(ctx, quality.CopyInput{
		Candidates: quality.FirstChannels(o.pixels), Training: o.training.planeSource(), Holdout: o.holdout.planeSource(),
		Groups: groupsOf(o.names[:n]), HoldoutGroups: groupsOf(o.names[n:]), RejectQuantile: o.in.Overfit.RejectQuantile, TailQuantile: o.in.Overfit.TailQuantile,
		Neighbours: o.in.Overfit.Neighbours, Progress: counter(ctx),
	})
	if err != nil {
		return err
	}
	c := o.copies
	o.list = NeighbourList{
		RejectAt: known(c.RejectAt), TailAt: known(c.TailAt), TailQuantile: o.in.Overfit.TailQuantile,
		TransformedRejectAt: known(c.TransformedRejectAt), TransformedTailAt: known(c.TransformedTailAt),
		RealNearest: c.Null, RealTransformed: c.NullTransformed, HoldoutNearest: c.Holdout, HoldoutGroups: c.HoldoutGroups, Notes: c.Notes,
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

// known is v, or 0 where it is no number, which JSON can't hold.
func known(v float64) float64 {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return 0
	}
	return v
}

// check names candidate i's neighbours.
func (o *comparison) check(i int, c Candidate) CandidateCheck {
	check := CandidateCheck{Index: c.Index, SHA256: c.Image.SHA256, Training: o.copies.ToTraining[i]}
	for _, n := range o.copies.Nearest[i] {
		check.Nearest = append(check.Nearest, o.neighbour(n.Index, n.Distance))
	}
	o.nearest = append(o.nearest, o.copies.Nearest[i][0].Distance)
	for _, t := range []struct {
		found []quality.Transformed
		to    **TransformedNeighbour
	}{{o.copies.Transformed, &check.Transformed}, {o.copies.TransformedHeld, &check.TransformedHeld}} {
		if n := t.found[i]; n.Index >= 0 {
			*t.to = &TransformedNeighbour{Neighbour: o.neighbour(n.Index, n.Distance), How: n.Words()}
		}
	}
	return check
}

func (o *comparison) neighbour(real int, distance float64) Neighbour {
	im := o.names[real]
	return Neighbour{Name: im.Name, SHA256: im.SHA256, Distance: distance, Split: im.Split}
}

// reason says why candidate i is rejected, or nothing.
func (o *comparison) reason(i int, seen bool, earlier int) string {
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
		TailShare: known(o.copies.TailShare()), TransformedShare: known(o.copies.TransformedShare()), Nearest: quality.Quantile(o.nearest, 0),
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
