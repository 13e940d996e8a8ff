package devstack

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
)

const victimCommand = "victim-process"

// victim is what a process to be killed says about itself.
type victim struct {
	Stack    *Stack
	StorePID int64
	Took     time.Duration
}

// victimMain runs a stack with a worker until it is killed.
func victimMain(dir string) int {
	began := time.Now()
	s, err := Start(context.Background(), Config{DataDir: dir, SearchAttributes: testAttributes})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	took := time.Since(began)
	c, err := client.Dial(client.Options{HostPort: s.TemporalAddress, Logger: silent{}})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if err := countingWorker(c).Start(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	_ = json.NewEncoder(os.Stdout).Encode(victim{Stack: s, StorePID: storePID(s), Took: took})
	err = <-s.Failed()
	fmt.Fprintln(os.Stderr, err)
	return 1
}

// startVictim starts the process and returns once its stack is up.
func startVictim(t *testing.T, dir string) (*exec.Cmd, victim) {
	t.Helper()
	cmd := exec.Command(os.Args[0], victimCommand, dir)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	cmd.Stderr = os.Stderr
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	var v victim
	require.NoError(t, json.NewDecoder(bufio.NewReader(out)).Decode(&v), "the process prints nothing but its one line")
	return cmd, v
}

// storePID waits for the store's child to have a process id.
func storePID(s *Stack) int64 {
	for range 500 {
		if pid := s.store.pid.Load(); pid != 0 {
			return pid
		}
		time.Sleep(10 * time.Millisecond)
	}
	return 0
}

const queue = "counting"

func countingWorker(c client.Client) worker.Worker {
	w := worker.New(c, queue, worker.Options{MaxHeartbeatThrottleInterval: 100 * time.Millisecond})
	w.RegisterWorkflow(Counting)
	w.RegisterActivity(Count)
	return w
}

// Counting is a workflow whose one activity takes a while.
func Counting(ctx workflow.Context, to int) (int, error) {
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		StartToCloseTimeout: time.Minute, HeartbeatTimeout: time.Second,
		RetryPolicy: &temporal.RetryPolicy{InitialInterval: 100 * time.Millisecond, BackoffCoefficient: 1},
	})
	var resumedAt int
	err := workflow.ExecuteActivity(ctx, Count, to).Get(ctx, &resumedAt)
	return resumedAt, err
}

// Count heartbeats its way up and returns where its last attempt began.
func Count(ctx context.Context, to int) (int, error) {
	from := 0
	if activity.HasHeartbeatDetails(ctx) {
		if err := activity.GetHeartbeatDetails(ctx, &from); err != nil {
			return 0, err
		}
	}
	for i := from; i < to; i++ {
		activity.RecordHeartbeat(ctx, i)
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
	return from, nil
}

// memory is a process's resident memory and its anonymous part, which it does
// not share with others that run the same binary.
func memory(pid int) string {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return err.Error()
	}
	var found []string
	for line := range strings.Lines(string(b)) {
		if strings.HasPrefix(line, "VmRSS") || strings.HasPrefix(line, "RssAnon") {
			found = append(found, strings.Join(strings.Fields(line), " "))
		}
	}
	return strings.Join(found, ", ")
}
