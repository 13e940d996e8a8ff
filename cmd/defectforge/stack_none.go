//go:build nodevstack

package main

import (
	"context"
	"errors"
	"log/slog"

	"github.com/defectforge/defectforge/config"
)

const haveEmbedded = false

var errStackLocked = errors.New("data folder is in use")

func storeChild([]string) (int, bool) { return 0, false }

func startStack(context.Context, config.Config, string, *slog.Logger) (*embedded, error) {
	return nil, usageError("TEMPORAL_ADDRESS and store.endpoint: not set, and this binary was built without the embedded stack (nodevstack); set both")
}

func attachStack(context.Context, config.Config) (*embedded, error) { return nil, nil }
