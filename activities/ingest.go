package activities

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/defectforge/defectforge/activities/ledger"
	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/model/quality"
	"github.com/defectforge/defectforge/model/spec"
	"github.com/defectforge/defectforge/storage"
)

// maxPaired is the most usable files of which every pair of images is looked at: for
// overlaps, which takes about 30 microseconds a pair, and by cells where hashes are
// near, which takes about 60. Of larger sets hashes alone decide, about every image, so
// that the outcome does not depend on which were read first.
const maxPaired = 3000

// Ingester makes a data set manifest of the images below a source's prefix.
type Ingester struct {
	Store   *storage.Store
	Sources func(ctx context.Context, bucket string) (storage.Reader, error)
	// Progress, if set, is called with the objects read so far, and then with the
	// images compared; total is 0 while it is unknown.
	Progress func(done, total int)
}

// Ingest lists the source, reads and decodes every object, sets aside what
// can't be used, leaves out duplicates, groups what is similar and draws the
// hold-out and the selection split. The manifest depends on the objects alone,
// not on the order or the time in which they arrive. Too few images are a
// permanent failure of type step.ErrTooFewImages; a failure of the store is
// returned as it is, and quarantines nothing.
func (g Ingester) Ingest(ctx context.Context, in step.IngestInput) (step.IngestResult, error) {
	if err := checkIngest(in); err != nil {
		return step.IngestResult{}, err
	}
	bucket, err := g.Sources(ctx, in.Source.Bucket)
	if err != nil {
		return step.IngestResult{}, fmt.Errorf("open source bucket %q: %w", in.Source.Bucket, err)
	}
	s := scan{source: storage.ViewOf(bucket), prefix: in.Source.Folder(), progress: g.Progress,
		decoder: newDecoder(limitsOf(in.Ingest))}
	if err := s.run(ctx); err != nil {
		if errors.Is(err, storage.ErrNotFound) && s.found == 0 {
			return step.IngestResult{}, ledger.Permanent(step.ErrBadInput, "source bucket %q: %w; check its name", in.Source.Bucket, err)
		}
		return step.IngestResult{}, fmt.Errorf("ingest s3://%s/%s: %w", in.Source.Bucket, s.prefix, err)
	}
	doc := ledger.Dataset{Class: in.Class, Quarantine: s.quarantine}
	kept, dropped := dropDuplicates(s.images, in.Ingest)
	doc.Duplicates = dropped
	if len(kept) < in.Ingest.MinImages {
		return step.IngestResult{}, tooFew(in, s.found, len(kept), doc)
	}
	doc.Levels = whiteLevel(kept, in.Ingest)
	doc.Grouping = ledger.GroupedByOverlap
	if len(s.images) > maxPaired {
		doc.Grouping = ledger.GroupedByHash
	}
	if err := g.group(ctx, kept, in.Ingest, &doc); err != nil {
		return step.IngestResult{}, err
	}
	assignSplits(doc.Images, in.Ingest.HoldoutShare, in.Ingest.SelectionShare)
	leaveOut(doc.Images, in.Ingest.MaxImages)
	out, err := g.store(ctx, doc, s.found)
	out.Unverified = in.Ingest.Duplicates == spec.DuplicatesVerify && len(s.images) > maxPaired
	if in.Ingest.Framing() == (spec.Framing{}) {
		out.CutAway = cutAway(doc.Images)
	}
	return out, err
}

// cutAway is the mean share of images that centre crops lose.
func cutAway(images []ledger.DatasetImage) float64 {
	sum := 0.0
	for _, i := range images {
		side := float64(min(i.Width, i.Height))
		sum += 1 - side*side/(float64(i.Width)*float64(i.Height))
	}
	return sum / float64(max(len(images), 1))
}

func checkIngest(in step.IngestInput) error {
	if in.Class == "" {
		return ledger.Permanent(step.ErrBadInput, "class is empty; name the defect class")
	}
	if in.Source.Bucket == "" {
		return ledger.Permanent(step.ErrBadInput, "source.bucket is empty; name the bucket the images lie in")
	}
	if err := in.Ingest.Validate(); err != nil {
		return ledger.Permanent(step.ErrBadInput, "recipe: %w", err)
	}
	return nil
}

// group fills in doc's images with their groups: of pictures that are the same, and of
// those that show overlapping parts of one scene. Parts of one kind in a fixture are no
// group, though all of the scene but the defect is the same.
func (g Ingester) group(ctx context.Context, kept []scanned, in spec.Ingest, doc *ledger.Dataset) error {
	sets := newSets(len(kept))
	known := make(hashes, len(kept))
	for i := range kept {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		known[i] = kept[i].hash
		known.near(i, in.GroupDistance, func(j int) bool {
			if kept[i].verdict(&kept[j], in.Duplicates) == samePicture {
				sets.join(i, j)
			}
			return false
		})
	}
	if doc.Grouping == ledger.GroupedByOverlap {
		thumbs := make([][]uint8, len(kept))
		for i := range kept {
			thumbs[i] = kept[i].thumb
		}
		pairs, err := quality.Overlaps(ctx, thumbs, g.Progress)
		if err != nil {
			return fmt.Errorf("group images: %w", err)
		}
		for _, p := range pairs {
			if kept[p.A].verdict(&kept[p.B], in.Duplicates) != sameScene {
				sets.join(p.A, p.B)
			}
		}
	}
	names := sets.names(func(i int) string { return kept[i].SHA256 })
	doc.Images = make([]ledger.DatasetImage, len(kept))
	for i, k := range kept {
		doc.Images[i] = k.DatasetImage
		doc.Images[i].Group = names[i]
	}
	return nil
}

