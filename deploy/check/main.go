// Command check loads a compose file as `docker compose config` does: schema,
// interpolation, references between services, networks, volumes and configs.
// It is a module of its own, so that the product does not depend on it.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/compose-spec/compose-go/v2/cli"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: check compose.yaml")
		os.Exit(2)
	}
	if err := check(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// check reads the file with the environment's variables; it must have services,
// and every one an image.
func check(path string) error {
	options, err := cli.NewProjectOptions([]string{path}, cli.WithOsEnv, cli.WithResolvedPaths(true))
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
