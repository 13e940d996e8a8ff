package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/defectforge/defectforge/activities/report"
	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/cmd/defectforge/internal/console"
	"github.com/defectforge/defectforge/cmd/defectforge/internal/process"
	"github.com/defectforge/defectforge/model/spec"
	"github.com/defectforge/defectforge/storage"
	"github.com/defectforge/defectforge/workflows"
)

// runOptions are the flags of `run`.
type runOptions struct {
	images string
	class  string
	recipe string
	policy string // empty for the recipe's
	set    []string
	seed   uint64
	seeded bool // --seed was given
	detach bool
	dryRun bool
	// noEstimate: a dry run tries no training steps.
	noEstimate bool
	// ifChanged ends the run unless there is something to do, minNew also while
	// fewer images are new.
	ifChanged bool
	minNew    int
	utility   utilityOptions
	// flat takes every file of a folder as the class's, whatever the folder's layout.
	flat bool
}

func runCommand(a *app) *cobra.Command {
	var o runOptions
	c := &cobra.Command{
		Use:   "run --images SRC --class CLASS",
		Short: "Turn images into a published augmentation set",
		Long: `Turn the images in SRC, a folder or s3://bucket/prefix, into a published
augmentation set of CLASS.

The same command again attaches to a run under way, also after the program was
killed; after the end it finds every stage's result and ends with the same
release. Ctrl-C stores a checkpoint and stops; a second one stops at once.

The policy decides what is published: --policy names one of ` + strings.Join(spec.PolicyNames(), ", ") + ` or a
YAML file, which may extend one of them. One with "approval: person" makes the run wait for ` + "`runs approve`" + `.

--compare CLASS=SRC, once for each of the other classes, asks whether the set helps:
small classifiers are trained to tell the classes apart, in pairs that differ in
nothing but what they learn from: real images, the class's repeated, mirrored and
turned, with as many generated ones, and both. The policy "useful" demands a gain in
macro-F1 over mirrored and turned ones, its whole 95% interval above zero; with any
other policy the report shows it and no more. The generator has usually seen more images
than the classifiers; ingest.max_images limits how many it sees.`,
		Example: `  defectforge run --images photos/scratches --class scratches --recipe quick
  defectforge run --images s3://factory/dents/ --class dents --set train.epochs=64 --json
  defectforge run --images dents --class dents --compare pits=pits --compare rust=rust --policy useful
  defectforge run --images dents --class dents --compare pits=pits --set ingest.max_images=25 --utility-per-class 25`,
		Args: cobra.NoArgs,
		RunE: a.loading(func(c *cobra.Command, _ []string) error {
			o.seeded = c.Flags().Changed("seed")
			return augment(c.Context(), a, o)
		}),
	}
	o.addFlags(c)
	return c
}

func (o *runOptions) addFlags(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&o.images, "images", "", "folder of images, or s3://bucket/prefix")
	f.StringVar(&o.class, "class", "", "name of the defect class")
	o.addRecipeFlags(c, "surface")
	o.utility.addFlags(f)
	f.BoolVar(&o.flat, "flat", false, "take all files below a folder as one class, whatever its layout")
	f.BoolVar(&o.detach, "detach", false, "start the run and return; a worker must be there to do it")
	f.BoolVar(&o.ifChanged, "if-changed", false,
		"end at once as \"unchanged\" where data set, recipe and policy were decided before")
	f.IntVar(&o.minNew, "min-new", 0,
		"end at once as \"waiting\" where fewer images are new since the latest release; implies --if-changed")
	f.BoolVar(&o.dryRun, "dry-run", false,
		"print the effective recipe, what would be found, and about how long it takes and what it stores; do nothing")
	f.BoolVar(&o.noEstimate, "no-estimate", false, "with --dry-run: try no training steps, and estimate neither time nor storage")
}

// augment does what `run` asks for.
func augment(ctx context.Context, a *app, o runOptions) error {
	plan, err := planRun(ctx, a, o)
	if err != nil {
		return err
	}
	if o.dryRun {
		return dryRun(ctx, a, plan, !o.noEstimate)
	}
	warnOfNoUtility(a, plan)
	return runJob(a, plan).do(ctx, a, o.detach)
}

