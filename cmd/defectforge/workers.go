package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"runtime"
	"time"

	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/worker"

	"github.com/defectforge/defectforge/activities"
	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/config"
	"github.com/defectforge/defectforge/model/kernel"
	"github.com/defectforge/defectforge/storage/release"
	"github.com/defectforge/defectforge/storage/release/sign"
	"github.com/defectforge/defectforge/workflows"
)

// crew is the workers of this process.
type crew struct {
	workers  []worker.Worker
	failed   chan error
	endpoint *endpoint
}

// threads is how many the numeric kernels use. More than this process has
// processors, by the machine or by its container's limit, only slow each other
// and Temporal down; results do not depend on it.
func (p *program) threads() int {
	return min(cmp.Or(p.cfg.Worker.Threads, runtime.GOMAXPROCS(0)), runtime.GOMAXPROCS(0))
}

// startWorkers serves the task queues of a role: one worker for each, so that
// moving data never waits for training.
func (p *program) startWorkers(ctx context.Context, s *session, role string) (_ *crew, err error) {
	if t := p.threads(); t < p.cfg.Worker.Threads {
		p.log.Warn("worker.threads is more than there are processors", "worker.threads", p.cfg.Worker.Threads, "used", t)
	}
	kernel.SetThreads(p.threads())
	c := &crew{failed: make(chan error, 2)}
	if c.endpoint, err = p.serveMetrics(ctx, s); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			c.endpoint.close()
		}
	}()
	if err := p.hire(ctx, s, role, c); err != nil {
		return nil, err
	}
	for i, w := range c.workers {
		if err := w.Start(); err != nil {
			for _, started := range c.workers[:i] {
				started.Stop()
			}
			return nil, fmt.Errorf("start worker: %w; check that the namespace %q exists", err, s.place.Namespace)
		}
	}
	return c, nil
}

// hire makes the crew's workers.
func (p *program) hire(ctx context.Context, s *session, role string, c *crew) error {
	told, err := p.tell(ctx)
	if err != nil {
		return err
	}
	version, err := p.deployment()
	if err != nil {
		return err
	}
	signer, err := p.signer(role)
	if err != nil {
		return err
	}
	releases, err := p.publisher(role)
	if err != nil {
		return err
	}
	if releases != nil {
		releases = s.observe(releases)
	}
	stages := activities.Activities{
		Store: s.store, Releases: releases, Sources: s.source, Signer: signer, License: p.cfg.Release.License,
		Runs: runLooker{s.temp},
		Lineage: activities.Lineage{
			Endpoint: p.cfg.Lineage.Endpoint, APIKey: p.cfg.Lineage.APIKey.Reveal(), Namespace: p.cfg.Lineage.Namespace, Bucket: p.cfg.Store.Bucket,
		},
		Webhook: activities.Webhook{URL: p.cfg.Notify.Webhook.Reveal(), Secret: p.cfg.Notify.Secret.Reveal()},
	}
	o := p.workerOptions(c)
	o.DeploymentOptions = version
	o.Interceptors = []interceptor.WorkerInterceptor{told.observer(p)}
	if role != config.RoleTraining {
		o := o
		o.MaxConcurrentActivityExecutionSize = p.cfg.Worker.MaxConcurrentIO
		o.WorkerActivitiesPerSecond = float64(p.cfg.Worker.MaxIOPerSecond) // 0 is no limit
		w := worker.New(s.temp, p.cfg.Temporal.TaskQueue, o)
		workflows.Register(w)
		activities.Register(w, stages, step.IO)
		c.workers = append(c.workers, w)
	}
	if role != config.RoleIO {
		o := o
		o.MaxConcurrentActivityExecutionSize = p.cfg.Worker.MaxConcurrentTraining
		o.DisableWorkflowWorker = true
		o.Interceptors = append(o.Interceptors[:1:1], newCores(p.threads(), p.log).interceptor())
		w := worker.New(s.temp, p.cfg.Temporal.TrainingTaskQueue, o)
		activities.Register(w, stages, step.Training)
		c.workers = append(c.workers, w)
	}
	return nil
}

// signer is what signs releases, nil where nothing does: no key is set, or the
// role does not publish.
func (p *program) signer(role string) (release.Signer, error) {
	if p.cfg.Release.SigningKey == "" || role == config.RoleTraining {
		return nil, nil
	}
	key, err := sign.LoadKey(p.cfg.Release.SigningKey, p.cfg.Release.SigningPassword.Reveal())
	if err != nil {
		return nil, usageError("release.signing_key: %w (release.signing_password, or DEFECTFORGE_RELEASE_SIGNING_PASSWORD, opens an encrypted one)", err)
	}
	p.log.Info("releases are signed", "public_key", key.Public().String())
	return key, nil
}

func (p *program) workerOptions(c *crew) worker.Options {
	host, _ := os.Hostname()
	return worker.Options{
		Identity: fmt.Sprintf("defectforge@%s:%d", host, os.Getpid()),
		// Heartbeats are what a killed leg resumes by, so they must not be held back
		// for long. The SDK waits for their answer as long, and ends the stage where
		// none comes: a server that is late for a second must not cost an attempt.
		MaxHeartbeatThrottleInterval: 3 * time.Second,
		// A leg gets time to store its checkpoint when asked to stop.
		WorkerStopTimeout: time.Duration(p.cfg.Worker.StopSeconds) * time.Second,
		OnFatalError: func(err error) {
			select {
			case c.failed <- fmt.Errorf("worker: %w", err):
			default: // told already
			}
		},
	}
}

// stop ends all workers together; each lets its stages hand over. Metrics are
// served until the end.
func (c *crew) stop() {
	c.endpoint.drain()
	defer c.endpoint.close()
	done := make(chan struct{})
	for _, w := range c.workers {
		go func() { w.Stop(); done <- struct{}{} }()
	}
	for range c.workers {
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
