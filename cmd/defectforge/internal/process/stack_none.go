//go:build nodevstack

package process

import (
	"context"
	"errors"
	"log/slog"

	"github.com/defectforge/defectforge/cmd/defectforge/internal/console"
	"github.com/defectforge/defectforge/config"
)

const haveEmbedded = false

var errStackLocked = errors.New("data folder is in use")

// StoreChild is the embedded store's process, which this binary does not hold.
func StoreChild([]string) (int, bool) { return 0, false }

func startStack(context.Context, config.Config, string, *slog.Logger) (*Stack, error) {
	return nil, console.Usage("TEMPORAL_ADDRESS and store.endpoint: not set, and this binary was built without the embedded " +
		"stack (nodevstack); set both")
}

func attachStack(context.Context, config.Config) (*Stack, error) { return nil, nil }
