package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"

	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/config"
	"github.com/defectforge/defectforge/model/spec"
	"github.com/defectforge/defectforge/storage/release"
	"github.com/defectforge/defectforge/workflows"
)

const (
	// completePatience bounds how long a shell waits for names.
	completePatience = 1500 * time.Millisecond
	maxNames         = 200
)

// errNothingRuns: there is nobody to ask.
var errNothingRuns = errors.New("no stack runs")

// completeFunc finds what may stand in an argument's or a flag's place.
type completeFunc = func(c *cobra.Command, args []string, prefix string) ([]cobra.Completion, cobra.ShellCompDirective)

// choices completes one of fixed words; files completes them, or a file.
func choices(words ...string) completeFunc {
	return cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp)
}

func files(words ...string) completeFunc {
	return cobra.FixedCompletions(words, cobra.ShellCompDirectiveDefault)
}

// addCompletion completes a command's arguments and flags.
func (p *program) addCompletion(c *cobra.Command, path string) {
	const running = " AND ExecutionStatus = 'Running'"
	arguments := map[string]completeFunc{
		"runs show":          p.completeRuns("", 1),
		"runs watch":         p.completeRuns("", 1),
		"runs rerun":         p.completeRuns("", 1),
		"runs compare":       p.completeRuns("", maxNames),
		"runs cancel":        p.completeRuns(running, 1),
		"runs approve":       p.completeRuns(running+" AND "+workflows.Stage.GetName()+" = '"+step.AwaitApproval+"'", 1),
		"runs reject":        p.completeRuns(running+" AND "+workflows.Stage.GetName()+" = '"+step.AwaitApproval+"'", 1),
		"runs lineage":       p.completeReleases(1),
		"campaign show":      p.completeWorkflows(workflows.CampaignName, "", 1),
		"campaign watch":     p.completeWorkflows(workflows.CampaignName, "", 1),
		"campaign retry":     p.completeWorkflows(workflows.CampaignName, "", 1),
		"campaign cancel":    p.completeWorkflows(workflows.CampaignName, running, 1),
		"releases verify":    p.completeReleases(1),
		"releases pull":      p.completeReleases(maxNames),
		"releases withdraw":  p.completeReleases(1),
		"checkpoint inspect": orFile(p.completeRuns(" AND ExecutionStatus = 'Completed'", 1)),
		"checkpoint export":  orFile(p.completeRuns(" AND ExecutionStatus = 'Completed'", 1)),
		"config init":        files(),
	}
	if group, name, _ := strings.Cut(path, " "); group == "schedule" && name != "list" && name != "create" {
		arguments[path] = p.completeSchedules
	}
	if c.ValidArgsFunction == nil && !c.HasSubCommands() && !strings.HasPrefix(path, "completion") {
		c.ValidArgsFunction = cobra.NoFileCompletions
		if f, ok := arguments[path]; ok {
			c.ValidArgsFunction = f
		}
	}
	for flag, f := range map[string]completeFunc{
		"class":      p.completeClasses,
		"stage":      choices(slices.Sorted(slices.Values(step.StatusStages()))...),
		"verdict":    choices(step.Pass, step.Fail, step.Inconclusive),
		"recipe":     files(spec.Names()...),
		"policy":     files(spec.PolicyNames()...),
		"role":       choices(config.RoleIO, config.RoleTraining, config.RoleAll),
		"network":    choices("generator", "discriminator"),
		"log-level":  choices("debug", "info", "warn", "error"),
		"log-format": choices("text", "json"),
		"run":        choices(),
	} {
		if c.Flags().Lookup(flag) != nil || c.PersistentFlags().Lookup(flag) != nil {
			_ = c.RegisterFlagCompletionFunc(flag, f) // a command may have its own
		}
	}
}

// orFile completes a file as well.
func orFile(f completeFunc) completeFunc {
	return func(c *cobra.Command, args []string, prefix string) ([]cobra.Completion, cobra.ShellCompDirective) {
		out, _ := f(c, args, prefix)
		return out, cobra.ShellCompDirectiveDefault
	}
}

// completeRuns asks for the identifiers of runs, for up to so many arguments.
func (p *program) completeRuns(condition string, most int) completeFunc {
	return p.completeWorkflows(workflows.AugmentName, condition, most)
}

