// Package devstack runs what a cluster would offer, on one machine and out of
// one folder: a Temporal server with its web UI inside this process, on SQLite,
// and an S3 store as a child process of the same binary.
//
// Everything listens on 127.0.0.1 only. Both parts are crash-safe: kill either
// process at any moment, start again on the same folder, and what was
// acknowledged is there. The folder holds:
//
//	lock, lock.pid          one process at a time, and which
//	ports.json              the ports drawn at the first start
//	credentials.json        the store's keys (mode 0600)
//	temporal/temporal.db    the server's database, stamped with its version
//	store/data              the objects; store/metadata where xattrs are missing
//	logs/temporal.log, logs/store.log
//
// A program that calls Start must dispatch to StoreMain first thing in main:
//
//	if len(os.Args) > 1 && os.Args[1] == devstack.StoreCommand {
//		os.Exit(devstack.StoreMain(os.Args[2:]))
//	}
package devstack

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"time"
)

// Errors that Start reports, to be matched with errors.Is. Their texts name
// what is in the way and what to do about it.
var (
	// ErrLocked: another process runs a stack on the same folder.
	ErrLocked = errors.New("data folder is in use")
	// ErrPortTaken: a configured port is not free.
	ErrPortTaken = errors.New("port is taken")
	// ErrVersion: another version of Temporal's server made the database.
	ErrVersion = errors.New("database of another Temporal server version")
)

// Retention is how long closed workflows stay readable.
const Retention = 30 * 24 * time.Hour

// host is where everything listens: nothing here is meant for a network.
const host = "127.0.0.1"

// Config says where a stack keeps its data and where it listens.
type Config struct {
	// DataDir is the folder of everything the stack keeps. It is made where
	// it is missing.
	DataDir string
	// TemporalPort, UIPort and StorePort are taken as they are, and an error
	// where they are not free. With 0 a free one is drawn and kept for later
	// starts as long as it stays free.
	TemporalPort, UIPort, StorePort int
	// Namespace is made where it is missing; "default" where empty.
	Namespace string
	// SearchAttributes are names and types ("Keyword", "Int", "Datetime",
	// "Double", "Bool", "Text", "KeywordList") registered in the namespace.
	SearchAttributes map[string]string
	// CodecEndpoint is the URL of a codec server that the web UI decrypts with;
	// empty for none.
	CodecEndpoint string
	// Logger hears of starts, restarts and failures of the parts. Their own
	// logs go to files. Nil is silent.
	Logger *slog.Logger

	// sidecar keeps metadata in files even where xattrs work, for tests.
	sidecar bool
}

func (c *Config) normalise() error {
	if c.DataDir == "" {
		return errors.New("data_dir is empty: name a folder for the embedded stack")
	}
	dir, err := filepath.Abs(c.DataDir)
	if err != nil {
		return fmt.Errorf("resolve data_dir %q: %w", c.DataDir, err)
	}
	c.DataDir = dir
	if c.Namespace == "" {
		c.Namespace = "default"
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return nil
}

// Stack is a running stack. Its fields say how to reach it and do not change.
type Stack struct {
	// TemporalAddress is the frontend's host:port, plain gRPC.
	TemporalAddress string
	// Namespace exists and has the configured search attributes.
	Namespace string
	// UIURL is the web UI's address, without a trailing slash.
	UIURL string
	// StoreEndpoint is the S3 server's host:port, plain HTTP, path-style.
	StoreEndpoint string
	// AccessKey and SecretKey open the store.
	AccessKey, SecretKey string
	// SyncURL answers a POST with 204 once everything the store acknowledged
	// before is on the disk. It carries a secret: do not log it.
	SyncURL string

	store   *storeProcess
	failed  chan error
	dir     *dataDir
	closers []closer // in the order of starting
	once    sync.Once
	stopErr error
}

type closer struct {
	name  string
	close func(context.Context) error
}

// Start brings up the stack and returns when all of it answers. ctx bounds the
// start only. On an error nothing is left running.
func Start(ctx context.Context, cfg Config) (_ *Stack, err error) {
	if err := cfg.normalise(); err != nil {
		return nil, err
	}
	began := time.Now()
	s := &Stack{Namespace: cfg.Namespace, failed: make(chan error, 1)}
	defer func() {
		if err != nil {
			stopCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
			defer cancel()
			_ = s.Stop(stopCtx) // the start's error says more
		}
	}()
	if err := s.start(ctx, cfg); err != nil {
		return nil, err
	}
	cfg.Logger.Info("embedded stack is ready", "temporal", s.TemporalAddress, "ui", s.UIURL,
		"store", s.StoreEndpoint, "took", time.Since(began).Round(time.Millisecond))
	return s, nil
}

func (s *Stack) start(ctx context.Context, cfg Config) error {
	dir, err := openDataDir(cfg.DataDir)
	if err != nil {
		return err
	}
	s.dir = dir
	ports, err := dir.ports(ctx, cfg)
	if err != nil {
		return err
	}
	keys, err := dir.credentials()
	if err != nil {
		return err
	}
	s.announce(ports, keys)
	store, err := startStore(dir, ports.Store, keys, cfg, s.fail)
	if err != nil {
		return err
	}
	s.store = store
	s.onStop("store", store.stop)
	temporal, err := startTemporal(ctx, dir, ports, cfg, s.fail)
	if temporal != nil {
		s.onStop("temporal server", temporal.stop)
	}
	if err != nil {
		return err
	}
	ui, err := startUI(ctx, ports, cfg)
	if ui != nil {
		s.onStop("web UI", ui.stop)
	}
	if err != nil {
		return err
	}
	return store.waitReady(ctx)
}

// announce says where the stack listens, and with which keys.
func (s *Stack) announce(p ports, keys credentials) {
	s.TemporalAddress, s.StoreEndpoint = address(p.Temporal), address(p.Store)
	s.UIURL = "http://" + address(p.UI)
	s.AccessKey, s.SecretKey = keys.AccessKey, keys.SecretKey
	s.SyncURL = syncURL(p.Store, keys.SyncToken)
}

func (s *Stack) onStop(name string, f func(context.Context) error) {
	s.closers = append(s.closers, closer{name, f})
}

// fail reports the first part that died for good.
func (s *Stack) fail(err error) {
	select {
	case s.failed <- err:
	default:
	}
}

// Failed yields an error when a part died for good and only a new start helps.
// A store that is killed is restarted and not reported.
func (s *Stack) Failed() <-chan error { return s.failed }

// Stop takes the stack down in the reverse order of starting; workers must have
// stopped before. Where ctx ends early, what is left is cut off, which loses
// nothing, as all parts survive being killed; the folder then stays locked
// until this process ends. Later calls return the first one's error.
func (s *Stack) Stop(ctx context.Context) error {
	s.once.Do(func() {
		var errs []error
		for i := len(s.closers) - 1; i >= 0; i-- {
			if err := s.closers[i].close(ctx); err != nil {
				errs = append(errs, fmt.Errorf("stop %s: %w", s.closers[i].name, err))
			}
		}
		if len(errs) == 0 && s.dir != nil {
			if err := s.dir.close(); err != nil {
				errs = append(errs, fmt.Errorf("release data folder: %w", err))
			}
		}
		s.stopErr = errors.Join(errs...)
	})
	return s.stopErr
}
