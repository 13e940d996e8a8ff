package devstack

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"runtime"
	"sync/atomic"
	"time"
)

// StoreCommand is the first argument of the re-executed binary: main must pass
// on to StoreMain when os.Args[1] equals it.
const StoreCommand = "embedded-store-process"

const (
	// maxRapidFailures is how often in a row the child may end within
	// settledAfter of its start before the store counts as failed.
	maxRapidFailures = 10
	settledAfter     = 10 * time.Second
	// stopPatience is how long the child may take to finish its requests.
	stopPatience = 5 * time.Second
)

// storeConfig travels to the child over its standard input, so that no secret
// is in a command line or an environment.
type storeConfig struct {
	Port      int         `json:"port"`
	DataDir   string      `json:"data_dir"`
	Metadata  string      `json:"metadata_dir"` // empty: extended attributes
	LockFile  string      `json:"lock_file"`
	Keys      credentials `json:"keys"`
	HealthKey string      `json:"health_key"` // tells this start's child from a stale one
}

// storeProcess supervises the child: restarts it when it dies.
type storeProcess struct {
	config  storeConfig
	logName string
	logger  *slog.Logger
	fail    func(error)
	pause   time.Duration // before the second restart in a row; doubles from there

	pid   atomic.Int64
	ready chan error // first readiness, or why there is none
	quit  chan struct{}
	done  chan struct{}
}

func startStore(dir *dataDir, port int, keys credentials, cfg Config, fail func(error)) (*storeProcess, error) {
	metadata, err := metadataDir(dir, cfg)
	if err != nil {
		return nil, err
	}
	s := &storeProcess{
		config: storeConfig{Port: port, DataDir: dir.file("store/data"), Metadata: metadata,
			LockFile: dir.file("store/lock"), Keys: keys, HealthKey: hex.EncodeToString(random(8))},
		logName: dir.file("logs/store.log"), logger: cfg.Logger, fail: fail, pause: 50 * time.Millisecond,
		ready: make(chan error, 1), quit: make(chan struct{}), done: make(chan struct{}),
	}
	go s.supervise()
	return s, nil
}

// supervise keeps one OS thread: on Linux the child's parent-death signal is
// bound to the thread that started it.
func (s *storeProcess) supervise() {
	defer close(s.done)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for failures := 0; ; {
		began := time.Now()
		err := s.runOnce()
		if s.quitting() {
			return
		}
		if time.Since(began) > settledAfter {
			failures = 0
		}
		if failures++; failures >= maxRapidFailures {
			err = fmt.Errorf("the embedded store ended %d times in a row, last by %w: %s (log: %s)",
				failures, err, lastLine(s.logName), s.logName)
			s.signal(err)
			s.fail(err)
			return
		}
		s.logger.Warn("embedded store ended, starting it again", "cause", err, "failures", failures)
		select {
		case <-s.quit:
			return
		case <-time.After(s.backoff(failures)):
		}
	}
}

// backoff is nothing after the first failure, so that a killed child is back at
// once, then pause doubling up to 2 s.
func (s *storeProcess) backoff(failures int) time.Duration {
	if failures <= 1 {
		return 0
	}
	return min(s.pause<<(failures-2), 2*time.Second)
}

// runOnce starts a child and returns when it has ended.
func (s *storeProcess) runOnce() error {
	log, err := openLog(s.logName, logLimit)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	stdin, hold, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("make pipe: %w", err)
	}
	defer func() { _ = hold.Close() }()
	cmd := exec.Command(executable(), StoreCommand)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, log.file, log.file
	detach(cmd)
	err = cmd.Start()
	_ = stdin.Close()
	if err != nil {
		return fmt.Errorf("start process: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	s.pid.Store(int64(cmd.Process.Pid))
	defer s.pid.Store(0)
	if err := json.NewEncoder(hold).Encode(s.config); err != nil {
		_ = cmd.Process.Kill()
		return errors.Join(fmt.Errorf("pass configuration: %w", err), cmd.Wait())
	}
	go s.announce(ctx)
	go s.endOnQuit(ctx, cmd, hold)
	if err := cmd.Wait(); err != nil {
		return err
	}
	return errors.New("exit status 0")
}

// announce reports readiness once the child answers.
func (s *storeProcess) announce(ctx context.Context) {
	url := "http://" + address(s.config.Port) + healthPath(s.config.HealthKey)
	if poll(ctx, nil, func(ctx context.Context) error { return get(ctx, url) }) == nil {
		s.signal(nil)
	}
}

// endOnQuit closes the child's standard input, upon which it finishes its
// requests and ends, and kills it when that takes too long.
func (s *storeProcess) endOnQuit(ctx context.Context, cmd *exec.Cmd, hold *os.File) {
	select {
	case <-ctx.Done():
		return
	case <-s.quit:
	}
	_ = hold.Close()
	select {
	case <-ctx.Done():
	case <-time.After(stopPatience):
		_ = cmd.Process.Kill()
	}
}

func (s *storeProcess) signal(err error) {
	select {
	case s.ready <- err:
	default:
	}
}

func (s *storeProcess) quitting() bool {
	select {
	case <-s.quit:
		return true
	default:
		return false
	}
}

// waitReady returns when the first child answers, or can't be brought to.
func (s *storeProcess) waitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	select {
	case err := <-s.ready:
		if err != nil {
			return fmt.Errorf("start embedded store: %w", err)
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for embedded store: %w: %s (log: %s)", ctx.Err(), lastLine(s.logName), s.logName)
	}
}

func (s *storeProcess) stop(ctx context.Context) error {
	close(s.quit)
	select {
	case <-s.done:
		return nil
	case <-ctx.Done():
		if pid := s.pid.Load(); pid != 0 {
			if p, err := os.FindProcess(int(pid)); err == nil {
				_ = p.Kill()
			}
		}
		<-s.done
		return ctx.Err()
	}
}
