package devstack

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/gofiber/fiber/v3"
	"github.com/gofrs/flock"
	"github.com/versity/versitygw/backend/meta"
	"github.com/versity/versitygw/backend/posix"
	"github.com/versity/versitygw/embedgw"
	"github.com/versity/versitygw/s3api"
)

const (
	syncPath = "/-/sync" // no bucket is called "-"
	// copyThreshold is S3's own limit. At the option's zero every copy fails.
	copyThreshold = 5 << 30
)

func healthPath(key string) string { return "/-/health/" + key }

func syncURL(port int, token string) string {
	return "http://" + address(port) + syncPath + "?token=" + token
}

// StoreMain is the child process: it serves S3 until its standard input ends,
// and returns the process's exit status. It takes no arguments; its
// configuration comes over standard input.
func StoreMain(args []string) int {
	if len(args) != 0 {
		fmt.Fprintf(os.Stderr, "%s takes no arguments: it is started by the embedded stack\n", StoreCommand)
		return 2
	}
	// A terminal's Ctrl-C reaches the whole process group, and the parent
	// still stores a checkpoint after it: only the parent's end ends this.
	signal.Ignore(os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	debug.SetGCPercent(50)
	if err := serveStore(os.Stdin); err != nil {
		log.Printf("embedded store: %v", err)
		return 1
	}
	return 0
}

func serveStore(stdin io.Reader) error {
	var cfg storeConfig
	in := json.NewDecoder(stdin)
	if err := in.Decode(&cfg); err != nil {
		return fmt.Errorf("read configuration from standard input: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() { // standard input ends when the parent does, however it does
		_, _ = io.Copy(io.Discard, stdin)
		cancel()
		time.Sleep(stopPatience)
		os.Exit(1)
	}()
	unlock, err := lockStore(ctx, cfg.LockFile)
	if err != nil {
		return err
	}
	defer unlock()
	backend, err := newBackend(cfg)
	if err != nil {
		return err
	}
	err = embedgw.RunVersityGW(ctx, backend, gateway(cfg))
	if ctx.Err() == nil {
		return fmt.Errorf("serve on %s: %w", address(cfg.Port), err)
	}
	return syncFS(cfg.DataDir)
}

// gateway is the server's configuration.
func gateway(cfg storeConfig) *embedgw.Config {
	return &embedgw.Config{
		RootUserAccess:    cfg.Keys.AccessKey,
		RootUserSecret:    cfg.Keys.SecretKey,
		Ports:             []string{address(cfg.Port)},
		MaxConnections:    4096,
		MaxRequests:       2048,
		MultipartMaxParts: 10000,
		KeepAlive:         true,
		HealthPath:        healthPath(cfg.HealthKey),
		Quiet:             true,
		S3Options: []s3api.Option{
			s3api.WithMiddleware("/", guardBody),
			s3api.WithRoute(http.MethodPost, syncPath, syncHandler(cfg.Keys.SyncToken, cfg.DataDir)),
		},
	}
}

// lockStore waits for a former child that has not ended yet: two must never
// serve the same folder.
func lockStore(ctx context.Context, name string) (func(), error) {
	ctx, cancel := context.WithTimeout(ctx, 2*stopPatience)
	defer cancel()
	lock := flock.New(name, flock.SetPermissions(0o600))
	ok, err := lock.TryLockContext(ctx, 20*time.Millisecond)
	if err == nil && !ok {
		err = errors.New("another process holds it")
	}
	if err != nil {
		return nil, fmt.Errorf("lock store (%s): %w", name, err)
	}
	return func() { _ = lock.Unlock() }, nil
}

// newBackend changes this process's working directory: paths given to it must
// be absolute, and there is one per process.
func newBackend(cfg storeConfig) (*posix.Posix, error) {
	opts := posix.PosixOpts{CopyObjectThreshold: copyThreshold}
	opts.SetNewDirPerm(0o700)
	opts.SetNewFilePerm(0o600)
	var metadata meta.MetadataStorer = meta.XattrMeta{}
	if cfg.Metadata != "" {
		sidecar, err := meta.NewSideCar(cfg.Metadata)
		if err != nil {
			return nil, fmt.Errorf("open metadata folder: %w", err)
		}
		metadata, opts.SideCarDir = sidecar, cfg.Metadata
	}
	backend, err := posix.New(cfg.DataDir, metadata, opts)
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	return backend, nil
}

// syncHandler makes everything acknowledged durable: the gateway itself never
// calls fsync.
func syncHandler(token, dir string) fiber.Handler {
	return func(c fiber.Ctx) error {
		if subtle.ConstantTimeCompare([]byte(c.Query("token")), []byte(token)) != 1 {
			return c.SendStatus(http.StatusForbidden)
		}
		if err := syncFS(dir); err != nil {
			log.Printf("sync: %v", err)
			return c.Status(http.StatusInternalServerError).SendString(err.Error())
		}
		return c.SendStatus(http.StatusNoContent)
	}
}
