package devstack

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/gofrs/flock"
)

// dataDir is the locked folder of one stack.
type dataDir struct {
	path string
	lock *flock.Flock
	// unclean: the process that had the folder before did not stop by itself,
	// so remains of it may hold ports for a moment.
	unclean bool
}

// openDataDir makes the folder where it is missing and locks it.
func openDataDir(path string) (*dataDir, error) {
	d := &dataDir{path: path}
	for _, sub := range []string{"temporal", "store/data", "logs"} {
		if err := os.MkdirAll(d.file(sub), 0o700); err != nil {
			return nil, fmt.Errorf("make data folder (data_dir): %w", err)
		}
	}
	d.lock = flock.New(d.file("lock"), flock.SetPermissions(0o600))
	ok, err := tryLock(d.lock)
	if err != nil {
		return nil, fmt.Errorf("lock data folder %s: %w", path, err)
	}
	if !ok {
		return nil, fmt.Errorf("%w: %s by process %s: stop that one, or name another data_dir",
			ErrLocked, path, d.holder())
	}
	_, err = os.Stat(d.file("lock.pid"))
	d.unclean = err == nil
	if err := writeFile(d.file("lock.pid"), []byte(strconv.Itoa(os.Getpid())+"\n")); err != nil {
		return nil, errors.Join(fmt.Errorf("note process in data folder: %w", err), d.lock.Unlock())
	}
	return d, nil
}

// tryLock tries for a moment: Attach takes the lock for an instant to look.
func tryLock(lock *flock.Flock) (bool, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	ok, err := lock.TryLockContext(ctx, 10*time.Millisecond)
	if errors.Is(err, context.DeadlineExceeded) {
		return false, nil
	}
	return ok, err
}

func (d *dataDir) file(name string) string {
	return filepath.Join(d.path, filepath.FromSlash(name))
}

// holder is the process id that the lock's owner noted, or "unknown" in the
// moment before it does.
func (d *dataDir) holder() string {
	b, err := os.ReadFile(d.file("lock.pid"))
	if pid := strings.TrimSpace(string(b)); err == nil && pid != "" {
		return pid
	}
	return "unknown"
}

func (d *dataDir) close() error {
	return errors.Join(os.Remove(d.file("lock.pid")), d.lock.Unlock())
}

// credentials open the store; they are drawn once per folder.
type credentials struct {
	AccessKey string `json:"access_key"`
	SecretKey string `json:"secret_key"`
	SyncToken string `json:"sync_token"`
}

func (d *dataDir) credentials() (credentials, error) {
	var c credentials
	name := d.file("credentials.json")
	switch err := readJSON(name, &c); {
	case errors.Is(err, fs.ErrNotExist):
		c = credentials{AccessKey: "DF" + strings.ToUpper(hex.EncodeToString(random(9))),
			SecretKey: base64.RawURLEncoding.EncodeToString(random(30)),
			SyncToken: hex.EncodeToString(random(16))}
		return c, writeJSON(name, c)
	case err != nil:
		return c, err
	case c.AccessKey == "" || c.SecretKey == "" || c.SyncToken == "":
		return c, fmt.Errorf("read %s: a key is missing: remove the file to have new ones drawn", name)
	}
	return c, nil
}

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails: crypto/rand ends the process instead
	return b
}

func readJSON(name string, v any) error {
	b, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("read %s: %w: remove the file to have it made anew", name, err)
	}
	return nil
}

func writeJSON(name string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode %s: %w", name, err)
	}
	return writeFile(name, append(b, '\n'))
}

// writeFile replaces name as a whole, so that a kill leaves the former file or
// the new one, readable by the owner only.
func writeFile(name string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(name), filepath.Base(name)+".*") // mode 0600
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}
