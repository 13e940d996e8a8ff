package main

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"

	sdklog "go.temporal.io/sdk/log"
)

// screen is standard error shared by log lines and a progress line at its
// bottom, which is wiped before anything else is written.
type screen struct {
	mu    sync.Mutex
	w     io.Writer
	dirty bool // a progress line stands there
}

const wipeLine = "\r\x1b[2K"

func (s *screen) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dirty {
		s.dirty = false
		if _, err := io.WriteString(s.w, wipeLine); err != nil {
			return 0, err
		}
	}
	return s.w.Write(b)
}

// progress draws over the progress line.
func (s *screen) progress(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dirty = true
	return s.w.Write(b)
}

func (p *program) setLogger() {
	var level slog.Level
	_ = level.UnmarshalText([]byte(p.cfg.Log.Level)) // validated
	p.log = slog.New(p.stderrHandler(level))
}

func (p *program) stderrHandler(level slog.Level) slog.Handler {
	o := &slog.HandlerOptions{Level: level}
	if p.cfg.Log.Format == "json" {
		return slog.NewJSONHandler(p.screen, o)
	}
	return slog.NewTextHandler(p.screen, o)
}

// maxLogBytes is where a log file is put aside; one former file is kept.
const maxLogBytes = 32 << 20

// logToFile keeps the full log of the embedded stack and its worker below the
// data folder, so that standard error can stay quiet.
func (p *program) logToFile() error {
	if p.logFile != nil {
		return nil
	}
	dir := filepath.Join(p.cfg.DataDir, "logs")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("create log folder: %w; choose another --data-dir", err)
	}
	name := filepath.Join(dir, "defectforge.log")
	if info, err := os.Stat(name); err == nil && info.Size() > maxLogBytes {
		_ = os.Rename(name, name+".1") // else it grows on
	}
	f, err := os.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("open log: %w; choose another --data-dir", err)
	}
	var level slog.Level
	_ = level.UnmarshalText([]byte(p.cfg.Log.Level))
	p.logFile = f
	file := slog.NewJSONHandler(f, &slog.HandlerOptions{Level: min(level, slog.LevelInfo)})
	p.log = slog.New(slog.NewMultiHandler(p.stderrHandler(level), file))
	if level > slog.LevelInfo {
		p.sdkLog = slog.New(file)
	}
	return nil
}

// temporalLogger is the SDK's view of the log. Where there is a file, failed
// attempts are only told there unless more is asked for: standard error shows
// them in fewer words.
func (p *program) temporalLogger() sdklog.Logger {
	log := p.log
	if p.sdkLog != nil {
		log = p.sdkLog
	}
	return sdklog.NewStructuredLogger(log.With("component", "temporal"))
}
