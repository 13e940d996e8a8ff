//go:build !nodevstack

package process

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/defectforge/defectforge/config"
	"github.com/defectforge/defectforge/deploy/devstack"
	"github.com/defectforge/defectforge/workflows"
)

// haveEmbedded says whether this binary holds the embedded stack.
const haveEmbedded = true

// errStackLocked: another process has the data folder.
var errStackLocked = devstack.ErrLocked

// StoreChild is the embedded store's process, a child of this very binary.
func StoreChild(args []string) (int, bool) {
	if len(args) == 0 || args[0] != devstack.StoreCommand {
		return 0, false
	}
	return devstack.StoreMain(args[1:]), true
}

func startStack(ctx context.Context, cfg config.Config, codec string, log *slog.Logger) (*Stack, error) {
	s, err := devstack.Start(ctx, devstack.Config{
		DataDir:      cfg.DataDir,
		TemporalPort: cfg.Devstack.TemporalPort, UIPort: cfg.Devstack.UIPort, StorePort: cfg.Devstack.StorePort,
		SearchAttributes: workflows.SearchAttributes(),
		CodecEndpoint:    codec,
		Logger:           log.With("component", "devstack"),
	})
	if err != nil {
		return nil, fmt.Errorf("start the embedded stack: %w", err)
	}
	e := describe(s)
	e.failed, e.stop = s.Failed(), s.Stop
	return e, nil
}

// attachStack finds the stack that another process runs for the data folder, or
// nil where there is none.
func attachStack(ctx context.Context, cfg config.Config) (*Stack, error) {
	s, ok, err := devstack.Attach(ctx, devstack.Config{DataDir: cfg.DataDir})
	if err != nil || !ok {
		return nil, err
	}
	return describe(s), nil
}

func describe(s *devstack.Stack) *Stack {
	return &Stack{
		TemporalAddress: s.TemporalAddress, Namespace: s.Namespace, UIURL: s.UIURL,
		StoreEndpoint: s.StoreEndpoint, accessKey: s.AccessKey, secretKey: s.SecretKey, sync: s.SyncURL,
	}
}
