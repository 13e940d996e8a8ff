package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/defectforge/defectforge/cmd/defectforge/internal/console"
	"github.com/defectforge/defectforge/cmd/defectforge/internal/process"
	"github.com/defectforge/defectforge/model/kernel"
)

// Outcomes of a check.
const (
	checkOK   = "ok"
	checkWarn = "warn"
	checkFail = "fail"
)

// check is one line of `doctor`.
type check struct {
	Name   string `json:"name"`
	Status string `json:"status"`
	Detail string `json:"detail"`
	Remedy string `json:"remedy,omitempty"`
}

// doctor gathers checks.
type doctor struct {
	app    *app
	fix    bool
	checks []check
}

func (d *doctor) ok(name, format string, args ...any) {
	d.checks = append(d.checks, check{name, checkOK, fmt.Sprintf(format, args...), ""})
}

func (d *doctor) warn(name, remedy, format string, args ...any) {
	d.checks = append(d.checks, check{name, checkWarn, fmt.Sprintf(format, args...), remedy})
}

func (d *doctor) fail(name, remedy, format string, args ...any) {
	d.checks = append(d.checks, check{name, checkFail, fmt.Sprintf(format, args...), remedy})
}

func doctorCommand(a *app) *cobra.Command {
	var fix bool
	c := &cobra.Command{
		Use:   "doctor",
		Short: "Check machine, store and Temporal, and say what to do",
		Long: `Check processor, memory, disk, ports, clock, Temporal with its namespace and
search attributes, and the store with its conditional writes; each with what to
do where it falls short. The exit status is 1 where anything fails.`,
		Example: `  defectforge doctor
  defectforge doctor --fix --json`,
		Args: cobra.NoArgs,
		RunE: a.loading(func(c *cobra.Command, _ []string) error {
			return examine(c.Context(), a, fix)
		}),
	}
	c.Flags().BoolVar(&fix, "fix", false, "register missing search attributes")
	return c
}

const doctorPatience = 20 * time.Second

// examine checks this machine, and what the configuration leads to.
func examine(ctx context.Context, a *app, fix bool) error {
	place, err := a.cfg.Place()
	if err != nil {
		return err
	}
	d := &doctor{app: a, fix: fix}
	d.machine()
	if place.Embedded {
		d.embedded(ctx)
	} else {
		d.cluster(ctx)
	}
	return d.print()
}

func (d *doctor) print() error {
	bad := 0
	for _, c := range d.checks {
		if c.Status == checkFail {
			bad++
		}
		d.app.console.Print("%s  %-18s %s", d.app.console.Paint.State(fmt.Sprintf("%-4s", c.Status)), c.Name, c.Detail)
		if c.Remedy != "" {
			d.app.console.Print("      %-18s -> %s", "", c.Remedy)
		}
	}
	if d.app.console.JSON() {
		if err := d.app.console.Emit(struct {
			OK     bool    `json:"ok"`
			Checks []check `json:"checks"`
		}{bad == 0, d.checks}); err != nil {
			return err
		}
	}
	if bad > 0 {
		return console.Exit(console.ExitFailed)
	}
	return nil
}

const (
	leastMemory = 2 << 30
	leastDisk   = 2 << 30
)

func (d *doctor) machine() {
	features := kernel.Features()
	if features == "go" {
		d.warn("processor", "training works, but slower; an x86-64 machine with AVX2 is several times as fast",
			"no vector instructions that are made use of, %s", runtime.GOARCH)
	} else {
		d.ok("processor", "%s, %s", runtime.GOARCH, features)
	}
	asked, cpus := d.app.cfg.Worker.Threads, runtime.GOMAXPROCS(0)
	if asked > cpus {
		d.warn("threads", "set worker.threads to "+strconv.Itoa(cpus)+" or 0: more would only slow each other, and Temporal, down",
			"%d are asked for, %d are used: there are no more processors", asked, cpus)
	} else {
		d.ok("threads", "%d of %d processors", d.app.process.Threads(), cpus)
	}
	switch free, known := process.FreeMemory(); {
	case !known:
		d.ok("memory", "how much is free is not known on %s", runtime.GOOS)
	case free < leastMemory:
		d.warn("memory", "close other programs, or train with lower depths",
			"%s free; the classic recipe wants about %s", humanize.IBytes(free), humanize.IBytes(leastMemory))
	default:
		d.ok("memory", "%s free", humanize.IBytes(free))
	}
}

// embedded checks the data folder and the stack in it, by running it.
func (d *doctor) embedded(ctx context.Context) {
	if !d.dataDir() {
		return
	}
	running, err := d.app.process.Running(ctx)
	if err == nil && running == nil && !d.ports() {
		return
	}
	began := time.Now()
	s, err := d.app.process.Open(ctx)
	if err != nil {
		d.fail("embedded stack", "see "+filepath.Join(d.app.cfg.DataDir, "logs"), "%v", err)
		return
	}
	defer s.Close()
	if s.Owns() {
		d.ok("embedded stack", "starts, in %s", console.TimeWords(time.Since(began).Seconds()))
	} else {
		d.ok("embedded stack", "runs already, UI at %s", s.Stack.UIURL)
	}
	d.temporal(ctx, s)
	d.conditional(ctx, s.Bucket)
}

func (d *doctor) dataDir() bool {
	dir := d.app.cfg.DataDir
	const remedy = "make it writable, or choose another with --data-dir"
	if err := os.MkdirAll(dir, 0o755); err != nil {
		d.fail("data folder", remedy, "%v", err)
		return false
	}
	f, err := os.CreateTemp(dir, ".doctor-*")
	if err != nil {
		d.fail("data folder", remedy, "%v", err)
		return false
	}
	_ = f.Close()
	_ = os.Remove(f.Name())
	d.ok("data folder", "%s is writable", dir)
	switch free, known := process.FreeDisk(dir); {
	case !known:
		d.ok("disk", "how much is free is not known on %s", runtime.GOOS)
	case free < leastDisk:
		d.warn("disk", "free some, or choose another --data-dir", "%s free", humanize.IBytes(free))
	default:
		d.ok("disk", "%s free", humanize.IBytes(free))
	}
	return true
}

// ports checks those that are configured; others are drawn from the free ones.
func (d *doctor) ports() bool {
	c, good := d.app.cfg.Devstack, true
	for _, p := range []struct {
		field string
		port  int
	}{{"devstack.temporal_port", c.TemporalPort}, {"devstack.ui_port", c.UIPort}, {"devstack.store_port", c.StorePort}} {
		if p.port == 0 {
			continue
		}
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(p.port)))
		if err != nil {
			good = false
			d.fail("ports", "set "+p.field+" to another port, or to 0 for a free one", "%s: %d: %v", p.field, p.port, err)
			continue
		}
		_ = l.Close()
	}
	if good {
		d.ok("ports", "those configured are free")
	}
	return good
}
