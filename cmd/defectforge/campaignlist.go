package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/defectforge/defectforge/cmd/defectforge/internal/console"
	"github.com/defectforge/defectforge/workflows"
)

func campaignListCommand(a *app) *cobra.Command {
	limit := 50
	c := &cobra.Command{
		Use:   "list",
		Short: "List campaigns, the latest first",
		Long:  "List campaigns, the latest first, as far back as the namespace keeps closed ones.",
		Example: `  defectforge campaign list
  defectforge campaign list --limit 5 -o json`,
		Args: cobra.NoArgs,
		RunE: a.loading(func(c *cobra.Command, _ []string) error { return listCampaigns(c.Context(), a, limit) }),
	}
	c.Flags().IntVar(&limit, "limit", limit, "at most this many")
	return c
}

// listedCampaign is one campaign in a list.
type listedCampaign struct {
	WorkflowID string    `json:"workflow_id"`
	RunID      string    `json:"run_id"`
	Status     string    `json:"status"`
	Stage      string    `json:"stage"`
	Started    time.Time `json:"started"`
	Closed     time.Time `json:"closed,omitzero"`
}

// maxListed bounds a list of campaigns.
const maxListed = 1000

func listCampaigns(ctx context.Context, a *app, limit int) error {
	if limit < 1 || limit > maxListed {
		return console.Usage("--limit: %d: must be within 1 and %d", limit, maxListed)
	}
	s, err := a.process.Open(ctx)
	if err != nil {
		return err
	}
	defer s.Close()
	// An execution that was continued has a later one in the list.
	const query = "WorkflowType = '" + workflows.CampaignName + "' AND ExecutionStatus != 'ContinuedAsNew'"
	lines, err := s.Client().List(ctx, query, limit)
	if err != nil {
		return fmt.Errorf("list campaigns: %w; `defectforge doctor` checks namespace and search attributes", err)
	}
	list := []listedCampaign{}
	for _, l := range lines {
		list = append(list, listedCampaign{l.WorkflowID, l.RunID, l.Status, l.Stage, l.Started, l.Closed})
	}
	if a.console.JSON() {
		return a.console.Emit(struct {
			Campaigns []listedCampaign `json:"campaigns"`
		}{list})
	}
	return printCampaigns(a.console, list)
}

func printCampaigns(c *console.Console, list []listedCampaign) error {
	if len(list) == 0 {
		c.Say("no campaigns; `defectforge campaign run` starts one")
		return nil
	}
	return c.Table("list", func(w io.Writer) {
		fmt.Fprintln(w, "STARTED\tSTATUS\tSTAGE\tTIME\tCAMPAIGN")
		for _, l := range list {
			took := time.Since(l.Started)
			if !l.Closed.IsZero() {
				took = l.Closed.Sub(l.Started)
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", l.Started.Local().Format(time.DateTime), l.Status,
				console.Dash(l.Stage), console.TimeWords(took.Seconds()), l.WorkflowID)
		}
	})
}
