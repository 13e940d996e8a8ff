package devstack

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"
)

// dialPatience bounds the wait for one port of a stack that may be just
// starting or stopping.
const dialPatience = time.Second

// Attach finds the stack that another process runs on cfg's folder. It reports
// false where there is none, or where it does not answer yet or any more. The
// stack is not the caller's: Failed never yields and Stop does nothing.
func Attach(ctx context.Context, cfg Config) (*Stack, bool, error) {
	if err := cfg.normalise(); err != nil {
		return nil, false, err
	}
	dir := &dataDir{path: cfg.DataDir}
	if held, err := dir.held(); err != nil || !held {
		return nil, false, err
	}
	var chosen ports
	if readJSON(dir.file("ports.json"), &chosen) != nil || chosen.Temporal == 0 || chosen.UI == 0 || chosen.Store == 0 {
		return nil, false, nil // its first start is under way
	}
	var keys credentials
	if readJSON(dir.file("credentials.json"), &keys) != nil {
		return nil, false, nil
	}
	for _, port := range []int{chosen.UI, chosen.Temporal, chosen.Store} {
		d := net.Dialer{Timeout: dialPatience}
		c, err := d.DialContext(ctx, "tcp", address(port))
		if err != nil {
			return nil, false, ctx.Err()
		}
		_ = c.Close()
	}
	return &Stack{
		TemporalAddress: address(chosen.Temporal), Namespace: cfg.Namespace,
		UIURL: "http://" + address(chosen.UI), StoreEndpoint: address(chosen.Store),
		AccessKey: keys.AccessKey, SecretKey: keys.SecretKey, SyncURL: syncURL(chosen.Store, keys.SyncToken),
	}, true, nil
}

// held reports whether a process has the folder's lock.
func (d *dataDir) held() (bool, error) {
	name := d.file("lock")
	if _, err := os.Stat(name); err != nil {
		return false, nil // nobody ever had it
	}
	lock := flock.New(name, flock.SetPermissions(0o600))
	free, err := lock.TryLock()
	if err != nil {
		return false, fmt.Errorf("look at lock of data folder %s: %w", filepath.Dir(name), err)
	}
	if free {
		return false, lock.Unlock()
	}
	return true, nil
}
