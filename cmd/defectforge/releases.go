package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/defectforge/defectforge/cmd/defectforge/internal/console"
	"github.com/defectforge/defectforge/cmd/defectforge/internal/process"
	"github.com/defectforge/defectforge/storage"
	"github.com/defectforge/defectforge/storage/release"
	"github.com/defectforge/defectforge/storage/release/sign"
)

// releaseName says which release is meant.
type releaseName struct{ class, release string }

func releasesCommand(a *app) *cobra.Command {
	g := group("releases", "List, verify, download and withdraw published releases",
		releasesListCommand(a), releasesVerifyCommand(a), releasesPullCommand(a), releasesWithdrawCommand(a))
	g.Long = `Releases are the published sets, in the bucket below releases/. These commands
need the store alone, no Temporal.`
	g.Example = `  defectforge releases list
  defectforge releases verify scratches`
	return g
}

// checkedBy demands signatures by a key, if one is given.
func checkedBy(key string) ([]release.Option, error) {
	if key == "" {
		return nil, nil
	}
	public, err := sign.LoadPublicKey(key)
	if err != nil {
		return nil, console.Usage("--public-key: %w", err)
	}
	return []release.Option{release.WithVerifier(public)}, nil
}

// withStore has the configuration and the store first.
func withStore(a *app, c *cobra.Command, do func(context.Context, *process.Session) error) error {
	if err := a.load(c); err != nil {
		return err
	}
	s, err := a.process.OpenStore(c.Context())
	if err != nil {
		return err
	}
	defer s.Close()
	return do(c.Context(), s)
}

// oneReleaseCommand is a command on one release. Where none is named, that is
// the newest one, withdrawn or not if the command asks for it.
func oneReleaseCommand(
	a *app, name, short string, withdrawn bool, do func(context.Context, storage.Bucket, releaseName) error,
) *cobra.Command {
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
			return withStore(a, c, func(ctx context.Context, s *process.Session) error {
				n, err := resolveRelease(ctx, a, s.Bucket, n, withdrawn)
				if err != nil {
					return err
				}
				return do(ctx, s.Bucket, n)
			})
		},
		ValidArgsFunction: completeReleases(a, 1),
	}
	c.Flags().StringVar(&class, "class", "", "the defect class")
	c.Flags().StringVar(&chosen, "release", "", "the release (default: the latest)")
	return c
}

// parseRelease accepts CLASS, CLASS RELEASE, CLASS/RELEASE, a prefix as the
// manifest's key shows it, a release alone, and the flags.
func parseRelease(args []string, class, name string) (releaseName, error) {
	if len(args) > 0 && class == "" {
		parts := strings.Split(strings.Trim(strings.TrimPrefix(args[0], release.Root), "/"), "/")
		class, args = parts[0], append(parts[1:], args[1:]...)
	}
	if len(args) > 0 && name == "" {
		name, args = args[0], args[1:]
	}
	if len(args) > 0 || class == "" {
		return releaseName{}, console.Usage("name one release: CLASS, or CLASS/RELEASE; `defectforge releases list` shows what there is")
	}
	if name == "" {
		name = release.Newest
	}
	for _, part := range []string{class, name} {
		if err := storage.ValidKey(part); err != nil || strings.Contains(part, "/") {
			return releaseName{}, console.Usage("%q: cannot be part of a release's name; `defectforge releases list` shows what there is", part)
		}
	}
	return releaseName{class, name}, nil
}

// resolveRelease turns "latest" into a name, and takes a release's name where a
// class was expected. Unless they are wanted, it skips withdrawn releases while
// there are others.
func resolveRelease(ctx context.Context, a *app, b storage.Bucket, n releaseName, withdrawn bool) (releaseName, error) {
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
			a.console.Say("%s/%s has been withdrawn; taking %s, the newest before it", n.class, latest.Release, name)
		}
		return releaseName{n.class, name}, nil
	}
	if !errors.Is(err, storage.ErrNotFound) {
		return n, nil // a damaged pointer is for the command to report
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

// missingRelease says what to do where there is no such release.
func missingRelease(err error) error {
	if errors.Is(err, storage.ErrNotFound) {
		return fmt.Errorf("%w; `defectforge releases list` shows what there is", err)
	}
	return err
}
