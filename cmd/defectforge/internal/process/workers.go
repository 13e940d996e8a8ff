package process

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/worker"

	"github.com/defectforge/defectforge/activities"
	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/cmd/defectforge/internal/client"
	"github.com/defectforge/defectforge/cmd/defectforge/internal/console"
	"github.com/defectforge/defectforge/config"
	"github.com/defectforge/defectforge/model/kernel"
	"github.com/defectforge/defectforge/workflows"
)

// Workers are the workers of this process.
type Workers struct {
	workers  []worker.Worker
	failed   chan error
	endpoint *endpoint
}

// Metrics is the address of what they serve to Prometheus, "" for nothing.
func (w *Workers) Metrics() string { return w.endpoint.url() }

// Threads is how many the numeric kernels use. More than this process has
// processors, by the machine or by its container's limit, only slow each other
// and Temporal down; results do not depend on it.
func (p *Process) Threads() int {
	return min(cmp.Or(p.cfg.Worker.Threads, runtime.GOMAXPROCS(0)), runtime.GOMAXPROCS(0))
}

// StartWorkers serves the task queues of a role: one worker for each, so that
// moving data never waits for training.
func (p *Process) StartWorkers(ctx context.Context, s *Session, role string) (_ *Workers, err error) {
	if t := p.Threads(); t < p.cfg.Worker.Threads {
		p.log.Warn("worker.threads is more than there are processors", "worker.threads", p.cfg.Worker.Threads, "used", t)
	}
	kernel.SetThreads(p.Threads())
	all := &Workers{failed: make(chan error, 2)}
	if all.endpoint, err = p.serveMetrics(ctx, s); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			all.endpoint.close()
		}
	}()
	if err := p.makeWorkers(ctx, s, role, all); err != nil {
		return nil, err
	}
	for i, w := range all.workers {
		if err := w.Start(); err != nil {
			for _, started := range all.workers[:i] {
				started.Stop()
			}
			return nil, fmt.Errorf("start worker: %w; check that the namespace %q exists", err, s.Place.Namespace)
		}
	}
	return all, nil
}

// makeWorkers makes the workers of a role.
func (p *Process) makeWorkers(ctx context.Context, s *Session, role string, all *Workers) error {
	t, err := p.observed(ctx)
	if err != nil {
		return err
	}
	version, err := p.deployment()
	if err != nil {
		return err
	}
	stages, err := p.stages(s, role)
	if err != nil {
		return err
	}
	o := p.workerOptions(all)
	o.DeploymentOptions = version
	o.Interceptors = []interceptor.WorkerInterceptor{t.observer(p)}
	if role != config.RoleTraining {
		o := o
		o.MaxConcurrentActivityExecutionSize = p.cfg.Worker.MaxConcurrentIO
		o.WorkerActivitiesPerSecond = float64(p.cfg.Worker.MaxIOPerSecond) // 0 is no limit
		w := worker.New(s.Temporal, p.cfg.Temporal.TaskQueue, o)
		workflows.Register(w)
		activities.Register(w, stages, step.IO)
		all.workers = append(all.workers, w)
	}
	if role != config.RoleIO {
		o := o
		o.MaxConcurrentActivityExecutionSize = p.cfg.Worker.MaxConcurrentTraining
		o.DisableWorkflowWorker = true
		o.Interceptors = append(o.Interceptors[:1:1], newCores(p.Threads(), p.log).interceptor())
		w := worker.New(s.Temporal, p.cfg.Temporal.TrainingTaskQueue, o)
		activities.Register(w, stages, step.Training)
		all.workers = append(all.workers, w)
	}
	return nil
}

