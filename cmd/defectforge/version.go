package main

import (
	"github.com/spf13/cobra"

	"github.com/defectforge/defectforge/cmd/defectforge/internal/process"
)

func versionCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Long: `Print the version, the revision it was built from, and whether the embedded stack
is part of it.`,
		Example: `  defectforge version
  defectforge version --json`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return printVersion(a, process.ReadVersion()) },
	}
}

func printVersion(a *app, v process.Version) error {
	if a.console.JSON() {
		return a.console.Emit(v)
	}
	a.console.Print("defectforge %s %s %s", v.Version, v.Go, v.Platform)
	if v.Revision != "" {
		changed := ""
		if v.Modified {
			changed = ", with changes"
		}
		a.console.Print("revision %s%s", v.Revision, changed)
	}
	if !v.Embedded {
		a.console.Print("without the embedded stack")
	}
	return nil
}
