package main

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"time"

	"go.temporal.io/sdk/worker"

	"github.com/defectforge/defectforge/activities"
	"github.com/defectforge/defectforge/config"
	"github.com/defectforge/defectforge/model/kernel"
	"github.com/defectforge/defectforge/storage/release"
	"github.com/defectforge/defectforge/storage/release/sign"
	"github.com/defectforge/defectforge/workflows"
)

// crew is the workers of this process.
type crew struct {
	workers []worker.Worker
	failed  chan error
}

// threads is how many the numeric kernels use.
func (p *program) threads() int {
	if t := p.cfg.Worker.Threads; t > 0 {
		return t
	}
	return runtime.NumCPU()
}

// startWorkers serves the task queues of a role: one worker for each, so that
// moving data never waits for training.
func (p *program) startWorkers(s *session, role string) (*crew, error) {
	kernel.SetThreads(p.threads())
	c := &crew{failed: make(chan error, 2)}
	signer, err := p.signer(role)
	if err != nil {
		return nil, err
	}
	stages := activities.Activities{
		Store: s.store, Sources: s.source, Signer: signer, License: p.cfg.Release.License,
		Webhook: activities.Webhook{URL: p.cfg.Notify.Webhook, Secret: p.cfg.Notify.Secret.Reveal()},
	}
	if role != config.RoleTraining {
		o := p.workerOptions(c)
		o.MaxConcurrentActivityExecutionSize = p.cfg.Worker.MaxConcurrentIO
		w := worker.New(s.temp, p.cfg.Temporal.TaskQueue, o)
		workflows.Register(w)
		activities.Register(w, stages, activities.IO)
		c.workers = append(c.workers, w)
	}
	if role != config.RoleIO {
		o := p.workerOptions(c)
		o.MaxConcurrentActivityExecutionSize = 1
		o.DisableWorkflowWorker = true
		w := worker.New(s.temp, p.cfg.Temporal.TrainingTaskQueue, o)
		activities.Register(w, stages, activities.Training)
		c.workers = append(c.workers, w)
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
		// Heartbeats are what a killed leg resumes by, so they must not be held
		// back; and a leg gets time to store its checkpoint when asked to stop.
		MaxHeartbeatThrottleInterval: time.Second,
		WorkerStopTimeout:            30 * time.Second,
		OnFatalError: func(err error) {
			select {
			case c.failed <- fmt.Errorf("worker: %w", err):
			default: // told already
			}
		},
	}
}

// stop ends all workers together; each lets its stages hand over.
func (c *crew) stop() {
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