// stages are the activities with what they need.
func (p *Process) stages(s *Session, role string) (activities.Activities, error) {
	signer, err := p.signer(role)
	if err != nil {
		return activities.Activities{}, err
	}
	releases, err := p.Publisher(role)
	if err != nil {
		return activities.Activities{}, err
	}
	if releases != nil {
		releases = s.observe(releases)
	}
	return activities.Activities{
		Store: s.Store, Releases: releases, Sources: s.Source, Signer: signer, License: p.cfg.Release.License,
		Runs: client.Looker{Temporal: s.Temporal},
		Lineage: activities.Lineage{
			Endpoint: p.cfg.Lineage.Endpoint, APIKey: p.cfg.Lineage.APIKey.Reveal(),
			Namespace: p.cfg.Lineage.Namespace, Bucket: p.cfg.Store.Bucket,
		},
		Webhook: activities.Webhook{URL: p.cfg.Notify.Webhook.Reveal(), Secret: p.cfg.Notify.Secret.Reveal()},
	}, nil
}

func (p *Process) workerOptions(all *Workers) worker.Options {
	host, _ := os.Hostname()
	return worker.Options{
		Identity: fmt.Sprintf("defectforge@%s:%d", host, os.Getpid()),
		// Heartbeats are what a killed leg resumes by, so they must not be held back
		// for long. The SDK waits equally long for their answer, and ends the stage
		// where none comes: a server that is late for a second must not cost an
		// attempt.
		MaxHeartbeatThrottleInterval: 3 * time.Second,
		// A leg gets time to store its checkpoint when asked to stop.
		WorkerStopTimeout: time.Duration(p.cfg.Worker.StopSeconds) * time.Second,
		OnFatalError: func(err error) {
			select {
			case all.failed <- fmt.Errorf("worker: %w", err):
			default: // one failure is enough
			}
		},
	}
}

// Failed passes on the first failure of a worker, and of the session's stack
// where this process runs it, until ctx ends.
func (w *Workers) Failed(ctx context.Context, s *Session) <-chan error {
	if s.Owns() {
		return anyFailed(ctx, w.failed, s.Stack.failed)
	}
	return anyFailed(ctx, w.failed)
}

// Stop ends all workers together; each lets its stages hand over. Metrics are
// served until the end.
func (w *Workers) Stop() {
	w.endpoint.drain()
	defer w.endpoint.close()
	done := make(chan struct{})
	for _, one := range w.workers {
		go func() { one.Stop(); done <- struct{}{} }()
	}
	for range w.workers {
		<-done
	}
}

// anyFailed passes on the first failure of any of the channels until ctx ends.
// Nil channels are silent.
func anyFailed(ctx context.Context, channels ...<-chan error) <-chan error {
	out := make(chan error, len(channels))
	for _, c := range channels {
		if c == nil {
			continue
		}
		go func() {
			select {
			case err, ok := <-c:
				if ok {
					out <- err
				}
			case <-ctx.Done():
			}
		}()
	}
	return out
}

// Serve runs workers in this process where it also runs the stack: then nobody
// else does. In a cluster, or beside another process's stack, theirs do the
// work, and failed is nil.
func (p *Process) Serve(ctx context.Context, s *Session) (failed <-chan error, stop func(), err error) {
	if !s.Owns() {
		p.HintAtWorkers(ctx, s)
		return nil, func() {}, nil
	}
	w, err := p.StartWorkers(ctx, s, config.RoleAll)
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	stop = func() {
		if errors.Is(context.Cause(ctx), console.ErrInterrupted) {
			p.console.Say("stopping; a running stage stores what it has")
		}
		cancel()
		w.Stop()
	}
	return w.Failed(ctx, s), stop, nil
}

// HintAtWorkers warns a person who would wait in vain: nothing happens without
// workers.
func (p *Process) HintAtWorkers(ctx context.Context, s *Session) {
	t := p.cfg.Temporal
	for _, q := range []struct {
		name, role string
		kind       enumspb.TaskQueueType
	}{
		{t.TaskQueue, config.RoleIO, enumspb.TASK_QUEUE_TYPE_WORKFLOW},
		{t.TrainingTaskQueue, config.RoleTraining, enumspb.TASK_QUEUE_TYPE_ACTIVITY},
	} {
		d, err := s.Temporal.DescribeTaskQueue(ctx, q.name, q.kind)
		if err == nil && len(d.GetPollers()) == 0 {
			p.console.Say("no worker serves the task queue %s at the moment; start `defectforge worker --role %s`",
				q.name, q.role)
		}
	}
}
