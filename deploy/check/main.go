// Command check holds deployment files against what they speak of. It is a module
// of its own, so that the product does not depend on it.
//
//	check compose FILE                  as `docker compose config` loads it
//	check metrics METRICS FILE...       alert rules, dashboards and scaling by metrics
//	                                    against the list of those that exist
//	check schema CRD                    a custom resource's strict JSON schema, on standard output
//	check triggers MANIFESTS SOURCES    triggers of ScaledObjects against KEDA's sources
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/compose-spec/compose-go/v2/cli"
)

func main() {
	args := os.Args[1:]
	var err error
	switch {
	case len(args) == 2 && args[0] == "compose":
		err = checkCompose(args[1])
	case len(args) > 2 && args[0] == "metrics":
		err = checkMetrics(args[1], args[2:])
	case len(args) == 2 && args[0] == "schema":
		err = printSchema(os.Stdout, args[1])
	case len(args) == 3 && args[0] == "triggers":
		err = checkTriggers(args[1], args[2])
	default:
		fmt.Fprintln(os.Stderr, "usage: check compose FILE | metrics METRICS FILE... | schema CRD | triggers MANIFESTS SOURCES")
		os.Exit(2)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// checkCompose reads the file with the environment's variables; it must have services,
// and every one an image.
func checkCompose(path string) error {
	options, err := cli.NewProjectOptions([]string{path}, cli.WithOsEnv, cli.WithResolvedPaths(true), cli.WithProfiles([]string{"*"}))
	if err != nil {
		return fmt.Errorf("prepare: %w", err)
	}
	project, err := options.LoadProject(context.Background())
	if err != nil {
		return fmt.Errorf("load %s: %w", path, err)
	}
	if len(project.Services) == 0 {
		return fmt.Errorf("load %s: no services", path)
	}
	for name, service := range project.Services {
		if service.Image == "" {
			return fmt.Errorf("load %s: service %s has no image", path, name)
		}
	}
	return nil
}
