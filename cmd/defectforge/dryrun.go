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
	"github.com/defectforge/defectforge/cmd/defectforge/internal/console"
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
	// Found says which stages would find an earlier result; it is null where that
	// could not be looked up, and Unknown says why.
	Found   []activities.FoundStage `json:"found"`
	Unknown string                  `json:"unknown,omitempty"`
	// Estimate is null with --no-estimate.
	Estimate *activities.Estimate `json:"estimate"`
}

// dryRun prints what a run would do, with an estimate if that is wanted.
func dryRun(ctx context.Context, a *app, p runPlan, estimated bool) error {
	place, err := a.cfg.Place()
	if err != nil {
		return err
	}
	r := dryRunReport{
		WorkflowID: p.workflowID(), Class: p.class, Source: p.source, Files: p.files(),
		Legs:     p.recipe.Train.Legs(),
		Embedded: place.Embedded, Recipe: p.recipe, Policy: p.policy, Utility: p.utility,
	}
	forecast := forecastRun(ctx, a, p, &r)
	if estimated {
		if r.Estimate, err = estimate(ctx, a, p, forecast); err != nil {
			return err
		}
	}
	if a.console.JSON() {
		return a.console.Emit(r)
	}
	where := "the embedded stack in " + a.cfg.DataDir
	if !place.Embedded {
		where = "Temporal at " + place.Client.HostPort + ", store at " + a.cfg.Store.Endpoint
	}
	a.console.Print("# run %s on %s", r.WorkflowID, where)
	return printDryRun(a, r, forecast)
}

// printDryRun prints what is to be done, what of it would be found, and the
// recipe and the policy as files that are taken again.
func printDryRun(a *app, r dryRunReport, forecast *activities.Forecast) error {
	recipe, err := yamlText(r.Recipe)
	if err != nil {
		return err
	}
	policy, err := yamlText(r.Policy)
	if err != nil {
		return err
	}
	out, either := a.console, console.Either
	out.Print("# images in s3://%s/%s, %d files to upload", r.Source.Bucket, r.Source.Prefix, r.Files)
	length := fmt.Sprintf("%d epochs in %d legs", r.Recipe.Train.Epochs, r.Legs)
	if steps := r.Recipe.Train.Steps; steps > 0 {
		length = fmt.Sprintf("%d steps in at most %d legs", steps, r.Legs)
	}
	out.Print("# ingest, preprocess, %s%s, %d samples, check for copies,%s assess, report%s, publish", length,
		either(r.Recipe.Ingest.SelectionShare > 0, ", each evaluated on the selection split", ""), r.Recipe.Sample.Count,
		either(r.Utility != nil, " compare classifiers,", ""),
		either(r.Policy.Approval == spec.ApprovePerson, ", approval by a person", ""))
	printForecast(a, r, forecast)
	out.Print("%s", recipe)
	out.Print("# policy %s\n%s", r.Policy.Name, policy)
	if u := r.Utility; u != nil {
		out.Print("# comparison of classifiers: %d splits of %d paired trainings, %d steps each, at most %d real images of each class",
			u.Splits, u.Seeds, u.Steps, u.PerClass)
		for _, other := range u.Others {
			out.Print("#   %s in s3://%s/%s", other.Class, other.Source.Bucket, other.Source.Prefix)
		}
	}
	return nil
}

// maxForecast is the most objects that a dry run looks at: all of them are read.
const maxForecast = 3000

// forecast looks up what the run would find, and nil where that is not known.
func forecastRun(ctx context.Context, a *app, p runPlan, r *dryRunReport) *activities.Forecast {
	if r.Embedded {
		if _, err := os.Stat(a.cfg.DataDir); errors.Is(err, fs.ErrNotExist) {
			r.Unknown = "there is no data folder yet, so nothing can be found"
			return nil
		}
	}
	s, err := a.process.OpenStore(ctx)
	if err != nil {
		r.Unknown = "not known without the store: " + err.Error()
		return nil
	}
	defer s.Close()
	sources := func(ctx context.Context, bucket string) (storage.Reader, error) {
		for _, f := range p.uploads {
			if f.prefix == p.source.Prefix {
				return folder.NewFiles(f.prefix, f.files), nil
			}
		}
		return s.Source(ctx, bucket)
	}
	bucket, err := sources(ctx, p.source.Bucket)
	if err == nil {
		err = fewEnough(ctx, bucket, p.source.Prefix)
	}
	if err != nil {
		r.Unknown = "not known: " + err.Error()
		return nil
	}
	f, err := activities.Forecaster{Store: s.Store, Sources: sources}.Forecast(ctx, p.class, p.source, p.recipe)
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
func estimate(ctx context.Context, a *app, p runPlan, f *activities.Forecast) (*activities.Estimate, error) {
	a.console.Say("trying some training steps, a few seconds...")
	kernel.SetThreads(a.process.Threads())
	// Three channels take a little longer than one: the estimate errs on that side.
	c, err := model.Calibrate(ctx, p.recipe.ForImages(spec.Images{Grey: f != nil && f.Grey}))
	if err != nil {
		return nil, fmt.Errorf("try a training step: %w", err)
	}
	e := activities.EstimateRun(p.recipe, p.files(), f, c)
	return &e, nil
}

// printForecast prints what would be found, how long the rest takes, and what it
// stores.
func printForecast(a *app, r dryRunReport, f *activities.Forecast) {
	if f != nil {
		a.console.Print("# images: %d usable of %d, %d for training, %d held out",
			f.Ingest.Usable, f.Ingest.Found, f.Ingest.Training, f.Ingest.Holdout)
		if warning := f.Ingest.Warning(); warning != "" {
			a.console.Print("# warning: %s", warning)
		}
	}
	for _, s := range r.Found {
		a.console.Print("# %-16s %-5s %s", step.Title(s.Stage), console.Either(s.Found, "found", "to do"), s.Why)
	}
	if r.Unknown != "" {
		a.console.Print("# what would be found: %s", r.Unknown)
	}
	e := r.Estimate
	if e == nil {
		return
	}
	out := a.console
	out.Print("# time: about %s on this machine (%s to %s), of which training %s",
		console.TimeWords(e.Seconds), console.TimeWords(e.Low), console.TimeWords(e.High), console.TimeWords(e.Training))
	out.Print("#   from %d steps tried here, %.3g s each (%.3g to %.3g); ingest, preprocessing, the check for copies and "+
		"the report come on top, and other work on the machine, or other workers, change it",
		e.Tried, e.StepSeconds, e.StepLow, e.StepHigh)
	size := func(n int64) string { return humanize.IBytes(uint64(n)) }
	out.Print("# storage: tensors %s, checkpoints %s while training and %s after it, candidates about %s, release about %s",
		size(e.TensorBytes), size(e.CheckpointPeak), size(e.CheckpointBytes), size(e.CandidateBytes), size(e.ReleaseBytes))
}