func (p *program) completeWorkflows(kind, condition string, most int) completeFunc {
	return func(c *cobra.Command, args []string, prefix string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) >= most {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return p.ask(c, prefix, func(ctx context.Context, s *session) (out []cobra.Completion, err error) {
			if err := p.glanceTemporal(ctx, s); err != nil {
				return nil, err
			}
			page, err := s.temp.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{
				Namespace: s.place.Namespace, Query: "WorkflowType = '" + kind + "'" + condition, PageSize: maxNames,
			})
			for _, info := range page.GetExecutions() {
				r := readLine(info)
				out = append(out, cobra.CompletionWithDesc(r.WorkflowID, fmt.Sprintf("%s, %s, %s", cmp.Or(r.Class, "campaign"), cmp.Or(r.Verdict, r.Status), r.Started.Local().Format(time.DateTime))))
			}
			return out, err
		})
	}
}

// completeSchedules asks for the names of schedules.
func (p *program) completeSchedules(c *cobra.Command, args []string, prefix string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return p.ask(c, prefix, func(ctx context.Context, s *session) (out []cobra.Completion, err error) {
		if err := p.glanceTemporal(ctx, s); err != nil {
			return nil, err
		}
		list, err := s.temp.ScheduleClient().List(ctx, client.ScheduleListOptions{PageSize: maxNames})
		for err == nil && list.HasNext() {
			var e *client.ScheduleListEntry
			if e, err = list.Next(); err == nil {
				out = append(out, cobra.CompletionWithDesc(e.ID, whenWords(e.Spec)))
			}
		}
		return out, err
	})
}

// completeReleases asks for classes and their releases.
func (p *program) completeReleases(most int) completeFunc {
	return func(c *cobra.Command, args []string, prefix string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) >= most {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return p.ask(c, prefix, func(ctx context.Context, s *session) (out []cobra.Completion, err error) {
			all, err := p.published(ctx, s)
			for _, r := range all {
				if r.Latest {
					out = append(out, cobra.CompletionWithDesc(r.Class, "its latest release, "+r.Release))
				}
				out = append(out, cobra.CompletionWithDesc(r.Class+"/"+r.Release, fmt.Sprintf("%d images, %s", r.Images, r.Published.Local().Format(time.DateTime))))
			}
			return out, err
		})
	}
}

// completeClasses asks for the classes that have releases.
func (p *program) completeClasses(c *cobra.Command, _ []string, prefix string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return p.ask(c, prefix, func(ctx context.Context, s *session) (out []cobra.Completion, err error) {
		all, err := p.published(ctx, s)
		for _, r := range all {
			out = append(out, r.Class)
		}
		return out, err
	})
}

func (p *program) published(ctx context.Context, s *session) ([]release.Summary, error) {
	if err := p.connectStore(ctx, s); err != nil {
		return nil, err
	}
	return release.List(ctx, s.bucket, "")
}

// ask lets find look at a cluster, or at a stack that runs. It starts none, says
// nothing where that fails, and gives up soon: the user has a key pressed.
func (p *program) ask(c *cobra.Command, prefix string, find func(context.Context, *session) ([]cobra.Completion, error)) ([]cobra.Completion, cobra.ShellCompDirective) {
	ctx := c.Context()
	if ctx == nil {
		ctx = context.Background()
	}
	ctx, cancel := context.WithTimeout(ctx, completePatience)
	defer cancel()
	loaded, err := config.Load(c.Flags())
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	p.cfg, p.log = loaded, slog.New(slog.DiscardHandler)
	found := make(chan []cobra.Completion, 1)
	go func() {
		s, err := p.glance(ctx)
		if err != nil {
			found <- nil
			return
		}
		defer s.close(p)
		out, _ := find(ctx, s)
		found <- out
	}()
	select {
	case out := <-found:
		out = slices.DeleteFunc(out, func(one string) bool { return !strings.HasPrefix(one, prefix) })
		slices.Sort(out)
		return slices.Compact(out), cobra.ShellCompDirectiveNoFileComp
	case <-ctx.Done():
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
}

// glance is a session that is connected to nothing yet.
func (p *program) glance(ctx context.Context) (*session, error) {
	if p.cfg.Store.Endpoint != "" {
		place, _ := p.cfg.Place() // the store alone is enough for releases
		return &session{place: place}, nil
	}
	place, err := p.cfg.Place()
	if err != nil {
		return nil, err
	}
	s := &session{place: place}
	if s.stack, err = attachStack(ctx, p.cfg.Config); err == nil && s.stack == nil {
		err = errNothingRuns
	}
	return s, err
}

// glanceTemporal connects to Temporal, where one is known.
func (p *program) glanceTemporal(ctx context.Context, s *session) error {
	if s.stack == nil && s.place.Client.HostPort == "" {
		return errNothingRuns
	}
	return p.connectTemporal(ctx, s)
}
