package storagetest

import (
	"fmt"
	"slices"
	"strings"

	"github.com/defectforge/defectforge/storage"
)

// folders lists what lies directly below a prefix, over more than one page.
func (s *suite) folders() {
	var want []string
	for i := range 1100 {
		s.mustPut(fmt.Sprintf("f/d%04d/x", i), []byte("x"))
		want = append(want, fmt.Sprintf("f/d%04d/", i))
	}
	for _, key := range []string{"f/d0003/y/z", "f/a", "f/d0003.txt", "g/other"} {
		s.mustPut(key, []byte("x"))
	}
	want = append(want, "f/a", "f/d0003.txt")
	slices.Sort(want)
	var got []string
	for info, err := range storage.Folders(s.Context(), s.b, s.prefix+"f/") {
		if err != nil {
			s.Fatalf("folders: %v", err)
		}
		got = append(got, strings.TrimPrefix(info.Key, s.prefix))
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		s.Fatalf("%d folders and objects, want %d: %.200v", len(got), len(want), got)
	}
	for range storage.Folders(s.Context(), s.b, s.prefix+"f/") {
		break // stops without harm
	}
	for info := range storage.Folders(s.Context(), s.b, s.prefix+"none/") {
		s.Fatalf("found %q where there is nothing", info.Key)
	}
}
