// Package workflows chains the stages of an augmentation: pure orchestration,
// deterministic, knowing activities only by the contract in activities/step.
package workflows

import (
	"fmt"
	"slices"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/model/spec"
)

// AugmentName is the registered name of Augment.
const AugmentName = "AugmentDefectClass"

// AugmentInput says which images of which class are augmented, and how.
type AugmentInput struct {
	Class  string      `json:"class"`
	Source step.Source `json:"source"`
	Recipe spec.Recipe `json:"recipe"`
	// Policy decides what is published, and whether a person is asked. Without a
	// name it is spec.CopyingPolicy, as in earlier versions.
	Policy spec.Policy `json:"policy"`
	// Utility, if set, asks whether the set helps a classifier.
	Utility *step.UtilityPlan `json:"utility,omitempty"`
	// IfChanged, if set, ends the run after Ingest unless there is something to
	// do. Scheduled runs set it.
	IfChanged *step.IfChanged `json:"if_changed,omitempty"`
	// TrainingQueue is the task queue of the stages that compute; empty means
	// step.TrainingQueue.
	TrainingQueue string `json:"training_queue,omitempty"`
	// Unpublished: a set that passes is not published; the run is to be compared.
	Unpublished bool `json:"unpublished,omitempty"`
	// Rerun says which run this one repeats, and from which stage on nothing that
	// was found may be used.
	Rerun *step.Rerun `json:"rerun,omitempty"`
	// Progress is what an earlier execution of the same run has done. Only a
	// run that continues as new sets it.
	Progress *Progress `json:"progress,omitempty"`
}

// Progress is the part of a run that survives continuing as new.
type Progress struct {
	Outcome step.Outcome `json:"outcome"`
	// Checkpoints are the ones kept, oldest first.
	Checkpoints []step.Ref `json:"checkpoints"`
	// Evaluations are those of the training so far, and Best is the state with
	// the best of them.
	Evaluations []step.Evaluation `json:"evaluations,omitempty"`
	Best        *step.TrainResult `json:"best,omitempty"`
	// Change is what CheckChange found.
	Change *step.ChangeResult `json:"change,omitempty"`
}

// AugmentResult says how a run ended. Release, Prefix and ManifestSHA256 are
// empty unless the verdict is spec.Pass and the set was approved, or the run had
// nothing to do: then they name what the class stands on.
type AugmentResult struct {
	Verdict           string   `json:"verdict"`
	Release           string   `json:"release"`
	Prefix            string   `json:"prefix"`
	ManifestSHA256    string   `json:"manifest_sha256"`
	Report            step.Ref `json:"report"` // runs/<workflow>/<run>/report.html
	Record            step.Ref `json:"record"` // runs/<workflow>/<run>/run.json
	ImagesIn          int      `json:"images_in"`
	ImagesQuarantined int      `json:"images_quarantined"`
	ImagesPublished   int      `json:"images_published"`
	// Reasons holds each rule's reason where the verdict is not a pass, and why a
	// set that passed was not approved.
	Reasons []string `json:"reasons,omitempty"`
	// Approval is zero where none was due.
	Approval step.Approval `json:"approval"`
	// Utility is whether the set helps a classifier; nil where nobody asked.
	Utility *step.UtilityResult `json:"utility,omitempty"`
	// Change is what a run that was started with IfChanged found.
	Change *step.ChangeResult `json:"change,omitempty"`
	// Unpublished: what passed was not to be published.
	Unpublished bool `json:"unpublished,omitempty"`
	// Times say where the time went.
	Times []step.StageTime `json:"times,omitempty"`
}

// Registry is the part of a worker that workflows register with.
type Registry interface {
	RegisterWorkflowWithOptions(w any, options workflow.RegisterOptions)
}

// Register makes the workflows of this package known to a worker.
func Register(r Registry) {
	r.RegisterWorkflowWithOptions(Augment, workflow.RegisterOptions{Name: AugmentName})
	r.RegisterWorkflowWithOptions(Campaign, workflow.RegisterOptions{Name: CampaignName})
	r.RegisterWorkflowWithOptions(CleanUp, workflow.RegisterOptions{Name: CleanUpName})
}

// Augment turns the images of one defect class into a published release, or
// into a recorded reason why not: a run that is not approved completes, with
// its verdict; a stage that cannot do its work fails the workflow with an
// application error of that failure's type.
func Augment(ctx workflow.Context, in AugmentInput) (AugmentResult, error) {
	a := begin(ctx, in)
	out, err := a.execute(ctx)
	a.notifyEnd(ctx, out, err)
	return out, err
}

