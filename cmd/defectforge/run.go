package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/config"
	"github.com/defectforge/defectforge/model/spec"
	"github.com/defectforge/defectforge/storage"
	"github.com/defectforge/defectforge/storage/folder"
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
	compareOptions
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
	// Times tell where the time went; Stages why each stage of a rerun was reused
	// or done again.
	Times  []step.StageTime `json:"times"`
	Stages []stageStory     `json:"stages,omitempty"`
	UI     string           `json:"ui,omitempty"`
	Error  string           `json:"error,omitempty"`
}

func (p *program) runCommand() *cobra.Command {
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
other policy the report just tells it. The generator has usually seen more images
than the classifiers; ingest.max_images lets it see as many.`,
		Example: `  defectforge run --images photos/scratches --class scratches --recipe quick
  defectforge run --images s3://factory/dents/ --class dents --set train.epochs=64 --json
  defectforge run --images dents --class dents --compare pits=pits --compare rust=rust --policy useful
  defectforge run --images dents --class dents --compare pits=pits --set ingest.max_images=25 --utility-per-class 25`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := p.load(c); err != nil {
				return err
			}
			o.seeded = c.Flags().Changed("seed")
			return p.run(c.Context(), o)
		},
	}
	f := c.Flags()
	f.StringVar(&o.images, "images", "", "folder of images, or s3://bucket/prefix")
	f.StringVar(&o.class, "class", "", "name of the defect class")
	o.addRecipeFlags(c, "classic")
	o.compareOptions.addFlags(f)
	f.BoolVar(&o.detach, "detach", false, "start the run and return; a worker must be there to do it")
	f.BoolVar(&o.ifChanged, "if-changed", false, "end at once as \"unchanged\" where data set, recipe and policy were decided before")
	f.IntVar(&o.minNew, "min-new", 0, "end at once as \"waiting\" where fewer images are new since the latest release; implies --if-changed")
	f.BoolVar(&o.dryRun, "dry-run", false, "print the effective recipe, what would be found, and about how long it takes and what it stores; do nothing")
	f.BoolVar(&o.noEstimate, "no-estimate", false, "with --dry-run: try no training steps, and tell no time and storage")
	return c
}

func (o *runOptions) addRecipeFlags(c *cobra.Command, recipe string) {
	f := c.Flags()
	f.StringVar(&o.recipe, "recipe", recipe, strings.Join(spec.Names(), ", ")+", or a YAML file")
	f.StringVar(&o.policy, "policy", "", strings.Join(spec.PolicyNames(), ", ")+", or a YAML file (default the recipe's)")
	f.StringArrayVar(&o.set, "set", nil, "change one value of the recipe, key=value; may be repeated")
	f.Uint64Var(&o.seed, "seed", 1, "seed of all random numbers")
}

// job is a run, resolved.
type job struct {
	class   string
	recipe  spec.Recipe
	policy  spec.Policy
	utility *step.UtilityPlan // nil where no other class is known
	source  step.Source
	uploads []folderSource
	// ifChanged is no part of the run's name: the same work is done or not.
	ifChanged *step.IfChanged
	// rerun says which run this one repeats; unpublished is as it was there.
	rerun       *step.Rerun
	unpublished bool
	noEstimate  bool // of a dry run
}

// files is the number of files to be uploaded.
func (j job) files() (n int) {
	for _, f := range j.uploads {
		n += len(f.files)
	}
	return n
}

func (j job) workflowID() string {
	return workflows.AugmentID(workflows.AugmentInput{
		Class: j.class, Source: j.source, Recipe: j.recipe, Policy: j.policy, Utility: j.utility, Rerun: j.rerun, Unpublished: j.unpublished,
	})
}

// plan checks everything that can be checked without Temporal and a store.
func (p *program) plan(ctx context.Context, o runOptions) (job, error) {
	if o.images == "" {
		return job{}, usageError("--images: not given; name a folder of images or s3://bucket/prefix")
	}
	if err := checkClass(o.class); err != nil {
		return job{}, err
	}
	if o.seeded {
		o.set = append(o.set, fmt.Sprintf("seed=%d", o.seed))
	}
	recipe, err := config.Recipe(o.recipe, o.set)
	if err != nil {
		return job{}, &statusError{exitUsage, err}
	}
	j := job{class: o.class, recipe: recipe}
	if j.ifChanged, err = o.changePlan(); err != nil {
		return job{}, err
	}
	if j.policy, err = config.Policy(cmp.Or(o.policy, recipe.Policy, spec.ProductionPolicy().Name)); err != nil {
		return job{}, &statusError{exitUsage, err}
	}
	if j.source, err = p.sourceOf(ctx, "--images", o.class, o.images, &j.uploads); err != nil {
		return job{}, err
	}
	j.utility, err = p.utilityPlan(ctx, o.compareOptions, o.class, &j.uploads)
	return j, err
}

func (p *program) run(ctx context.Context, o runOptions) error {
	j, err := p.plan(ctx, o)
	if err != nil {
		return err
	}
	if o.dryRun {
		j.noEstimate = o.noEstimate
		return p.dryRun(ctx, j)
	}
	p.warnOfNoComparison(j)
	for {
		err := p.runOnce(ctx, j, o.detach)
		if !errors.Is(err, errTakeOver) {
			return err
		}
		p.log.Info("the process that ran the embedded stack has ended; taking over")
	}
}

// warnOfNoComparison tells of a policy that a run without --compare can't meet.
func (p *program) warnOfNoComparison(j job) {
	if j.policy.Asks(spec.MeasureUtilityGain) && j.utility == nil {
		p.say("policy %s asks whether the set helps a classifier, which only --compare can tell: without it the verdict is no pass", j.policy.Name)
	}
}

// errTakeOver: the process that ran the embedded stack has ended, and this one
// can run it.
var errTakeOver = errors.New("the stack of another process has gone")

// runOnce does the job within one connection.
func (p *program) runOnce(ctx context.Context, j job, detach bool) error {
	began := time.Now()
	s, err := p.open(ctx)
	if err != nil {
		return err
	}
	defer s.close(p)
	p.log.Info("connected", "after", time.Since(began).Round(time.Millisecond), "embedded", s.stack != nil)
	for _, f := range j.uploads {
		if err := p.uploadSource(ctx, s, f); err != nil {
			return err
		}
	}
	handle, err := p.startRun(ctx, s, j)
	if err != nil {
		return err
	}
	if detach {
		return p.detached(s, j, handle)
	}
	run := step.Run{WorkflowID: handle.GetID(), RunID: firstRunID(ctx, s.temp, handle)}
	p.say("run %s%s", run.WorkflowID, s.linkNote(run))
	failed, stop, err := p.serve(ctx, s)
	if err != nil {
		return err
	}
	defer stop()
	result, err := follow(ctx, s, run.WorkflowID, handle.GetRunID(), p.newView(), failed)
	if failed == nil && context.Cause(ctx) == errInterrupted {
		p.say("the run itself goes on; `defectforge runs watch %s` follows it, `runs cancel` ends it", run.WorkflowID)
	}
	if errors.Is(err, errServerGone) && s.stack != nil && !s.stack.mine() {
		return errTakeOver
	}
	return p.conclude(ctx, s, run, result, err)
}

// serve runs workers in this process where it also runs the stack: then nobody
// else does. In a cluster, or beside another process's stack, theirs do the
// work.
func (p *program) serve(ctx context.Context, s *session) (failed <-chan error, stop func(), err error) {
	if s.stack == nil || !s.stack.mine() {
		p.hintAtWorkers(ctx, s)
		return nil, func() {}, nil
	}
	c, err := p.startWorkers(ctx, s, config.RoleAll)
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	stop = func() {
		if context.Cause(ctx) == errInterrupted {
			p.say("stopping; a running stage stores what it has")
		}
		cancel()
		c.stop()
	}
	return anyFailed(ctx, c.failed, s.stack.failed), stop, nil
}

// hintAtWorkers tells who waits in vain: nothing happens without workers.
func (p *program) hintAtWorkers(ctx context.Context, s *session) {
	t := p.cfg.Temporal
	for _, q := range []struct {
		name, role string
		kind       enumspb.TaskQueueType
	}{
		{t.TaskQueue, config.RoleIO, enumspb.TASK_QUEUE_TYPE_WORKFLOW},
		{t.TrainingTaskQueue, config.RoleTraining, enumspb.TASK_QUEUE_TYPE_ACTIVITY},
	} {
		d, err := s.temp.DescribeTaskQueue(ctx, q.name, q.kind)
		if err == nil && len(d.GetPollers()) == 0 {
			p.say("no worker serves the task queue %s at the moment; start `defectforge worker --role %s`", q.name, q.role)
		}
	}
}

func (p *program) uploadSource(ctx context.Context, s *session, source folderSource) error {
	began, last := time.Now(), time.Now()
	sent, err := folder.Upload(ctx, s.bucket, source.prefix, source.files, func(done int) {
		if now := time.Now(); now.Sub(last) > 15*time.Second {
			last = now
			p.say("%-16s %d of %d files", "upload", done, len(source.files))
		}
	})
	if err != nil {
		return err
	}
	if err := s.bucket.Sync(ctx); err != nil {
		return fmt.Errorf("sync store: %w", err)
	}
	var bytes int64
	for _, f := range source.files {
		bytes += f.Size
	}
	p.say("%-16s %d files, %s, %d of them new, %s", "upload", len(source.files), humanize.IBytes(uint64(bytes)), sent, timeWords(time.Since(began).Seconds()))
	return nil
}

// startRun starts the job's workflow, or attaches to it.
func (p *program) startRun(ctx context.Context, s *session, j job) (client.WorkflowRun, error) {
	handle, err := s.temp.ExecuteWorkflow(ctx, client.StartWorkflowOptions{
		ID:                       j.workflowID(),
		TaskQueue:                p.cfg.Temporal.TaskQueue,
		WorkflowIDConflictPolicy: enumspb.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING,
		WorkflowIDReusePolicy:    enumspb.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE,
		StaticSummary:            fmt.Sprintf("%s with recipe %s", j.class, j.recipe.Name),
		TypedSearchAttributes:    temporal.NewSearchAttributes(workflows.DefectClass.ValueSet(j.class)),
	}, workflows.AugmentName, p.input(j))
	if err != nil {
		return nil, fmt.Errorf("start run: %w; `defectforge doctor` checks namespace and search attributes", err)
	}
	return handle, nil
}

// firstRunID is the run that reports are filed under: a run that continued as
// new keeps its first identifier.
func firstRunID(ctx context.Context, c client.Client, handle client.WorkflowRun) string {
	d, err := c.DescribeWorkflowExecution(ctx, handle.GetID(), handle.GetRunID())
	if err == nil && d.GetWorkflowExecutionInfo().GetFirstRunId() != "" {
		return d.GetWorkflowExecutionInfo().GetFirstRunId()
	}
	return handle.GetRunID()
}

func (p *program) detached(s *session, j job, handle client.WorkflowRun) error {
	if s.stack != nil && s.stack.mine() {
		p.say("nothing runs this yet: start `defectforge up` for this data folder")
	}
	p.say("started; `defectforge runs watch %s` follows it", j.workflowID())
	if p.json {
		return p.emit(runReport{WorkflowID: handle.GetID(), RunID: handle.GetRunID(), Reasons: []string{}, UI: s.runURL(step.Run{WorkflowID: handle.GetID(), RunID: handle.GetRunID()})})
	}
	p.print("%s", handle.GetID())
	return nil
}

// conclude tells how the run ended.
func (p *program) conclude(ctx context.Context, s *session, run step.Run, result workflows.AugmentResult, err error) error {
	out := runReport{
		WorkflowID: run.WorkflowID, RunID: run.RunID, Verdict: result.Verdict,
		Release: result.Release, ManifestSHA256: result.ManifestSHA256, Report: result.Report.Key,
		ImagesIn: result.ImagesIn, ImagesQuarantined: result.ImagesQuarantined, ImagesPublished: result.ImagesPublished,
		Reasons: append([]string{}, result.Reasons...), Change: result.Change, UI: s.runURL(run),
	}
	out.Utility, out.Times = result.Utility, append([]step.StageTime{}, result.Times...)
	if result.Approval.By != "" {
		out.Approval = &result.Approval
	}
	if err == nil && s.stack != nil && result.Report.Key != "" {
		out.Report, err = p.fetchReport(ctx, s.store, run, result.Report)
	}
	if err != nil {
		if err = explain(err); context.Cause(ctx) == errInterrupted {
			err = stoppedByUser
		}
		out.Error = err.Error()
		if p.json {
			if e := p.emit(out); e != nil {
				return e
			}
		}
		return err
	}
	p.tellTimes(out.Times)
	out.Stages = p.storyOf(ctx, s.store, result.Record)
	p.tellStory(out.Stages)
	if p.json {
		err = p.emit(out)
	} else {
		p.printResult(result.Prefix, out)
	}
	if result.Unpublished && result.Verdict == step.Pass {
		return err
	}
	if err == nil && result.Release == "" && result.Verdict != step.Waiting {
		err = &statusError{exitNotApproved, nil}
	}
	return err
}

func (p *program) printResult(prefix string, r runReport) {
	p.print("verdict    %s", r.Verdict)
	p.print("images     %d in, %d quarantined, %d published", r.ImagesIn, r.ImagesQuarantined, r.ImagesPublished)
	if r.Approval != nil && r.Approval.Approved {
		p.print("approval   %s", workflows.ApprovalWords(*r.Approval))
	}
	for _, reason := range r.Reasons {
		p.print("reason     %s", reason)
	}
	p.printUtility(r.Utility)
	switch {
	case r.Release != "":
		p.print("release    %s", prefix)
		p.print("manifest   sha256 %s", r.ManifestSHA256)
	case r.Report == "": // there was nothing to do
		p.print("release    none yet")
	default:
		p.print("release    none: what was not approved is not published; the report shows why, and what was drawn")
	}
	if r.Report != "" {
		p.print("report     %s", r.Report)
	}
	if r.UI != "" {
		p.print("history    %s (while the stack runs: `defectforge up`)", r.UI)
	}
}

// fetchReport puts a report where a browser on this machine can open it.
func (p *program) fetchReport(ctx context.Context, store *storage.Store, run step.Run, report step.Ref) (string, error) {
	dir := filepath.Join(p.cfg.DataDir, "reports", run.WorkflowID, run.RunID)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return report.Key, fmt.Errorf("create report folder: %w", err)
	}
	file := filepath.Join(dir, "report.html")
	if err := store.ReadToFile(ctx, storage.Object(report), file); err != nil {
		return report.Key, fmt.Errorf("fetch report: %w", err)
	}
	return file, nil
}

func either(yes bool, a, b string) string {
	if yes {
		return a
	}
	return b
}
