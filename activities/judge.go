package activities

import (
	"context"
	"errors"
	"fmt"
	"image"
	"slices"
	"strings"
	"sync"

	"go.temporal.io/sdk/temporal"
	"golang.org/x/sync/errgroup"

	"github.com/defectforge/defectforge/activities/ledger"
	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/model/picture"
	"github.com/defectforge/defectforge/model/spec"
	"github.com/defectforge/defectforge/storage"
)

// maxJudged bounds the candidates of one judgement, whose pixels are in memory.
const maxJudged = 10_000

// Judge judges images of any origin as a run judges its own.
type Judge struct {
	Store    *storage.Store // for what is made on the way
	Sources  func(ctx context.Context, bucket string) (storage.Reader, error)
	Scratch  string
	Progress func(done, total int)
}

// JudgeInput names the images.
type JudgeInput struct {
	Real, Candidates step.Source
	// Holdout are real images that no generator saw; nil holds a share of Real
	// out, as Ingest says, by groups.
	Holdout *step.Source
	Ingest  spec.Ingest
	Overfit spec.Overfit
	Policy  spec.Policy
	Seed    uint64
}

// Judgement is what a run's stages would have found.
type Judgement struct {
	Ingest     step.IngestResult
	Assess     step.AssessResult
	Measures   ledger.MeasureList
	Neighbours ledger.NeighbourList
	Names      []string             // of candidates, by index
	Unreadable []ledger.Quarantined // candidates that are no images
}

// JudgeImages ingests and preprocesses the real images, compares the candidates with
// them and decides. Candidates are cropped and resized as real images are; one
// that can't be read counts as not compared. Images that can't be judged at all
// are a permanent failure.
func (j Judge) JudgeImages(ctx context.Context, in JudgeInput) (Judgement, error) {
	var out Judgement
	dataset, tensors, err := j.reals(ctx, in, &out.Ingest)
	if err != nil {
		return out, err
	}
	list, err := j.candidates(ctx, in, &out)
	if err != nil {
		return out, err
	}
	check, err := Checker{Store: j.Store, Scratch: j.Scratch}.CheckOverfit(ctx, step.OverfitInput{
		Candidates: list, Dataset: dataset, Tensors: tensors, Overfit: in.Overfit,
	})
	if err != nil {
		return out, err
	}
	out.Assess, err = Assessor{Store: j.Store, Scratch: j.Scratch}.Assess(ctx, step.AssessInput{
		Ingest: out.Ingest, Sample: step.SampleResult{Candidates: list, Count: len(out.Names) + len(out.Unreadable)},
		Check: check, Tensors: tensors, Dataset: dataset, Policy: in.Policy, Seed: in.Seed,
	})
	if err != nil {
		return out, err
	}
	if out.Neighbours, err = ledger.Neighbours.Read(ctx, j.Store, check.Neighbours); err != nil {
		return out, err
	}
	out.Measures, err = ledger.Measures.Read(ctx, j.Store, out.Assess.Measures)
	return out, err
}

// reals makes data set and tensors of the real images, the hold-out's among them.
func (j Judge) reals(ctx context.Context, in JudgeInput, counts *step.IngestResult) (dataset, tensors step.Ref, err error) {
	options := in.Ingest
	options.SelectionShare = 0
	if in.Holdout != nil {
		options.HoldoutShare = 0
	}
	real, index, err := j.set(ctx, in.Real, options, counts)
	if err != nil {
		return dataset, tensors, fmt.Errorf("real images: %w", err)
	}
	if in.Holdout != nil {
		var held step.IngestResult
		options.MinImages = 1
		kept, keptIndex, err := j.set(ctx, *in.Holdout, options, &held)
		if err != nil {
			return dataset, tensors, fmt.Errorf("hold-out: %w", err)
		}
		if err := join(&real, &index, kept, keptIndex); err != nil {
			return dataset, tensors, err
		}
		counts.Holdout = held.Training
	}
	if dataset, err = ledger.Datasets.Put(ctx, j.Store, real); err != nil {
		return dataset, tensors, fmt.Errorf("store data set: %w", err)
	}
	index.Dataset = dataset.SHA256
	if tensors, err = ledger.Tensors.Put(ctx, j.Store, index); err != nil {
		return dataset, tensors, fmt.Errorf("store tensor index: %w", err)
	}
	return dataset, tensors, nil
}

// set ingests and preprocesses one source.
func (j Judge) set(
	ctx context.Context, source step.Source, options spec.Ingest, counts *step.IngestResult,
) (ledger.Dataset, ledger.TensorIndex, error) {
	var err error
	ingester := Ingester{Store: j.Store, Sources: j.Sources, Progress: j.Progress}
	*counts, err = ingester.Ingest(ctx, step.IngestInput{Class: "judged", Source: source, Ingest: options})
	if err != nil {
		return ledger.Dataset{}, ledger.TensorIndex{}, err
	}
	preprocessor := Preprocessor{Store: j.Store, Sources: j.Sources, Progress: j.Progress}
	made, err := preprocessor.Preprocess(ctx, step.PreprocessInput{Dataset: counts.Dataset, Source: source, Frame: options.Framing()})
	if err != nil {
		return ledger.Dataset{}, ledger.TensorIndex{}, err
	}
	dataset, err := ledger.Datasets.Read(ctx, j.Store, counts.Dataset)
	if err != nil {
		return ledger.Dataset{}, ledger.TensorIndex{}, err
	}
	index, err := ledger.Tensors.Read(ctx, j.Store, made.Tensors)
	return dataset, index, err
}

