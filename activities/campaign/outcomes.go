// Package campaign plans many runs, looks at how they stand, and sums up their
// outcomes.
package campaign

import (
	"context"
	"errors"
	"fmt"

	"github.com/defectforge/defectforge/activities/ledger"
	"github.com/defectforge/defectforge/activities/report"
	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/model/spec"
	"github.com/defectforge/defectforge/storage"
)

// maxEnded bounds the outcomes that one look answers with.
const maxEnded = 20

// outcomes are some of a campaign's rows, and where those before them are.
type outcomes struct {
	ledger.Header
	Before step.Ref     `json:"before"`
	Rows   []report.Row `json:"rows"`
}

var outcomesFormat = ledger.Format[outcomes]{Name: "defectforge.outcomes/1"}

// Campaigner keeps the outcomes of a campaign's runs, and sums them up.
type Campaigner struct {
	Store *storage.Store
}

// KeepOutcomes writes down outcomes, with the measures and times of their runs'
// records, and a reference to those before.
func (c Campaigner) KeepOutcomes(ctx context.Context, in step.KeepInput) (step.KeepResult, error) {
	doc := outcomes{Before: in.Before, Rows: make([]report.Row, len(in.Outcomes))}
	for i, o := range in.Outcomes {
		row, err := c.row(ctx, o)
		if err != nil {
			return step.KeepResult{}, fmt.Errorf("record of run %s: %w", o.Run.WorkflowID, err)
		}
		doc.Rows[i] = row
	}
	raw, err := outcomesFormat.Encode(doc)
	if err != nil {
		return step.KeepResult{}, err
	}
	obj, err := c.Store.PutNamed(ctx, ledger.OutcomesKey(in.Campaign, in.Number), raw)
	if err != nil {
		return step.KeepResult{}, fmt.Errorf("keep outcomes: %w", err)
	}
	return step.KeepResult{Head: step.Ref(obj)}, ledger.Wrap("sync outcomes", c.Store.Bucket().Sync(ctx))
}

// StoreOutcomes stores rows that stand, as the first of a campaign's.
func StoreOutcomes(ctx context.Context, store *storage.Store, rows []report.Row) (step.Ref, error) {
	ref, err := outcomesFormat.Put(ctx, store, outcomes{Rows: rows})
	return ref, ledger.Wrap("keep outcomes", err)
}

// row is an outcome with what its run's record says. A missing or damaged
// record only costs the row its measures.
func (c Campaigner) row(ctx context.Context, o step.RunOutcome) (report.Row, error) {
	row := report.Row{RunOutcome: o}
	if o.Record.IsZero() {
		return row, nil
	}
	record, err := ledger.ReadRun(ctx, c.Store, o.Record)
	var measured ledger.MeasureList
	if m := record.Outcome.Assess.Measures; err == nil && !m.IsZero() {
		measured, err = ledger.Measures.Read(ctx, c.Store, m)
	}
	if ledger.Lost(err) {
		row.Reasons = append(row.Reasons, "its record can't be read: "+err.Error())
		return row, nil
	}
	row.Follow(record.Outcome, measured.Measures)
	return row, err
}

// rows are all rows that head leads to. Where a run was tried again, the later
// row stands.
func (c Campaigner) rows(ctx context.Context, head step.Ref) (map[int]report.Row, error) {
	all := map[int]report.Row{}
	for !head.IsZero() {
		doc, err := outcomesFormat.Read(ctx, c.Store, head)
		if err != nil {
			return nil, fmt.Errorf("outcomes: %w", err)
		}
		for _, row := range doc.Rows {
			if _, later := all[row.Index]; !later {
				all[row.Index] = row
			}
		}
		head = doc.Before
	}
	return all, nil
}

// SummariseCampaign writes the campaign's summary, as JSON and as one page. Items
// of the plan without an outcome are listed as not begun.
func (c Campaigner) SummariseCampaign(ctx context.Context, in step.SummariseInput) (step.SummariseResult, error) {
	rows, err := c.rows(ctx, in.Head)
	if err != nil {
		return step.SummariseResult{}, err
	}
	items, err := PlanItems(ctx, c.Store, in.Plan)
	if err != nil {
		return step.SummariseResult{}, err
	}
	data := summed(in, items, rows)
	raw, err := data.JSON()
	if err != nil {
		return step.SummariseResult{}, err
	}
	page, err := data.HTML()
	if err != nil {
		return step.SummariseResult{}, err
	}
	out := step.SummariseResult{Counts: data.Counts}
	for _, f := range []struct {
		key  string
		raw  []byte
		into *step.Ref
	}{{ledger.CampaignReportKey(in.Campaign), page, &out.Report}, {ledger.SummaryKey(in.Campaign), raw, &out.Summary}} {
		obj, err := c.Store.PutNamed(ctx, f.key, f.raw)
		if err != nil {
			return step.SummariseResult{}, fmt.Errorf("store summary: %w", err)
		}
		*f.into = step.Ref(obj)
	}
	return out, ledger.Wrap("sync summary", c.Store.Bucket().Sync(ctx))
}

// summed is the summary with a row for each item of the plan.
func summed(in step.SummariseInput, items []step.PlanItem, rows map[int]report.Row) report.Campaign {
	data := report.NewCampaign(in)
	for _, item := range items {
		row, ok := rows[item.Index]
		if !ok {
			row = report.Row{RunOutcome: step.RunOutcome{
				Index: item.Index, Name: item.Name, Class: item.Class, Status: step.RunCancelled, Reasons: []string{"was not begun"},
			}}
		}
		row.Source, row.Settings, row.Recipe = item.Source, item.Settings, recipeDigest(in.Recipe, item.Recipe)
		data.Add(row)
	}
	return data
}

func recipeDigest(common spec.Recipe, own *spec.Recipe) string {
	if own != nil {
		return spec.Digest(*own)
	}
	return spec.Digest(common)
}

// Runs looks up how runs stand, as the workflow server knows it.
type Runs interface {
	// Look describes one run; the latest of its workflow where run has no RunID.
	// A run that is not known is one that has ended as cancelled.
	Look(ctx context.Context, run step.Run) (step.RunState, error)
}

// Looker looks at runs for a campaign.
type Looker struct {
	Runs Runs
}

// LookAtRuns describes every run of the input.
func (l Looker) LookAtRuns(ctx context.Context, in step.LookInput) (step.LookResult, error) {
	if l.Runs == nil {
		return step.LookResult{}, errors.New("this worker has no connection to look at runs with")
	}
	out := step.LookResult{States: make([]step.RunState, len(in.Runs))}
	ended := 0
	for i, run := range in.Runs {
		state, err := l.Runs.Look(ctx, run)
		if err != nil {
			return step.LookResult{}, fmt.Errorf("look at run %s: %w", run.WorkflowID, err)
		}
		if state.Ended != nil {
			if ended++; ended > maxEnded {
				state.Ended, out.More = nil, true
			}
		}
		out.States[i] = state
	}
	return out, nil
}
