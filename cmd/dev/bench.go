package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
)

// benchOptions are the flags of `bench`.
type benchOptions struct {
	json       bool
	rounds     int
	steps      int
	batch      int
	threads    int
	peers      []string
	python     string
	script     string
	images     string
	reals      int
	candidates int
}

func benchCommand() *cobra.Command {
	var o benchOptions
	c := &cobra.Command{
		Use:   "bench",
		Short: "Compare training, sampling, kNN and preprocessing with their peers, side by side",
		Long: `Compare training and sampling with PyTorch, the search for nearest real images
with scikit-learn and faiss, preprocessing with Pillow, and the arithmetic of
training with what the processor can do at best. All run in turn, in processes of
their own with as many threads, and medians are compared. Peers are installed by

    ` + installPeers + `

and a missing one is an error; --peers chooses among them. PyTorch also needs the
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
	f.StringSliceVar(&o.peers, "peers", peerNames(), "whom to compare with")
	f.StringVar(&o.python, "python", "peers/bin/python", "interpreter that has the peers")
	f.StringVar(&o.script, "script", "../shared/peer/dcgan_torch.py", "the PyTorch twin")
	f.StringVar(&o.images, "images", neuImages, "folder of JPEG files to preprocess; where the default is absent, some are drawn")
	f.IntVar(&o.reals, "reals", 20000, "images that neighbours are searched among")
	f.IntVar(&o.candidates, "candidates", 1000, "images whose neighbours are searched")
	return c
}

// benchmark is what the comparisons share.
type benchmark struct {
	benchOptions
	self     string            // this program
	dir      string            // of files that the sides share
	versions map[string]string // of the peers, by name
}

func bench(ctx context.Context, o benchOptions) error {
	if err := o.validate(); err != nil {
		return err
	}
	b := benchmark{benchOptions: o}
	var err error
	if b.self, err = os.Executable(); err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	if b.dir, err = os.MkdirTemp("", "defectforge-bench-"); err != nil {
		return fmt.Errorf("make folder for shared files: %w", err)
	}
	defer os.RemoveAll(b.dir)
	if err := b.findPeers(ctx); err != nil {
		return err
	}
	var rows []ratio
	for _, part := range []func(context.Context) ([]ratio, error){b.training, b.search, b.preprocessing} {
		more, err := part(ctx)
		if err != nil {
			return err
		}
		rows = append(rows, more...)
	}
	return printRatios(os.Stdout, rows, o.json)
}

func (o benchOptions) validate() error {
	for _, f := range []struct {
		name       string
		value, low int
	}{
		{"rounds", o.rounds, 1}, {"steps", o.steps, 1}, {"batch", o.batch, 2}, {"threads", o.threads, 1},
		{"reals", o.reals, searchK}, {"candidates", o.candidates, 1},
	} {
		if f.value < f.low {
			return fmt.Errorf("--%s is %d; it must be at least %d", f.name, f.value, f.low)
		}
	}
	for _, p := range o.peers {
		if !slices.Contains(peerNames(), p) {
			return fmt.Errorf("--peers has %q; choose from %s", p, strings.Join(peerNames(), ", "))
		}
	}
	return nil
}

func (b *benchmark) has(peer string) bool { return slices.Contains(b.peers, peer) }

// progress says what is being measured.
func (b *benchmark) progress(what string, round int) {
	fmt.Fprintf(os.Stderr, "%s: round %d of %d\n", what, round+1, b.rounds)
}

// ours runs our side of a comparison.
func ours[T any](ctx context.Context, b *benchmark, args ...string) (T, error) {
	args = append([]string{"bench-one"}, args...)
	return measure[T](ctx, b, b.self, append(args, "--threads", strconv.Itoa(b.threads)))
}

// measure runs one side and reads the JSON object that it prints last. The usual
// libraries of the peers take the number of threads from the environment.
func measure[T any](ctx context.Context, b *benchmark, name string, args []string) (T, error) {
	var result T
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stderr = os.Stderr
	cmd.Env = os.Environ()
	for _, library := range []string{"OMP", "OPENBLAS", "MKL"} {
		cmd.Env = append(cmd.Env, library+"_NUM_THREADS="+strconv.Itoa(b.threads))
	}
	out, err := cmd.Output()
	if err != nil {
		return result, fmt.Errorf("run %s %s: %w", name, strings.Join(args, " "), err)
	}
	if err := lastObject(out, &result); err != nil {
		return result, fmt.Errorf("read result of %s %s: %w", name, strings.Join(args, " "), err)
	}
	return result, nil
}

// lastObject reads the JSON object in the last line.
func lastObject(out []byte, into any) error {
	lines := bytes.Split(bytes.TrimSpace(out), []byte("\n"))
	return json.Unmarshal(lines[len(lines)-1], into)
}
