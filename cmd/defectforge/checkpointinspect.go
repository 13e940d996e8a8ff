package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"sort"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/defectforge/defectforge/model/checkpoint"
)

func checkpointInspectCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "inspect CHECKPOINT",
		Short: "Verify a checkpoint and list its tensors",
		Long: `Verify a checkpoint's checksum and list its tensors and metadata. It is a file, a
key in the bucket, or what a finished run ended with.`,
		Example: `  defectforge checkpoint inspect generator.safetensors
  defectforge checkpoint inspect augment-scratches-0123456789ab -o json`,
		Args:              exactly(1, checkpointArg),
		RunE:              a.loading(func(c *cobra.Command, args []string) error { return inspectCheckpoint(c.Context(), a, args[0]) }),
		ValidArgsFunction: completeCheckpoints(a),
	}
}

// inspection is the JSON object of `checkpoint inspect`.
type inspection struct {
	Bytes    int64             `json:"bytes"`
	Metadata map[string]string `json:"metadata"`
	Tensors  []tensorLine      `json:"tensors"`
}

// tensorLine is one tensor of a checkpoint.
type tensorLine struct {
	Name  string `json:"name"`
	DType string `json:"dtype"`
	Shape []int  `json:"shape"`
	Bytes int64  `json:"bytes"`
}

func inspectCheckpoint(ctx context.Context, a *app, name string) error {
	var found inspection
	err := withCheckpoint(ctx, a, name, func(r io.Reader, n int64) error {
		found.Bytes = n
		rd, err := checkpoint.NewReader(r, n, checkpoint.Limits{Foreign: true})
		if err != nil {
			return err
		}
		for _, e := range rd.Entries() {
			found.Tensors = append(found.Tensors, tensorLine{e.Name, string(e.DType), append([]int{}, e.Shape...), e.Bytes})
		}
		found.Metadata = rd.Metadata()
		return rd.ReadInto(func(checkpoint.Entry) (any, error) { return nil, nil })
	})
	if err != nil {
		return fmt.Errorf("checkpoint %s: %w", name, err)
	}
	sort.Slice(found.Tensors, func(i, j int) bool { return found.Tensors[i].Name < found.Tensors[j].Name })
	if a.console.JSON() {
		return a.console.Emit(found)
	}
	return printInspection(a, found)
}

func printInspection(a *app, found inspection) error {
	for _, key := range slices.Sorted(maps.Keys(found.Metadata)) {
		a.console.Print("%s: %s", key, found.Metadata[key])
	}
	err := a.console.Table("list", func(w io.Writer) {
		fmt.Fprintln(w, "TENSOR\tTYPE\tSHAPE\tSIZE")
		for _, t := range found.Tensors {
			fmt.Fprintf(w, "%s\t%s\t%v\t%s\n", t.Name, t.DType, t.Shape, humanize.IBytes(uint64(t.Bytes)))
		}
	})
	if err != nil {
		return err
	}
	a.console.Print("%d tensors, %s, checksum right", len(found.Tensors), humanize.IBytes(uint64(found.Bytes)))
	return nil
}
