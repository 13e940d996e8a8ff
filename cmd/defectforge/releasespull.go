package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/defectforge/defectforge/cmd/defectforge/internal/console"
	"github.com/defectforge/defectforge/cmd/defectforge/internal/process"
	"github.com/defectforge/defectforge/storage"
	"github.com/defectforge/defectforge/storage/release"
)

// pulling is how releases are downloaded.
type pulling struct {
	dir, set, key string
	withdrawn     bool
}

func (o pulling) options() ([]release.Option, error) {
	options, err := checkedBy(o.key)
	if o.withdrawn {
		options = append(options, release.AllowWithdrawn())
	}
	return options, err
}

func releasesPullCommand(a *app) *cobra.Command {
	var o pulling
	c := oneReleaseCommand(a, "pull", "Download a release, verified, into a folder", false,
		func(ctx context.Context, b storage.Bucket, n releaseName) error { return pullRelease(ctx, a, b, n, o) })
	c.Long = `Download a release into a new folder and verify every byte of it, or make one
classification set of several classes, with a folder for each.`
	c.Example = `  defectforge releases pull scratches --dir scratches
  defectforge releases pull --classification classes scratches pits`
	c.ValidArgsFunction = completeReleases(a, maxNames)
	c.Use = "pull CLASS[/RELEASE] | --classification DIR CLASS[/RELEASE]..."
	c.Flags().StringVarP(&o.dir, "dir", "o", "", "folder to make (default ./CLASS-RELEASE)")
	c.Flags().StringVar(&o.set, "classification", "", "folder to make of the images of several classes, one folder for each")
	c.Flags().StringVar(&o.key, "public-key", "", "demand a signature by this key of minisign: the key itself, or a file with it")
	c.Flags().BoolVar(&o.withdrawn, "allow-withdrawn", false, "take a release even if it has been withdrawn")
	one, atMostTwo := c.RunE, c.Args
	c.Args = func(c *cobra.Command, args []string) error {
		if o.set != "" {
			return nil
		}
		return atMostTwo(c, args)
	}
	c.RunE = func(c *cobra.Command, args []string) error {
		if o.set == "" {
			return one(c, args)
		}
		return pullSet(a, c, args, o)
	}
	return c
}

func pullRelease(ctx context.Context, a *app, b storage.Bucket, n releaseName, o pulling) error {
	if o.dir == "" {
		o.dir = n.class + "-" + n.release
	}
	dir, err := filepath.Abs(o.dir)
	if err != nil {
		return fmt.Errorf("resolve folder: %w", err)
	}
	options, err := o.options()
	if err != nil {
		return err
	}
	got, err := release.Pull(ctx, b, n.class, n.release, dir, options...)
	if err != nil {
		return pullFailed(n.class+"/"+n.release, err)
	}
	warnOfWithdrawn(a, got.Withdrawn)
	if a.console.JSON() {
		return a.console.Emit(got)
	}
	a.console.Print("%d images in %s, manifest sha256 %s", got.Images, got.Dir, got.ManifestSHA256)
	return nil
}

// warnOfWithdrawn warns of a withdrawn release that is taken all the same.
func warnOfWithdrawn(a *app, w *release.Withdrawal) {
	if w != nil {
		a.console.Say("warning: %v", w)
	}
}

// pullSet makes a classification set of the images of several classes.
func pullSet(a *app, c *cobra.Command, args []string, o pulling) error {
	if o.dir != "" || len(args) == 0 {
		return console.Usage("--classification: names the folder; name the classes behind it and leave out --dir")
	}
	options, err := o.options()
	if err != nil {
		return err
	}
	dir, err := filepath.Abs(o.set)
	if err != nil {
		return fmt.Errorf("resolve folder: %w", err)
	}
	var names []releaseName
	for _, arg := range args {
		n, err := parseRelease([]string{arg}, "", "")
		if err != nil {
			return err
		}
		names = append(names, n)
	}
	return withStore(a, c, func(ctx context.Context, s *process.Session) error {
		choices, err := choose(ctx, a, s.Bucket, names)
		if err != nil {
			return err
		}
		got, err := release.PullSet(ctx, s.Bucket, choices, dir, options...)
		if err != nil {
			return pullFailed(strings.Join(args, ", "), err)
		}
		return printSet(a, got)
	})
}

// choose finds the releases that are meant.
func choose(ctx context.Context, a *app, b storage.Bucket, names []releaseName) ([]release.Choice, error) {
	var choices []release.Choice
	for _, name := range names {
		n, err := resolveRelease(ctx, a, b, name, false)
		if err != nil {
			return nil, err
		}
		choices = append(choices, release.Choice{Class: n.class, Release: n.release})
	}
	return choices, nil
}

func printSet(a *app, got release.Set) error {
	for _, source := range got.Sources {
		warnOfWithdrawn(a, source.Withdrawn)
		a.console.Print("%s/%s: %d images", source.Class, source.Release, source.Images)
	}
	if a.console.JSON() {
		return a.console.Emit(got)
	}
	a.console.Print("%d images of %d classes in %s", got.Images, len(got.Sources), got.Dir)
	return nil
}

// pullFailed says what to do about a download that failed.
func pullFailed(what string, err error) error {
	if errors.Is(err, release.ErrWithdrawn) {
		return fmt.Errorf("pull %s: %w; --allow-withdrawn takes it all the same", what, err)
	}
	return missingRelease(fmt.Errorf(
		"pull %s: %w; `defectforge releases verify` says what is wrong with a release", what, err))
}
