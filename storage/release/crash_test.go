package release_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/defectforge/defectforge/storage"
	"github.com/defectforge/defectforge/storage/memory"
	"github.com/defectforge/defectforge/storage/release"
	"github.com/defectforge/defectforge/storage/storagetest"
)

// wantWhole fails unless every visible release verifies and the pointer, if
// there is one, leads to such a release.
func wantWhole(t *testing.T, b storage.Bucket, what string) []release.Summary {
	t.Helper()
	list, err := release.List(t.Context(), b, "scratches")
	if err != nil {
		t.Fatalf("%s: list: %v", what, err)
	}
	for _, s := range list {
		if r, err := release.Verify(t.Context(), b, s.Class, s.Release); err != nil || !r.OK {
			t.Fatalf("%s: release %s is visible and not whole: %q (%v)", what, s.Release, r.Problems, err)
		}
	}
	if _, err := release.ReadLatest(t.Context(), b, "scratches"); err == nil {
		if r, err := release.Verify(t.Context(), b, "scratches", "latest"); err != nil || !r.OK {
			t.Fatalf("%s: the pointer leads to %+v (%v)", what, r, err)
		}
	} else if !errors.Is(err, storage.ErrNotFound) {
		t.Fatalf("%s: pointer: %v", what, err)
	}
	return list
}

// TestCrashAnywhere stops a publisher at each of its calls, before it or with
// the reply lost. What is visible must be whole, and the next attempt must end
// with what an undisturbed one ends with.
func TestCrashAnywhere(t *testing.T) {
	calm := memory.New()
	mustPublish(t, calm, draft("old"))
	counter := storagetest.NewFaulty(calm, storagetest.FailAt(0, storagetest.None))
	want, err := release.Publish(t.Context(), counter, draft("new"))
	if err != nil {
		t.Fatal(err)
	}
	if counter.Calls() < 18 {
		t.Fatalf("only %d calls", counter.Calls())
	}
	for n := 1; n <= counter.Calls(); n++ {
		for _, fault := range []storagetest.Fault{storagetest.Before, storagetest.After} {
			what := fmt.Sprintf("call %d, fault %d", n, fault)
			b := memory.New()
			mustPublish(t, b, draft("old"))
			faulty := storagetest.NewFaulty(b, storagetest.FailAt(n, fault))
			got, err := release.Publish(t.Context(), faulty, draft("new"))
			// A read that fails once is asked again by the store.
			if err == nil && got != want || err != nil && !errors.Is(err, storagetest.ErrInjected) {
				t.Fatalf("%s: published %+v (%v)", what, got, err)
			}
			wantWhole(t, b, what)
			if again := mustPublish(t, b, draft("new")); again != want {
				t.Fatalf("%s: the next attempt gives %+v, want %+v", what, again, want)
			}
			if list := wantWhole(t, b, what); len(list) != 2 || !list[1].Latest {
				t.Fatalf("%s: listed %+v", what, list)
			}
		}
	}
}

// TestOvertaken stops a publisher between manifest and pointer and lets another
// release pass it.
func TestOvertaken(t *testing.T) {
	b := memory.New()
	slow := storagetest.NewFaulty(b, func(c storagetest.Call) storagetest.Fault {
		if c.Method == "Put" && c.Key == "releases/scratches/latest.json" {
			return storagetest.Before
		}
		return storagetest.None
	})
	if _, err := release.Publish(t.Context(), slow, draft("slow")); !errors.Is(err, storagetest.ErrInjected) {
		t.Fatal(err)
	}
	if list := wantWhole(t, b, "stopped"); len(list) != 1 || list[0].Latest || list[0].Sequence != 0 {
		t.Fatalf("listed %+v", list)
	}
	quick := mustPublish(t, b, draft("quick"))
	if quick.Sequence != 1 {
		t.Fatalf("published %+v", quick)
	}
	// It was never the latest, so that its publishing is not over.
	p := mustPublish(t, b, draft("slow"))
	if p.Sequence != 2 || !p.Latest {
		t.Fatalf("published %+v", p)
	}
	if again := mustPublish(t, b, draft("quick")); again.Sequence != 1 || again.Latest {
		t.Fatalf("published %+v", again)
	}
}

