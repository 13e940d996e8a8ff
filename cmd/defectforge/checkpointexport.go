package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/defectforge/defectforge/cmd/defectforge/internal/console"
	"github.com/defectforge/defectforge/model/checkpoint"
)

// exportOptions are the argument and the flags of `checkpoint export`.
type exportOptions struct{ name, network, out string }

func checkpointExportCommand(a *app) *cobra.Command {
	var o exportOptions
	c := &cobra.Command{
		Use:   "export CHECKPOINT",
		Short: "Write one network of a checkpoint as a safetensors file that PyTorch loads",
		Long: `Write the generator or the discriminator as a safetensors file whose names are
those of the PyTorch twin's state.`,
		Example: `  defectforge checkpoint export augment-scratches-0123456789ab --out generator.safetensors
  defectforge checkpoint export generator.safetensors --network generator --out again.safetensors`,
		Args: exactly(1, checkpointArg),
		RunE: a.loading(func(c *cobra.Command, args []string) error {
			o.name = args[0]
			return exportCheckpoint(c.Context(), a, o)
		}),
		ValidArgsFunction: completeCheckpoints(a),
	}
	c.Flags().StringVar(&o.network, "network", "generator", "generator or discriminator")
	c.Flags().StringVarP(&o.out, "out", "o", "", "file to write (default NETWORK.safetensors)")
	return c
}

// exportCheckpoint keeps the tensors of one network under their bare names, as
// load_state_dict wants them.
func exportCheckpoint(ctx context.Context, a *app, o exportOptions) error {
	if o.network != "generator" && o.network != "discriminator" {
		return console.Usage("--network: %q: choose generator or discriminator", o.network)
	}
	if o.out == "" {
		o.out = o.network + ".safetensors"
	}
	var kept []checkpoint.Tensor
	var meta map[string]string
	err := withCheckpoint(ctx, a, o.name, func(r io.Reader, n int64) (err error) {
		kept, meta, err = readNetwork(r, n, o.network)
		return err
	})
	if err == nil {
		err = writeTensors(o.out, meta, kept)
	}
	if err != nil {
		return fmt.Errorf("checkpoint %s: %w", o.name, err)
	}
	if a.console.JSON() {
		return a.console.Emit(struct {
			File    string `json:"file"`
			Tensors int    `json:"tensors"`
		}{o.out, len(kept)})
	}
	a.console.Print("wrote %d tensors to %s", len(kept), o.out)
	return nil
}

// readNetwork reads the tensors of one network, and what describes it.
func readNetwork(r io.Reader, n int64, network string) ([]checkpoint.Tensor, map[string]string, error) {
	all, from, err := checkpoint.Read(r, n, checkpoint.Limits{})
	if err != nil {
		return nil, nil, err
	}
	meta := map[string]string{"kind": "defectforge." + network + ".v1", "format": "pt"}
	for _, key := range []string{"step", "latent", network + "_depth"} {
		if v, ok := from[key]; ok {
			meta[key] = v
		}
	}
	var kept []checkpoint.Tensor
	for _, t := range all {
		if bare, ok := strings.CutPrefix(t.Name, network+"."); ok {
			t.Name = bare
			kept = append(kept, t)
		}
	}
	if len(kept) == 0 {
		return nil, nil, fmt.Errorf("holds no %s: it is not a checkpoint of a training", network)
	}
	return kept, meta, nil
}

// writeTensors writes beside the file and renames, so that no half file stays.
func writeTensors(file string, meta map[string]string, tensors []checkpoint.Tensor) error {
	f, err := os.CreateTemp(filepath.Dir(file), "."+filepath.Base(file)+".*")
	if err != nil {
		return fmt.Errorf("create file: %w", err)
	}
	defer os.Remove(f.Name())
	if err := errors.Join(checkpoint.Write(f, meta, tensors), f.Close()); err != nil {
		return fmt.Errorf("write tensors: %w", err)
	}
	if err := errors.Join(os.Chmod(f.Name(), 0o644), os.Rename(f.Name(), file)); err != nil {
		return fmt.Errorf("name file: %w", err)
	}
	return nil
}