// assignSplits holds out whole groups, and of those that are left keeps some
// for the selection of the checkpoint: both shares are of all images, and at
// most 0.6 together. So the split depends on the images' content alone, not on
// their names, and the hold-out does not depend on the selection.
func assignSplits(images []ledger.DatasetImage, holdout, selection float64) {
	for i := range images {
		images[i].Split = ledger.SplitTraining
	}
	draw(images, ledger.SplitHoldout, "", int(holdout*float64(len(images))))
	draw(images, ledger.SplitSelection, "selection/", int(selection*float64(len(images))))
}

// leaveOut keeps no more than most images for training, in the order of the
// SHA-256 of their digests, image by image: nothing is judged by those left
// out, so that groups may be divided here. 0 keeps all.
func leaveOut(images []ledger.DatasetImage, most int) {
	var training []*ledger.DatasetImage
	for i := range images {
		if images[i].Split == ledger.SplitTraining {
			training = append(training, &images[i])
		}
	}
	if most == 0 || len(training) <= most {
		return
	}
	slices.SortFunc(training, func(a, b *ledger.DatasetImage) int {
		return cmp.Compare(storage.Digest([]byte("training/"+a.SHA256)), storage.Digest([]byte("training/"+b.SHA256)))
	})
	for _, im := range training[most:] {
		im.Split = ledger.SplitLeftOut
	}
}

// draw moves whole groups of the training images to another split, in the order
// of the SHA-256 of salt and their names, as long as these images are at most n.
func draw(images []ledger.DatasetImage, to, salt string, n int) {
	sizes := map[string]int{}
	for i := range images {
		if images[i].Split == ledger.SplitTraining {
			sizes[images[i].Group]++
		}
	}
	order := make([]string, 0, len(sizes))
	for group := range sizes {
		order = append(order, group)
	}
	slices.SortFunc(order, func(a, b string) int {
		return cmp.Compare(storage.Digest([]byte(salt+a)), storage.Digest([]byte(salt+b)))
	})
	drawn := map[string]bool{}
	for _, group := range order {
		if sizes[group] <= n {
			drawn[group] = true
			n -= sizes[group]
		}
	}
	for i := range images {
		if drawn[images[i].Group] {
			images[i].Split = to
		}
	}
}

// store writes the manifest and counts what is in it.
func (g Ingester) store(ctx context.Context, doc ledger.Dataset, found int) (step.IngestResult, error) {
	ref, err := ledger.Datasets.Put(ctx, g.Store, doc)
	if err != nil {
		return step.IngestResult{}, fmt.Errorf("store data set manifest: %w", err)
	}
	out := step.IngestResult{Dataset: ref, Found: found, Usable: len(doc.Images), Quarantined: len(doc.Quarantine), Levels: doc.Levels}
	for _, d := range doc.Duplicates {
		if d.Kind == ledger.DuplicateExact {
			out.Duplicates++
		} else {
			out.NearDuplicates++
		}
	}
	groups := map[string]bool{}
	for _, i := range doc.Images {
		groups[i.Group] = true
		out.MorePages += i.MorePages
		if i.Transparent {
			out.Transparent++
		}
		switch i.Split {
		case ledger.SplitTraining:
			out.Training++
		case ledger.SplitSelection:
			out.Selection++
		case ledger.SplitLeftOut:
			out.LeftOut++
		default:
			out.Holdout++
		}
	}
	out.Groups = len(groups)
	return out, nil
}

// tooFew explains where the images went.
func tooFew(in step.IngestInput, found, usable int, doc ledger.Dataset) error {
	where := "s3://" + in.Source.Bucket + "/" + in.Source.Folder()
	if found == 0 {
		return ledger.Permanent(step.ErrTooFewImages, "no images: nothing found below %s; check the bucket and prefix", where)
	}
	counts := map[string]int{}
	for _, q := range doc.Quarantine {
		reason, _, _ := strings.Cut(q.Reason, ":")
		counts[reason]++
	}
	for _, d := range doc.Duplicates {
		counts[d.Kind+" duplicate"]++
	}
	reasons := make([]string, 0, len(counts))
	for r := range counts {
		reasons = append(reasons, r)
	}
	slices.SortFunc(reasons, func(a, b string) int { return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a, b)) })
	left := ""
	for i, r := range reasons[:min(len(reasons), 3)] {
		left += fmt.Sprintf("%s %d %s", []string{"; left out:", ",", ","}[i], counts[r], r)
	}
	keep := ""
	if counts[ledger.DuplicateNear+" duplicate"] > 0 {
		keep = ", or keep near duplicates with ingest.duplicates=" + spec.DuplicatesExact
	}
	return ledger.Permanent(step.ErrTooFewImages,
		"too few images: %d usable of %d found below %s%s; add images (at least %d are needed) or lower ingest.min_images%s",
		usable, found, where, left, in.Ingest.MinImages, keep)
}
