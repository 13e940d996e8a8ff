package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/defectforge/defectforge/cmd/defectforge/internal/process"
	"github.com/defectforge/defectforge/storage"
	"github.com/defectforge/defectforge/storage/release"
)

func releasesListCommand(a *app) *cobra.Command {
	var class string
	c := &cobra.Command{
		Use:   "list",
		Short: "List published releases",
		Long: `List the releases of every class, or of one, with what is wrong with a damaged
one and why one was withdrawn.`,
		Example: `  defectforge releases list
  defectforge releases list --class scratches -o yaml`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return withStore(a, c, func(ctx context.Context, s *process.Session) error {
				return listReleases(ctx, a, s.Bucket, class)
			})
		},
	}
	c.Flags().StringVar(&class, "class", "", "only releases of this defect class")
	return c
}

func listReleases(ctx context.Context, a *app, b storage.Bucket, class string) error {
	if class != "" {
		if err := checkClass(class); err != nil {
			return err
		}
	}
	all, err := release.List(ctx, b, class)
	if err != nil {
		return fmt.Errorf("list releases: %w", err)
	}
	if a.console.JSON() {
		return a.console.Emit(struct {
			Releases []release.Summary `json:"releases"`
		}{append([]release.Summary{}, all...)})
	}
	if len(all) == 0 {
		a.console.Say("no releases; `defectforge run` makes one")
		return nil
	}
	return a.console.Table("list", func(w io.Writer) {
		fmt.Fprintln(w, "CLASS\tRELEASE\tNUMBER\tIMAGES\tSIZE\tPUBLISHED\tNOTE")
		for _, r := range all {
			fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%s\t%s\t%s\n", r.Class, r.Release, r.Sequence, r.Images,
				humanize.IBytes(uint64(r.Bytes)), r.Published.Local().Format("2006-01-02 15:04"), noteOf(r))
		}
	})
}

// noteOf says what is special about a release.
func noteOf(r release.Summary) string {
	note := r.Problem
	if note == "" && r.Latest {
		note = "latest"
	}
	if r.Withdrawn != nil {
		note = strings.TrimPrefix(note+", withdrawn: "+r.Withdrawn.Reason, ", ")
	}
	return note
}