// execute runs the stages.
func (a *augmentation) execute(ctx workflow.Context) (AugmentResult, error) {
	if err := workflow.SetQueryHandler(ctx, StatusQuery, func() (Status, error) { return a.status, nil }); err != nil {
		return AugmentResult{}, fmt.Errorf("set query handler: %w", err)
	}
	if err := answerReferences(ctx, a.references); err != nil {
		return AugmentResult{}, err
	}
	if err := a.listen(ctx); err != nil {
		return AugmentResult{}, err
	}
	if err := validate(a.in); err != nil {
		return AugmentResult{}, err
	}
	if a.in.Progress == nil {
		if err := a.prepare(ctx); err != nil {
			return AugmentResult{}, err
		}
		if a.idle() {
			return a.result(), nil
		}
	}
	if err := a.train(ctx); err != nil {
		return AugmentResult{}, err
	}
	if err := a.judge(ctx); err != nil {
		return AugmentResult{}, err
	}
	return a.conclude(ctx)
}

// validate refuses what no stage could work with. Recipes are checked in full
// where they are read; this guards the loop below.
func validate(in AugmentInput) error {
	refuse := func(field string, value any, remedy string) error {
		return temporal.NewNonRetryableApplicationError(
			fmt.Sprintf("%s: %v is not usable; %s", field, value, remedy), step.ErrBadInput, nil)
	}
	t, p := in.Recipe.Train, in.Policy
	switch {
	case in.Class == "":
		return refuse("class", `""`, "name the defect class")
	case t.Epochs < 1 && t.Steps < 1:
		return refuse("recipe.train.epochs", t.Epochs, "give at least 1, or train.steps")
	case t.LegEpochs < 1 && t.Steps < 1:
		return refuse("recipe.train.leg_epochs", t.LegEpochs, "give at least 1")
	case p.Name != "" && len(p.Rules) == 0:
		return refuse("policy.rules", "[]", "give at least one rule; a policy without rules would pass anything")
	case !slices.Contains([]string{"", spec.ApproveAuto, spec.ApprovePerson}, p.Approval):
		return refuse("policy.approval", p.Approval, "choose auto or person")
	case p.Approval == spec.ApprovePerson && (p.Name == "" || !(p.DeadlineHours > 0)):
		return refuse("policy.deadline_hours", p.DeadlineHours, "name the policy, and say how long a person has")
	}
	return nil
}

// augmentation is one run under way.
type augmentation struct {
	in          AugmentInput
	outcome     step.Outcome
	checkpoints []step.Ref // kept, oldest first
	evaluations []step.Evaluation
	best        *step.TrainResult // the state with the best evaluation
	report      step.ReportResult
	publish     step.PublishResult
	record      step.RecordRunResult
	change      *step.ChangeResult // nil unless the run was to ask
	status      Status
	doing       string // what the running stage is doing
}

// recipe is what the stages from training on work by: the input's, with what it
// leaves to the images decided.
func (a *augmentation) recipe() spec.Recipe {
	o := a.outcome
	o.Recipe = a.in.Recipe
	return o.Decided()
}

func begin(ctx workflow.Context, in AugmentInput) *augmentation {
	info := workflow.GetInfo(ctx)
	// The first run's identifier names the whole chain of executions.
	run := step.Run{WorkflowID: info.WorkflowExecution.ID, RunID: info.FirstRunID}
	if run.RunID == "" {
		run.RunID = info.WorkflowExecution.RunID
	}
	a := &augmentation{in: in, outcome: step.Outcome{Run: run, Class: in.Class, Source: in.Source, Recipe: in.Recipe}}
	if in.Progress != nil {
		a.outcome, a.checkpoints = in.Progress.Outcome, in.Progress.Checkpoints
		a.evaluations, a.best, a.change = in.Progress.Evaluations, in.Progress.Best, in.Progress.Change
	}
	a.outcome.Policy, a.outcome.Unpublished, a.outcome.Rerun = in.Policy, in.Unpublished, in.Rerun
	if in.Policy.Name == "" {
		a.outcome.Policy = spec.CopyingPolicy()
	}
	a.status = Status{
		Class: in.Class, Epochs: a.recipe().Train.Epochs, Warning: a.outcome.Ingest.Warning(),
		Epoch: a.outcome.Train.Epoch, Step: a.outcome.Train.Step, StagesDone: a.outcome.Times, Change: a.change,
	}
	a.updateTraining()
	return a
}

