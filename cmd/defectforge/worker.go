package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/defectforge/defectforge/config"
)

func (p *program) workerCommand() *cobra.Command {
	var role string
	c := &cobra.Command{
		Use:   "worker",
		Short: "Serve the task queues of a cluster",
		Long: `Serve the task queues of a cluster: with --role io the workflows and the
stages that move data, with --role training the stages that compute, one at a
time. Temporal is found by TEMPORAL_ADDRESS and its kin, the store by
DEFECTFORGE_STORE_ENDPOINT. SIGTERM hands running stages over and ends it.

Training workers of one user on one machine share its processors.
--metrics-listen :9464 serves /metrics to Prometheus, and /healthz and /readyz to
probes. Traces go where OTEL_EXPORTER_OTLP_ENDPOINT says. With --worker-deployment
the worker is a version of a Temporal Worker Deployment: it serves runs once that
version is the current one.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := p.load(c); err != nil {
				return err
			}
			if p.cfg.Origins["log.level"] == "default" {
				// Nobody watches a progress line here: the log is all there is.
				p.cfg.Log.Level = "info"
				p.setLogger()
			}
			if role == "" {
				role = p.cfg.Worker.Role
			}
			return p.worker(c.Context(), role)
		},
	}
	c.Flags().StringVar(&role, "role", "", "io, training or all (default: worker.role of the configuration)")
	return c
}

func (p *program) worker(ctx context.Context, role string) error {
	if !slices.Contains([]string{config.RoleAll, config.RoleIO, config.RoleTraining}, role) {
		return usageError("--role: %q: choose one of io, training, all", role)
	}
	place, err := p.cfg.Place()
	if err != nil {
		return err
	}
	if place.Embedded {
		return usageError("TEMPORAL_ADDRESS and store.endpoint: not set; a worker serves a cluster, so set both, or use `defectforge up` on one machine")
	}
	s, err := p.open(ctx)
	if err != nil {
		return err
	}
	defer s.close(p)
	missing, err := ensureSearchAttributes(ctx, s.temp, place.Namespace)
	if err != nil {
		return fmt.Errorf("search attributes %s are missing in namespace %s and this client may not add them (%w); have an administrator run:\n%s",
			strings.Join(missing, ", "), place.Namespace, err, createCommand(place.Namespace, missing))
	}
	crew, err := p.startWorkers(ctx, s, role)
	if err != nil {
		return err
	}
	defer crew.stop()
	p.say("worker for %s: role %s, namespace %s, queues %s and %s", place.Client.HostPort, role, place.Namespace, p.cfg.Temporal.TaskQueue, p.cfg.Temporal.TrainingTaskQueue)
	select {
	case <-ctx.Done():
		p.say("stopping; a running stage stores what it has and is handed over")
		return nil
	case err := <-anyFailed(ctx, crew.failed):
		return fmt.Errorf("%w; the supervisor should start it again", err)
	}
}
