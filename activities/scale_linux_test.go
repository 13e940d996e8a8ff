package activities

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"iter"
	"os"
	"os/exec"
	"regexp"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/converter"

	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/model/kernel"
	"github.com/defectforge/defectforge/model/spec"
	"github.com/defectforge/defectforge/model/spec/spectest"
	"github.com/defectforge/defectforge/storage"
	"github.com/defectforge/defectforge/storage/memory"
)

const (
	// scaleVariable names the number of images of TestScale, scaleChild that of the
	// process that handles them.
	scaleVariable = "DEFECTFORGE_TEST_SCALE"
	scaleChild    = "DEFECTFORGE_TEST_SCALE_CHILD"
	// perImage is what every stage may keep of an image: its entry in the manifest
	// and in the index of the tensors, as documents and decoded, and what it is
	// looked up by. Its pixels are 48 KiB.
	perImage = 4 << 10
	// spread is how far the peaks of two processes may differ by chance.
	spread = 96 << 20
	// scaleSteps is how many steps are trained, on images from all shards.
	scaleSteps = 25
)

// TestScale runs every stage on many images and on a tenth of them, each in a
// process of its own, and compares the peaks of memory, stage by stage. Images are
// drawn when they are read; the shards lie in a folder, which takes 48 KiB an image,
// and as much again while a stage works.
func TestScale(t *testing.T) {
	if n, err := strconv.Atoi(os.Getenv(scaleChild)); err == nil {
		stagesAt(t, n)
		return
	}
	images, err := strconv.Atoi(os.Getenv(scaleVariable))
	if err != nil {
		t.Skipf("%s names no number of images: 100000 take about ten minutes and 10 GB of disk", scaleVariable)
	}
	few, many := scaleRun(t, images/10), scaleRun(t, images)
	for _, f := range few {
		for _, m := range many {
			if f.stage != m.stage {
				continue
			}
			t.Logf("%-10s %8d images: %5d MiB, %7.1f s; %8d images: %5d MiB, %7.1f s", f.stage, images/10, f.peak>>20, f.seconds, images, m.peak>>20, m.seconds)
			require.LessOrEqual(t, m.peak, f.peak+spread+int64(images-images/10)*perImage, "bytes at the peak of %s", f.stage)
		}
	}
	require.Len(t, many, len(few))
}

type scaleStage struct {
	stage   string
	peak    int64 // bytes
	seconds float64
}

var scaleLine = regexp.MustCompile(`scale: (\S+) (\d+) bytes ([0-9.]+) seconds`)

// scaleRun runs the stages in a process of its own.
func scaleRun(t *testing.T, images int) (stages []scaleStage) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestScale$", "-test.v", "-test.timeout=0")
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d", scaleChild, images))
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	for _, m := range scaleLine.FindAllStringSubmatch(string(out), -1) {
		peak, err := strconv.ParseInt(m[2], 10, 64)
		require.NoError(t, err)
		seconds, err := strconv.ParseFloat(m[3], 64)
		require.NoError(t, err)
		stages = append(stages, scaleStage{m[1], peak, seconds})
	}
	require.NotEmpty(t, stages, "%s", out)
	return stages
}

// stagesAt runs the stages and prints their peaks.
func stagesAt(t *testing.T, images int) {
	store := storage.New(memory.InFolder(t.TempDir()))
	dir := t.TempDir()
	source := &drawnBucket{n: images, textures: textures()}
	sources := func(context.Context, string) (storage.Reader, error) { return source, nil }
	recipe := spectest.Quick()
	recipe.Ingest.SelectionShare, recipe.Sample.Count, recipe.Monitor.Images = 0.1, 240, 64
	o := step.Outcome{Run: testRun, Class: "drawn", Source: step.Source{Bucket: "drawn"}, Recipe: recipe}
	ctx := t.Context()
	// stage measures the peak of one stage alone.
	stage := func(name string, do func() error) {
		debug.FreeOSMemory() // what the stage before had
		require.NoError(t, os.WriteFile("/proc/self/clear_refs", []byte("5"), 0), "reset the peak")
		start := time.Now()
		require.NoError(t, do(), name)
		fmt.Printf("scale: %s %d bytes %.1f seconds\n", name, peakMemory(t), time.Since(start).Seconds())
	}
	stage("ingest", func() (err error) {
		o.Ingest, err = Ingester{Store: store, Sources: sources}.Ingest(ctx, step.IngestInput{Class: o.Class, Source: o.Source, Ingest: recipe.Ingest})
		return err
	})
	require.Greater(t, o.Ingest.Usable, images*9/10, "%+v", o.Ingest)
	stage("preprocess", func() (err error) {
		o.Preprocess, err = Preprocessor{Store: store, Sources: sources}.Preprocess(ctx, step.PreprocessInput{Dataset: o.Ingest.Dataset, Source: o.Source})
		return err
	})
	stage("train", func() error {
		o.Train.Checkpoint, o.Train.Curves = someSteps(t, Trainer{Store: store, Scratch: dir}, step.TrainInput{Run: testRun, Tensors: o.Preprocess.Tensors, Recipe: recipe, ToEpoch: 1})
		return nil
	})
	stage("evaluate", func() error {
		_, err := Evaluator{Store: store, Scratch: dir}.Evaluate(ctx, step.EvaluateInput{Checkpoint: o.Train.Checkpoint, Tensors: o.Preprocess.Tensors, Recipe: recipe, Epoch: 1})
		return err
	})
	stage("sample", func() (err error) {
		o.Sample, err = Sampler{Store: store, Scratch: dir}.Sample(ctx, step.SampleInput{Checkpoint: o.Train.Checkpoint, Recipe: recipe})
		return err
	})
	stage("check", func() (err error) {
		o.Check, err = Checker{Store: store, Scratch: dir}.CheckOverfit(ctx, step.OverfitInput{
			Candidates: o.Sample.Candidates, Dataset: o.Ingest.Dataset, Tensors: o.Preprocess.Tensors, Overfit: recipe.Overfit})
		return err
	})
	stage("assess", func() (err error) {
		o.Assess, err = Assessor{Store: store, Scratch: dir}.Assess(ctx, step.AssessInput{Ingest: o.Ingest, Sample: o.Sample, Check: o.Check,
			Tensors: o.Preprocess.Tensors, Dataset: o.Ingest.Dataset, Policy: spec.ProductionPolicy(), Seed: recipe.Seed})
		return err
	})
	stage("report", func() error {
		_, err := Reporter{Store: store}.Report(ctx, step.ReportInput{Outcome: o})
		return err
	})
}

