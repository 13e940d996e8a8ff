package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/cmd/defectforge/internal/client"
	"github.com/defectforge/defectforge/cmd/defectforge/internal/process"
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

// completeFunc finds what may stand in an argument's or a flag's place.
type completeFunc = func(c *cobra.Command, args []string, prefix string) ([]cobra.Completion, cobra.ShellCompDirective)

// choices completes one of fixed words; files completes them, or a file.
func choices(words ...string) completeFunc {
	return cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp)
}

func files(words ...string) completeFunc {
	return cobra.FixedCompletions(words, cobra.ShellCompDirectiveDefault)
}

// addCompletion completes the flags of a command, which mean the same wherever
// they occur, and no files as arguments unless the command does it itself.
func addCompletion(a *app, c *cobra.Command, path string) {
	if c.ValidArgsFunction == nil && !c.HasSubCommands() && !strings.HasPrefix(path, "completion") {
		c.ValidArgsFunction = cobra.NoFileCompletions
	}
	for flag, f := range map[string]completeFunc{
		"class":      completeClasses(a),
		"stage":      choices(slices.Sorted(slices.Values(step.StatusStages()))...),
		"verdict":    choices(spec.Pass, spec.Fail, spec.Inconclusive),
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

// Conditions of a visibility query.
var (
	whileRunning  = " AND ExecutionStatus = 'Running'"
	whileWaiting  = whileRunning + " AND " + workflows.Stage.GetName() + " = '" + step.AwaitApproval + "'"
	whenCompleted = " AND ExecutionStatus = 'Completed'"
)

// orFile completes a file as well.
func orFile(f completeFunc) completeFunc {
	return func(c *cobra.Command, args []string, prefix string) ([]cobra.Completion, cobra.ShellCompDirective) {
		out, _ := f(c, args, prefix)
		return out, cobra.ShellCompDirectiveDefault
	}
}

// completeRuns asks for the identifiers of runs that meet a condition, for at
// most that many arguments.
func completeRuns(a *app, condition string, most int) completeFunc {
	return completeWorkflows(a, workflows.AugmentName, condition, most)
}

func completeWorkflows(a *app, kind, condition string, most int) completeFunc {
	return completeNames(a, most, func(ctx context.Context, s *process.Session) (out []cobra.Completion, err error) {
		if err := glanceAtTemporal(ctx, s); err != nil {
			return nil, err
		}
		lines, err := s.Client().List(ctx, "WorkflowType = '"+kind+"'"+condition, maxNames)
		for _, l := range lines {
			out = append(out, cobra.CompletionWithDesc(l.WorkflowID, describeLine(l)))
		}
		return out, err
	})
}

func describeLine(l client.Line) string {
	return fmt.Sprintf("%s, %s, %s", cmp.Or(l.Class, "campaign"), cmp.Or(l.Verdict, l.Status), l.Started.Local().Format(time.DateTime))
}

// completeReleases asks for classes and their releases.
func completeReleases(a *app, most int) completeFunc {
	return completeNames(a, most, func(ctx context.Context, s *process.Session) (out []cobra.Completion, err error) {
		all, err := publishedReleases(ctx, s)
		for _, r := range all {
			if r.Latest {
				out = append(out, cobra.CompletionWithDesc(r.Class, "its latest release, "+r.Release))
			}
			what := fmt.Sprintf("%d images, %s", r.Images, r.Published.Local().Format(time.DateTime))
			out = append(out, cobra.CompletionWithDesc(r.Class+"/"+r.Release, what))
		}
		return out, err
	})
}

// completeClasses asks for the classes that have releases.
func completeClasses(a *app) completeFunc {
	return func(c *cobra.Command, _ []string, prefix string) ([]cobra.Completion, cobra.ShellCompDirective) {
		return askCluster(c, a, prefix, func(ctx context.Context, s *process.Session) (out []cobra.Completion, err error) {
			all, err := publishedReleases(ctx, s)
			for _, r := range all {
				out = append(out, r.Class)
			}
			return out, err
		})
	}
}

func publishedReleases(ctx context.Context, s *process.Session) ([]release.Summary, error) {
	if err := s.ConnectStore(ctx); err != nil {
		return nil, err
	}
	return release.List(ctx, s.Bucket, "")
}

// glanceAtTemporal connects to Temporal, where one is known.
func glanceAtTemporal(ctx context.Context, s *process.Session) error {
	if s.Stack == nil && s.Place.Client.HostPort == "" {
		return process.ErrNothingRuns
	}
	return s.ConnectTemporal(ctx)
}

// finder finds names in what a session leads to.
type finder func(context.Context, *process.Session) ([]cobra.Completion, error)

// completeNames completes as many arguments.
func completeNames(a *app, most int, find finder) completeFunc {
	return func(c *cobra.Command, args []string, prefix string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) >= most {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return askCluster(c, a, prefix, find)
	}
}

// askCluster lets find look at a cluster, or at a stack that runs. It starts
// none, says nothing where that fails, and gives up soon: the user waits at the
// prompt.
func askCluster(c *cobra.Command, a *app, prefix string, find finder) ([]cobra.Completion, cobra.ShellCompDirective) {
	ctx := c.Context()
	if ctx == nil {
		ctx = context.Background()
	}
	ctx, cancel := context.WithTimeout(ctx, completePatience)
	defer cancel()
	cfg, err := config.Load(c.Flags())
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	a.cfg, a.process = cfg, process.Silent(a.console, cfg.Config)
	found := make(chan []cobra.Completion, 1)
	go func() {
		s, err := a.process.Glance(ctx)
		if err != nil {
			found <- nil
			return
		}
		defer s.Close()
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

// completionHelp is what the help of the completion commands says beside Cobra's
// own texts, which explain how to install a script for each shell.
var completionHelp = map[string]string{
	"completion": "  source <(defectforge completion bash)",
	"completion bash": `  source <(defectforge completion bash)
  defectforge completion bash > /etc/bash_completion.d/defectforge`,
	"completion zsh": `  source <(defectforge completion zsh)
  defectforge completion zsh > "${fpath[1]}/_defectforge"`,
	"completion fish": `  defectforge completion fish | source
  defectforge completion fish > ~/.config/fish/completions/defectforge.fish`,
	"completion powershell": "  defectforge completion powershell | Out-String | Invoke-Expression",
}

// explainCompletion completes the help of Cobra's completion commands.
func explainCompletion(root *cobra.Command) {
	walk(root, "", func(c *cobra.Command, path string) {
		if example, ok := completionHelp[path]; ok {
			c.Example = example
		}
		if path == "completion" {
			c.Long = `Print a script that completes commands, flags, and the names of runs, classes and
releases of a stack or cluster that answers. Nothing is started to complete.`
		}
	})
}
