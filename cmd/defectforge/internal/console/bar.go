package console

import (
	"fmt"
	"strings"

	"github.com/schollz/progressbar/v3"
)

// Bar keeps a bar below the lines of a screen, or words where nothing can be
// counted. Its line never wraps: it could not be wiped then.
type Bar struct {
	screen *Screen
	width  func() int // of the terminal, in columns
	bar    *progressbar.ProgressBar
	total  int64
	wide   int // columns of the bar
	drawn  string
}

// NewBar makes a bar on a terminal of that width in columns.
func NewBar(s *Screen, width func() int) *Bar { return &Bar{screen: s, width: width} }

const (
	// barFrame is what percent, frame and spaces of a bar take, in columns.
	barFrame = 12
	// wideScreen has room for a long bar and all words.
	wideScreen = 100
	// narrowScreen has none for a bar.
	narrowScreen = 30
)

// Draw shows how much of the total is done, with words behind it, the most
// important first; long asks words for the longer ones.
func (b *Bar) Draw(done, total int64, words func(long bool) []string) {
	b.drawn = ""
	columns := b.width()
	if columns < narrowScreen {
		b.bar = nil
		fmt.Fprint(b.screen.Bottom(), WipeLine, fit(words(false), columns-1))
		return
	}
	wide := 6
	if columns >= wideScreen {
		wide = 20
	}
	text := fit(words(columns >= wideScreen), columns-wide-barFrame)
	if b.bar == nil || b.total != total || b.wide != wide {
		b.total, b.wide = total, wide
		b.bar = progressbar.NewOptions64(total,
			progressbar.OptionSetWriter(b.screen.Bottom()), progressbar.OptionSetWidth(wide), progressbar.OptionUseANSICodes(true),
			progressbar.OptionSetPredictTime(false), progressbar.OptionSetElapsedTime(false),
			progressbar.OptionSetDescription(text), progressbar.OptionShowDescriptionAtLineEnd())
	} else {
		b.bar.Describe(text)
	}
	_ = b.bar.Set64(done) // only drawing
}

// Words shows words in place of a bar, once as long as they are the same.
func (b *Bar) Words(text string) {
	if text = fit([]string{text}, b.width()-1); text != b.drawn {
		b.drawn = text
		fmt.Fprint(b.screen.Bottom(), WipeLine, text)
	}
}

// Shown reports whether there is a bar.
func (b *Bar) Shown() bool { return b.bar != nil }

// Drop takes the bar away.
func (b *Bar) Drop() {
	if b.bar != nil {
		b.bar = nil
		b.screen.wipe()
	}
}

// Close takes bar and words away.
func (b *Bar) Close() {
	b.bar, b.drawn = nil, ""
	b.screen.wipe()
}

// fit joins parts, from the first on, as far as room columns hold them. A first
// one that is too long is cut.
func fit(parts []string, room int) string {
	out := parts[0][:max(0, min(len(parts[0]), room))]
	for _, part := range parts[1:] {
		if len(out)+2+len(part) > room {
			break
		}
		out += ", " + part
	}
	return strings.TrimRight(out, " ")
}
