package storagetest

import (
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/defectforge/defectforge/storage"
)

// writers is how many race in each round.
const writers = 16

func (s *suite) ifAbsent() {
	absent := storage.Condition{IfAbsent: true}
	first, err := s.put("once", []byte("first"), absent)
	if err != nil {
		s.Fatal(err)
	}
	_, err = s.put("once", []byte("second"), absent)
	s.wantError("other content", err, storage.ErrPrecondition)
	again, err := s.put("once", []byte("first"), absent)
	if err != nil {
		s.Fatalf("the same content again: %v", err)
	}
	if again.ETag != first.ETag || again.SHA256 != first.SHA256 {
		s.Errorf("the same content again describes %+v, at first %+v", again, first)
	}
	s.wantContent("once", []byte("first"))
	// Of equal length, and empty.
	_, err = s.put("once", []byte("fIrst"), absent)
	s.wantError("other content of equal length", err, storage.ErrPrecondition)
	_, err = s.put("once", nil, absent)
	s.wantError("no content", err, storage.ErrPrecondition)
	if err := s.b.Delete(s.Context(), s.prefix+"once"); err != nil {
		s.Fatal(err)
	}
	if _, err := s.put("once", []byte("second"), absent); err != nil {
		s.Errorf("after a delete: %v", err)
	}
}

func (s *suite) ifAbsentRace() { s.race(20, 100) }

// Past 16 MiB clients like to send several requests, which no condition binds.
func (s *suite) ifAbsentRaceLarge() {
	if !bigRaces() {
		s.Skip("writes 16 objects of 17 MiB; not with -short")
	}
	s.race(1, 17<<20)
}

// race lets writers of different contents compete for one key: one must win,
// and the key must hold what it wrote.
func (s *suite) race(rounds, size int) {
	for round := range rounds {
		key := fmt.Sprint("race/", round)
		var won atomic.Int64
		var group sync.WaitGroup
		winner := make(chan []byte, writers)
		start := make(chan struct{})
		for w := range writers {
			group.Go(func() {
				data := noise(size, byte(w))
				<-start
				_, err := s.put(key, data, storage.Condition{IfAbsent: true})
				switch {
				case err == nil:
					won.Add(1)
					winner <- data
				case !errors.Is(err, storage.ErrPrecondition):
					s.Errorf("round %d, writer %d: %v", round, w, err)
				}
			})
		}
		close(start)
		group.Wait()
		if won.Load() != 1 {
			s.Fatalf("round %d: %d writers won", round, won.Load())
		}
		s.wantContent(key, <-winner)
	}
}

func (s *suite) ifETag() {
	one := s.mustPut("swap", []byte("one"))
	two, err := s.put("swap", []byte("two"), storage.Condition{IfETag: one.ETag})
	if err != nil {
		s.Fatal(err)
	}
	_, err = s.put("swap", []byte("three"), storage.Condition{IfETag: one.ETag})
	s.wantError("a stale ETag", err, storage.ErrPrecondition)
	if _, err := s.put("swap", []byte("two"), storage.Condition{IfETag: one.ETag}); err != nil {
		s.Errorf("own content with a stale ETag, as after a lost reply: %v", err)
	}
	s.wantContent("swap", []byte("two"))
	// The ETag that reads give must serve too.
	_, info, err := s.get("swap")
	if err != nil || info.ETag != two.ETag {
		s.Fatalf("get describes %+v (%v), put %+v", info, err, two)
	}
	if _, err := s.put("swap", []byte("three"), storage.Condition{IfETag: info.ETag}); err != nil {
		s.Error(err)
	}
	_, err = s.put("nothing", []byte("x"), storage.Condition{IfETag: one.ETag})
	s.wantError("an ETag where nothing is", err, storage.ErrPrecondition)
}

// ifETagRace counts up by compare and swap: no increment may be lost.
func (s *suite) ifETagRace() {
	const each = 5
	s.mustPut("counter", []byte("0"))
	var group sync.WaitGroup
	for w := range writers / 2 {
		group.Go(func() {
			for done := 0; done < each; {
				raw, info, err := s.get("counter")
				if err != nil {
					s.Errorf("writer %d: %v", w, err)
					return
				}
				n, err := strconv.Atoi(string(raw[:max(0, len(raw)-lastField(raw))]))
				if err != nil {
					s.Errorf("writer %d: counter holds %q", w, raw)
					return
				}
				// The writer's name makes contents differ, as they must for
				// a refusal not to be taken for one's own success.
				_, err = s.put("counter", fmt.Appendf(nil, "%d by %d", n+1, w), storage.Condition{IfETag: info.ETag})
				switch {
				case err == nil:
					done++
				case !errors.Is(err, storage.ErrPrecondition):
					s.Errorf("writer %d: %v", w, err)
					return
				}
			}
		})
	}
	group.Wait()
	raw, _, err := s.get("counter")
	if err != nil {
		s.Fatal(err)
	}
	if n, _ := strconv.Atoi(string(raw[:max(0, len(raw)-lastField(raw))])); n != writers/2*each {
		s.Errorf("counted to %q, want %d", raw, writers/2*each)
	}
}

// lastField is the length of " by N" at raw's end.
func lastField(raw []byte) int {
	for i, c := range raw {
		if c == ' ' {
			return len(raw) - i
		}
	}
	return 0
}

func (s *suite) concurrent() {
	var group sync.WaitGroup
	for w := range writers {
		group.Go(func() {
			for i := range 10 {
				key, data := fmt.Sprintf("mixed/%d/%d", w, i), noise(1000+i, byte(w))
				if _, err := s.put(key, data, storage.Condition{}); err != nil {
					s.Errorf("put %q: %v", key, err)
					return
				}
				got, _, err := s.get(key)
				if err != nil || storage.Digest(got) != storage.Digest(data) {
					s.Errorf("get %q: %d bytes (%v)", key, len(got), err)
					return
				}
				if i%2 == 0 {
					if err := s.b.Delete(s.Context(), s.prefix+key); err != nil {
						s.Errorf("delete %q: %v", key, err)
					}
				}
			}
		})
	}
	group.Wait()
	if got := s.list("mixed/"); len(got) != writers*5 {
		s.Errorf("%d keys left, want %d", len(got), writers*5)
	}
}

// readersSeeWhole overwrites one key while others read it: they must see one of
// the contents that were written, never a mixture or nothing.
func (s *suite) readersSeeWhole() {
	const size = 256 << 10
	contents := map[string]bool{}
	for v := range 4 {
		contents[storage.Digest(noise(size, byte(v)))] = true
	}
	s.mustPut("whole", noise(size, 0))
	stop := make(chan struct{})
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				data, info, err := s.get("whole")
				if err != nil {
					s.Errorf("get: %v", err)
					return
				}
				if digest := storage.Digest(data); !contents[digest] || info.SHA256 != digest {
					s.Errorf("read %d bytes with digest %s, described with %s", len(data), digest, info.SHA256)
					return
				}
			}
		})
	}
	for i := range 20 {
		s.mustPut("whole", noise(size, byte(i%4)))
	}
	close(stop)
	group.Wait()
}