// join adds a set as the hold-out of another.
func join(real *ledger.Dataset, index *ledger.TensorIndex, held ledger.Dataset, heldIndex ledger.TensorIndex) error {
	known := make(map[string]string, len(real.Images))
	for _, im := range real.Images {
		known[im.SHA256] = im.Name
	}
	for _, im := range held.Images {
		if twin, ok := known[im.SHA256]; ok {
			return ledger.Permanent(step.ErrBadInput,
				"hold-out image %s: is the same as real image %s; a hold-out must be kept apart from what a generator saw", im.Name, twin)
		}
		im.Split = ledger.SplitHoldout
		real.Images = append(real.Images, im)
	}
	for _, shard := range heldIndex.Shards {
		shard.Split = ledger.SplitHoldout
		index.Shards = append(index.Shards, shard)
	}
	return nil
}

// candidates reads, crops and resizes the candidates.
func (j Judge) candidates(ctx context.Context, in JudgeInput, out *Judgement) (step.Ref, error) {
	bucket, err := j.Sources(ctx, in.Candidates.Bucket)
	if err != nil {
		return step.Ref{}, fmt.Errorf("open candidates' bucket %q: %w", in.Candidates.Bucket, err)
	}
	prefix := in.Candidates.Folder()
	var infos []storage.Info
	for info, err := range bucket.List(ctx, prefix) {
		if err != nil {
			return step.Ref{}, fmt.Errorf("list candidates: %w", err)
		}
		if info.Key == prefix || strings.HasSuffix(info.Key, "/") && info.Size == 0 {
			continue
		}
		if infos = append(infos, info); len(infos) > maxJudged {
			return step.Ref{}, ledger.Permanent(step.ErrBadInput, "candidates: more than %d; judge them in parts", maxJudged)
		}
	}
	if len(infos) == 0 {
		return step.Ref{}, ledger.Permanent(step.ErrBadInput, "candidates: nothing found below s3://%s/%s", in.Candidates.Bucket, prefix)
	}
	list, err := j.squares(ctx, bucket, prefix, infos, in.Ingest, out)
	if err != nil {
		return step.Ref{}, err
	}
	if len(list.Images) == 0 {
		return step.Ref{}, ledger.Permanent(step.ErrBadInput,
			"candidates: none of %d can be read; the first: %s: %s", len(infos), out.Unreadable[0].Name, out.Unreadable[0].Reason)
	}
	ref, err := ledger.Candidates.Put(ctx, j.Store, list)
	return ref, ledger.Wrap("store candidates", err)
}

// squares stores each readable candidate as a PNG of 128x128.
func (j Judge) squares(
	ctx context.Context, bucket storage.Reader, prefix string, infos []storage.Info, limits spec.Ingest, out *Judgement,
) (ledger.CandidateList, error) {
	source := storage.ViewOf(bucket)
	d := newDecoder(limitsOf(limits))
	stored := make([]storage.Object, len(infos))
	var mu sync.Mutex
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(readers())
	for i, info := range infos {
		group.Go(func() error {
			png, damage, err := square(gctx, source, d, info.Key)
			if err != nil {
				return err
			}
			if damage != nil {
				mu.Lock()
				defer mu.Unlock()
				name := strings.TrimPrefix(info.Key, prefix)
				out.Unreadable = append(out.Unreadable, ledger.Quarantined{Name: name, Reason: unusable(damage)})
				return nil
			}
			stored[i], err = j.Store.PutArtifact(gctx, png, ".png")
			return ledger.Wrap("store candidate", err)
		})
	}
	if err := group.Wait(); err != nil {
		return ledger.CandidateList{}, err
	}
	slices.SortFunc(out.Unreadable, func(a, b ledger.Quarantined) int { return strings.Compare(a.Name, b.Name) })
	var list ledger.CandidateList
	for i, obj := range stored {
		if obj.Key != "" {
			list.Images = append(list.Images, ledger.Candidate{Index: len(out.Names), Image: step.Ref(obj)})
			out.Names = append(out.Names, strings.TrimPrefix(infos[i].Key, prefix))
		}
	}
	return list, nil
}

// square reads one candidate and makes it a PNG of 128x128; unusable is why it is
// no image.
func square(ctx context.Context, source storage.View, d decoder, key string) (png []byte, unusable, err error) {
	data, _, err := source.ReadNamed(ctx, key, d.limits.MaxBytes)
	switch {
	case errors.Is(err, storage.ErrTooLarge), errors.Is(err, storage.ErrCorrupt):
		return nil, err, ctx.Err()
	case err != nil:
		return nil, nil, fmt.Errorf("read candidate %s: %w", key, err)
	}
	_, unusable = d.decode(ctx, data, d.limits, func(img *image.RGBA) (err error) {
		png, err = picture.EncodePNG(picture.Square(img, spec.Size))
		return err
	})
	return png, unusable, ctx.Err()
}

// FailureType is the step's type of a permanent failure, or "".
func FailureType(err error) string {
	var app *temporal.ApplicationError
	if errors.As(typed(err), &app) {
		return app.Type()
	}
	return ""
}
