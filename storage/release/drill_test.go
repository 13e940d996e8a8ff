package release_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/defectforge/defectforge/storage"
	"github.com/defectforge/defectforge/storage/release"
	"github.com/defectforge/defectforge/storage/storagetest"
)

// Drill lets 20 publishers, each of which is stopped again and again by faults,
// publish ten releases into one class, two publishers for each, while readers
// watch. No reader may ever see half a release, the pointer must only go
// forward, and in the end every release has had its turn once.
func Drill(t *testing.T, open func(t *testing.T) storage.Bucket, class string) {
	const publishers, contents = 20, 10
	b := open(t)
	done, finished := context.WithCancel(t.Context())
	var readers, group sync.WaitGroup
	for range 2 {
		readers.Go(func() { watch(t, done, b, class) })
	}
	outcomes := make([]release.Published, publishers)
	for i := range outcomes {
		group.Go(func() {
			d := draftOf(class, fmt.Sprint("content ", i%contents))
			outcomes[i] = persist(t, b, d, uint64(i))
		})
	}
	group.Wait()
	finished()
	readers.Wait()

	seen := map[string]int{}
	for i, p := range outcomes {
		if q := outcomes[i%contents]; p.Release != q.Release || p.ManifestSHA256 != q.ManifestSHA256 || p.Sequence != q.Sequence {
			t.Errorf("the same content: %+v and %+v", p, q)
		}
		seen[p.Release] = p.Sequence
	}
	list, err := release.List(t.Context(), b, class)
	if err != nil || len(list) != contents || len(seen) != contents {
		t.Fatalf("%d releases listed, %d published, want %d (%v)", len(list), len(seen), contents, err)
	}
	for i, s := range list {
		if s.Sequence != i+1 || seen[s.Release] != s.Sequence || s.Latest != (i == contents-1) {
			t.Errorf("listed %+v, published with sequence %d", s, seen[s.Release])
		}
		if r, err := release.Verify(t.Context(), b, class, s.Release); err != nil || !r.OK {
			t.Errorf("verify: %+v (%v)", r, err)
		}
	}
}

// persist publishes until it works, with a fault in every tenth call: at least
// one attempt fails.
func persist(t *testing.T, b storage.Bucket, d release.Draft, seed uint64) release.Published {
	faulty := storagetest.NewFaulty(b, storagetest.FailSometimes(seed, 0.1))
	first := storagetest.NewFaulty(b, storagetest.FailAt(int(seed)+1, storagetest.Before+storagetest.Fault(seed%2)))
	if _, err := release.Publish(t.Context(), first, d); err != nil && !errors.Is(err, storagetest.ErrInjected) {
		t.Errorf("publisher %d: %v", seed, err)
	}
	for range 1000 {
		p, err := release.Publish(t.Context(), faulty, d)
		if err == nil {
			return p
		}
		if !errors.Is(err, storagetest.ErrInjected) {
			t.Errorf("publisher %d: %v", seed, err)
			return release.Published{}
		}
	}
	t.Errorf("publisher %d: never got through", seed)
	return release.Published{}
}

// watch reads the class until done: everything visible is whole, and the
// pointer's sequence only grows.
func watch(t *testing.T, done context.Context, b storage.Bucket, class string) {
	sequence := 0
	for done.Err() == nil {
		list, err := release.List(t.Context(), b, class)
		if err != nil {
			t.Errorf("reader: list: %v", err)
			return
		}
		for _, s := range list {
			if r, err := release.Verify(t.Context(), b, class, s.Release); err != nil || !r.OK {
				t.Errorf("reader: release %s is visible and not whole: %q (%v)", s.Release, r.Problems, err)
				return
			}
		}
		latest, err := release.ReadLatest(t.Context(), b, class)
		switch {
		case errors.Is(err, storage.ErrNotFound) && sequence == 0:
		case err != nil:
			t.Errorf("reader: pointer: %v", err)
			return
		case latest.Sequence < sequence:
			t.Errorf("reader: the pointer went back from %d to %d", sequence, latest.Sequence)
			return
		default:
			sequence = latest.Sequence
			if m, digest, err := release.Load(t.Context(), b, class, latest.Release); err != nil || digest != latest.ManifestSHA256 || m.Images != 2 {
				t.Errorf("reader: the pointer leads to %+v (%v)", m, err)
				return
			}
		}
		select {
		case <-done.Done():
		case <-time.After(time.Millisecond):
		}
	}
}
