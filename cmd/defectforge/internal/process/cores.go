package process

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"sync"

	"github.com/gofrs/flock"
	"go.temporal.io/sdk/interceptor"

	"github.com/defectforge/defectforge/model/kernel"
)

// cores shares a machine's processors among the training workers that compute
// on it, so that two of them don't slow each other down. Each holds a lock file
// while it computes, and takes its share of the processors by the number of
// locks; that number is looked up at the start of each stage, so that a leg of
// training takes what the last one left. Containers have temporary folders of
// their own, and there the processor limit decides alone.
type cores struct {
	dir       string // of the lock files
	want, all int    // threads at most, and processors
	log       *slog.Logger
	set       func(threads int)

	mu      sync.Mutex
	stages  int // that compute in this process
	lock    *flock.Flock
	threads int
}

// maxTrainings bounds the lock files.
const maxTrainings = 64

func newCores(want int, log *slog.Logger) *cores {
	dir := filepath.Join(os.TempDir(), fmt.Sprintf("defectforge-training-%d", os.Getuid()))
	return &cores{dir: dir, want: want, all: runtime.GOMAXPROCS(0), log: log, set: kernel.SetThreads, threads: want}
}

// enter claims this process's share.
func (c *cores) enter() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stages++; c.stages > 1 {
		return
	}
	others, err := c.claim()
	if err != nil {
		c.log.Warn("processors are not shared with other training workers of this machine", "error", err)
	}
	threads := max(1, min(c.want, c.all/(others+1)))
	if threads != c.threads {
		c.log.Info("threads of training change", "threads", threads, "processors", c.all, "other_trainings", others)
	}
	c.threads = threads
	c.set(threads)
}

func (c *cores) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stages--; c.stages == 0 && c.lock != nil {
		_ = c.lock.Close() // the process's end unlocks it as well
		c.lock = nil
	}
}

// claim locks the first free file, and counts the files that others hold.
func (c *cores) claim() (others int, err error) {
	if err := os.MkdirAll(c.dir, 0o700); err != nil {
		return 0, fmt.Errorf("make folder for locks: %w", err)
	}
	for i := range maxTrainings {
		path := filepath.Join(c.dir, fmt.Sprintf("%d.lock", i))
		if c.lock != nil {
			if _, err := os.Stat(path); os.IsNotExist(err) {
				break // later ones were never needed
			}
		}
		f := flock.New(path)
		take := f.TryLock
		if c.lock != nil {
			take = f.TryRLock // does not stand in the way of others that count
		}
		free, err := take()
		switch {
		case err != nil:
			_ = f.Close()
			return others, fmt.Errorf("lock %s: %w", path, err)
		case !free:
			others++
			_ = f.Close()
		case c.lock == nil:
			c.lock = f
		default:
			_ = f.Close()
		}
	}
	return others, nil
}

// Interceptor makes every stage of a worker claim its share.
func (c *cores) interceptor() interceptor.WorkerInterceptor { return &coreWorker{cores: c} }

type coreWorker struct {
	interceptor.WorkerInterceptorBase
	cores *cores
}

func (w *coreWorker) InterceptActivity(
	_ context.Context, next interceptor.ActivityInboundInterceptor,
) interceptor.ActivityInboundInterceptor {
	s := &coreStage{cores: w.cores}
	s.Next = next
	return s
}

type coreStage struct {
	interceptor.ActivityInboundInterceptorBase
	cores *cores
}

func (s *coreStage) ExecuteActivity(ctx context.Context, in *interceptor.ExecuteActivityInput) (any, error) {
	s.cores.enter()
	defer s.cores.leave()
	return s.Next.ExecuteActivity(ctx, in)
}
