package storage

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestEach(t *testing.T) {
	items := make([]int, 100)
	var now, most, done atomic.Int64
	require.NoError(t, Each(t.Context(), 4, items, func(context.Context, int) error {
		most.Store(max(most.Load(), now.Add(1)))
		time.Sleep(time.Millisecond)
		now.Add(-1)
		done.Add(1)
		return nil
	}))
	require.EqualValues(t, 100, done.Load())
	require.LessOrEqual(t, most.Load(), int64(4))
	require.NoError(t, Each(t.Context(), 4, []int(nil), func(context.Context, int) error { panic("nothing to do") }))
}

func TestEachStopsAtTheFirstError(t *testing.T) {
	first := errors.New("first")
	begun := 0
	err := Each(t.Context(), 1, []int{0, 1, 2, 3, 4, 5}, func(ctx context.Context, i int) error {
		begun++
		if i == 2 {
			return first
		}
		return nil
	})
	require.Equal(t, first, err)
	require.LessOrEqual(t, begun, 4, "one more may have been handed out")

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, Each(ctx, 2, []int{1, 2}, func(ctx context.Context, _ int) error { return ctx.Err() }), context.Canceled)
}
