package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"sort"
	"strings"
	"text/tabwriter"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/defectforge/defectforge/model/checkpoint"
	"github.com/defectforge/defectforge/storage"
	"github.com/defectforge/defectforge/workflows"
)

const checkpointArg = "a checkpoint: a file, a key in the bucket, or a finished run's workflow identifier"

func (p *program) checkpointCommand() *cobra.Command {
	inspect := &cobra.Command{
		Use:   "inspect CHECKPOINT",
		Short: "Verify a checkpoint and list its tensors",
		Args:  exactly(1, checkpointArg),
		RunE: func(c *cobra.Command, args []string) error {
			if err := p.load(c); err != nil {
				return err
			}
			return p.checkpointInspect(c.Context(), args[0])
		},
	}
	var out, network string
	export := &cobra.Command{
		Use:   "export CHECKPOINT",
		Short: "Write one network of a checkpoint as a safetensors file that PyTorch loads",
		Args:  exactly(1, checkpointArg),
		RunE: func(c *cobra.Command, args []string) error {
			if err := p.load(c); err != nil {
				return err
			}
			return p.checkpointExport(c.Context(), args[0], network, out)
		},
	}
	export.Flags().StringVar(&network, "network", "generator", "generator or discriminator")
	export.Flags().StringVarP(&out, "out", "o", "", "file to write (default NETWORK.safetensors)")
	return group("checkpoint", "Inspect and export checkpoints", inspect, export)
}

// tensorLine is one tensor of `checkpoint inspect`.
type tensorLine struct {
	Name  string `json:"name"`
	DType string `json:"dtype"`
	Shape []int  `json:"shape"`
	Bytes int64  `json:"bytes"`
}

func (p *program) checkpointInspect(ctx context.Context, name string) error {
	var tensors []tensorLine
	var meta map[string]string
	var size int64
	err := p.withCheckpoint(ctx, name, func(r io.Reader, n int64) error {
		size = n
		rd, err := checkpoint.NewReader(r, n, checkpoint.Limits{Foreign: true})
		if err != nil {
			return err
		}
		for _, e := range rd.Entries() {
			tensors = append(tensors, tensorLine{e.Name, string(e.DType), append([]int{}, e.Shape...), e.Bytes})
		}
		meta = rd.Metadata()
		return rd.ReadInto(func(checkpoint.Entry) (any, error) { return nil, nil })
	})
	if err != nil {
		return fmt.Errorf("checkpoint %s: %w", name, err)
	}
	sort.Slice(tensors, func(i, j int) bool { return tensors[i].Name < tensors[j].Name })
	if p.json {
		return p.emit(struct {
			Bytes    int64             `json:"bytes"`
			Metadata map[string]string `json:"metadata"`
			Tensors  []tensorLine      `json:"tensors"`
		}{size, meta, tensors})
	}
	for _, key := range sortedKeys(meta) {
		p.print("%s: %s", key, meta[key])
	}
	w := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "TENSOR\tTYPE\tSHAPE\tSIZE")
	for _, t := range tensors {
		fmt.Fprintf(w, "%s\t%s\t%v\t%s\n", t.Name, t.DType, t.Shape, humanize.IBytes(uint64(t.Bytes)))
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("write list: %w", err)
	}
	p.print("%d tensors, %s, checksum right", len(tensors), humanize.IBytes(uint64(size)))
	return nil
}

func sortedKeys(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}

// checkpointExport keeps the tensors of one network under their bare names, as
// load_state_dict wants them.
func (p *program) checkpointExport(ctx context.Context, name, network, out string) error {
	if network != "generator" && network != "discriminator" {
		return usageError("--network: %q: choose generator or discriminator", network)
	}
	if out == "" {
		out = network + ".safetensors"
	}
	var kept []checkpoint.Tensor
	meta := map[string]string{"kind": "defectforge." + network + ".v1", "format": "pt"}
	err := p.withCheckpoint(ctx, name, func(r io.Reader, n int64) error {
		all, from, err := checkpoint.Read(r, n, checkpoint.Limits{})
		if err != nil {
			return err
		}
		for _, key := range []string{"step", "latent", network + "_depth"} {
			if v, ok := from[key]; ok {
				meta[key] = v
			}
		}
		for _, t := range all {
			if bare, ok := strings.CutPrefix(t.Name, network+"."); ok {
				t.Name = bare
				kept = append(kept, t)
			}
		}
		if len(kept) == 0 {
			return fmt.Errorf("holds no %s: it is not a checkpoint of a training", network)
		}
		return nil
	})
	if err == nil {
		err = writeTensors(out, meta, kept)
	}
	if err != nil {
		return fmt.Errorf("checkpoint %s: %w", name, err)
	}
	if p.json {
		return p.emit(struct {
			File    string `json:"file"`
			Tensors int    `json:"tensors"`
		}{out, len(kept)})
	}
	p.print("wrote %d tensors to %s", len(kept), out)
	return nil
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

// withCheckpoint opens a file of this machine, a run's last checkpoint, or an
// object of the bucket, whose bytes are verified where its digest is known.
func (p *program) withCheckpoint(ctx context.Context, name string, use func(io.Reader, int64) error) error {
	if info, err := os.Stat(name); err == nil && info.Mode().IsRegular() {
		f, err := os.Open(name)
		if err != nil {
			return fmt.Errorf("open file: %w", err)
		}
		defer f.Close()
		return use(f, info.Size())
	}
	if strings.HasSuffix(name, ".safetensors") && !strings.HasPrefix(name, "artifacts/") && !strings.HasPrefix(name, "runs/") {
		return usageError("no such file; give %s", checkpointArg)
	}
	open := p.openStore
	if strings.HasPrefix(name, "augment-") {
		open = p.open
	}
	s, err := open(ctx)
	if err != nil {
		return err
	}
	defer s.close(p)
	object, err := s.checkpointObject(ctx, name)
	if err != nil {
		return err
	}
	r, err := s.store.Open(ctx, object)
	if err != nil {
		return fmt.Errorf("open %s: %w", object.Key, err)
	}
	defer r.Close()
	return use(r, object.Size)
}

func (s *session) checkpointObject(ctx context.Context, name string) (storage.Object, error) {
	if strings.HasPrefix(name, "augment-") {
		var result workflows.AugmentResult
		if err := s.temp.GetWorkflow(ctx, name, "").Get(ctx, &result); err != nil {
			return storage.Object{}, notFound(explain(err), name)
		}
		if result.Record.IsZero() {
			return storage.Object{}, fmt.Errorf("run %s: has no checkpoint, it ended as %s; `defectforge runs list --verdict pass` shows others", name, result.Verdict)
		}
		record, err := readRecord(ctx, s.store, result.Record)
		return storage.Object(record.Outcome.Train.Checkpoint), err
	}
	info, err := s.bucket.Stat(ctx, name)
	if errors.Is(err, storage.ErrNotFound) {
		return storage.Object{}, usageError("neither a file nor a key in the bucket; give %s", checkpointArg)
	}
	if err != nil {
		return storage.Object{}, fmt.Errorf("look for %s: %w", name, err)
	}
	digest := info.SHA256
	if stem := strings.TrimSuffix(path.Base(name), path.Ext(name)); strings.HasPrefix(name, "artifacts/sha256/") {
		if raw, err := hex.DecodeString(stem); err == nil && len(raw) == 32 {
			digest = stem
		}
	}
	return storage.Object{Key: name, SHA256: digest, Size: info.Size}, nil
}
