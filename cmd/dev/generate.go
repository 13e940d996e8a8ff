package main

import (
	"context"

	"github.com/spf13/cobra"
)

func generateCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "generate",
		Short: "Regenerate committed assembly from its generator",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return generate(cmd.Context()) },
	}
}

// generate runs the assembly generator in its own module, which keeps the
// generator's dependencies out of the product.
func generate(ctx context.Context) error {
	return run(ctx, "model/kernel/asmgen", "go", "generate", "./...")
}
