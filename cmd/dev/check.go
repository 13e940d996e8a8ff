package main

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strings"

	"github.com/spf13/cobra"
)

// The tools are pinned: a new release must not turn a green tree red.
const (
	staticcheck   = "honnef.co/go/tools/cmd/staticcheck@v0.8.2"
	workflowcheck = "go.temporal.io/sdk/contrib/tools/workflowcheck@v0.6.0"
)

func checkCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "check",
		Short: "Check formatting, vet, static analysis and workflow determinism",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return check(cmd.Context()) },
	}
}

func check(ctx context.Context) error {
	if err := checkFormat(ctx); err != nil {
		return err
	}
	for _, args := range [][]string{
		{"vet", "./..."},
		{"vet", "-tags", "nodevstack,noasm", "./..."},
		{"vet", "-tags", "record", "./workflows"}, // what records histories is not built otherwise
		{"run", staticcheck, "./..."},
		{"run", workflowcheck, "-config", "workflows/workflowcheck.yaml", "./workflows/..."},
	} {
		if err := run(ctx, ".", "go", args...); err != nil {
			return err
		}
	}
	return nil
}

// checkFormat fails where a tracked Go file is not as gofmt writes it.
func checkFormat(ctx context.Context) error {
	tracked, err := exec.CommandContext(ctx, "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "*.go").Output()
	if err != nil {
		return fmt.Errorf("list Go files: %w", err)
	}
	files := strings.FieldsFunc(string(tracked), func(r rune) bool { return r == 0 })
	out, err := exec.CommandContext(ctx, "gofmt", append([]string{"-l"}, files...)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("run gofmt: %w\n%s", err, out)
	}
	if bad := bytes.TrimSpace(out); len(bad) > 0 {
		return fmt.Errorf("not formatted, run gofmt -w on:\n%s", bad)
	}
	return nil
}
