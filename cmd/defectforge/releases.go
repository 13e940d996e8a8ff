package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/defectforge/defectforge/config"
	"github.com/defectforge/defectforge/storage"
	"github.com/defectforge/defectforge/storage/release"
	"github.com/defectforge/defectforge/storage/release/sign"
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
	return group("releases", "List, verify, download and withdraw published releases", list, p.releasesVerifyCommand(), p.releasesPullCommand(), p.releasesWithdrawCommand())
}

func (p *program) releasesVerifyCommand() *cobra.Command {
	var dir, key string
	c := p.oneReleaseCommand("verify", "Recompute every digest of a release and tell exactly what is wrong", false,
		func(ctx context.Context, b storage.Bucket, n releaseName) error {
			options, err := checkedBy(key)
			if err != nil {
				return err
			}
			r, err := release.Verify(ctx, b, n.class, n.release, options...)
			if err != nil {
				return missingRelease(fmt.Errorf("verify %s/%s: %w", n.class, n.release, err))
			}
			return p.showVerified(r)
		})
	c.Flags().StringVar(&key, "public-key", "", "demand a signature by this key of minisign: the key itself, or a file with it")
	c.Flags().StringVar(&dir, "dir", "", "verify a folder that `releases pull` has made, without a store")
	inStore := c.RunE
	c.RunE = func(c *cobra.Command, args []string) error {
		if dir == "" {
			return inStore(c, args)
		}
		if len(args) > 0 {
			return usageError("--dir: verifies a folder; leave out %q", strings.Join(args, " "))
		}
		options, err := checkedBy(key)
		if err != nil {
			return err
		}
		r, err := release.VerifyDir(c.Context(), dir, options...)
		if err != nil {
			return fmt.Errorf("verify folder %s: %w", dir, err)
		}
		return p.showVerified(r)
	}
	return c
}

func (p *program) releasesWithdrawCommand() *cobra.Command {
	var reason string
	c := p.oneReleaseCommand("withdraw", "Mark a release as not to be used, for good", true,
		func(ctx context.Context, b storage.Bucket, n releaseName) error {
			if own, err := p.publisher(config.RoleIO); err != nil {
				return err
			} else if own != nil {
				b = own
			}
			return p.releasesWithdraw(ctx, b, n, reason)
		})
	c.Flags().StringVar(&reason, "reason", "", "why; everybody who looks at the release is told")
	withdraw := c.RunE
	c.RunE = func(c *cobra.Command, args []string) error {
		if strings.TrimSpace(reason) == "" {
			return usageError("--reason: not given; say why, for everybody who looks at the release")
		}
		return withdraw(c, args)
	}
	return c
}

// checkedBy demands signatures by a key, if one is given.
func checkedBy(key string) ([]release.Option, error) {
	if key == "" {
		return nil, nil
	}
	public, err := sign.LoadPublicKey(key)
	if err != nil {
		return nil, usageError("--public-key: %w", err)
	}
	return []release.Option{release.WithVerifier(public)}, nil
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

// oneReleaseCommand is a command on one release. Where none is named, that is
// the newest one, withdrawn or not if the command asks for it.
func (p *program) oneReleaseCommand(name, short string, withdrawn bool, do func(context.Context, storage.Bucket, releaseName) error) *cobra.Command {
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
				n, err := p.resolveRelease(ctx, s.bucket, n, withdrawn)
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
// class was expected. Unless they are wanted, it passes by withdrawn releases
// while there are others.
func (p *program) resolveRelease(ctx context.Context, b storage.Bucket, n releaseName, withdrawn bool) (releaseName, error) {
	if n.release != release.Newest {
		return n, nil
	}
	latest, err := release.ReadLatest(ctx, b, n.class)
	if err == nil && withdrawn {
		return releaseName{n.class, latest.Release}, nil
	}
	if err == nil {
		name, _, _, err := release.Resolve(ctx, b, n.class, release.Newest)
		if err != nil {
			return n, fmt.Errorf("find the latest release of %s: %w", n.class, err)
		}
		if name != latest.Release {
			p.say("%s/%s has been withdrawn; taking %s, the newest before it", n.class, latest.Release, name)
		}
		return releaseName{n.class, name}, nil
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
		if r.Withdrawn != nil {
			note = strings.TrimPrefix(note+", withdrawn: "+r.Withdrawn.Reason, ", ")
		}
		fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%s\t%s\t%s\n", r.Class, r.Release, r.Sequence, r.Images, humanize.IBytes(uint64(r.Bytes)),
			r.Published.Local().Format("2006-01-02 15:04"), note)
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("write list: %w", err)
	}
	return nil
}

func (p *program) showVerified(r release.Report) (err error) {
	r.Problems = append([]string{}, r.Problems...) // [] in JSON, not null
	if p.json {
		err = p.emit(r)
	} else {
		for _, problem := range r.Problems {
			p.print("%s", problem)
		}
		if r.OK {
			p.print("%s/%s: %d files, %s, all as published; manifest sha256 %s; signature: %s", r.Class, r.Release, r.Files,
				humanize.IBytes(uint64(r.Bytes)), r.ManifestSHA256, r.Signature)
		}
	}
	if r.Withdrawn != nil {
		p.say("%v; do not use it", r.Withdrawn)
	}
	if err == nil && !r.OK {
		p.say("%s/%s: %d problems; do not use it, publish it again by running the same command that made it", r.Class, r.Release, len(r.Problems))
		return &statusError{exitFailed, nil}
	}
	return err
}

func (p *program) releasesWithdraw(ctx context.Context, b storage.Bucket, n releaseName, reason string) error {
	w, first, err := release.Withdraw(ctx, b, n.class, n.release, reason, time.Now())
	if err != nil {
		return missingRelease(err)
	}
	if p.json {
		return p.emit(struct {
			release.Withdrawal
			First bool `json:"first"` // whether nobody had withdrawn it before
		}{w, first})
	}
	if first {
		p.print("%s/%s is withdrawn: %s", w.Class, w.Release, w.Reason)
	} else {
		p.print("%v; that stands", &w)
	}
	return nil
}

func missingRelease(err error) error {
	if errors.Is(err, storage.ErrNotFound) {
		return fmt.Errorf("%w; `defectforge releases list` shows what there is", err)
	}
	return err
}
