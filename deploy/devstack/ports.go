package devstack

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"strconv"
	"time"
)

// Ports are drawn from below the ranges that systems give to outgoing
// connections: one of those could sit on the store's port just when its child
// restarts.
const (
	firstPort = 20000
	lastPort  = 32000
)

// stalePatience is how long a start waits for the ports of a process that was
// killed: its store needs a moment to notice.
const stalePatience = 3 * time.Second

type ports struct {
	Temporal int `json:"temporal"`
	UI       int `json:"ui"`
	Store    int `json:"store"`
}

// ports settles where to listen: a configured port or an error, the port of
// the last start, or a new one. It remembers what it drew.
func (d *dataDir) ports(ctx context.Context, cfg Config) (ports, error) {
	var kept ports
	name := d.file("ports.json")
	if err := readJSON(name, &kept); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return ports{}, err
	}
	var patience time.Duration
	if d.unclean {
		patience = stalePatience
	}
	used := map[int]bool{}
	chosen := kept
	for _, p := range []struct {
		setting    string
		configured int
		port       *int
	}{
		{"devstack.temporal_port", cfg.TemporalPort, &chosen.Temporal},
		{"devstack.ui_port", cfg.UIPort, &chosen.UI},
		{"devstack.store_port", cfg.StorePort, &chosen.Store},
	} {
		port, err := choosePort(ctx, p.setting, p.configured, *p.port, patience, used)
		if err != nil {
			return ports{}, err
		}
		*p.port, used[port] = port, true
	}
	if chosen == kept {
		return chosen, nil
	}
	return chosen, writeJSON(name, chosen)
}

func choosePort(ctx context.Context, setting string, configured, kept int, patience time.Duration, used map[int]bool) (int, error) {
	switch {
	case configured < 0 || configured > 65535:
		return 0, fmt.Errorf("%s is %d: it must be within 0 and 65535", setting, configured)
	case configured != 0 && used[configured]:
		return 0, fmt.Errorf("%w: %s is %d, as is another of the embedded stack: give each its own, or 0 to have one drawn",
			ErrPortTaken, setting, configured)
	case configured != 0:
		if !waitFree(ctx, configured, patience) {
			return 0, fmt.Errorf("%w: %s is %d, but something listens on %s: stop it, set another port, or 0 to have one drawn",
				ErrPortTaken, setting, configured, address(configured))
		}
		return configured, nil
	case kept != 0 && !used[kept] && waitFree(ctx, kept, patience):
		return kept, nil
	}
	return freePort(used)
}

func waitFree(ctx context.Context, port int, patience time.Duration) bool {
	for end := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		if isFree(port) {
			return true
		}
		if ctx.Err() != nil || time.Now().After(end) {
			return false
		}
	}
}

func isFree(port int) bool {
	l, err := net.Listen("tcp", address(port))
	if err != nil {
		return false
	}
	return l.Close() == nil
}

// freePort draws a port that nothing listens on and that is not in used.
func freePort(used map[int]bool) (int, error) {
	for range 200 {
		if port := firstPort + rand.IntN(lastPort-firstPort); !used[port] && isFree(port) {
			return port, nil
		}
	}
	return 0, fmt.Errorf("no free port found between %d and %d on %s", firstPort, lastPort, host)
}

func address(port int) string {
	return net.JoinHostPort(host, strconv.Itoa(port))
}
