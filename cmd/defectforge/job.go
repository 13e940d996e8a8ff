package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/cmd/defectforge/internal/client"
	"github.com/defectforge/defectforge/cmd/defectforge/internal/console"
	"github.com/defectforge/defectforge/cmd/defectforge/internal/process"
	"github.com/defectforge/defectforge/storage/folder"
)

// job is a workflow that a command starts, or attaches to, and follows to its
// end: a run or a campaign. S is its progress, R its result.
type job[S, R any] struct {
	kind client.Kind[S, R]
	noun string // "run" or "campaign"
	// group is the command that holds those on such workflows.
	group   string
	uploads []folderSource
	prepare func(context.Context, *process.Session) (client.Job, error)
	// detached is the one object of a job that was only started.
	detached func(*process.Session, client.Execution) any
	view     func(*console.Console) client.View[S]
	conclude func(context.Context, *process.Session, step.Run, R, error) error
}

// do starts the job and follows it, even if the process that runs the stack
// ends meanwhile. With detach it only starts it.
func (j job[S, R]) do(ctx context.Context, a *app, detach bool) error {
	return client.TakeOver(
		func() error { return j.once(ctx, a, detach) },
		func() { a.log().Info("the process that ran the embedded stack has ended; taking over") })
}

// once does the job within one connection.
func (j job[S, R]) once(ctx context.Context, a *app, detach bool) error {
	began := time.Now()
	s, err := a.process.Open(ctx)
	if err != nil {
		return err
	}
	defer s.Close()
	a.log().Info("connected", "after", time.Since(began).Round(time.Millisecond), "embedded", s.Stack != nil)
	for _, f := range j.uploads {
		if err := uploadSource(ctx, a, s, f); err != nil {
			return err
		}
	}
	work, err := j.prepare(ctx, s)
	if err != nil {
		return err
	}
	e, err := s.Client().Start(ctx, work)
	if err != nil {
		return fmt.Errorf("start %s: %w; `defectforge doctor` checks namespace and search attributes", j.noun, err)
	}
	if detach {
		return j.detach(a, s, e)
	}
	a.console.Say("%s %s%s", j.noun, e.WorkflowID, linkNote(s, e.Run))
	failed, stop, err := a.process.Serve(ctx, s)
	if err != nil {
		return err
	}
	defer stop()
	result, err := j.kind.Follow(ctx, s.Client(), e, j.view(a.console), failed)
	if failed == nil && interrupted(ctx) {
		a.console.Say("the %s itself continues; `defectforge %s watch %s` follows it, `%s cancel` ends it",
			j.noun, j.group, e.WorkflowID, j.group)
	}
	if errors.Is(err, client.ErrServerGone) && s.Stack != nil && !s.Owns() {
		return client.ErrTakeOver
	}
	return j.conclude(ctx, s, e.Run, result, err)
}

// detach says how to follow a job that was only started.
func (j job[S, R]) detach(a *app, s *process.Session, e client.Execution) error {
	sayIdle(a, s)
	a.console.Say("started; `defectforge %s watch %s` follows it", j.group, e.WorkflowID)
	if a.console.JSON() {
		return a.console.Emit(j.detached(s, e))
	}
	a.console.Print("%s", e.WorkflowID)
	return nil
}

// watch follows an execution that was found.
func (j job[S, R]) watch(ctx context.Context, a *app, s *process.Session, e client.Execution) error {
	if e.Status == client.Running && s.Owns() {
		return fmt.Errorf("the %s is not finished, and nothing works on it; start `defectforge up`, or the "+
			"`defectforge %s` that began it, with the same --data-dir", j.noun, j.noun)
	}
	result, err := j.kind.Follow(ctx, s.Client(), e, j.view(a.console), nil)
	return j.conclude(ctx, s, e.Run, result, err)
}

// sayIdle warns that what was started waits for a stack that runs on.
func sayIdle(a *app, s *process.Session) {
	if s.Owns() {
		a.console.Say("nothing runs this yet: start `defectforge up` for this data folder")
	}
}

// linkNote says where the embedded web UI shows a workflow.
func linkNote(s *process.Session, run step.Run) string {
	if u := s.RunURL(run); u != "" {
		return ", history at " + u
	}
	return ""
}

// failedWords words how a job failed, or that the user stopped following it.
func failedWords(ctx context.Context, err error) error {
	if interrupted(ctx) {
		return console.Stopped
	}
	return client.Explain(err)
}

// emitFailed prints the one object of a job that failed, and returns why it did.
func emitFailed(a *app, out any, err error) error {
	if a.console.JSON() {
		if e := a.console.Emit(out); e != nil {
			return e
		}
	}
	return err
}

// notFound words that a workflow is not there.
func notFound(err error, id string) error {
	if client.NotFound(err) {
		return fmt.Errorf("run %s: not found, or its history's retention is over; "+
			"`defectforge runs list` shows what is there", id)
	}
	return err
}

// reportFolder is where reports are put on this machine, below the data folder.
const reportFolder = "reports"

func reportFile(a *app, below ...string) string {
	return filepath.Join(append([]string{a.cfg.DataDir, reportFolder}, below...)...)
}

// uploadEvery is how often an upload says how far it is.
const uploadEvery = 15 * time.Second

func uploadSource(ctx context.Context, a *app, s *process.Session, source folderSource) error {
	began, last := time.Now(), time.Now()
	sent, err := folder.Upload(ctx, s.Bucket, source.prefix, source.files, func(done int) {
		if now := time.Now(); now.Sub(last) > uploadEvery {
			last = now
			a.console.Say("%-16s %d of %d files", "upload", done, len(source.files))
		}
	})
	if err != nil {
		return err
	}
	if err := s.Bucket.Sync(ctx); err != nil {
		return fmt.Errorf("sync store: %w", err)
	}
	var bytes int64
	for _, f := range source.files {
		bytes += f.Size
	}
	a.console.Say("%-16s %d files, %s, %d of them new, %s", "upload", len(source.files),
		humanize.IBytes(uint64(bytes)), sent, console.TimeWords(time.Since(began).Seconds()))
	return nil
}
