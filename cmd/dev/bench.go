package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"text/tabwriter"

	"github.com/spf13/cobra"
)

// benchOptions are the flags of `bench`.
type benchOptions struct {
	json    bool
	rounds  int
	steps   int
	batch   int
	threads int
	python  string
	script  string
}

// ratio is one line of the comparison. Ratio above 1 means that ours is better.
type ratio struct {
	Name        string  `json:"name"`
	Ours        float64 `json:"ours"`
	Peer        float64 `json:"peer"`
	PeerVersion string  `json:"peer_version"`
	Unit        string  `json:"unit"`
	Ratio       float64 `json:"ratio"`
}

// timing is what one side prints of one run; the names are the peer's.
type timing struct {
	Version string  `json:"version"`
	Step    float64 `json:"step_seconds_median"`
	Sample  float64 `json:"sample_images_per_second"`
	Memory  float64 `json:"peak_rss_mib"`
}

// depths are the generator's and discriminator's that are compared.
var depths = [][2]int{{64, 128}, {32, 32}}

func benchCommand() *cobra.Command {
	var o benchOptions
	c := &cobra.Command{
		Use:   "bench",
		Short: "Compare training and sampling with PyTorch, side by side",
		Long: `Compare training and sampling with PyTorch, side by side: both run in turn, in
processes of their own, and medians are compared. The peer needs a Python with
PyTorch (python3 -m venv peers && peers/bin/pip install torch numpy) and the
twin of the classic recipe, dcgan_torch.py.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return bench(cmd.Context(), o) },
	}
	f := c.Flags()
	f.BoolVar(&o.json, "json", false, "print a list of JSON objects")
	f.IntVar(&o.rounds, "rounds", 3, "alternating runs of each side")
	f.IntVar(&o.steps, "steps", 5, "timed steps and sampling batches of a run")
	f.IntVar(&o.batch, "batch", 12, "images per step")
	f.IntVar(&o.threads, "threads", 2, "threads of each side")
	f.StringVar(&o.python, "python", "python3", "interpreter that has PyTorch")
	f.StringVar(&o.script, "script", "../shared/peer/dcgan_torch.py", "the PyTorch twin")
	return c
}

func bench(ctx context.Context, o benchOptions) error {
	if o.rounds < 1 || o.steps < 1 || o.threads < 1 {
		return fmt.Errorf("rounds, steps and threads: %d, %d and %d; each must be at least 1", o.rounds, o.steps, o.threads)
	}
	if _, err := os.Stat(o.script); err != nil {
		return fmt.Errorf("script: %w; name the PyTorch twin with --script", err)
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	var rows []ratio
	for _, d := range depths {
		args := []string{"--gdepth", strconv.Itoa(d[0]), "--ddepth", strconv.Itoa(d[1]), "--batch", strconv.Itoa(o.batch),
			"--steps", strconv.Itoa(o.steps), "--threads", strconv.Itoa(o.threads)}
		var ours, peers []timing
		for range o.rounds {
			a, err := measure(ctx, self, append([]string{"bench-one"}, args...))
			if err != nil {
				return err
			}
			b, err := measure(ctx, o.python, append([]string{o.script, "bench"}, args...))
			if err != nil {
				return fmt.Errorf("%w; --python must name an interpreter with PyTorch", err)
			}
			ours, peers = append(ours, a), append(peers, b)
		}
		rows = append(rows, compare(fmt.Sprintf("%d/%d", d[0], d[1]), ours, peers)...)
	}
	return printRatios(os.Stdout, rows, o.json)
}

// measure runs one side and reads the JSON object that it prints last.
func measure(ctx context.Context, name string, args []string) (timing, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return timing{}, fmt.Errorf("run %s %v: %w", name, args, err)
	}
	lines := bytes.Split(bytes.TrimSpace(out), []byte("\n"))
	var t timing
	if err := json.Unmarshal(lines[len(lines)-1], &t); err != nil {
		return timing{}, fmt.Errorf("read result of %s %v: %w", name, args, err)
	}
	return t, nil
}

func compare(at string, ours, peers []timing) []ratio {
	version := "PyTorch " + peers[0].Version
	row := func(name, unit string, less bool, of func(timing) float64) ratio {
		a, b := median(ours, of), median(peers, of)
		r := ratio{Name: name + " " + at, Ours: a, Peer: b, PeerVersion: version, Unit: unit, Ratio: a / b}
		if less {
			r.Ratio = b / a
		}
		return r
	}
	return []ratio{
		row("training step", "s", true, func(t timing) float64 { return t.Step }),
		row("sampling", "images/s", false, func(t timing) float64 { return t.Sample }),
		row("peak memory", "MiB", true, func(t timing) float64 { return t.Memory }),
	}
}

// median of the values, the lower one of two in the middle.
func median(runs []timing, of func(timing) float64) float64 {
	values := make([]float64, len(runs))
	for i, t := range runs {
		values[i] = of(t)
	}
	slices.Sort(values)
	return values[(len(values)-1)/2]
}

func printRatios(w io.Writer, rows []ratio, asJSON bool) error {
	if asJSON {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(rows)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "what\tours\tpeer\tunit\tratio\tpeer's version")
	for _, r := range rows {
		fmt.Fprintf(t, "%s\t%.4g\t%.4g\t%s\t%.2f\t%s\n", r.Name, r.Ours, r.Peer, r.Unit, r.Ratio, r.PeerVersion)
	}
	return t.Flush()
}