// TestSameContentRace lets many publish the same release at once.
func TestSameContentRace(t *testing.T) {
	b := memory.New()
	mustPublish(t, b, draft("old"))
	outcomes := make([]release.Published, 20)
	var group sync.WaitGroup
	for i := range outcomes {
		group.Go(func() {
			p, err := release.Publish(t.Context(), b, draft("same"))
			if err != nil {
				t.Errorf("publisher %d: %v", i, err)
			}
			outcomes[i] = p
		})
	}
	group.Wait()
	for i, p := range outcomes {
		if p != outcomes[0] || p.Sequence != 2 {
			t.Errorf("publisher %d: %+v, another %+v", i, p, outcomes[0])
		}
	}
	latest, err := release.ReadLatest(t.Context(), b, "scratches")
	if err != nil || latest.Sequence != 2 || len(latest.Earlier) != 1 {
		t.Errorf("pointer %+v (%v)", latest, err)
	}
}

// TestPointerRace lets another publisher move the pointer between this one's
// look at it and its write, for a class's first release and for a later one.
func TestPointerRace(t *testing.T) {
	for _, before := range []int{0, 1} {
		b := memory.New()
		for i := range before {
			mustPublish(t, b, draft(fmt.Sprint("before ", i)))
		}
		var rival release.Published
		var once sync.Once
		raced := storagetest.NewFaulty(b, func(c storagetest.Call) storagetest.Fault {
			if c.Method == "Put" && c.Key == "releases/scratches/latest.json" {
				once.Do(func() { rival = mustPublish(t, b, draft("rival")) })
			}
			return storagetest.None
		})
		p, err := release.Publish(t.Context(), raced, draft("mine"))
		if err != nil || rival.Sequence != before+1 || p.Sequence != before+2 || !p.Latest {
			t.Errorf("after %d releases the rival is %+v, this one %+v (%v)", before, rival, p, err)
		}
		latest, err := release.ReadLatest(t.Context(), b, "scratches")
		if err != nil || latest.Release != p.Release || len(latest.Earlier) != before+1 || latest.Earlier[before] != rival.Release {
			t.Errorf("pointer %+v (%v)", latest, err)
		}
	}
}

func TestDrill(t *testing.T) {
	Drill(t, func(*testing.T) storage.Bucket {
		// As slow as a network, so that publishers meet.
		return storagetest.NewFaulty(memory.New(), func(storagetest.Call) storagetest.Fault {
			time.Sleep(rand.N(time.Millisecond))
			return storagetest.None
		})
	}, "scratches")
}

// TestDamage flips each bit and cuts at each byte of a manifest and of a
// pointer: nothing goes unnoticed.
func TestDamage(t *testing.T) {
	b := memory.New()
	p := mustPublish(t, b, draft("a"))
	for _, key := range []string{p.Prefix + "manifest.json", "releases/scratches/latest.json"} {
		good := contents(t, b, key)
		check := func(raw []byte, what string) {
			put(t, b, key, raw)
			// By name the manifest stands alone; the pointer matters for the latest.
			for _, name := range []string{p.Release, "latest"} {
				if name == p.Release && key != p.Prefix+"manifest.json" {
					continue
				}
				if _, _, err := release.Load(t.Context(), b, "scratches", name); err == nil {
					t.Fatalf("%s, %s: loaded %s", key, what, name)
				}
				if r, err := release.Verify(t.Context(), b, "scratches", name); err != nil || r.OK || len(r.Problems) == 0 {
					t.Fatalf("%s, %s: verified %s: %+v (%v)", key, what, name, r, err)
				}
			}
		}
		bits := 8
		if testing.Short() {
			bits = 1
		}
		for i := range good {
			for bit := range bits {
				raw := slices.Clone(good)
				raw[i] ^= 1 << bit
				check(raw, fmt.Sprintf("bit %d of byte %d flipped", bit, i))
			}
			check(good[:i], fmt.Sprintf("cut at %d", i))
		}
		check(append(slices.Clone(good), '\n'), "a line added")
		put(t, b, key, good)
	}
}
