package devstack

import (
	"context"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
)

func TestStack(t *testing.T) {
	cfg := testConfig(t)
	cfg.DataDir = filepath.Join(cfg.DataDir, "strange %20?&# name")
	began := time.Now()
	s := start(t, cfg)
	t.Logf("ready after %s", time.Since(began).Round(time.Millisecond))
	t.Run("web UI", func(t *testing.T) {
		require.NoError(t, get(t.Context(), s.UIURL))
		require.NoError(t, get(t.Context(), s.UIURL+"/namespaces/default/workflows"))
		require.NoError(t, get(t.Context(), s.UIURL+"/api/v1/namespaces/default"), "it reaches the server")
	})
	t.Run("sync", func(t *testing.T) {
		res, err := http.Post(s.SyncURL, "", nil)
		require.NoError(t, err)
		_ = res.Body.Close()
		require.Equal(t, http.StatusNoContent, res.StatusCode)
	})
	t.Run("retention", func(t *testing.T) {
		res, err := dial(t, s).WorkflowService().DescribeNamespace(t.Context(), &workflowservice.DescribeNamespaceRequest{Namespace: "default"})
		require.NoError(t, err)
		require.Equal(t, Retention, res.GetConfig().GetWorkflowExecutionRetentionTtl().AsDuration())
	})
	t.Run("search attributes at once", func(t *testing.T) { testSearch(t, s, "DefectClass") })
	t.Run("loopback only", func(t *testing.T) { testLoopback(t, s) })
	t.Run("second start", func(t *testing.T) {
		_, err := Start(t.Context(), cfg)
		require.ErrorIs(t, err, ErrLocked)
		require.ErrorContains(t, err, strconv.Itoa(os.Getpid()))
	})
	t.Run("port taken", func(t *testing.T) {
		_, port, err := net.SplitHostPort(s.StoreEndpoint)
		require.NoError(t, err)
		other := testConfig(t)
		other.StorePort, _ = strconv.Atoi(port)
		_, err = Start(t.Context(), other)
		require.ErrorIs(t, err, ErrPortTaken)
		require.ErrorContains(t, err, "devstack.store_port is "+port)
		dir, err := openDataDir(other.DataDir)
		require.NoError(t, err, "a failed start leaves no lock")
		require.NoError(t, dir.close())
	})
	require.Empty(t, s.failed)
}

// testSearch starts a workflow with a search attribute and finds it by it.
func testSearch(t *testing.T, s *Stack, attribute string) {
	c := dial(t, s)
	value := attribute + " of " + t.Name()
	key := temporal.NewSearchAttributeKeyKeyword(attribute)
	run, err := c.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{
		TaskQueue: "nobody", TypedSearchAttributes: temporal.NewSearchAttributes(key.ValueSet(value)),
	}, "Nothing")
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		res, err := c.ListWorkflow(t.Context(), &workflowservice.ListWorkflowExecutionsRequest{Query: attribute + " = '" + value + "'"})
		require.NoError(t, err)
		return len(res.GetExecutions()) == 1 && res.GetExecutions()[0].GetExecution().GetRunId() == run.GetRunID()
	}, 30*time.Second, 20*time.Millisecond)
}

// testLoopback looks for the stack on the machine's other addresses.
func testLoopback(t *testing.T, s *Stack) {
	addrs, err := net.InterfaceAddrs()
	require.NoError(t, err)
	for _, a := range addrs {
		ip, _, err := net.ParseCIDR(a.String())
		require.NoError(t, err)
		if ip.IsLoopback() || ip.IsLinkLocalUnicast() {
			continue
		}
		for _, endpoint := range []string{s.TemporalAddress, s.StoreEndpoint, s.UIURL[len("http://"):]} {
			_, port, err := net.SplitHostPort(endpoint)
			require.NoError(t, err)
			conn, err := net.DialTimeout("tcp", net.JoinHostPort(ip.String(), port), time.Second)
			if err == nil {
				_ = conn.Close()
				t.Errorf("port %s answers on %s", port, ip)
			}
		}
	}
}

// TestRestart stops a stack and starts it again, with one more search attribute.
func TestRestart(t *testing.T) {
	if testing.Short() {
		t.Skip("starts two stacks")
	}
	cfg := testConfig(t)
	cfg.Namespace = "factory"
	first := start(t, cfg)
	began := time.Now()
	stop(t, first)
	t.Logf("stopped after %s", time.Since(began).Round(time.Millisecond))
	require.ErrorContains(t, get(context.Background(), first.UIURL), "refused")
	_, err := os.Stat(filepath.Join(cfg.DataDir, "lock.pid"))
	require.ErrorIs(t, err, os.ErrNotExist)

	cfg.SearchAttributes = map[string]string{"DefectClass": "Keyword", "Release": "Keyword", "Added": "Keyword"}
	second := start(t, cfg)
	require.Equal(t, first.UIURL, second.UIURL)
	require.Equal(t, first.TemporalAddress, second.TemporalAddress)
	require.Equal(t, first.StoreEndpoint, second.StoreEndpoint)
	require.Equal(t, first.SecretKey, second.SecretKey)
	testSearch(t, second, "Added")
}
