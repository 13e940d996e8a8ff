package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

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

func (p *program) upCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "up",
		Short: "Run Temporal, its web UI, the store and a worker in the foreground",
		Long: `Run Temporal, its web UI, the store and a worker in the foreground, with all
data in --data-dir. Other commands with the same --data-dir find and use it.
Ctrl-C ends it; runs under way go on with the next start.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := p.load(c); err != nil {
				return err
			}
			return p.up(c.Context())
		},
	}
}

// passing is how long a stack may take to go that another command started for
// itself alone, such as `runs list`.
const passing = 5 * time.Second

// openOwn opens a session with a stack of this process, if that becomes
// possible soon.
func (p *program) openOwn(ctx context.Context) (*session, error) {
	for deadline := time.Now().Add(passing); ; {
		s, err := p.open(ctx)
		if err != nil || s.stack.mine() || time.Now().After(deadline) {
			return s, err
		}
		s.close(p)
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(500 * time.Millisecond):
		}
	}
}

func (p *program) up(ctx context.Context) error {
	place, err := p.cfg.Place()
	if err != nil {
		return err
	}
	if !place.Embedded {
		return usageError("TEMPORAL_ADDRESS: is set (%s), and `up` runs a stack of its own; unset it, or use `defectforge worker`", place.Client.HostPort)
	}
	s, err := p.openOwn(ctx)
	if err != nil {
		return err
	}
	defer s.close(p)
	if !s.stack.mine() {
		return fmt.Errorf("the stack of %s runs already, its UI is at %s; stop that process, or choose another --data-dir", p.cfg.DataDir, s.stack.UIURL)
	}
	crew, err := p.startWorkers(ctx, s, config.RoleAll)
	if err != nil {
		return err
	}
	defer crew.stop()
	r := upReport{
		UI: s.stack.UIURL, Temporal: s.stack.TemporalAddress, Namespace: s.stack.Namespace,
		Store: s.stack.StoreEndpoint, Bucket: p.cfg.Store.Bucket, DataDir: p.cfg.DataDir,
		Metrics: crew.endpoint.url(),
	}
	if p.json {
		if err := p.emit(r); err != nil {
			return err
		}
	}
	p.print("web UI     %s", r.UI)
	p.print("Temporal   %s, namespace %s", r.Temporal, r.Namespace)
	p.print("store      http://%s, bucket %s (keys in %s)", r.Store, r.Bucket, r.DataDir)
	p.print("Ctrl-C stops it.")
	select {
	case <-ctx.Done():
		p.say("stopping; a running stage stores what it has")
		return nil
	case err := <-anyFailed(ctx, crew.failed, s.stack.failed):
		return fmt.Errorf("%w; start it again", err)
	}
}
