package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/defectforge/defectforge/storage"
	"github.com/defectforge/defectforge/storage/release"
)

// releaseName says which release is meant.
type releaseName struct{ class, release string }

func (p *program) releasesCommand() *cobra.Command {
	var class string
	list := &cobra.Command{
		Use:   "list",
		Short: "List published releases",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return p.withStore(c, func(ctx context.Context, s *session) error { return p.releasesList(ctx, s.bucket, class) })
		},
	}
	list.Flags().StringVar(&class, "class", "", "only releases of this defect class")
	verify := p.oneReleaseCommand("verify", "Recompute every digest of a release and tell exactly what is wrong",
		func(ctx context.Context, b storage.Bucket, n releaseName) error { return p.releasesVerify(ctx, b, n) })
	var dir string
	pull := p.oneReleaseCommand("pull", "Download a release, verified, into a folder",
		func(ctx context.Context, b storage.Bucket, n releaseName) error {
			return p.releasesPull(ctx, b, n, dir)
		})
	pull.Flags().StringVarP(&dir, "dir", "o", "", "folder to make (default ./CLASS-RELEASE)")
	return group("releases", "List, verify and download published releases", list, verify, pull)
}

func (p *program) withStore(c *cobra.Command, do func(context.Context, *session) error) error {
	if err := p.load(c); err != nil {
		return err
	}
	s, err := p.openStore(c.Context())
	if err != nil {
		return err
	}
	defer s.close(p)
	return do(c.Context(), s)
}

func (p *program) oneReleaseCommand(name, short string, do func(context.Context, storage.Bucket, releaseName) error) *cobra.Command {
	var class, chosen string
	c := &cobra.Command{
		Use:   name + " CLASS[/RELEASE]",
		Short: short + "; the latest of the class where no release is named",
		Args:  cobra.MaximumNArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			n, err := parseRelease(args, class, chosen)
			if err != nil {
				return err
			}
			return p.withStore(c, func(ctx context.Context, s *session) error {
				n, err := resolveRelease(ctx, s.bucket, n)
				if err != nil {
					return err
				}
				return do(ctx, s.bucket, n)
			})
		},
	}
	c.Flags().StringVar(&class, "class", "", "the defect class")
	c.Flags().StringVar(&chosen, "release", "", "the release (default: the latest)")
	return c
}

// parseRelease accepts CLASS, CLASS RELEASE, CLASS/RELEASE, a prefix as the
// manifest's key shows it, a release alone, and the flags.
func parseRelease(args []string, class, name string) (releaseName, error) {
	if len(args) > 0 && class == "" {
		parts := strings.Split(strings.Trim(strings.TrimPrefix(args[0], "releases/"), "/"), "/")
		class, args = parts[0], append(parts[1:], args[1:]...)
	}
	if len(args) > 0 && name == "" {
		name, args = args[0], args[1:]
	}
	if len(args) > 0 || class == "" {
		return releaseName{}, usageError("name one release: CLASS, or CLASS/RELEASE; `defectforge releases list` shows what there is")
	}
	if name == "" {
		name = release.Newest
	}
	for _, part := range []string{class, name} {
		if err := storage.ValidKey(part); err != nil || strings.Contains(part, "/") {
			return releaseName{}, usageError("%q: cannot be part of a release's name; `defectforge releases list` shows what there is", part)
		}
	}
	return releaseName{class, name}, nil
}

// resolveRelease turns "latest" into a name, and takes a release's name where a
// class was expected.
func resolveRelease(ctx context.Context, b storage.Bucket, n releaseName) (releaseName, error) {
	if n.release != release.Newest {
		return n, nil
	}
	latest, err := release.ReadLatest(ctx, b, n.class)
	if err == nil {
		return releaseName{n.class, latest.Release}, nil
	}
	if !errors.Is(err, storage.ErrNotFound) {
		return n, nil // a damaged pointer is for the command to tell
	}
	all, err := release.List(ctx, b, "")
	if err != nil {
		return n, fmt.Errorf("list releases: %w", err)
	}
	for _, r := range all {
		if r.Release == n.class {
			return releaseName{r.Class, r.Release}, nil
		}
	}
	return n, fmt.Errorf("class %s: has no release; `defectforge releases list` shows what there is", n.class)
}

func (p *program) releasesList(ctx context.Context, b storage.Bucket, class string) error {
	if class != "" {
		if err := checkClass(class); err != nil {
			return err
		}
	}
	all, err := release.List(ctx, b, class)
	if err != nil {
		return fmt.Errorf("list releases: %w", err)
	}
	if p.json {
		return p.emit(struct {
			Releases []release.Summary `json:"releases"`
		}{append([]release.Summary{}, all...)})
	}
	if len(all) == 0 {
		p.say("no releases; `defectforge run` makes one")
		return nil
	}
	w := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "CLASS\tRELEASE\tNUMBER\tIMAGES\tSIZE\tPUBLISHED\tNOTE")
	for _, r := range all {
		note := r.Problem
		if note == "" && r.Latest {
			note = "latest"
		}
		fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%s\t%s\t%s\n", r.Class, r.Release, r.Sequence, r.Images, humanize.IBytes(uint64(r.Bytes)),
			r.Published.Local().Format("2006-01-02 15:04"), note)
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("write list: %w", err)
	}
	return nil
}

func (p *program) releasesVerify(ctx context.Context, b storage.Bucket, n releaseName) error {
	r, err := release.Verify(ctx, b, n.class, n.release)
	if err != nil {
		return missingRelease(fmt.Errorf("verify %s/%s: %w", n.class, n.release, err))
	}
	r.Problems = append([]string{}, r.Problems...) // [] in JSON, not null
	if p.json {
		err = p.emit(r)
	} else {
		for _, problem := range r.Problems {
			p.print("%s", problem)
		}
		if r.OK {
			p.print("%s/%s: %d files, %s, all as published; manifest sha256 %s", r.Class, r.Release, r.Files, humanize.IBytes(uint64(r.Bytes)), r.ManifestSHA256)
		}
	}
	if err == nil && !r.OK {
		p.say("%s/%s: %d problems; do not use it, publish it again by running the same command that made it", n.class, n.release, len(r.Problems))
		return &statusError{exitFailed, nil}
	}
	return err
}

func (p *program) releasesPull(ctx context.Context, b storage.Bucket, n releaseName, dir string) error {
	if dir == "" {
		dir = n.class + "-" + n.release
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return fmt.Errorf("resolve folder: %w", err)
	}
	got, err := release.Pull(ctx, b, n.class, n.release, dir)
	if err != nil {
		return missingRelease(fmt.Errorf("pull %s/%s: %w; `defectforge releases verify` tells what is wrong with a release", n.class, n.release, err))
	}
	if p.json {
		return p.emit(got)
	}
	p.print("%d images in %s, manifest sha256 %s", got.Images, got.Dir, got.ManifestSHA256)
	return nil
}

func missingRelease(err error) error {
	if errors.Is(err, storage.ErrNotFound) {
		return fmt.Errorf("%w; `defectforge releases list` shows what there is", err)
	}
	return err
}
