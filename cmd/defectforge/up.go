package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/defectforge/defectforge/cmd/defectforge/internal/console"
	"github.com/defectforge/defectforge/config"
)

// upReport is the JSON object of `up`, printed when everything is ready.
type upReport struct {
	UI        string `json:"ui"`
	Temporal  string `json:"temporal"`
	Namespace string `json:"namespace"`
	Store     string `json:"store"`
	Bucket    string `json:"bucket"`
	DataDir   string `json:"data_dir"`
	Metrics   string `json:"metrics,omitempty"` // where metrics.listen is set
}

func upCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "up",
		Short: "Run Temporal, its web UI, the store and a worker in the foreground",
		Long: `Run Temporal, its web UI, the store and a worker in the foreground, with all
data in --data-dir. Other commands with the same --data-dir find and use it.
Ctrl-C ends it; runs under way continue with the next start.`,
		Example: `  defectforge up
  defectforge up --data-dir /srv/defectforge --json`,
		Args: cobra.NoArgs,
		RunE: a.loading(func(c *cobra.Command, _ []string) error { return up(c.Context(), a) }),
	}
}

// up serves until ctx ends or a part fails.
func up(ctx context.Context, a *app) error {
	place, err := a.cfg.Place()
	if err != nil {
		return err
	}
	if !place.Embedded {
		return console.Usage("TEMPORAL_ADDRESS: is set (%s), and `up` runs a stack of its own; unset it, or use `defectforge worker`",
			place.Client.HostPort)
	}
	s, err := a.process.OpenOwn(ctx)
	if err != nil {
		return err
	}
	defer s.Close()
	if !s.Owns() {
		return fmt.Errorf("the stack of %s runs already, its UI is at %s; stop that process, or choose another --data-dir",
			a.cfg.DataDir, s.Stack.UIURL)
	}
	workers, err := a.process.StartWorkers(ctx, s, config.RoleAll)
	if err != nil {
		return err
	}
	defer workers.Stop()
	r := upReport{
		UI: s.Stack.UIURL, Temporal: s.Stack.TemporalAddress, Namespace: s.Stack.Namespace,
		Store: s.Stack.StoreEndpoint, Bucket: a.cfg.Store.Bucket, DataDir: a.cfg.DataDir,
		Metrics: workers.Metrics(),
	}
	if err := printUp(a, r); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		a.console.Say("stopping; a running stage stores what it has")
		return nil
	case err := <-workers.Failed(ctx, s):
		return fmt.Errorf("%w; start it again", err)
	}
}

func printUp(a *app, r upReport) error {
	if a.console.JSON() {
		return a.console.Emit(r)
	}
	a.console.Print("web UI     %s", r.UI)
	a.console.Print("Temporal   %s, namespace %s", r.Temporal, r.Namespace)
	a.console.Print("store      http://%s, bucket %s (keys in %s)", r.Store, r.Bucket, r.DataDir)
	a.console.Print("Ctrl-C stops it.")
	return nil
}
