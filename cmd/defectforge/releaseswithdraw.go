package main

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/defectforge/defectforge/cmd/defectforge/internal/console"
	"github.com/defectforge/defectforge/config"
	"github.com/defectforge/defectforge/storage"
	"github.com/defectforge/defectforge/storage/release"
)

func releasesWithdrawCommand(a *app) *cobra.Command {
	var reason string
	c := oneReleaseCommand(a, "withdraw", "Mark a release as not to be used, for good", true,
		func(ctx context.Context, b storage.Bucket, n releaseName) error {
			if own, err := a.process.Publisher(config.RoleIO); err != nil {
				return err
			} else if own != nil {
				b = own
			}
			return withdrawRelease(ctx, a, b, n, reason)
		})
	c.Long = `Mark a release as not to be used, for good. It stays readable; ` + "`list`" + ` and ` + "`verify`" + `
say so. ` + "`pull`" + ` takes the newest release before it, or refuses it where it is named.`
	c.Example = `  defectforge releases withdraw scratches --reason "wrong light on line 3"
  defectforge releases withdraw scratches/0123456789abcdef --reason "copied images" --json`
	c.Flags().StringVar(&reason, "reason", "", "why; shown to everybody who looks at the release")
	withdraw := c.RunE
	c.RunE = func(c *cobra.Command, args []string) error {
		if strings.TrimSpace(reason) == "" {
			return console.Usage("--reason: not given; say why, for everybody who looks at the release")
		}
		return withdraw(c, args)
	}
	return c
}

func withdrawRelease(ctx context.Context, a *app, b storage.Bucket, n releaseName, reason string) error {
	w, first, err := release.Withdraw(ctx, b, n.class, n.release, reason, time.Now())
	if err != nil {
		return missingRelease(err)
	}
	if a.console.JSON() {
		return a.console.Emit(struct {
			release.Withdrawal
			First bool `json:"first"` // whether nobody had withdrawn it before
		}{w, first})
	}
	if first {
		a.console.Print("%s/%s is withdrawn: %s", w.Class, w.Release, w.Reason)
	} else {
		a.console.Print("%v; that stands", &w)
	}
	return nil
}
