package devstack

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"
)

// TestMain lets this test binary stand in for the product's: it is re-executed
// as the store's child, and as a whole process to be killed.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case StoreCommand:
			os.Exit(StoreMain(os.Args[2:]))
		case victimCommand:
			os.Exit(victimMain(os.Args[2]))
		}
	}
	os.Exit(m.Run())
}

var testAttributes = map[string]string{"DefectClass": "Keyword", "Release": "Keyword"}

func testConfig(t *testing.T) Config {
	return Config{DataDir: t.TempDir(), SearchAttributes: testAttributes}
}

// start brings up a stack that is stopped with the test.
func start(t *testing.T, cfg Config) *Stack {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	s, err := Start(ctx, cfg)
	require.NoError(t, err)
	t.Cleanup(func() { stop(t, s) })
	return s
}

func stop(t *testing.T, s *Stack) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	require.NoError(t, s.Stop(ctx))
}

func dial(t *testing.T, s *Stack) client.Client {
	t.Helper()
	c, err := client.DialContext(t.Context(), client.Options{HostPort: s.TemporalAddress, Namespace: s.Namespace, Logger: silent{}})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c
}

type silent struct{}

func (silent) Debug(string, ...any) {}
func (silent) Info(string, ...any)  {}
func (silent) Warn(string, ...any)  {}
func (silent) Error(string, ...any) {}

var _ log.Logger = silent{}
