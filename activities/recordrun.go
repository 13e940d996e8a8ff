package activities

import (
	"context"
	"fmt"

	"github.com/defectforge/defectforge/activities/ledger"
	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/model/spec"
	"github.com/defectforge/defectforge/storage"
)

// maxReport bounds a report's page or JSON, in bytes.
const maxReport = 256 << 20

// Recorder writes down what a run read, made and decided.
type Recorder struct {
	Store   *storage.Store
	Lineage Lineage
}

// RecordRun writes runs/<workflow>/<run>/run.json with the report beside it,
// links what the run read and made back to it, remembers the decision for runs
// with the same inputs, and removes the checkpoints that only a killed leg would have needed.
func (r Recorder) RecordRun(ctx context.Context, in step.RecordRunInput) (step.RecordRunResult, error) {
	if in.Outcome.Run.WorkflowID == "" || in.Outcome.Run.RunID == "" {
		return step.RecordRunResult{}, ledger.Permanent(step.ErrBadInput, "run %+v: needs a workflow and a run identifier", in.Outcome.Run)
	}
	if in.Verdict != spec.Pass && in.Publish.Release != "" {
		return step.RecordRunResult{}, ledger.Permanent(step.ErrBadInput,
			"verdict %q with release %s: only what passed is published", in.Verdict, in.Publish.Release)
	}
	run := in.Outcome.Run
	report, err := r.copy(ctx, ledger.ReportKey(run), in.Report.HTML)
	if err != nil {
		return step.RecordRunResult{}, err
	}
	if _, err := r.copy(ctx, ledger.ReportTwinKey(run), in.Report.JSON); err != nil {
		return step.RecordRunResult{}, err
	}
	record, err := ledger.WriteRun(ctx, r.Store, in)
	if err != nil {
		return step.RecordRunResult{}, err
	}
	if err := ledger.WriteLinks(ctx, r.Store, in, record); err != nil {
		return step.RecordRunResult{}, err
	}
	if err := ledger.RememberDecision(ctx, r.Store, in); err != nil {
		return step.RecordRunResult{}, err
	}
	if err := r.sweep(ctx, run); err != nil {
		return step.RecordRunResult{}, err
	}
	if err := r.Store.Bucket().Sync(ctx); err != nil {
		return step.RecordRunResult{}, fmt.Errorf("sync run record: %w", err)
	}
	r.Lineage.recorded(ctx, in, record)
	return step.RecordRunResult{Record: record, Report: report}, nil
}

// copy puts an artifact under key too.
func (r Recorder) copy(ctx context.Context, key string, from step.Ref) (step.Ref, error) {
	if from.IsZero() {
		return step.Ref{}, nil
	}
	raw, err := r.Store.Read(ctx, storage.Object(from), maxReport)
	if err != nil {
		return step.Ref{}, fmt.Errorf("read report: %w", err)
	}
	obj, err := r.Store.PutNamed(ctx, key, raw)
	return step.Ref(obj), ledger.Wrap("store report", err)
}

func (r Recorder) sweep(ctx context.Context, run step.Run) error {
	var keys []string
	for info, err := range r.Store.Bucket().List(ctx, ledger.CheckpointsOf(run)+midName) {
		if err != nil {
			return fmt.Errorf("list checkpoints: %w", err)
		}
		keys = append(keys, info.Key)
	}
	for _, key := range keys {
		if err := r.Store.Bucket().Delete(ctx, key); err != nil {
			return fmt.Errorf("remove checkpoint: %w", err)
		}
	}
	return nil
}
