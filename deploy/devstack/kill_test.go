package devstack

import (
	"bytes"
	"net"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	miniocreds "github.com/minio/minio-go/v7/pkg/credentials"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
)

// TestKilledProcessGoesOn kills a process with a stack and a worker in the
// middle of a workflow, with and without its child, and starts it again.
func TestKilledProcessGoesOn(t *testing.T) {
	if testing.Short() {
		t.Skip("starts three processes")
	}
	dir := t.TempDir()
	cmd, first := startVictim(t, dir)
	t.Logf("ready after %s; memory: %s; store's: %s", first.Took.Round(time.Millisecond),
		memory(cmd.Process.Pid), memory(int(first.StorePID)))
	run, err := dial(t, first.Stack).ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: "count", TaskQueue: queue}, Counting, 150)
	require.NoError(t, err)
	putKept(t, first.Stack)
	reached := waitHeartbeat(t, first.Stack, 10)

	kill(t, cmd)
	require.Eventually(t, func() bool { return syscall.Kill(int(first.StorePID), 0) != nil }, 30*time.Second, 5*time.Millisecond,
		"the child ends with its parent")
	cmd, second := startVictim(t, dir)
	require.Equal(t, first.Stack.UIURL, second.Stack.UIURL)
	require.Equal(t, first.Stack.StoreEndpoint, second.Stack.StoreEndpoint)
	requireKept(t, second.Stack)
	waitHeartbeat(t, second.Stack, reached+10)

	require.NoError(t, syscall.Kill(int(second.StorePID), syscall.SIGKILL))
	kill(t, cmd)
	_, third := startVictim(t, dir)
	requireKept(t, third.Stack)
	var resumedAt int
	require.NoError(t, dial(t, third.Stack).GetWorkflow(t.Context(), "count", run.GetRunID()).Get(t.Context(), &resumedAt))
	require.Greater(t, resumedAt, reached, "the last attempt went on where a heartbeat of the one before had been")
}

func kill(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	require.NoError(t, cmd.Process.Signal(syscall.SIGKILL))
	_ = cmd.Wait()
}

func minioClient(t *testing.T, s *Stack) *minio.Client {
	t.Helper()
	c, err := minio.New(s.StoreEndpoint, &minio.Options{Creds: miniocreds.NewStaticV4(s.AccessKey, s.SecretKey, "")})
	require.NoError(t, err)
	return c
}

func putKept(t *testing.T, s *Stack) {
	t.Helper()
	c := minioClient(t, s)
	require.NoError(t, c.MakeBucket(t.Context(), bucket, minio.MakeBucketOptions{}))
	_, err := c.PutObject(t.Context(), bucket, "kept", bytes.NewReader(make([]byte, 1000)), 1000, minio.PutObjectOptions{})
	require.NoError(t, err)
}

func requireKept(t *testing.T, s *Stack) {
	t.Helper()
	info, err := minioClient(t, s).StatObject(t.Context(), bucket, "kept", minio.StatObjectOptions{})
	require.NoError(t, err)
	require.EqualValues(t, 1000, info.Size)
}

// waitHeartbeat returns when the activity has a heartbeat of at least count on
// record, and which.
func waitHeartbeat(t *testing.T, s *Stack, count int) int {
	t.Helper()
	c := dial(t, s)
	at := -1
	require.Eventually(t, func() bool {
		res, err := c.DescribeWorkflowExecution(t.Context(), "count", "")
		require.NoError(t, err)
		if p := res.GetPendingActivities(); len(p) == 1 && p[0].GetHeartbeatDetails() != nil {
			require.NoError(t, converter.GetDefaultDataConverter().FromPayloads(p[0].GetHeartbeatDetails(), &at))
		}
		return at >= count
	}, time.Minute, 20*time.Millisecond)
	return at
}

// TestPortsAreFree is a check of the helper that the tests above lean on.
func TestPortsAreFree(t *testing.T) {
	port, err := freePort(nil)
	require.NoError(t, err)
	l, err := net.Listen("tcp", address(port))
	require.NoError(t, err)
	require.False(t, isFree(port))
	require.NoError(t, l.Close())
	require.True(t, isFree(port))
}
