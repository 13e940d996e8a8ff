package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/dustin/go-humanize"

	"github.com/defectforge/defectforge/activities"
	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/model"
	"github.com/defectforge/defectforge/model/kernel"
	"github.com/defectforge/defectforge/model/spec"
	"github.com/defectforge/defectforge/storage"
	"github.com/defectforge/defectforge/storage/folder"
)

// dryRunReport is the JSON object of `run --dry-run`.
type dryRunReport struct {
	WorkflowID string      `json:"workflow_id"`
	Class      string      `json:"class"`
	Source     step.Source `json:"source"`
	Files      int         `json:"files"` // to be uploaded where missing; 0 for a bucket
	Legs       int         `json:"legs"`
	Embedded   bool        `json:"embedded"`
	Recipe     spec.Recipe `json:"recipe"`
	Policy     spec.Policy `json:"policy"`
	// Utility is null without --compare.
	Utility *step.UtilityPlan `json:"utility"`
	// Found tells which stages would find an earlier result; it is null where that
	// could not be looked up, and Unknown says why.
	Found   []activities.FoundStage `json:"found"`
	Unknown string                  `json:"unknown,omitempty"`
	// Estimate is null with --no-estimate.
	Estimate *activities.Estimate `json:"estimate"`
}

func (p *program) dryRun(ctx context.Context, j job) error {
	place, err := p.cfg.Place()
	if err != nil {
		return err
	}
	t := j.recipe.Train
	r := dryRunReport{
		WorkflowID: j.workflowID(), Class: j.class, Source: j.source, Files: j.files(),
		Legs: (t.Epochs + t.LegEpochs - 1) / t.LegEpochs, Embedded: place.Embedded, Recipe: j.recipe, Policy: j.policy, Utility: j.utility,
	}
	forecast := p.forecast(ctx, j, &r)
	if !j.noEstimate {
		if r.Estimate, err = p.estimate(ctx, j, forecast); err != nil {
			return err
		}
	}
	if p.json {
		return p.emit(r)
	}
	recipe, err := yamlText(j.recipe)
	if err != nil {
		return err
	}
	where := "the embedded stack in " + p.cfg.DataDir
	if !place.Embedded {
		where = "Temporal at " + place.Client.HostPort + ", store at " + p.cfg.Store.Endpoint
	}
	p.print("# run %s on %s", r.WorkflowID, where)
	policy, err := yamlText(j.policy)
	if err != nil {
		return err
	}
	p.print("# images in s3://%s/%s, %d files to upload", r.Source.Bucket, r.Source.Prefix, r.Files)
	p.print("# ingest, preprocess, %d epochs in %d legs%s, %d samples, check for copies,%s assess, report%s, publish", t.Epochs, r.Legs,
		either(j.recipe.Ingest.SelectionShare > 0, ", each evaluated on the selection split", ""), j.recipe.Sample.Count,
		either(j.utility != nil, " compare classifiers,", ""), either(j.policy.Approval == spec.ApprovePerson, ", approval by a person", ""))
	p.printForecast(r, forecast)
	p.print("%s", recipe)
	p.print("# policy %s\n%s", j.policy.Name, policy)
	if j.utility != nil {
		u := j.utility
		p.print("# comparison of classifiers: %d splits of %d paired trainings, %d steps each, at most %d real images of each class", u.Splits, u.Seeds, u.Steps, u.PerClass)
		for _, other := range u.Others {
			p.print("#   %s in s3://%s/%s", other.Class, other.Source.Bucket, other.Source.Prefix)
		}
	}
	return nil
}

// maxForecast is the most objects that a dry run looks at: all of them are read.
const maxForecast = 3000

// forecast looks up what the run would find, and nil where that is not known.
func (p *program) forecast(ctx context.Context, j job, r *dryRunReport) *activities.Forecast {
	if r.Embedded {
		if _, err := os.Stat(p.cfg.DataDir); errors.Is(err, fs.ErrNotExist) {
			r.Unknown = "there is no data folder yet, so nothing can be found"
			return nil
		}
	}
	s, err := p.openStore(ctx)
	if err != nil {
		r.Unknown = "not known without the store: " + err.Error()
		return nil
	}
	defer s.close(p)
	sources := func(ctx context.Context, bucket string) (storage.Reader, error) {
		for _, f := range j.uploads {
			if f.prefix == j.source.Prefix {
				return folder.NewFiles(f.prefix, f.files), nil
			}
		}
		return s.source(ctx, bucket)
	}
	bucket, err := sources(ctx, j.source.Bucket)
	if err == nil {
		err = fewEnough(ctx, bucket, j.source.Prefix)
	}
	if err != nil {
		r.Unknown = "not known: " + err.Error()
		return nil
	}
	f, err := activities.Forecaster{Store: s.store, Sources: sources}.Forecast(ctx, j.class, j.source, j.recipe)
	if err != nil {
		r.Unknown = "the run would fail: " + err.Error()
		return nil
	}
	r.Found = f.Found
	return &f
}

// fewEnough fails where a dry run would have too much to read.
func fewEnough(ctx context.Context, b storage.Reader, prefix string) error {
	n := 0
	for _, err := range b.List(ctx, prefix) {
		if err != nil {
			return fmt.Errorf("list the images: %w", err)
		}
		if n++; n > maxForecast {
			return fmt.Errorf("there are more than %d images, and a dry run would have to read them all", maxForecast)
		}
	}
	return nil
}

// estimate tries some steps of the recipe and extrapolates. f is what the run
// would find, nil where that is not known.
func (p *program) estimate(ctx context.Context, j job, f *activities.Forecast) (*activities.Estimate, error) {
	p.say("trying some training steps, a few seconds...")
	kernel.SetThreads(p.threads())
	c, err := model.Calibrate(ctx, j.recipe)
	if err != nil {
		return nil, fmt.Errorf("try a training step: %w", err)
	}
	e := activities.EstimateRun(j.recipe, j.files(), f, c)
	return &e, nil
}

// printForecast prints what would be found, how long the rest takes, and what it
// stores.
func (p *program) printForecast(r dryRunReport, f *activities.Forecast) {
	if f != nil {
		p.print("# images: %d usable of %d, %d for training, %d held out", f.Ingest.Usable, f.Ingest.Found, f.Ingest.Training, f.Ingest.Holdout)
	}
	for _, s := range r.Found {
		p.print("# %-16s %-5s %s", step.Title(s.Stage), either(s.Found, "found", "to do"), s.Why)
	}
	if r.Unknown != "" {
		p.print("# what would be found: %s", r.Unknown)
	}
	e := r.Estimate
	if e == nil {
		return
	}
	p.print("# time: about %s on this machine (%s to %s), of which training %s", timeWords(e.Seconds), timeWords(e.Low), timeWords(e.High), timeWords(e.Training))
	p.print("#   from %d steps tried here, %.3g s each (%.3g to %.3g); ingest, preprocessing, the check for copies and the report come on top, and other work on the machine, or other workers, change it",
		e.Tried, e.StepSeconds, e.StepLow, e.StepHigh)
	size := func(n int64) string { return humanize.IBytes(uint64(n)) }
	p.print("# storage: tensors %s, checkpoints %s while training and %s after it, candidates about %s, release about %s",
		size(e.TensorBytes), size(e.CheckpointPeak), size(e.CheckpointBytes), size(e.CandidateBytes), size(e.ReleaseBytes))
}
