package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/cmd/defectforge/internal/client"
	"github.com/defectforge/defectforge/cmd/defectforge/internal/console"
	"github.com/defectforge/defectforge/workflows"
)

// listOptions are the flags of `runs list`.
type listOptions struct {
	class, verdict, stage string
	limit                 int
}

func runsListCommand(a *app) *cobra.Command {
	var o listOptions
	c := &cobra.Command{
		Use:   "list",
		Short: "List runs, the latest first",
		Long:  "List runs, the latest first, as far back as the namespace keeps closed ones.",
		Example: `  defectforge runs list
  defectforge runs list --class scratches --verdict pass --limit 5 -o yaml
  defectforge runs list --stage AwaitApproval --json`,
		Args: cobra.NoArgs,
		RunE: a.loading(func(c *cobra.Command, _ []string) error { return listRuns(c.Context(), a, o) }),
	}
	f := c.Flags()
	f.StringVar(&o.class, "class", "", "only runs of this defect class")
	f.StringVar(&o.verdict, "verdict", "", "only runs with this verdict: pass, fail, inconclusive, unchanged or waiting")
	f.StringVar(&o.stage, "stage", "", "only runs in this stage")
	f.IntVar(&o.limit, "limit", 50, "at most this many")
	return c
}

// query is the visibility query of a list. Values are quoted; none of them can
// hold a quote.
func (o listOptions) query() (string, error) {
	q := []string{"WorkflowType = '" + workflows.AugmentName + "'"}
	for _, f := range []struct{ flag, attribute, value string }{
		{"--class", workflows.DefectClass.GetName(), o.class},
		{"--verdict", workflows.Verdict.GetName(), o.verdict},
		{"--stage", workflows.Stage.GetName(), o.stage},
	} {
		if strings.ContainsAny(f.value, `'"\`) {
			return "", console.Usage("%s: %q: holds a quote or a backslash; leave it out", f.flag, f.value)
		}
		if f.value != "" {
			q = append(q, f.attribute+" = '"+f.value+"'")
		}
	}
	return strings.Join(q, " AND "), nil
}

func listRuns(ctx context.Context, a *app, o listOptions) error {
	query, err := o.query()
	if err != nil {
		return err
	}
	if o.limit < 1 {
		return console.Usage("--limit: %d: must be at least 1", o.limit)
	}
	s, err := a.process.Open(ctx)
	if err != nil {
		return err
	}
	defer s.Close()
	runs, err := s.Client().List(ctx, query, o.limit)
	if err != nil {
		return fmt.Errorf("list runs: %w; `defectforge doctor` checks namespace and search attributes", err)
	}
	if a.console.JSON() {
		return a.console.Emit(struct {
			Runs []client.Line `json:"runs"`
		}{runs})
	}
	return printRuns(a.console, runs)
}

func printRuns(c *console.Console, runs []client.Line) error {
	if len(runs) == 0 {
		c.Say("no runs; `defectforge run` starts one")
		return nil
	}
	dash, paint := console.Dash, c.Paint
	return c.Table("list", func(w io.Writer) {
		fmt.Fprintf(w, "STARTED\tCLASS\t%s\tSTAGE\t%s\tRELEASE\tWORKFLOW\n", paint.Plain("STATUS"), paint.Plain("VERDICT"))
		for _, r := range runs {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", r.Started.Local().Format(time.DateTime),
				dash(r.Class), paint.State(r.Status), dash(step.Title(r.Stage)), paint.State(dash(r.Verdict)),
				dash(r.Release), r.WorkflowID)
		}
	})
}
