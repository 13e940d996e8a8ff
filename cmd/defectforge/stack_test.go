//go:build !nodevstack && !windows

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"

	"github.com/defectforge/defectforge/activities"
	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/cmd/defectforge/internal/client"
	"github.com/defectforge/defectforge/cmd/defectforge/internal/process"
	"github.com/defectforge/defectforge/config"
	"github.com/defectforge/defectforge/model/spec"
	"github.com/defectforge/defectforge/workflows"
)

// The tests of commands that need a stack share one, which this process runs:
// the actual Temporal, store and workflows, with stand-ins for the stages that
// look at images. What a class is called says what becomes of its runs.
const (
	classFew   = "few"   // has too few images
	classPoor  = "poor"  // does not pass
	classStuck = "stuck" // trains until it is cancelled
)

// standIns answer for stages at once, with made-up results.
type standIns struct{ session *process.Session }

func made(name string) step.Ref { return step.Ref{Key: name, SHA256: strings.Repeat("0", 64), Size: 1} }

// runOf reports whether a stage belongs to a run of the class.
func runOf(ctx context.Context, class string) bool {
	return strings.HasPrefix(activity.GetInfo(ctx).WorkflowExecution.ID, "augment-"+class+"-")
}

// standIn registers out as the answer of a stage.
func standIn[In, Out any](r step.Registry, name step.Step[In, Out], out Out) {
	name.Register(r, func(context.Context, In) (Out, error) { return out, nil })
}

func (s standIns) register(r step.Registry) {
	step.Ingest.Register(r, func(_ context.Context, in step.IngestInput) (step.IngestResult, error) {
		if in.Class == classFew {
			return step.IngestResult{}, temporal.NewNonRetryableApplicationError("too few images: 2 usable; add more", step.ErrTooFewImages, nil)
		}
		return step.IngestResult{Dataset: made("dataset"), Found: 33, Usable: 30, Quarantined: 3, Training: 24, Holdout: 6}, nil
	})
	standIn(r, step.CheckChange, step.ChangeResult{Verdict: step.Waiting, Reason: "waiting: 3 of 5 new images", NewImages: 3, MinNew: 5})
	standIn(r, step.Preprocess, step.PreprocessResult{Tensors: made("tensors"), Training: 24, Holdout: 6})
	step.Train.Register(r, func(ctx context.Context, in step.TrainInput) (step.TrainResult, error) {
		if runOf(ctx, classStuck) {
			for ctx.Err() == nil {
				activity.RecordHeartbeat(ctx, step.TrainProgress{Epoch: 1, Epochs: in.Recipe.Train.Epochs, Step: 1, Steps: 9, SecondsLeft: 75})
				time.Sleep(50 * time.Millisecond)
			}
			return step.TrainResult{}, ctx.Err()
		}
		return step.TrainResult{Checkpoint: made("checkpoint"), Curves: made("curves"), Epoch: in.ToEpoch, Step: int64(in.ToEpoch)}, nil
	})
	standIn(r, step.Sample, step.SampleResult{Candidates: made("candidates"), Count: 12})
	standIn(r, step.CheckOverfit, step.OverfitResult{Neighbours: made("neighbours"), Accepted: 12})
	step.Assess.Register(r, func(ctx context.Context, _ step.AssessInput) (step.AssessResult, error) {
		out := step.AssessResult{Verdict: spec.Pass}
		if runOf(ctx, classPoor) {
			out.Verdict = spec.Fail
			out.Rules = []spec.Judged{{Name: "tail_share", Outcome: spec.Fail, Reason: "too near"}}
		}
		return out, nil
	})
	step.Report.Register(r, func(ctx context.Context, in step.ReportInput) (step.ReportResult, error) {
		page, err := s.session.Store.PutArtifact(ctx, []byte("<p>"+in.Outcome.Class), ".html")
		return step.ReportResult{HTML: step.Ref(page)}, err
	})
	step.Publish.Register(r, func(_ context.Context, in step.PublishInput) (step.PublishResult, error) {
		return step.PublishResult{
			Release: "r1", Prefix: "releases/" + in.Class + "/r1", ManifestSHA256: strings.Repeat("1", 64), Images: 12, Sequence: 1,
		}, nil
	})
}

// replacing lets a stage be registered again.
type replacing struct{ worker.Worker }

func (r replacing) RegisterActivityWithOptions(a any, o activity.RegisterOptions) {
	o.DisableAlreadyRegisteredCheck = true
	r.Worker.RegisterActivityWithOptions(a, o)
}

// sharedStack starts the stack, the first time.
var sharedStack = sync.OnceValues(startStack)

func startStack() (string, error) {
	data, err := os.MkdirTemp("", "defectforge-stack-*")
	if err != nil {
		return "", err
	}
	cfg, err := config.Load(nil)
	if err != nil {
		return "", err
	}
	cfg.DataDir, cfg.Log.Level = data, "error"
	a := newApp(os.Stdout, os.Stderr)
	a.use(cfg)
	s, err := a.process.OpenOwn(context.Background())
	if err != nil {
		return "", errors.Join(err, os.RemoveAll(data))
	}
	var started []worker.Worker
	for _, queue := range []string{cfg.Temporal.TaskQueue, cfg.Temporal.TrainingTaskQueue} {
		w := worker.New(s.Temporal, queue, worker.Options{MaxHeartbeatThrottleInterval: 100 * time.Millisecond})
		workflows.Register(w)
		activities.Register(w, activities.Activities{Store: s.Store, Sources: s.Source, Runs: client.Looker{Temporal: s.Temporal}}, step.All)
		standIns{s}.register(replacing{w})
		if err := w.Start(); err != nil {
			return "", fmt.Errorf("start worker: %w", err)
		}
		started = append(started, w)
	}
	stopStack = func() { // TestMain calls it
		for _, w := range started {
			w.Stop()
		}
		s.Close()
		a.close()
		_ = os.RemoveAll(data)
	}
	return data, nil
}

// desk is an app on the shared stack, as a command of another process would have
// one, with what it printed.
type desk struct {
	*app
	t              *testing.T
	stdout, stderr *bytes.Buffer
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	isolate(t)
	data, err := sharedStack()
	require.NoError(t, err)
	d := &desk{t: t, stdout: &bytes.Buffer{}, stderr: &bytes.Buffer{}}
	d.app = newApp(d.stdout, d.stderr)
	t.Setenv("DEFECTFORGE_DATA_DIR", data)
	require.NoError(t, loadDefaults(d.app))
	t.Cleanup(d.close)
	return d
}

// cli runs a command line on the shared stack.
func (d *desk) cli(args ...string) outcome { return cli(d.t, args...) }

// printed is what the desk has printed since the last time.
func (d *desk) printed() outcome {
	defer d.stdout.Reset()
	defer d.stderr.Reset()
	return outcome{stdout: d.stdout.String(), stderr: d.stderr.String()}
}

// photos is a folder with a file that no other has.
func (d *desk) photos() string {
	dir := d.t.TempDir()
	writeFile(d.t, filepath.Join(dir, "one.png"), dir)
	return dir
}

// options are those of a run of a class, on images of its own.
func (d *desk) options(class string) runOptions {
	return runOptions{images: d.photos(), class: class, recipe: "quick", set: []string{"train.epochs=2"}}
}
