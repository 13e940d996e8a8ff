package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/defectforge/defectforge/cmd/defectforge/internal/console"
	"github.com/defectforge/defectforge/storage"
	"github.com/defectforge/defectforge/storage/release"
)

func releasesVerifyCommand(a *app) *cobra.Command {
	var dir, key string
	verify := func(ctx context.Context, b storage.Bucket, n releaseName) error {
		return verifyRelease(ctx, a, b, n, key)
	}
	c := oneReleaseCommand(a, "verify", "Recompute every digest of a release and say exactly what is wrong", false, verify)
	c.Long = `Recompute every digest of a release, or of a folder that ` + "`releases pull`" + ` has made,
and say exactly what differs. The exit status is 1 where anything does.`
	c.Example = `  defectforge releases verify scratches
  defectforge releases verify scratches/0123456789abcdef --public-key release.pub --json
  defectforge releases verify --dir scratches`
	c.Flags().StringVar(&key, "public-key", "", "demand a signature by this key of minisign: the key itself, or a file with it")
	c.Flags().StringVar(&dir, "dir", "", "verify a `folder` that releases pull has made, without a store")
	inStore := c.RunE
	c.RunE = func(c *cobra.Command, args []string) error {
		if dir == "" {
			return inStore(c, args)
		}
		if len(args) > 0 {
			return console.Usage("--dir: verifies a folder; leave out %q", strings.Join(args, " "))
		}
		return verifyFolder(c.Context(), a, dir, key)
	}
	return c
}

func verifyRelease(ctx context.Context, a *app, b storage.Bucket, n releaseName, key string) error {
	options, err := checkedBy(key)
	if err != nil {
		return err
	}
	r, err := release.Verify(ctx, b, n.class, n.release, options...)
	if err != nil {
		return missingRelease(fmt.Errorf("verify %s/%s: %w", n.class, n.release, err))
	}
	return showVerified(a, r)
}

// verifyFolder needs neither a store nor the configuration.
func verifyFolder(ctx context.Context, a *app, dir, key string) error {
	options, err := checkedBy(key)
	if err != nil {
		return err
	}
	r, err := release.VerifyDir(ctx, dir, options...)
	if err != nil {
		return fmt.Errorf("verify folder %s: %w", dir, err)
	}
	return showVerified(a, r)
}

func showVerified(a *app, r release.Report) (err error) {
	r.Problems = append([]string{}, r.Problems...) // [] in JSON, not null
	if a.console.JSON() {
		err = a.console.Emit(r)
	} else {
		for _, problem := range r.Problems {
			a.console.Print("%s", problem)
		}
		if r.OK {
			a.console.Print("%s/%s: %d files, %s, all as published; manifest sha256 %s; signature: %s", r.Class, r.Release, r.Files,
				humanize.IBytes(uint64(r.Bytes)), r.ManifestSHA256, r.Signature)
		}
	}
	if r.Withdrawn != nil {
		a.console.Say("%v; do not use it", r.Withdrawn)
	}
	if err == nil && !r.OK {
		a.console.Say("%s/%s: %d problems; do not use it, publish it again by running the same command that made it",
			r.Class, r.Release, len(r.Problems))
		return console.Exit(console.ExitFailed)
	}
	return err
}
