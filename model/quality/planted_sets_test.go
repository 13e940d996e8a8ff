package quality

import (
	"context"
	stdimage "image"
	"image/draw"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/corona10/goimagehash"
	"github.com/stretchr/testify/require"

	"github.com/defectforge/defectforge/model/picture"
	"github.com/defectforge/defectforge/model/spec"
)

// realSet is a class's real images, in groups of those that overlap.
type realSet struct {
	images []uint8
	groups [][]int
	// turned: some pictures show one strip, turned by 90 degrees, which grouping does not
	// see: images kept apart are copies in disguise, and rejected for it.
	turned bool
}

func (s realSet) len() int { return len(s.images) / spec.ImageLen }

// grouped drops near duplicates and groups what overlaps, as ingest does.
func grouped(t *testing.T, pictures []*stdimage.RGBA) realSet {
	t.Helper()
	var s realSet
	var thumbs [][]uint8
	var hashes []*goimagehash.ImageHash
next:
	for _, img := range pictures {
		hash, err := goimagehash.PerceptionHash(picture.Resize(img, ThumbSize, ThumbSize))
		require.NoError(t, err)
		for _, h := range hashes {
			if d, err := h.Distance(hash); err == nil && d <= 4 {
				continue next
			}
		}
		hashes = append(hashes, hash)
		s.images = append(s.images, picture.Square(img, spec.Size)...)
		thumbs = append(thumbs, picture.Luminance(picture.Square(img, ThumbSize)))
	}
	pairs, err := Overlaps(t.Context(), thumbs, nil)
	require.NoError(t, err)
	for i, h := range hashes {
		for j, o := range hashes[:i] {
			if d, err := h.Distance(o); err == nil && d <= 8 {
				pairs = append(pairs, Pair{j, i})
			}
		}
	}
	of := make([]string, len(thumbs))
	for i := range of {
		of[i] = string(rune(i + 1))
	}
	for _, p := range pairs {
		from, to := of[p.B], of[p.A]
		for i := range of {
			if of[i] == from {
				of[i] = to
			}
		}
	}
	s.groups = members(len(of), of)
	return s
}

func drawnMetal(t *testing.T, seed uint64, n int) realSet {
	t.Helper()
	var pictures []*stdimage.RGBA
	for i := range n {
		img := picture.BrushedMetal(seed, i)
		rgba := stdimage.NewRGBA(img.Rect)
		draw.Draw(rgba, img.Rect, img, stdimage.Point{}, draw.Src)
		pictures = append(pictures, rgba)
	}
	return grouped(t, pictures)
}

// alongColumns is another class than drawn metal: the same, turned.
func alongColumns(t *testing.T) realSet {
	t.Helper()
	other := drawnMetal(t, 4, 60)
	other.images = eachPlane(other.images, func(p []uint8) []uint8 { return oriented(p, 1) })
	return other
}

// otherClass is what stands for another class to each of NEU's.
var otherClass = map[string]string{"crazing": "patches", "patches": "rolled-in_scale", "rolled-in_scale": "scratches", "scratches": "crazing"}

// steelRead are the classes that were read before; grouping takes a while.
var steelRead = map[string]realSet{}

// steel reads one of NEU's classes.
func steel(t *testing.T, class string) realSet {
	t.Helper()
	if known, ok := steelRead[class]; ok {
		return known
	}
	var pictures []*stdimage.RGBA
	for _, name := range sharedFiles(t, class) {
		raw, err := os.ReadFile(name)
		require.NoError(t, err)
		img, _, err := picture.Decode(raw, picture.Limits{})
		require.NoError(t, err)
		pictures = append(pictures, img)
	}
	s := grouped(t, pictures)
	s.turned = class == "scratches"
	steelRead[class] = s
	return steelRead[class]
}

func sharedFiles(t *testing.T, class string) []string {
	t.Helper()
	root := os.Getenv("DEFECTFORGE_SHARED")
	if root == "" {
		root = filepath.Join("..", "..", "..", "shared")
	}
	files, err := filepath.Glob(filepath.Join(root, "neu", class, "*.jpg"))
	require.NoError(t, err)
	if len(files) == 0 {
		if os.Getenv("CI") == "true" && os.Getenv("DEFECTFORGE_REQUIRE_SHARED") == "1" {
			t.Fatalf("%s/neu/%s is required here", root, class)
		}
		t.Skipf("%s/neu/%s is not there; set DEFECTFORGE_SHARED to the folder that holds neu", root, class)
	}
	return files
}

// thirds is a real set divided by groups: what was trained on, the hold-out,
// and further real images that stand for generated ones.
type thirds struct {
	training, holdout, fresh []uint8
	trainingGroups           []string
	holdoutGroups            []string
}

// divideInto draws a fifth of the images each for hold-out and fresh ones.
func (s realSet) divideInto(seed uint64) thirds {
	r := rand.New(rand.NewPCG(seed, 77))
	var t thirds
	left := [2]int{s.len() / 5, s.len() / 5}
	for _, g := range r.Perm(len(s.groups)) {
		members, name := s.groups[g], string(rune(g+1))
		pixels := pick(s.images, members)
		switch {
		case len(members) <= left[0]:
			left[0] -= len(members)
			t.fresh = append(t.fresh, pixels...)
		case len(members) <= left[1]:
			left[1] -= len(members)
			t.holdout = append(t.holdout, pixels...)
			t.holdoutGroups = append(t.holdoutGroups, slices.Repeat([]string{name}, len(members))...)
		default:
			t.training = append(t.training, pixels...)
			t.trainingGroups = append(t.trainingGroups, slices.Repeat([]string{name}, len(members))...)
		}
	}
	return t
}

func oneShard(images []uint8) Source {
	planes := FirstChannels(images)
	return Source{Shards: 1, Load: func(context.Context, int) ([]uint8, error) { return planes, nil }}
}

// eachPlane changes every channel of every image alike.
func eachPlane(images []uint8, change func(plane []uint8) []uint8) []uint8 {
	var out []uint8
	for i := range len(images) / PlaneLen {
		out = append(out, change(images[i*PlaneLen:(i+1)*PlaneLen])...)
	}
	return out
}

func shifted(plane []uint8, dx, dy int) []uint8 {
	return mappedAt(func(y, x int) uint8 {
		return plane[reflect(y+dy, spec.Size)*spec.Size+reflect(x+dx, spec.Size)]
	})
}

func mappedAt(f func(y, x int) uint8) []uint8 {
	out := make([]uint8, PlaneLen)
	for i := range out {
		out[i] = f(i/spec.Size, i%spec.Size)
	}
	return out
}

// blurred averages 5x5 pixels.
func blurred(plane []uint8) []uint8 {
	return mappedAt(func(y, x int) uint8 {
		sum := 0
		for d := range 25 {
			sum += int(plane[reflect(y+d/5-2, spec.Size)*spec.Size+reflect(x+d%5-2, spec.Size)])
		}
		return uint8(sum / 25)
	})
}

// noisy adds the same noise to each channel, of the given deviation.
func noisy(r *rand.Rand, image []uint8, deviation float64) []uint8 {
	plane := mapped(image[:PlaneLen], func(v int) int { return v + int(deviation*r.NormFloat64()) })
	return slices.Repeat(plane, spec.Channels)
}
