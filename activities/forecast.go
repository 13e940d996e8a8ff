package activities

import (
	"context"
	"fmt"

	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/model/spec"
	"github.com/defectforge/defectforge/storage"
	"github.com/defectforge/defectforge/storage/memory"
)

// Forecaster tells what a run would find, without doing it. It reads the images
// and writes nothing to the store.
type Forecaster struct {
	Store   *storage.Store
	Sources func(ctx context.Context, bucket string) (storage.Reader, error)
}

// Forecast is what a run would find.
type Forecast struct {
	Ingest step.IngestResult
	// Found tells for each stage that looks for an earlier result whether there
	// is one, and why, in words.
	Found []FoundStage
	// Epochs of training are found.
	Epochs int
}

// FoundStage is the forecast of one stage.
type FoundStage struct {
	Stage string `json:"stage"`
	Found bool   `json:"found"`
	Why   string `json:"why"`
}

func (f *Forecast) add(stage string, found bool, why string) {
	f.Found = append(f.Found, FoundStage{stage, found, why})
}

// Forecast ingests the images beside the store, and asks each stage in turn. Where
// one has to be done, what comes after is not known.
func (f Forecaster) Forecast(ctx context.Context, class string, source step.Source, r spec.Recipe) (Forecast, error) {
	var out Forecast
	store := storage.New(memory.Over(f.Store.Bucket()))
	var err error
	out.Ingest, err = Ingester{Store: store, Sources: f.Sources}.Ingest(ctx, step.IngestInput{Class: class, Source: source, Ingest: r.Ingest})
	if err != nil {
		return out, err
	}
	dataset := out.Ingest.Dataset.SHA256
	tensors, ok, err := tensorMemo(dataset).Look(ctx, store)
	if err != nil {
		return out, err
	}
	if !ok {
		out.add(string(step.Preprocess), false, "this data set was not preprocessed before")
		for _, stage := range []string{string(step.Train), string(step.Sample), string(step.CheckOverfit)} {
			out.add(stage, false, "nothing can be known of it before the images are preprocessed")
		}
		return out, nil
	}
	out.add(string(step.Preprocess), true, "the same data set")
	err = f.forecastTraining(ctx, store, r, tensors, &out)
	return out, err
}

// forecastTraining asks the stages from training on.
func (f Forecaster) forecastTraining(ctx context.Context, store *storage.Store, r spec.Recipe, tensors step.PreprocessResult, out *Forecast) error {
	trained, ok, err := lookForTraining(ctx, store, step.TrainInput{
		Tensors: tensors.Tensors, Recipe: r, ToEpoch: min(r.Train.LegEpochs, r.Train.Epochs), Evaluated: tensors.Selection >= step.MinSelection,
	})
	if err != nil {
		return err
	}
	whole := ok && (trained.Chosen != nil || trained.Epoch == r.Train.Epochs)
	switch {
	case whole:
		out.Epochs = r.Train.Epochs
		out.add(string(step.Train), true, "the same tensors and training settings")
	case ok:
		out.Epochs = trained.Epoch
		out.add(string(step.Train), false, fmt.Sprintf("the first %d of %d epochs are there", trained.Epoch, r.Train.Epochs))
	default:
		out.add(string(step.Train), false, "no training of these tensors with these settings is there")
	}
	if !whole {
		out.add(string(step.Sample), false, "follows the training")
		out.add(string(step.CheckOverfit), false, "follows the samples")
		return nil
	}
	drawn, ok, err := sampleMemo(trained.Checkpoint, r).Look(ctx, store)
	if err != nil {
		return err
	}
	if !ok {
		out.add(string(step.Sample), false, "no such samples of this checkpoint are there")
		out.add(string(step.CheckOverfit), false, "follows the samples")
		return nil
	}
	out.add(string(step.Sample), true, "the same checkpoint and sampling settings")
	_, ok, err = overfitMemo(step.OverfitInput{
		Candidates: drawn.Candidates, Dataset: out.Ingest.Dataset, Tensors: tensors.Tensors, Overfit: r.Overfit,
	}).Look(ctx, store)
	if err != nil {
		return err
	}
	why := "these candidates were not compared with these settings before"
	if ok {
		why = "the same candidates, images and settings"
	}
	out.add(string(step.CheckOverfit), ok, why)
	return nil
}