// prepare turns the source into tensors.
func (a *augmentation) prepare(ctx workflow.Context) error {
	o, err := &a.outcome, error(nil)
	o.Ingest, err = run(ctx, a, step.Ingest, short("images of "+a.in.Class),
		step.IngestInput{Class: a.in.Class, Source: a.in.Source, Ingest: a.in.Recipe.Ingest})
	if err != nil {
		return err
	}
	a.status.Warning = o.Ingest.Warning()
	if err := workflow.UpsertTypedSearchAttributes(ctx, DatasetDigest.ValueSet(o.Ingest.Dataset.SHA256)); err != nil {
		return fmt.Errorf("set search attribute %s: %w", DatasetDigest.GetName(), err)
	}
	if err := a.checkChange(ctx); err != nil || a.idle() {
		return err
	}
	o.Preprocess, err = run(ctx, a, step.Preprocess, short(fmt.Sprintf("%d images to 128x128", o.Ingest.Usable)),
		step.PreprocessInput{
			Dataset: o.Ingest.Dataset, Source: a.in.Source, Frame: a.in.Recipe.Ingest.Framing(), Refresh: a.refresh(step.Preprocess),
		})
	a.status.Epochs = a.recipe().Train.Epochs
	return err
}

// judge draws candidates and decides about them.
func (a *augmentation) judge(ctx workflow.Context) error {
	o, r, err := &a.outcome, a.recipe(), error(nil)
	o.Sample, err = run(ctx, a, step.Sample, a.computing(fmt.Sprintf("%d candidates", r.Sample.Count)),
		step.SampleInput{Checkpoint: o.Train.Checkpoint, Recipe: r, Refresh: a.refresh(step.Sample)})
	if err != nil {
		return err
	}
	pairs := fmt.Sprintf("%d candidates against %d real images", o.Sample.Count, o.Ingest.Training+o.Ingest.Holdout)
	o.Check, err = run(ctx, a, step.CheckOverfit, short(pairs), step.OverfitInput{
		Candidates: o.Sample.Candidates, Dataset: o.Ingest.Dataset, Tensors: o.Preprocess.Tensors, Overfit: r.Overfit,
		Refresh: a.refresh(step.CheckOverfit),
	})
	if err != nil {
		return err
	}
	if err := a.utility(ctx); err != nil {
		return err
	}
	o.Assess, err = run(ctx, a, step.Assess, short(fmt.Sprintf("%d accepted, %d rejected", o.Check.Accepted, o.Check.Rejected)),
		step.AssessInput{
			Ingest: o.Ingest, Sample: o.Sample, Check: o.Check, Tensors: o.Preprocess.Tensors, Dataset: o.Ingest.Dataset,
			Rows: a.rows(), Policy: o.Policy, Utility: o.Utility, Seed: r.Seed,
		})
	if err != nil {
		return err
	}
	a.status.Verdict = o.Assess.Verdict
	if err := workflow.UpsertTypedSearchAttributes(ctx, Verdict.ValueSet(o.Assess.Verdict)); err != nil {
		return fmt.Errorf("set search attribute %s: %w", Verdict.GetName(), err)
	}
	return nil
}

// rows is how many tensors candidates are compared with, where images give several.
func (a *augmentation) rows() int {
	if a.in.Recipe.Ingest.Frame != spec.FrameTiles {
		return 0
	}
	return a.outcome.Preprocess.Training + a.outcome.Preprocess.Holdout
}

// utility asks whether the set helps a classifier, where the run knows other
// classes.
func (a *augmentation) utility(ctx workflow.Context) error {
	if a.in.Utility == nil {
		return nil
	}
	o, err := &a.outcome, error(nil)
	o.Utility, err = run(ctx, a, step.Utility, a.computing(fmt.Sprintf("%s against %s", a.in.Class, otherWords(a.in.Utility.Others))),
		step.UtilityInput{
			Class: a.in.Class, Dataset: o.Ingest.Dataset, Tensors: o.Preprocess.Tensors, Candidates: o.Sample.Candidates,
			Neighbours: o.Check.Neighbours, Ingest: a.in.Recipe.Ingest, Plan: *a.in.Utility, Seed: a.in.Recipe.Seed,
		})
	if err == nil {
		a.status.Utility = &o.Utility
	}
	return err
}

