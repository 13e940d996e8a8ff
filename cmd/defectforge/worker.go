package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/defectforge/defectforge/cmd/defectforge/internal/console"
	"github.com/defectforge/defectforge/cmd/defectforge/internal/process"
	"github.com/defectforge/defectforge/config"
)

func workerCommand(a *app) *cobra.Command {
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
		Example: `  TEMPORAL_ADDRESS=temporal.example:7233 DEFECTFORGE_STORE_ENDPOINT=s3.example:443 defectforge worker --role io
  defectforge worker --role training --worker-threads 8`,
		Args: cobra.NoArgs,
		RunE: a.loading(func(c *cobra.Command, _ []string) error {
			if a.cfg.Origins["log.level"] == "default" {
				// Nobody watches a progress line here: the log is all there is.
				cfg := a.cfg
				cfg.Log.Level = "info"
				a.use(cfg)
			}
			if role == "" {
				role = a.cfg.Worker.Role
			}
			return serveCluster(c.Context(), a, role)
		}),
	}
	c.Flags().StringVar(&role, "role", "", "io, training or all (default: worker.role of the configuration)")
	return c
}

// serveCluster serves the task queues of a role until ctx ends or a worker fails.
func serveCluster(ctx context.Context, a *app, role string) error {
	if !slices.Contains([]string{config.RoleAll, config.RoleIO, config.RoleTraining}, role) {
		return console.Usage("--role: %q: choose one of io, training, all", role)
	}
	place, err := a.cfg.Place()
	if err != nil {
		return err
	}
	if place.Embedded {
		return console.Usage("TEMPORAL_ADDRESS and store.endpoint: not set; a worker serves a cluster, so set both, " +
			"or use `defectforge up` on one machine")
	}
	s, err := a.process.Open(ctx)
	if err != nil {
		return err
	}
	defer s.Close()
	missing, err := process.EnsureSearchAttributes(ctx, s.Temporal, place.Namespace)
	if err != nil {
		return fmt.Errorf("search attributes %s are missing in namespace %s and this client may not add them (%w); "+
			"have an administrator run:\n%s",
			strings.Join(missing, ", "), place.Namespace, err, process.CreateCommand(place.Namespace, missing))
	}
	workers, err := a.process.StartWorkers(ctx, s, role)
	if err != nil {
		return err
	}
	defer workers.Stop()
	a.console.Say("worker for %s: role %s, namespace %s, queues %s and %s", place.Client.HostPort, role, place.Namespace,
		a.cfg.Temporal.TaskQueue, a.cfg.Temporal.TrainingTaskQueue)
	select {
	case <-ctx.Done():
		a.console.Say("stopping; a running stage stores what it has and is handed over")
		return nil
	case err := <-workers.Failed(ctx, s):
		return fmt.Errorf("%w; the supervisor should start it again", err)
	}
}
