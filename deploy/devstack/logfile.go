package devstack

import (
	"bytes"
	"fmt"
	"os"
	"sync"
)

// logLimit is the size at which a log file becomes name.1, replacing the one
// before it.
const logLimit = 16 << 20

// logFile is a writer to a file that does not grow without end.
type logFile struct {
	name  string
	limit int64

	mu   sync.Mutex
	file *os.File
	size int64
}

func openLog(name string, limit int64) (*logFile, error) {
	l := &logFile{name: name, limit: limit}
	return l, l.open()
}

func (l *logFile) open() error {
	f, err := os.OpenFile(l.name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("open log: %w", err)
	}
	info, err := f.Stat()
	if err != nil {
		_ = f.Close()
		return fmt.Errorf("open log: %w", err)
	}
	l.file, l.size = f, info.Size()
	return nil
}

// Write appends p, which should be whole lines.
func (l *logFile) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		return len(p), nil // closed: stragglers of a stopped server
	}
	if l.size > 0 && l.size+int64(len(p)) > l.limit {
		if err := l.rotate(); err != nil {
			return 0, err
		}
	}
	n, err := l.file.Write(p)
	l.size += int64(n)
	return n, err
}

func (l *logFile) rotate() error {
	_ = l.file.Close()
	l.file = nil
	if err := os.Rename(l.name, l.name+".1"); err != nil {
		return fmt.Errorf("rotate log: %w", err)
	}
	return l.open()
}

// Close makes later writes vanish.
func (l *logFile) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		return nil
	}
	f := l.file
	l.file = nil
	return f.Close()
}

// lastLine is the end of a log, for errors that send the reader there.
func lastLine(name string) string {
	b, err := os.ReadFile(name)
	if err != nil {
		return ""
	}
	b = bytes.TrimSpace(b)
	if i := bytes.LastIndexByte(b, '\n'); i >= 0 {
		b = b[i+1:]
	}
	const most = 300
	return string(b[:min(len(b), most)])
}
