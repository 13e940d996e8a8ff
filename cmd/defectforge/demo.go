package main

import (
	"context"
	"errors"
	"fmt"
	"image/png"
	"os"
	"path/filepath"
	"runtime"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/defectforge/defectforge/cmd/defectforge/internal/console"
	"github.com/defectforge/defectforge/model/picture"
)

const (
	demoClass  = "demo-scratches"
	demoImages = 300
	// Fewer would leave too few for training once the hold-out is drawn.
	minDemoImages = 30
	maxDemoImages = 10_000
)

func demoCommand(a *app) *cobra.Command {
	o := runOptions{class: demoClass}
	var count int
	c := &cobra.Command{
		Use:   "demo",
		Short: "Draw a small data set of scratches on brushed metal and run the quick recipe on it",
		Long: `Draw pictures of scratches on brushed metal into a folder below --data-dir, and
run the quick recipe on them: everything that a real run does, with nothing at
hand. The same command again finds what it has done.`,
		Example: `  defectforge demo
  defectforge demo --count 200 --set train.epochs=10 --json`,
		Args: cobra.NoArgs,
		RunE: a.loading(func(c *cobra.Command, _ []string) error {
			o.seeded = c.Flags().Changed("seed")
			return demo(c.Context(), a, o, count)
		}),
	}
	o.addRecipeFlags(c, "quick")
	c.Flags().IntVar(&count, "count", demoImages, "number of images to draw")
	return c
}

func demo(ctx context.Context, a *app, o runOptions, count int) error {
	if count < minDemoImages || count > maxDemoImages {
		return console.Usage("--count: %d: must be within %d and %d", count, minDemoImages, maxDemoImages)
	}
	seed := uint64(1)
	if o.seeded {
		seed = o.seed
	}
	o.images = filepath.Join(a.cfg.DataDir, "demo", fmt.Sprintf("brushed-metal-%d-%d", seed, count))
	if err := drawFolder(ctx, o.images, seed, count); err != nil {
		return err
	}
	a.console.Say("%d images of scratched metal in %s", count, o.images)
	return augment(ctx, a, o)
}

// drawFolder fills a folder with drawn images. It is made under another name
// and renamed, so that a killed attempt leaves no half of it.
func drawFolder(ctx context.Context, dir string, seed uint64, count int) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return fmt.Errorf("create demo folder: %w; choose another --data-dir", err)
	}
	tmp, err := os.MkdirTemp(filepath.Dir(dir), ".drawing-*")
	if err != nil {
		return fmt.Errorf("create demo folder: %w; choose another --data-dir", err)
	}
	defer os.RemoveAll(tmp)
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.NumCPU())
	for i := range count {
		g.Go(func() error {
			if err := ctx.Err(); err != nil {
				return context.Cause(ctx)
			}
			return drawFile(filepath.Join(tmp, fmt.Sprintf("scratch-%04d.png", i)), seed, i)
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	if err := os.Chmod(tmp, 0o755); err != nil {
		return fmt.Errorf("open demo folder: %w", err)
	}
	if err := os.Rename(tmp, dir); err != nil {
		if _, there := os.Stat(dir); there == nil {
			return nil // another process drew the same
		}
		return fmt.Errorf("name demo folder: %w", err)
	}
	return nil
}

func drawFile(name string, seed uint64, i int) error {
	f, err := os.Create(name)
	if err != nil {
		return fmt.Errorf("create image: %w", err)
	}
	if err := errors.Join(png.Encode(f, picture.BrushedMetal(seed, i)), f.Close()); err != nil {
		return fmt.Errorf("write image: %w", err)
	}
	return nil
}
