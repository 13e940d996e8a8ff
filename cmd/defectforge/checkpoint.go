package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"github.com/spf13/cobra"

	"github.com/defectforge/defectforge/activities/ledger"
	"github.com/defectforge/defectforge/cmd/defectforge/internal/client"
	"github.com/defectforge/defectforge/cmd/defectforge/internal/console"
	"github.com/defectforge/defectforge/cmd/defectforge/internal/process"
	"github.com/defectforge/defectforge/storage"
	"github.com/defectforge/defectforge/workflows"
)

const checkpointArg = "a checkpoint: a file, a key in the bucket, or a finished run's workflow identifier"

func checkpointCommand(a *app) *cobra.Command {
	g := group("checkpoint", "Inspect and export checkpoints", checkpointInspectCommand(a), checkpointExportCommand(a))
	g.Long = `A checkpoint is a safetensors file with both networks, their optimisers' state and
what made them.`
	g.Example = "  defectforge checkpoint inspect augment-scratches-0123456789ab"
	return g
}

// completeCheckpoints completes finished runs, or a file.
func completeCheckpoints(a *app) completeFunc { return orFile(completeRuns(a, whenCompleted, 1)) }

// withCheckpoint opens a file of this machine, a run's last checkpoint, or an
// object of the bucket, whose bytes are verified where its digest is known.
func withCheckpoint(ctx context.Context, a *app, name string, use func(io.Reader, int64) error) error {
	if info, err := os.Stat(name); err == nil && info.Mode().IsRegular() {
		f, err := os.Open(name)
		if err != nil {
			return fmt.Errorf("open file: %w", err)
		}
		defer f.Close()
		return use(f, info.Size())
	}
	if strings.HasSuffix(name, ".safetensors") && !strings.HasPrefix(name, storage.ArtifactPrefix) && !strings.HasPrefix(name, ledger.Runs) {
		return console.Usage("no such file; give %s", checkpointArg)
	}
	open := a.process.OpenStore
	if strings.HasPrefix(name, "augment-") {
		open = a.process.Open
	}
	s, err := open(ctx)
	if err != nil {
		return err
	}
	defer s.Close()
	object, err := checkpointObject(ctx, s, name)
	if err != nil {
		return err
	}
	r, err := s.Store.Open(ctx, object)
	if err != nil {
		return fmt.Errorf("open %s: %w", object.Key, err)
	}
	defer r.Close()
	return use(r, object.Size)
}

// checkpointObject finds what a name stands for in the bucket.
func checkpointObject(ctx context.Context, s *process.Session, name string) (storage.Object, error) {
	if strings.HasPrefix(name, "augment-") {
		var result workflows.AugmentResult
		if err := s.Client().Result(ctx, name, "", &result); err != nil {
			return storage.Object{}, notFound(client.Explain(err), name)
		}
		if result.Record.IsZero() {
			return storage.Object{}, fmt.Errorf("run %s: has no checkpoint, it ended as %s; "+
				"`defectforge runs list --verdict pass` shows others", name, result.Verdict)
		}
		record, err := ledger.ReadRun(ctx, s.Store, result.Record)
		return storage.Object(record.Outcome.Train.Checkpoint), err
	}
	info, err := s.Bucket.Stat(ctx, name)
	if errors.Is(err, storage.ErrNotFound) {
		return storage.Object{}, console.Usage("neither a file nor a key in the bucket; give %s", checkpointArg)
	}
	if err != nil {
		return storage.Object{}, fmt.Errorf("look for %s: %w", name, err)
	}
	digest := info.SHA256
	if stem := strings.TrimSuffix(path.Base(name), path.Ext(name)); strings.HasPrefix(name, storage.ArtifactPrefix) {
		if raw, err := hex.DecodeString(stem); err == nil && len(raw) == 32 {
			digest = stem
		}
	}
	return storage.Object{Key: name, SHA256: digest, Size: info.Size}, nil
}