func otherWords(others []step.ClassSource) string {
	if len(others) == 1 {
		return others[0].Class
	}
	return fmt.Sprintf("%d other classes", len(others))
}

// conclude writes the report, publishes a set that passed and was approved, and
// records the run.
func (a *augmentation) conclude(ctx workflow.Context) (AugmentResult, error) {
	o, err := &a.outcome, error(nil)
	if o.Assess.Verdict == spec.Pass && o.Policy.Approval == spec.ApprovePerson && !o.Unpublished {
		// Counted from the verdict, so that the report that is decided on names the moment.
		deadline := workflow.Now(ctx).Add(time.Duration(o.Policy.DeadlineHours * float64(time.Hour))).UTC()
		o.Deadline = &deadline
	}
	if a.report, err = run(ctx, a, step.Report, short("verdict "+o.Assess.Verdict), step.ReportInput{Outcome: *o}); err != nil {
		return AugmentResult{}, err
	}
	if o.Assess.Verdict == spec.Pass && !o.Unpublished {
		if err := a.approve(ctx); err != nil {
			return AugmentResult{}, err
		}
		if o.Approval.By != step.ByPolicy { // the report that was decided on does not hold the decision
			a.report, err = run(ctx, a, step.Report, short("approval: "+ApprovalWords(o.Approval)), step.ReportInput{Outcome: *o})
			if err != nil {
				return AugmentResult{}, err
			}
		}
	}
	if o.Approval.Approved {
		if err := a.release(ctx); err != nil {
			return AugmentResult{}, err
		}
	}
	a.record, err = run(ctx, a, step.RecordRun, short("what the run read, made and decided"),
		step.RecordRunInput{Outcome: *o, Report: a.report, Publish: a.publish, Verdict: o.Assess.Verdict, UtilityPlan: a.in.Utility})
	if err != nil {
		return AugmentResult{}, err
	}
	if err := a.enter(ctx, step.Done); err != nil {
		return AugmentResult{}, err
	}
	return a.result(), nil
}

func (a *augmentation) release(ctx workflow.Context) error {
	o, err := &a.outcome, error(nil)
	a.publish, err = run(ctx, a, step.Publish, short(fmt.Sprintf("%d images of %s", o.Check.Accepted, a.in.Class)),
		step.PublishInput{
			Class: a.in.Class, Candidates: o.Sample.Candidates, Neighbours: o.Check.Neighbours,
			Checkpoint: o.Train.Checkpoint, Dataset: o.Ingest.Dataset,
			Assess: o.Assess, Recipe: a.in.Recipe, Images: o.Preprocess.Images(), Levels: o.Ingest.Levels, Policy: o.Policy, Report: a.report,
			Approval: o.Approval, Utility: o.Utility,
		})
	if err != nil {
		return err
	}
	a.status.Release = a.publish.Release
	if err := workflow.UpsertTypedSearchAttributes(ctx, Release.ValueSet(a.publish.Release)); err != nil {
		return fmt.Errorf("set search attribute %s: %w", Release.GetName(), err)
	}
	return nil
}

func (a *augmentation) result() AugmentResult {
	o := a.outcome
	r := AugmentResult{
		Verdict: o.Assess.Verdict,
		Release: a.publish.Release, Prefix: a.publish.Prefix, ManifestSHA256: a.publish.ManifestSHA256,
		Report: a.record.Report, Record: a.record.Record,
		ImagesIn: o.Ingest.Found, ImagesQuarantined: o.Ingest.Quarantined, ImagesPublished: a.publish.Images,
		Approval: o.Approval, Unpublished: o.Unpublished, Times: o.Times,
	}
	if a.addChange(&r); a.idle() {
		return r
	}
	if a.in.Utility != nil {
		r.Utility = &o.Utility
	}
	for _, rule := range o.Assess.Rules {
		if rule.Outcome != spec.Pass {
			r.Reasons = append(r.Reasons, rule.Name+": "+rule.Reason)
		}
	}
	if o.Assess.Verdict == spec.Pass && o.Unpublished {
		r.Reasons = append(r.Reasons, "publishing: the run was to be compared, not published")
	} else if o.Assess.Verdict == spec.Pass && !o.Approval.Approved {
		r.Reasons = append(r.Reasons, "approval: "+ApprovalWords(o.Approval))
	}
	return r
}
