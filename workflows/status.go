package workflows

import (
	"fmt"
	"strings"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/model/spec"
)

// StatusQuery is the query that answers with a Status.
const StatusQuery = "status"

// The search attributes of a run, all of them keywords. A namespace must know
// them before the first run starts.
var (
	DefectClass   = temporal.NewSearchAttributeKeyKeyword("DefectClass")
	Stage         = temporal.NewSearchAttributeKeyKeyword("Stage")
	Verdict       = temporal.NewSearchAttributeKeyKeyword("Verdict")
	DatasetDigest = temporal.NewSearchAttributeKeyKeyword("DatasetDigest")
	Release       = temporal.NewSearchAttributeKeyKeyword("Release")
)

// SearchAttributes maps the name of each search attribute of a run to its type.
func SearchAttributes() map[string]string {
	m := make(map[string]string)
	for _, k := range []temporal.SearchAttributeKeyKeyword{DefectClass, Stage, Verdict, DatasetDigest, Release, CampaignAttribute} {
		m[k.GetName()] = k.GetValueType().String()
	}
	return m
}

// Status is how far a run has come.
type Status struct {
	Class string `json:"class"`
	// Stage is the running stage's name, the failed one's, or "Done".
	Stage      string           `json:"stage"`
	Epoch      int              `json:"epoch"` // epochs done
	Epochs     int              `json:"epochs"`
	Step       int64            `json:"step"` // training steps done
	Verdict    string           `json:"verdict"`
	Release    string           `json:"release"`
	StagesDone []step.StageTime `json:"stages_done"`
	// Evaluations counts those of the training; Evaluation is the last of them
	// and Best the one with the smallest KID.
	Evaluations int              `json:"evaluations,omitempty"`
	Evaluation  *step.Evaluation `json:"evaluation,omitempty"`
	Best        *step.Evaluation `json:"best,omitempty"`
	ChosenEpoch int              `json:"chosen_epoch,omitempty"` // of the checkpoint, where one was chosen
	Rollbacks   []step.Rollback  `json:"rollbacks,omitempty"`
	Deadline    *time.Time       `json:"deadline,omitempty"` // while the run waits for approval
	Notice      string           `json:"notice,omitempty"`   // whether anybody was notified that it waits
	Approval    *step.Approval   `json:"approval,omitempty"`
	// Utility is whether the set helps a classifier, once that is known.
	Utility *step.UtilityResult `json:"utility,omitempty"`
	// Change is what a run that was started with IfChanged found.
	Change *step.ChangeResult `json:"change,omitempty"`
	// Warning is what ingest lost that may matter, in words.
	Warning string `json:"warning,omitempty"`
}

// enter names the stage that begins.
func (a *augmentation) enter(ctx workflow.Context, stage string) error {
	if a.status.Stage == stage {
		return nil
	}
	a.status.Stage = stage
	if err := workflow.UpsertTypedSearchAttributes(ctx, DefectClass.ValueSet(a.in.Class), Stage.ValueSet(stage)); err != nil {
		return fmt.Errorf("set search attribute %s: %w", Stage.GetName(), err)
	}
	if stage == step.Done {
		a.describe(ctx, "")
	}
	return nil
}

// describe writes the markdown that the web UI shows above the history.
func (a *augmentation) describe(ctx workflow.Context, doing string) {
	a.doing = doing
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	o := a.outcome
	line("### %s, recipe %s", a.in.Class, a.in.Recipe.Name)
	if doing != "" {
		line("**%s**: %s\n", a.status.Stage, doing)
	} else {
		line("**%s**\n", a.status.Stage)
	}
	if o.Ingest.Found > 0 {
		line("- images: %d found, %d usable, %d quarantined; %d for training, %d held out%s",
			o.Ingest.Found, o.Ingest.Usable, o.Ingest.Quarantined, o.Ingest.Training, o.Ingest.Holdout, selectionWords(o.Ingest.Selection))
		line("- data set: `%s`", o.Ingest.Dataset.SHA256)
	}
	if a.change != nil {
		line("- change: %s", changeWords(*a.change))
	}
	if t := o.Train; t.Epoch > 0 {
		line("- training: epoch %d of %d, step %d, losses real %.3f fake %.3f generator %.3f, D(x) %.2f, D(G(z)) %.2f",
			t.Epoch, a.status.Epochs, t.Step, t.LossReal, t.LossFake, t.LossG, t.DReal, t.DFake)
	}
	a.describeTraining(line)
	a.describeSet(line)
	a.describeEnd(line)
	workflow.SetCurrentDetails(ctx, b.String())
}

// describeSet writes about the candidates, and of how they were judged.
func (a *augmentation) describeSet(line func(format string, args ...any)) {
	o := a.outcome
	if o.Check.Accepted+o.Check.Rejected > 0 {
		line("- candidates: %d accepted, %d rejected", o.Check.Accepted, o.Check.Rejected)
	}
	if o.Assess.Verdict != "" {
		line("- verdict: **%s**", o.Assess.Verdict)
		for _, r := range o.Assess.Rules {
			if r.Outcome != spec.Pass {
				line("  - %s: %s", r.Name, r.Reason)
			}
		}
	}
	if o.Utility.Summary != "" {
		line("- utility: %s", o.Utility.Summary)
	}
}

// describeEnd writes about the decision, and about what the run has left.
func (a *augmentation) describeEnd(line func(format string, args ...any)) {
	if o := a.outcome; o.Approval.By != "" {
		line("- approval: %s", ApprovalWords(o.Approval))
	} else if a.status.Notice != "" {
		line("- notice: %s", a.status.Notice)
	}
	if a.record.Report.Key != "" {
		line("- report: `%s`", a.record.Report.Key)
	} else if a.report.HTML.Key != "" {
		line("- report: `%s`", a.report.HTML.Key)
	}
	if a.publish.Release != "" {
		line("- release: `%s`, manifest `%s`", a.publish.Prefix, a.publish.ManifestSHA256)
	}
}

func selectionWords(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf(", %d for selection", n)
}

// describeTraining writes about every try, and about how the states compared.
func (a *augmentation) describeTraining(line func(format string, args ...any)) {
	for i, r := range a.outcome.Rollbacks {
		line("- try %d: %s (epoch %d); back to epoch %d with %g of the discriminator's rate",
			i+1, r.Alarm.Reason, r.Alarm.Epoch, r.ToEpoch, r.DiscriminatorScale)
	}
	if n := len(a.evaluations); n > 0 {
		last, best := a.evaluations[n-1], a.evaluations[bestOf(a.evaluations)]
		line("- evaluations: %d; epoch %d: KID %.3f of the first, spread %.2f; best: epoch %d, KID %.3f",
			n, last.Epoch, last.KID, last.Spread, best.Epoch, best.KID)
	}
	if c := a.outcome.Choice; c != nil {
		line("- chosen: epoch %d: %s", c.Epoch, c.Reason)
	}
}