// runReport is the JSON object of `run`.
type runReport struct {
	WorkflowID        string   `json:"workflow_id"`
	RunID             string   `json:"run_id"`
	Verdict           string   `json:"verdict"`
	Release           string   `json:"release"`
	ManifestSHA256    string   `json:"manifest_sha256"`
	Report            string   `json:"report"` // a path, or a key in the bucket of a cluster
	ImagesIn          int      `json:"images_in"`
	ImagesQuarantined int      `json:"images_quarantined"`
	ImagesPublished   int      `json:"images_published"`
	Reasons           []string `json:"reasons"`
	// Approval is null where none was due.
	Approval *step.Approval `json:"approval"`
	// Utility is null without --compare.
	Utility *step.UtilityResult `json:"utility"`
	// Change is what a run with --if-changed found out.
	Change *step.ChangeResult `json:"change,omitempty"`
	// Times say where the time went; Stages why each stage of a rerun was reused or
	// done again.
	Times  []step.StageTime    `json:"times"`
	Stages []report.StageStory `json:"stages,omitempty"`
	UI     string              `json:"ui,omitempty"`
	Error  string              `json:"error,omitempty"`
}

// reportRun is the result of a run.
func reportRun(s *process.Session, run step.Run, result workflows.AugmentResult) runReport {
	out := runReport{
		WorkflowID: run.WorkflowID, RunID: run.RunID, Verdict: result.Verdict,
		Release: result.Release, ManifestSHA256: result.ManifestSHA256, Report: result.Report.Key,
		ImagesIn: result.ImagesIn, ImagesQuarantined: result.ImagesQuarantined, ImagesPublished: result.ImagesPublished,
		Reasons: append([]string{}, result.Reasons...), Change: result.Change, UI: s.RunURL(run),
		Utility: result.Utility, Times: append([]step.StageTime{}, result.Times...),
	}
	if result.Approval.By != "" {
		out.Approval = &result.Approval
	}
	return out
}

// concludeRun prints how the run ended.
func concludeRun(ctx context.Context, a *app, s *process.Session, run step.Run, result workflows.AugmentResult, err error) error {
	out := reportRun(s, run, result)
	if err == nil && s.Stack != nil && result.Report.Key != "" {
		out.Report, err = fetchReport(ctx, a, s.Store, run, result.Report)
	}
	if err != nil {
		err = failedWords(ctx, err)
		out.Error = err.Error()
		return emitFailed(a, out, err)
	}
	sayTimes(a, out.Times)
	out.Stages = storyOf(ctx, a, s.Store, result.Record)
	sayStory(a, out.Stages)
	if a.console.JSON() {
		err = a.console.Emit(out)
	} else {
		printRun(a, result.Prefix, out)
	}
	if err != nil || result.Unpublished && result.Verdict == spec.Pass {
		return err
	}
	if result.Release == "" && result.Verdict != step.Waiting {
		return console.Exit(console.ExitNotApproved)
	}
	return nil
}

func printRun(a *app, prefix string, r runReport) {
	out := a.console
	out.Print("verdict    %s", r.Verdict)
	out.Print("images     %d in, %d quarantined, %d published", r.ImagesIn, r.ImagesQuarantined, r.ImagesPublished)
	if r.Approval != nil && r.Approval.Approved {
		out.Print("approval   %s", workflows.ApprovalWords(*r.Approval))
	}
	for _, reason := range r.Reasons {
		out.Print("reason     %s", reason)
	}
	printUtility(a, r.Utility)
	switch {
	case r.Release != "":
		out.Print("release    %s", prefix)
		out.Print("manifest   sha256 %s", r.ManifestSHA256)
	case r.Report == "": // there was nothing to do
		out.Print("release    none yet")
	default:
		out.Print("release    none: what was not approved is not published; the report shows why, and what was drawn")
	}
	if r.Report != "" {
		out.Print("report     %s", r.Report)
	}
	if r.UI != "" {
		out.Print("history    %s (while the stack runs: `defectforge up`)", r.UI)
	}
}

// sayTimes says where a run's time went.
func sayTimes(a *app, times []step.StageTime) {
	total := 0.0
	for _, t := range times {
		total += t.Seconds
	}
	if total == 0 {
		return
	}
	a.console.Say("where the time went:")
	for _, t := range times {
		note := ""
		switch {
		case t.Cached:
			note = "  found, not done again"
		case t.Stage == step.AwaitApproval:
			note = "  waiting for a person"
		}
		a.console.Say("  %-16s %8s %4.0f%%%s", step.Title(t.Stage), console.TimeWords(t.Seconds), 100*t.Seconds/total, note)
	}
	a.console.Say("  %-16s %8s", "together", console.TimeWords(total))
}

// fetchReport puts a report where a browser on this machine can open it.
func fetchReport(ctx context.Context, a *app, store *storage.Store, run step.Run, page step.Ref) (string, error) {
	dir := reportFile(a, run.WorkflowID, run.RunID)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return page.Key, fmt.Errorf("create report folder: %w", err)
	}
	file := filepath.Join(dir, "report.html")
	if err := store.ReadToFile(ctx, storage.Object(page), file); err != nil {
		return page.Key, fmt.Errorf("fetch report: %w", err)
	}
	return file, nil
}
