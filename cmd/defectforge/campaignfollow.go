package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"golang.org/x/sync/errgroup"
	"golang.org/x/term"

	"github.com/defectforge/defectforge/activities"
	"github.com/defectforge/defectforge/activities/report"
	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/storage"
	"github.com/defectforge/defectforge/workflows"
)

// campaignReport is the JSON object of `campaign run`, `sweep`, `watch`, `retry`
// and `show`.
type campaignReport struct {
	WorkflowID string                    `json:"workflow_id"`
	RunID      string                    `json:"run_id"`
	Name       string                    `json:"name,omitempty"`
	Kind       string                    `json:"kind,omitempty"`
	Status     string                    `json:"status,omitempty"` // of `show`
	Items      int                       `json:"items"`
	Counts     step.RunCounts            `json:"counts"`
	Report     string                    `json:"report"`  // a path, or a key in the bucket of a cluster
	Summary    string                    `json:"summary"` // the same facts as JSON
	Progress   *workflows.CampaignStatus `json:"progress,omitempty"`
	UI         string                    `json:"ui,omitempty"`
	Error      string                    `json:"error,omitempty"`
}

// maxSummary bounds a campaign's summary.json, in bytes.
const maxSummary = 256 << 20

// followCampaign shows the campaign until it ends, and returns its result.
func (p *program) followCampaign(ctx context.Context, c client.Client, id, runID string, failed <-chan error) (workflows.CampaignResult, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type ending struct {
		result workflows.CampaignResult
		err    error
	}
	ended := make(chan ending, 1)
	go func() {
		var e ending
		e.err = c.GetWorkflow(ctx, id, runID).Get(ctx, &e.result)
		ended <- e
	}()
	v := &campaignView{p: p, every: 15 * time.Second, now: time.Now}
	defer v.close()
	tick := time.NewTicker(2 * pollEvery)
	defer tick.Stop()
	lost := 0
	for {
		select {
		case <-ctx.Done():
			return workflows.CampaignResult{}, context.Cause(ctx)
		case e := <-ended:
			if ctx.Err() != nil {
				return e.result, context.Cause(ctx)
			}
			if s, err := queryCampaign(ctx, c, id); err == nil {
				v.update(s)
			}
			if gone := (*serviceerror.Unavailable)(nil); errors.As(e.err, &gone) {
				return e.result, errServerGone
			}
			return e.result, e.err
		case err := <-failed:
			return workflows.CampaignResult{}, err
		case <-tick.C:
			if !answers(ctx, c, id) {
				if lost++; lost >= lostAfter && ctx.Err() == nil {
					return workflows.CampaignResult{}, errServerGone
				}
				continue
			}
			lost = 0
			if s, err := queryCampaign(ctx, c, id); err == nil {
				v.update(s)
			}
		}
	}
}

// answers reports whether the server describes the workflow. A query would also
// fail where no worker is there.
func answers(ctx context.Context, c client.Client, id string) bool {
	ctx, cancel := context.WithTimeout(ctx, lookPatience)
	defer cancel()
	_, err := c.DescribeWorkflowExecution(ctx, id, "")
	return err == nil
}

func queryCampaign(ctx context.Context, c client.Client, id string) (workflows.CampaignStatus, error) {
	ctx, cancel := context.WithTimeout(ctx, queryPatience)
	defer cancel()
	var s workflows.CampaignStatus
	v, err := c.QueryWorkflow(ctx, id, "", workflows.StatusQuery)
	if err != nil {
		return s, fmt.Errorf("query status: %w", err)
	}
	if err := v.Get(&s); err != nil {
		return s, fmt.Errorf("read status: %w", err)
	}
	return s, nil
}

// campaignView prints a line for each run that ends, and how far the campaign is:
// on the last line of a terminal, else every so often.
type campaignView struct {
	p     *program
	every time.Duration
	now   func() time.Time
	told  int // runs that ended and were told
	line  string
	last  time.Time
}

