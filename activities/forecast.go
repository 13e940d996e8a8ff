package activities

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/model/spec"
	"github.com/defectforge/defectforge/storage"
	"github.com/defectforge/defectforge/storage/memory"
)

// Forecaster finds out what a run would find, without doing it. It reads the images
// and writes nothing to the store.
type Forecaster struct {
	Store   *storage.Store
	Sources func(ctx context.Context, bucket string) (storage.Reader, error)
}

// Forecast is what a run would find.
type Forecast struct {
	Ingest step.IngestResult
	// Found says for each stage that looks for an earlier result whether there
	// is one, and why, in words.
	Found []FoundStage
	// Epochs of training are found.
	Epochs int
	// Grey: the images were preprocessed, and none has a colour.
	Grey bool
}

// FoundStage is the forecast of one stage.
type FoundStage struct {
	Stage string `json:"stage"`
	Found bool   `json:"found"`
	Why   string `json:"why"`
}

// Forecast ingests the images beside the store, and asks each stage of the
// table in turn. Where one has to be done, what the later ones would find is
// unknown.
func (f Forecaster) Forecast(ctx context.Context, class string, source step.Source, r spec.Recipe) (Forecast, error) {
	l := looker{store: storage.New(memory.Over(f.Store.Bucket())), recipe: r}
	var err error
	l.ingest, err = Ingester{Store: l.store, Sources: f.Sources}.Ingest(ctx, step.IngestInput{Class: class, Source: source, Ingest: r.Ingest})
	out := Forecast{Ingest: l.ingest}
	if err != nil {
		return out, err
	}
	missing := "" // why nothing is known of the stages to come
	for _, s := range step.Stages() {
		look, ok := looks[s.Name]
		if !ok {
			continue
		}
		found, why := false, cmp.Or(missing, look.follows)
		if missing == "" && allFound(out.Found) {
			if found, why, err = look.earlier(&l, ctx); err != nil {
				return out, err
			}
			if found {
				why = s.Same
			} else {
				missing = look.unknown
			}
		}
		out.Found = append(out.Found, FoundStage{s.Name, found, why})
	}
	out.Epochs, out.Grey = l.train.Epoch, l.preprocess.Images().Grey
	if l.train.Chosen != nil {
		out.Epochs = l.recipe.Train.Epochs
	}
	return out, nil
}

func allFound(stages []FoundStage) bool {
	return !slices.ContainsFunc(stages, func(s FoundStage) bool { return !s.Found })
}

// looker holds what the stages so far were found to have left.
type looker struct {
	store      *storage.Store
	recipe     spec.Recipe
	ingest     step.IngestResult
	preprocess step.PreprocessResult
	train      step.TrainResult
	sample     step.SampleResult
}

// looks say how a forecast looks for a stage's earlier result: earlier reports
// whether there is one or, in words, what there is not; follows is the reason
// where an earlier stage is to be done; unknown is that of all later stages
// where this one is.
var looks = map[string]struct {
	earlier          func(*looker, context.Context) (found bool, why string, err error)
	follows, unknown string
}{
	step.Preprocess.String():   {earlier: (*looker).tensors, unknown: "unknown until the images are preprocessed"},
	step.Train.String():        {earlier: (*looker).training},
	step.Sample.String():       {earlier: (*looker).candidates, follows: "follows the training"},
	step.CheckOverfit.String(): {earlier: (*looker).checks, follows: "follows the samples"},
}

func (l *looker) tensors(ctx context.Context) (found bool, why string, err error) {
	l.preprocess, found, err = tensorMemo(l.ingest.Dataset.SHA256, l.recipe.Ingest.Framing()).Look(ctx, l.store)
	if found {
		l.recipe = l.recipe.ForImages(l.preprocess.Images())
	}
	return found, "this data set was not preprocessed before", err
}

func (l *looker) training(ctx context.Context) (found bool, why string, err error) {
	t := l.recipe.Train
	l.train, found, err = lookForTraining(ctx, l.store, step.TrainInput{
		Tensors: l.preprocess.Tensors, Recipe: l.recipe, ToEpoch: min(t.LegEpochs, t.Epochs),
		Evaluated: l.preprocess.Selection >= step.MinSelection,
	})
	if found && l.train.Chosen == nil && l.train.Epoch != t.Epochs {
		return false, fmt.Sprintf("the first %d of %d epochs are there", l.train.Epoch, t.Epochs), err
	}
	return found, "these tensors were not trained on with these settings before", err
}

func (l *looker) candidates(ctx context.Context) (found bool, why string, err error) {
	l.sample, found, err = sampleMemo(l.train.Checkpoint, l.recipe).Look(ctx, l.store)
	return found, "this checkpoint was not sampled with these settings before", err
}

func (l *looker) checks(ctx context.Context) (found bool, why string, err error) {
	_, found, err = overfitMemo(step.OverfitInput{
		Candidates: l.sample.Candidates, Dataset: l.ingest.Dataset, Tensors: l.preprocess.Tensors, Overfit: l.recipe.Overfit,
	}).Look(ctx, l.store)
	return found, "these candidates were not compared with these settings before", err
}
