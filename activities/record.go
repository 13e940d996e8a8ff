package activities

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/storage"
)

// maxReport bounds a report's page or JSON, in bytes.
const maxReport = 256 << 20

// formatRun is the version of run.json.
const formatRun = "defectforge.run/1"

// Recorder writes down what a run read, made and decided.
type Recorder struct {
	Store   *storage.Store
	Lineage Lineage
}

// runRecord is the content of run.json.
type runRecord struct {
	Format string `json:"format"`
	step.RecordRunInput
}

// runPrefix is the prefix of everything that belongs to one run alone.
func runPrefix(run step.Run) string {
	return fmt.Sprintf("runs/%s/%s/", storage.SafeName(run.WorkflowID), storage.SafeName(run.RunID))
}

// RecordRun writes runs/<workflow>/<run>/run.json with the report beside it,
// links what the run read and made back to it, remembers the decision for runs
// with the same inputs, and removes the checkpoints that only a killed leg would have needed.
func (r Recorder) RecordRun(ctx context.Context, in step.RecordRunInput) (step.RecordRunResult, error) {
	if in.Outcome.Run.WorkflowID == "" || in.Outcome.Run.RunID == "" {
		return step.RecordRunResult{}, permanent(step.ErrBadInput, "run %+v: needs a workflow and a run identifier", in.Outcome.Run)
	}
	if in.Verdict != step.Pass && in.Publish.Release != "" {
		return step.RecordRunResult{}, permanent(step.ErrBadInput, "verdict %q with release %s: only what passed is published", in.Verdict, in.Publish.Release)
	}
	prefix := runPrefix(in.Outcome.Run)
	report, err := r.copy(ctx, prefix+"report.html", in.Report.HTML)
	if err != nil {
		return step.RecordRunResult{}, err
	}
	if _, err := r.copy(ctx, prefix+"report.json", in.Report.JSON); err != nil {
		return step.RecordRunResult{}, err
	}
	raw, err := indented(runRecord{Format: formatRun, RecordRunInput: in})
	if err != nil {
		return step.RecordRunResult{}, err
	}
	record, err := r.Store.PutNamed(ctx, prefix+recordName, raw)
	if err != nil {
		return step.RecordRunResult{}, fmt.Errorf("record run: %w", err)
	}
	if err := r.link(ctx, in, step.Ref(record)); err != nil {
		return step.RecordRunResult{}, err
	}
	if err := r.remember(ctx, in); err != nil {
		return step.RecordRunResult{}, err
	}
	if err := r.sweep(ctx, in.Outcome.Run); err != nil {
		return step.RecordRunResult{}, err
	}
	if err := r.Store.Bucket().Sync(ctx); err != nil {
		return step.RecordRunResult{}, fmt.Errorf("sync run record: %w", err)
	}
	r.Lineage.recorded(ctx, in, step.Ref(record))
	return step.RecordRunResult{Record: step.Ref(record), Report: report}, nil
}

// indented renders a document that people read too.
func indented(v any) ([]byte, error) {
	raw, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode document: %w", err)
	}
	return append(raw, '\n'), nil
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
	return step.Ref(obj), wrap("store report", err)
}

func (r Recorder) sweep(ctx context.Context, run step.Run) error {
	var keys []string
	for info, err := range r.Store.Bucket().List(ctx, checkpointsOf(run)+midName) {
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
