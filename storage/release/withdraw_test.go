package release_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/defectforge/defectforge/storage"
	"github.com/defectforge/defectforge/storage/memory"
	"github.com/defectforge/defectforge/storage/release"
	"github.com/defectforge/defectforge/storage/storagetest"
)

var noon = time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)

func mustWithdraw(t *testing.T, b storage.Bucket, name, why string) release.Withdrawal {
	t.Helper()
	w, _, err := release.Withdraw(t.Context(), b, "scratches", name, why, noon)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func TestWithdraw(t *testing.T) {
	b := memory.New()
	old, p := mustPublish(t, b, draft("old")), mustPublish(t, b, draft("new"))
	pointer := contents(t, b, "releases/scratches/latest.json")
	before := keys(t, b, p.Prefix)
	w := mustWithdraw(t, b, release.Newest, "the light was <wrong>")
	if w.Release != p.Release || w.Reason != "the light was <wrong>" || !w.At.Equal(noon) {
		t.Errorf("withdrawn: %+v", w)
	}
	want := `{"format":"defectforge.withdrawn/1","class":"scratches","release":"` + p.Release + `","reason":"the light was <wrong>","at":"2026-05-04T12:00:00Z"}` + "\n"
	if got := string(contents(t, b, "releases/scratches/withdrawn/"+p.Release+".json")); got != want {
		t.Errorf("written %s, want %s", got, want)
	}
	// Nothing that readers know has changed.
	if after := contents(t, b, "releases/scratches/latest.json"); string(after) != string(pointer) || fmt.Sprint(keys(t, b, p.Prefix)) != fmt.Sprint(before) {
		t.Errorf("the release or the pointer changed: %s", after)
	}
	for name, want := range map[string]string{"latest": old.Release, p.Release: p.Release} {
		r, err := release.Verify(t.Context(), b, "scratches", name)
		if err != nil || !r.OK || r.Release != want || (r.Withdrawn != nil) != (want == p.Release) {
			t.Errorf("verify %s: %+v (%v)", name, r, err)
		}
		o, err := release.Open(t.Context(), b, "scratches", name)
		if err != nil || o.Manifest.Release != want || (o.Withdrawn != nil) != (want == p.Release) {
			t.Errorf("open %s: %+v (%v)", name, o, err)
		}
	}
	list, err := release.List(t.Context(), b, "")
	if err != nil || len(list) != 2 || list[0].Withdrawn != nil || list[1].Withdrawn == nil || *list[1].Withdrawn != w || !list[1].Latest {
		t.Errorf("list: %+v (%v)", list, err)
	}
}

func TestWithdrawnIsNotPulled(t *testing.T) {
	b := memory.New()
	old, p := mustPublish(t, b, draft("old")), mustPublish(t, b, draft("new"))
	mustWithdraw(t, b, p.Release, "wrong")
	dir := filepath.Join(t.TempDir(), "a")
	if _, err := release.Pull(t.Context(), b, "scratches", p.Release, dir); !errors.Is(err, release.ErrWithdrawn) || !strings.Contains(err.Error(), "2026-05-04: wrong") {
		t.Errorf("by name: %v", err)
	}
	if _, err := release.PullSet(t.Context(), b, []release.Choice{{Class: "scratches", Release: p.Release}}, dir); !errors.Is(err, release.ErrWithdrawn) {
		t.Errorf("into a set: %v", err)
	}
	if got, err := release.Pull(t.Context(), b, "scratches", "latest", dir); err != nil || got.Release != old.Release {
		t.Errorf("the latest: %+v (%v)", got, err)
	}
	if got, err := release.Pull(t.Context(), b, "scratches", p.Release, filepath.Join(t.TempDir(), "b"), release.AllowWithdrawn()); err != nil || got.Withdrawn == nil {
		t.Errorf("allowed: %+v (%v)", got, err)
	}
	mustWithdraw(t, b, old.Release, "wrong too")
	if _, err := release.Pull(t.Context(), b, "scratches", "latest", filepath.Join(t.TempDir(), "c")); !errors.Is(err, release.ErrWithdrawn) {
		t.Errorf("the latest of none: %v", err)
	}
	// Approving the same content again does not bring it back.
	if _, err := release.Publish(t.Context(), b, draft("old")); !errors.Is(err, release.ErrWithdrawn) {
		t.Errorf("published again: %v", err)
	}
}

func TestWithdrawRefuses(t *testing.T) {
	b := memory.New()
	p := mustPublish(t, b, draft("a"))
	for _, bad := range []struct {
		class, name, why string
		want             error
	}{
		{"scratches", "0123456789abcdef", "x", storage.ErrNotFound},
		{"pits", "latest", "x", storage.ErrNotFound},
		{"scratches", p.Release, "", release.ErrMalformed},
		{"scratches", p.Release, "\xff", release.ErrMalformed},
		{"scratches", p.Release, strings.Repeat("x", 5000), release.ErrMalformed},
		{"scratches", "../x", "x", release.ErrMalformed},
		{"a/b", p.Release, "x", release.ErrMalformed},
	} {
		if _, _, err := release.Withdraw(t.Context(), b, bad.class, bad.name, bad.why, noon); !errors.Is(err, bad.want) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
	if left := keys(t, b, "releases/scratches/withdrawn/"); len(left) > 0 {
		t.Errorf("wrote %q", left)
	}
}

// TestWithdrawalDamage: damage to a withdrawal never brings a release back.
func TestWithdrawalDamage(t *testing.T) {
	b := memory.New()
	p := mustPublish(t, b, draft("a"))
	mustWithdraw(t, b, p.Release, "wrong")
	key := "releases/scratches/withdrawn/" + p.Release + ".json"
	good := contents(t, b, key)
	for i := range good {
		put(t, b, key, good[:i])
		if r, err := release.Verify(t.Context(), b, "scratches", p.Release); err != nil || r.Withdrawn == nil || !r.OK {
			t.Fatalf("cut at %d: %+v (%v)", i, r, err)
		}
	}
	put(t, b, key, []byte(strings.Repeat(" ", 100<<10)))
	if _, err := release.Pull(t.Context(), b, "scratches", p.Release, t.TempDir()); !errors.Is(err, release.ErrWithdrawn) {
		t.Errorf("a large one: %v", err)
	}
}

// TestWithdrawDrill lets many withdraw one release, each stopped by faults
// again and again, while others publish and readers watch: one reason stands,
// and everybody is told the same.
func TestWithdrawDrill(t *testing.T) {
	b := memory.New()
	p := mustPublish(t, b, draft("bad"))
	told := make([]release.Withdrawal, 20)
	var group sync.WaitGroup
	for i := range told {
		group.Go(func() {
			faulty := storagetest.NewFaulty(b, storagetest.FailSometimes(uint64(i), 0.3))
			for {
				w, _, err := release.Withdraw(t.Context(), faulty, "scratches", p.Release, fmt.Sprint("reason ", i), noon.Add(time.Duration(i)*time.Minute))
				if err == nil {
					told[i] = w
					return
				}
				if !errors.Is(err, storagetest.ErrInjected) {
					t.Errorf("withdrawal %d: %v", i, err)
					return
				}
			}
		})
		group.Go(func() { persist(t, b, draft(fmt.Sprint("good ", i%3)), uint64(i)) })
		group.Go(func() {
			if r, err := release.Verify(t.Context(), b, "scratches", p.Release); err != nil || !r.OK {
				t.Errorf("a reader meanwhile: %+v (%v)", r, err)
			}
		})
	}
	group.Wait()
	for i, w := range told {
		if w != told[0] {
			t.Errorf("withdrawal %d was told %+v, another %+v", i, w, told[0])
		}
	}
	list := wantWhole(t, b, "in the end")
	if len(list) != 4 || list[0].Withdrawn == nil || *list[0].Withdrawn != told[0] {
		t.Errorf("listed %+v", list)
	}
	for _, s := range list[1:] {
		if s.Withdrawn != nil {
			t.Errorf("%s is withdrawn too", s.Release)
		}
	}
}

// TestWithdrawCrash stops a withdrawal at each of its calls.
func TestWithdrawCrash(t *testing.T) {
	for n := 1; n <= 6; n++ {
		for _, fault := range []storagetest.Fault{storagetest.Before, storagetest.After} {
			b := memory.New()
			p := mustPublish(t, b, draft("a"))
			_, _, err := release.Withdraw(t.Context(), storagetest.NewFaulty(b, storagetest.FailAt(n, fault)), "scratches", "latest", "first", noon)
			if err != nil && !errors.Is(err, storagetest.ErrInjected) {
				t.Fatal(err)
			}
			w, _, err := release.Withdraw(t.Context(), b, "scratches", "latest", "second", noon)
			if err != nil || w.Release != p.Release {
				t.Fatalf("call %d, fault %d: again %+v (%v)", n, fault, w, err)
			}
			if r, err := release.Verify(t.Context(), b, "scratches", p.Release); err != nil || r.Withdrawn == nil || *r.Withdrawn != w {
				t.Errorf("call %d, fault %d: %+v (%v)", n, fault, r, err)
			}
		}
	}
}