// peakMemory is the largest resident set since the peak was reset, in bytes.
func peakMemory(t *testing.T) int64 {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	require.NoError(t, err)
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	number, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
	kib, err := strconv.ParseInt(number, 10, 64)
	require.NoError(t, err)
	return kib << 10
}

// someSteps trains until a heartbeat reports enough steps, as on a worker that is
// stopped then, and gives the state that was handed over.
func someSteps(t *testing.T, tr Trainer, in step.TrainInput) (checkpoint, curves step.Ref) {
	t.Helper()
	env := activityEnv()
	env.SetTestTimeout(6 * time.Hour)
	step.Train.Register(env, classify(tr.Train))
	stop := make(chan struct{})
	env.SetWorkerStopChannel(stop)
	var mu sync.Mutex
	var last step.TrainProgress
	var once sync.Once
	env.SetOnActivityHeartbeatListener(func(_ *activity.Info, v converter.EncodedValues) {
		mu.Lock()
		defer mu.Unlock()
		if v.Get(&last) == nil && last.Step >= scaleSteps {
			once.Do(func() { close(stop) })
		}
	})
	_, err := env.ExecuteActivity(string(step.Train), in)
	require.ErrorContains(t, err, errHandOver.Error())
	mu.Lock()
	defer mu.Unlock()
	require.False(t, last.Checkpoint.IsZero(), "%+v", last)
	return last.Checkpoint, last.Curves
}

// drawnBucket holds n bitmaps, each drawn when it is read: two textures, each
// shifted, one over the other.
type drawnBucket struct {
	storage.Bucket // nil: nothing else is called
	n              int
	textures       [][]uint8
}

const (
	bitmapHeader = 54
	bitmapSize   = bitmapHeader + 3*spec.Size*spec.Size
)

func textures() (all [][]uint8) {
	const cell, side = 16, spec.Size / 16
	for k := range 64 {
		coarse, fine := make([]float32, side*side), make([]float32, spec.Size*spec.Size)
		kernel.NewStream(1, "coarse", uint64(k)).Uniform(coarse, 0, 200)
		kernel.NewStream(1, "fine", uint64(k)).Uniform(fine, 0, 55)
		plane := make([]uint8, len(fine))
		for i, v := range fine {
			y, x := i/spec.Size, i%spec.Size
			plane[i] = uint8(v + coarse[y/cell*side+x/cell])
		}
		all = append(all, plane)
	}
	return all
}

func (b *drawnBucket) key(i int) string { return fmt.Sprintf("%07d.bmp", i) }

func (b *drawnBucket) draw(i int) []uint8 {
	const mask = spec.Size - 1
	r := kernel.NewStream(1, "drawn", uint64(i)).Perm(1 << 10)
	first, second := b.textures[r[0]%64], b.textures[r[1]%64]
	out := make([]uint8, bitmapSize)
	copy(out, "BM")
	for at, v := range map[int]uint32{2: bitmapSize, 10: bitmapHeader, 14: 40, 18: spec.Size, 22: spec.Size, 26: 1 | 24<<16} {
		binary.LittleEndian.PutUint32(out[at:], v)
	}
	for p := range spec.Size * spec.Size {
		y, x := p/spec.Size, p%spec.Size
		v := first[(y+r[2])&mask*spec.Size+(x+r[3])&mask]/2 + second[(y+r[4])&mask*spec.Size+(x+r[5])&mask]/2
		out[bitmapHeader+3*p], out[bitmapHeader+3*p+1], out[bitmapHeader+3*p+2] = v, v, v
	}
	return out
}

func (b *drawnBucket) List(context.Context, string) iter.Seq2[storage.Info, error] {
	return func(yield func(storage.Info, error) bool) {
		for i := 0; i < b.n && yield(storage.Info{Key: b.key(i), Size: bitmapSize}, nil); i++ {
		}
	}
}

func (b *drawnBucket) Get(_ context.Context, key string) (io.ReadCloser, storage.Info, error) {
	i, err := strconv.Atoi(strings.TrimSuffix(key, ".bmp"))
	if err != nil {
		return nil, storage.Info{}, storage.ErrNotFound
	}
	return io.NopCloser(bytes.NewReader(b.draw(i))), storage.Info{Key: key, Size: bitmapSize}, nil
}
