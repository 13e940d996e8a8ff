package activities

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"go.temporal.io/sdk/temporal"

	"github.com/defectforge/defectforge/activities/ledger"
	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/model/classifier"
	"github.com/defectforge/defectforge/model/quality"
	"github.com/defectforge/defectforge/model/spec"
)

// gather ingests and preprocesses the other classes. No image may be of two.
func (s *utilityStudy) gather(ctx context.Context) error {
	s.classes = []studied{{s.in.Class, s.in.Dataset, s.in.Tensors}}
	for _, other := range s.in.Plan.Others {
		c, err := s.other(ctx, other)
		if err != nil {
			return err
		}
		s.classes = append(s.classes, c)
	}
	seen := map[string]string{} // class by digest
	for _, c := range s.classes {
		dataset, err := ledger.Datasets.Read(ctx, s.Store, c.Dataset)
		if err != nil {
			return err
		}
		for _, im := range dataset.Images {
			if of, ok := seen[im.SHA256]; ok {
				return untestable{fmt.Sprintf("image %s of class %s is an image of class %s as well; every image needs one class",
					im.Name, c.Class, of)}
			}
			seen[im.SHA256] = c.Class
		}
	}
	return nil
}

// other makes data set and tensors of one class. Its images choose no checkpoint
// and train no generator.
func (s *utilityStudy) other(ctx context.Context, from step.ClassSource) (studied, error) {
	options := s.in.Ingest
	options.SelectionShare, options.MaxImages, options.MinImages = 0, 0, 1
	out := studied{Class: from.Class}
	ingester := Ingester{Store: s.Store, Sources: s.Sources}
	ingested, err := ingester.Ingest(ctx, step.IngestInput{Class: from.Class, Source: from.Source, Ingest: options})
	if err != nil {
		return out, ofClass(from.Class, err)
	}
	preprocessor := Preprocessor{Store: s.Store, Sources: s.Sources}
	made, err := preprocessor.Preprocess(ctx, step.PreprocessInput{Dataset: ingested.Dataset, Source: from.Source, Frame: options.Framing()})
	if err != nil {
		return out, ofClass(from.Class, err)
	}
	if n := ingested.Quarantined; n > 0 {
		s.notes = append(s.notes, fmt.Sprintf("%d of %d objects of %s can't be used as images", n, ingested.Found, from.Class))
	}
	out.Dataset, out.Tensors = ingested.Dataset, made.Tensors
	return out, nil
}

// ofClass turns a failure in a class's source that no retry mends into a reason
// why nothing is tested.
func ofClass(class string, err error) error {
	var app *temporal.ApplicationError
	if errors.As(typed(err), &app) && (app.Type() == step.ErrBadInput || app.Type() == step.ErrTooFewImages) {
		return untestable{fmt.Sprintf("class %s: %s", class, app.Message())}
	}
	return fmt.Errorf("class %s: %w", class, err)
}

// study reads the images. It also returns how many the generator was trained
// on.
func (s *utilityStudy) study(ctx context.Context) (*classifier.Study, int, error) {
	var classes []classifier.Class
	for _, c := range s.classes {
		class, err := s.images(ctx, c)
		if err != nil {
			return nil, 0, err
		}
		classes = append(classes, class)
	}
	generated, err := s.generated(ctx)
	if err != nil {
		return nil, 0, err
	}
	dataset, err := ledger.Datasets.Read(ctx, s.Store, s.in.Dataset)
	if err != nil {
		return nil, 0, err
	}
	p := s.in.Plan
	study, err := classifier.NewStudy(classifier.Plan{Splits: p.Splits, Seeds: p.Seeds, PerClass: p.PerClass, Steps: p.Steps, Seed: s.in.Seed},
		classes[0], classes[1:], generated)
	switch {
	case errors.Is(err, classifier.ErrTooFew):
		return nil, 0, untestable{err.Error()}
	case err != nil:
		return nil, 0, err
	case len(generated) == 0:
		return nil, 0, untestable{"no candidate was accepted, so there is nothing to train with"}
	}
	return study, len(dataset.Of(ledger.SplitTraining)), nil
}

// images reads a class's images for training and those held out.
func (s *utilityStudy) images(ctx context.Context, c studied) (classifier.Class, error) {
	out := classifier.Class{Name: c.Class}
	dataset, err := ledger.Datasets.Read(ctx, s.Store, c.Dataset)
	if err != nil {
		return out, err
	}
	index, err := ledger.Tensors.Read(ctx, s.Store, c.Tensors)
	if err != nil {
		return out, err
	}
	if index.Dataset != c.Dataset.SHA256 {
		return out, ledger.Permanent(step.ErrBadInput, "tensors of data set %s: the study is of %s", index.Dataset, c.Dataset.SHA256)
	}
	for _, split := range []string{ledger.SplitTraining, ledger.SplitHoldout} {
		images, err := s.imagesOf(ctx, c.Class, dataset, index, split)
		if err != nil {
			return out, err
		}
		out.Images = append(out.Images, images...)
	}
	return out, nil
}

func (s *utilityStudy) imagesOf(
	ctx context.Context, class string, dataset ledger.Dataset, index ledger.TensorIndex, split string,
) ([]classifier.Image, error) {
	names, err := index.RowsOf(dataset, split)
	if err != nil {
		return nil, err
	}
	dir, cleanUp, err := scratch(s.Scratch)
	if err != nil {
		return nil, err
	}
	defer cleanUp()
	im, err := ledger.OpenImages(ctx, s.Store, index, dir, split)
	if err != nil {
		return nil, err
	}
	defer im.Close()
	at := quality.Subsample(im.Len(), maxStudied, s.in.Seed, "utility "+class+" "+split)
	if len(at) < im.Len() {
		s.notes = append(s.notes, fmt.Sprintf("of %d %s images of %s, %d drawn by chance", im.Len(), split, class, len(at)))
	}
	out := make([]classifier.Image, len(at))
	pixels := make([]uint8, spec.ImageLen)
	for k, i := range at {
		if err := im.Row(pixels, i); err != nil {
			return nil, err
		}
		out[k] = classifier.Image{
			Picture: classifier.NewPicture(pixels), Digest: names[i].SHA256, Group: names[i].Group, Holdout: split == ledger.SplitHoldout,
		}
	}
	return out, nil
}

// generated reads the accepted candidates.
func (s *utilityStudy) generated(ctx context.Context) ([]*classifier.Picture, error) {
	set, err := ledger.ReadChecked(ctx, s.Store, s.in.Candidates, s.in.Neighbours)
	if err != nil {
		return nil, err
	}
	accepted := set.Accepted()
	var drawn []ledger.Candidate
	for _, i := range quality.Subsample(len(accepted), maxStudied, s.in.Seed, "utility candidates") {
		drawn = append(drawn, accepted[i].Candidate)
	}
	out := make([]*classifier.Picture, 0, len(drawn))
	for chunk := range slices.Chunk(drawn, fetched) {
		pixels, err := fetchCandidates(ctx, s.Store, chunk)
		if err != nil {
			return nil, err
		}
		for one := range slices.Chunk(pixels, spec.ImageLen) {
			out = append(out, classifier.NewPicture(one))
		}
	}
	return out, nil
}