func (v *campaignView) update(s workflows.CampaignStatus) {
	for _, r := range s.Recent {
		if r.Number <= v.told {
			continue
		}
		if missed := r.Number - v.told - 1; missed > 0 {
			v.p.say("%-16s %d runs", "also ended", missed)
		}
		v.told = r.Number
		words := timeWords(r.Seconds)
		if r.Images > 0 {
			words = fmt.Sprintf("%d images, %s", r.Images, words)
		}
		if r.Reason != "" {
			words += ": " + r.Reason
		}
		v.p.say("%-16s %s, %s", r.Status, r.Name, words)
	}
	line := campaignLine(s)
	switch {
	case line == v.line || s.Stage == step.Done:
	case v.p.terminal:
		v.line = line
		if room := columnsOf(v.p.screen) - 1; len(line) > room {
			line = line[:max(room, 0)]
		}
		fmt.Fprintf(bottom{v.p.screen}, "%s%s", wipeLine, line)
	case v.now().Sub(v.last) >= v.every:
		v.line, v.last = line, v.now()
		v.p.say("%-16s %s", "campaign", line)
	}
}

func (v *campaignView) close() {
	if v.p.terminal {
		_, _ = v.p.screen.Write(nil) // wipes the line
	}
}

// campaignLine tells in one line how far a campaign is.
func campaignLine(s workflows.CampaignStatus) string {
	if s.Items == 0 {
		return "looking for classes"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%d of %d done", s.Counts.Done(), s.Items)
	for _, c := range counted(s.Counts) {
		fmt.Fprintf(&b, ", %d %s", c.n, c.what)
	}
	if n := len(s.Running); n > 0 {
		b.WriteString("; under way: ")
		for i, r := range s.Running {
			if i == 4 {
				fmt.Fprintf(&b, " and %d more", n-i)
				break
			}
			if i > 0 {
				b.WriteString(", ")
			}
			b.WriteString(r.Name)
			if r.Waiting {
				b.WriteString(" (waits for approval)")
			}
		}
	}
	return b.String()
}

type statusCount struct {
	n    int
	what string
}

// counted lists the counts that are not zero.
func counted(c step.RunCounts) []statusCount {
	var out []statusCount
	for _, w := range []statusCount{
		{c.Published, step.RunPublished}, {c.Passed, step.RunPassed}, {c.NotApproved, step.RunNotApproved}, {c.Failed, step.RunFailed}, {c.Cancelled, step.RunCancelled},
	} {
		if w.n > 0 {
			out = append(out, w)
		}
	}
	return out
}

// columnsOf is the terminal's width.
func columnsOf(s *screen) int {
	if f, ok := s.w.(*os.File); ok {
		if wide, _, err := term.GetSize(int(f.Fd())); err == nil && wide > 0 {
			return wide
		}
	}
	return 120
}

// concludeCampaign tells how the campaign ended.
func (p *program) concludeCampaign(ctx context.Context, s *session, run step.Run, result workflows.CampaignResult, err error) error {
	out := campaignReport{
		WorkflowID: run.WorkflowID, RunID: run.RunID, Items: result.Items, Counts: result.Counts,
		Report: result.Report.Key, Summary: result.Summary.Key, UI: s.runURL(run),
	}
	var summary report.Campaign
	if err == nil {
		if summary, err = readSummary(ctx, s.store, run); err == nil {
			out.Name, out.Kind = summary.Name, summary.Kind
			if s.stack != nil {
				out.Report, out.Summary, err = p.fetchCampaign(ctx, s.store, run, result, summary)
			}
		}
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
	if p.json {
		err = p.emit(out)
	} else {
		p.printCampaign(out)
	}
	if err != nil {
		return err
	}
	return campaignStatusError(out.Counts, summary.Unpublished)
}

// campaignStatusError is the exit status of a campaign. A sweep that publishes
// nothing is complete where every run ended with a verdict.
func campaignStatusError(n step.RunCounts, unpublished bool) error {
	switch {
	case n.Failed+n.Cancelled > 0:
		return &statusError{exitFailed, nil}
	case n.NotApproved > 0 && !unpublished:
		return &statusError{exitNotApproved, nil}
	}
	return nil
}

func (p *program) printCampaign(r campaignReport) {
	p.print("campaign   %s", r.WorkflowID)
	for _, c := range counted(r.Counts) {
		p.print("runs       %d %s", c.n, c.what)
	}
	p.print("report     %s", r.Report)
	p.print("summary    %s", r.Summary)
	if r.UI != "" {
		p.print("history    %s (while the stack runs: `defectforge up`)", r.UI)
	}
	if r.Counts.Failed+r.Counts.Cancelled > 0 {
		p.print("again      `defectforge campaign retry %s` does what failed again", r.WorkflowID)
	}
}

func readSummary(ctx context.Context, store *storage.Store, run step.Run) (report.Campaign, error) {
	raw, _, err := store.ReadNamed(ctx, activities.SummaryKey(run), maxSummary)
	if err != nil {
		return report.Campaign{}, fmt.Errorf("read the campaign's summary: %w", err)
	}
	return report.DecodeCampaign(raw)
}

const (
	// maxFetched reports of single runs are put beside the campaign's page.
	maxFetched   = 200
	fetchAtOnce  = 8
	reportFolder = "reports"
)

// fetchCampaign puts the page where a browser on this machine can open it, and
// the runs' reports where its links lead.
func (p *program) fetchCampaign(ctx context.Context, store *storage.Store, run step.Run, result workflows.CampaignResult, summary report.Campaign) (page, twin string, err error) {
	root := filepath.Join(p.cfg.DataDir, reportFolder)
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(fetchAtOnce)
	fetch := func(ref step.Ref) {
		g.Go(func() error {
			file := filepath.Join(root, filepath.FromSlash(ref.Key))
			if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
				return fmt.Errorf("create report folder: %w", err)
			}
			return store.ReadToFile(gctx, storage.Object(ref), file)
		})
	}
	fetch(result.Report)
	fetch(result.Summary)
	fetched := 0
	for _, row := range summary.Rows {
		if !row.Report.IsZero() && fetched < maxFetched {
			fetched++
			fetch(row.Report)
		}
	}
	if err := g.Wait(); err != nil {
		return result.Report.Key, result.Summary.Key, fmt.Errorf("fetch reports: %w", err)
	}
	if left := len(summary.Rows) - fetched; fetched == maxFetched && left > 0 {
		p.say("the reports of %d runs are on this machine; those of the others lie in the bucket", fetched)
	}
	return filepath.Join(root, filepath.FromSlash(result.Report.Key)), filepath.Join(root, filepath.FromSlash(result.Summary.Key)), nil
}

// runLooker tells campaigns how runs stand.
type runLooker struct{ temp client.Client }

// Look implements activities.Runs.
func (l runLooker) Look(ctx context.Context, run step.Run) (step.RunState, error) {
	d, err := l.temp.DescribeWorkflowExecution(ctx, run.WorkflowID, "")
	if missing := (*serviceerror.NotFound)(nil); errors.As(err, &missing) {
		return step.RunState{Run: run, Ended: &step.RunOutcome{Status: step.RunCancelled, Reasons: []string{"the workflow server does not know the run any more"}}}, nil
	}
	if err != nil {
		return step.RunState{}, fmt.Errorf("describe run: %w", err)
	}
	line := readLine(d.GetWorkflowExecutionInfo())
	first := d.GetWorkflowExecutionInfo().GetFirstRunId()
	if run.RunID == "" {
		run.RunID = first
	}
	if first == run.RunID && line.Status == "running" {
		return step.RunState{Run: run, Waiting: line.Stage == step.AwaitApproval}, nil
	}
	var result workflows.AugmentResult
	err = l.temp.GetWorkflow(ctx, run.WorkflowID, run.RunID).Get(ctx, &result)
	if unclear := (serviceerror.ServiceError)(nil); errors.As(err, &unclear) {
		return step.RunState{}, fmt.Errorf("result of run: %w", err)
	}
	ended := workflows.OutcomeOf(result, err)
	return step.RunState{Run: run, Ended: &ended}, ctx.Err()
}

// inputOf is the input of a campaign that did the rest of one that has ended.
func inputOf(c report.Campaign) workflows.CampaignInput {
	return workflows.CampaignInput{
		Name: c.Name, Kind: c.Kind, Source: c.Source, Whole: c.Plan, Recipe: c.Recipe, Policy: c.Policy,
		Concurrency: c.Concurrency, Unpublished: c.Unpublished,
	}
}
