package storage

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
)

// readAttempts is how often Read asks for an object whose bytes do not arrive
// as they should before it believes that the store itself holds different ones.
const readAttempts = 3

// View reads what is stored and trusts no byte before it has verified it. Store is
// one that writes as well.
type View struct{ reader Reader }

// ViewOf returns a view of what r holds.
func ViewOf(r Reader) View { return View{r} }

// Reader returns what the view is of.
func (v View) Reader() Reader { return v.reader }

// Read returns the bytes of obj. It fails with ErrTooLarge where obj has more
// than limit bytes, with ErrNotFound where nothing has its key, and with
// ErrCorrupt where the object there has another size or digest.
func (v View) Read(ctx context.Context, obj Object, limit int64) ([]byte, error) {
	if obj.Size > limit {
		return nil, fmt.Errorf("read %q: %w: %d bytes, limit %d", obj.Key, ErrTooLarge, obj.Size, limit)
	}
	var data []byte
	err := v.repeat(ctx, func() error {
		r, err := v.Open(ctx, obj)
		if err != nil {
			return err
		}
		defer r.Close()
		buf := bytes.NewBuffer(make([]byte, 0, obj.Size+bytes.MinRead))
		if _, err := buf.ReadFrom(r); err != nil {
			return err
		}
		data = buf.Bytes()
		return nil
	})
	if err != nil {
		return nil, err
	}
	return data, nil
}

// ReadNamed returns the bytes under key, whatever they are, and describes them.
// It fails with ErrTooLarge where there are more than limit, and with
// ErrCorrupt where the digest that the writer stated is another.
func (v View) ReadNamed(ctx context.Context, key string, limit int64) ([]byte, Info, error) {
	var data []byte
	var info Info
	err := v.repeat(ctx, func() error {
		var err error
		data, info, err = v.readNamed(ctx, key, limit)
		return err
	})
	if err != nil {
		return nil, Info{}, err
	}
	return data, info, nil
}

func (v View) readNamed(ctx context.Context, key string, limit int64) ([]byte, Info, error) {
	r, info, err := v.reader.Get(ctx, key)
	if err != nil {
		return nil, Info{}, fmt.Errorf("read object: %w", err)
	}
	defer r.Close()
	data, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, Info{}, fmt.Errorf("read %q: %w", key, err)
	}
	if int64(len(data)) > limit {
		return nil, Info{}, fmt.Errorf("read %q: %w: more than %d bytes", key, ErrTooLarge, limit)
	}
	digest := Digest(data)
	if info.SHA256 != "" && info.SHA256 != digest {
		return nil, Info{}, fmt.Errorf("read %q: %w: SHA-256 is %s, stated was %s", key, ErrCorrupt, digest, info.SHA256)
	}
	info.Size, info.SHA256 = int64(len(data)), digest
	return data, info, nil
}

// repeat calls read again where another try may give another outcome.
func (v View) repeat(ctx context.Context, read func() error) error {
	for attempt := 1; ; attempt++ {
		err := read()
		if err == nil || attempt == readAttempts || ctx.Err() != nil ||
			errors.Is(err, ErrNotFound) || errors.Is(err, ErrTooLarge) {
			return err
		}
	}
}

// Open opens obj for reading. The reader fails with ErrCorrupt, at the latest
// where it would end, if the bytes are not those of obj; what was read before
// must not be trusted until it has ended with io.EOF.
func (v View) Open(ctx context.Context, obj Object) (io.ReadCloser, error) {
	if !validDigest(obj.SHA256) || obj.Size < 0 {
		return nil, fmt.Errorf("open %q: %w: a reference with SHA-256 %q and size %d", obj.Key, ErrCorrupt, obj.SHA256, obj.Size)
	}
	r, info, err := v.reader.Get(ctx, obj.Key)
	if err != nil {
		return nil, fmt.Errorf("open object: %w", err)
	}
	if info.Size != obj.Size {
		r.Close()
		return nil, fmt.Errorf("open %q: %w: %d bytes, want %d", obj.Key, ErrCorrupt, info.Size, obj.Size)
	}
	return &verifier{r: r, hash: sha256.New(), left: obj.Size, obj: obj}, nil
}

// verifier passes bytes on and checks at their end that they were the right ones.
type verifier struct {
	r    io.ReadCloser
	hash hash.Hash
	left int64
	obj  Object
	err  error // sticky
}

func (v *verifier) Read(p []byte) (int, error) {
	if v.err != nil {
		return 0, v.err
	}
	n, err := v.r.Read(p)
	v.hash.Write(p[:n])
	v.left -= int64(n)
	if v.left < 0 {
		n, err = 0, fmt.Errorf("read %q: %w: more than %d bytes", v.obj.Key, ErrCorrupt, v.obj.Size)
	} else if errors.Is(err, io.EOF) {
		err = v.check()
	} else if err != nil {
		err = fmt.Errorf("read %q: %w", v.obj.Key, err)
	}
	v.err = err
	return n, err
}

// check returns io.EOF if everything was right.
func (v *verifier) check() error {
	if v.left > 0 {
		return fmt.Errorf("read %q: %w: %d of %d bytes", v.obj.Key, ErrCorrupt, v.obj.Size-v.left, v.obj.Size)
	}
	if digest := hex.EncodeToString(v.hash.Sum(nil)); digest != v.obj.SHA256 {
		return fmt.Errorf("read %q: %w: SHA-256 is %s, want %s", v.obj.Key, ErrCorrupt, digest, v.obj.SHA256)
	}
	return io.EOF
}

func (v *verifier) Close() error { return v.r.Close() }

// ReadToFile downloads obj to path. The file appears whole and verified, in
// place of one that was there, or not at all.
func (v View) ReadToFile(ctx context.Context, obj Object, path string) error {
	return v.repeat(ctx, func() error { return v.readToFile(ctx, obj, path) })
}

func (v View) readToFile(ctx context.Context, obj Object, path string) (err error) {
	r, err := v.Open(ctx, obj)
	if err != nil {
		return err
	}
	defer r.Close()
	f, err := os.CreateTemp(filepath.Dir(path), ".download-*")
	if err != nil {
		return fmt.Errorf("create file for %q: %w", obj.Key, err)
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
		}
	}()
	if _, err := io.Copy(f, r); err != nil {
		return fmt.Errorf("download to file: %w", err)
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("download to file: %w", err)
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("download to file: %w", err)
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return fmt.Errorf("download to file: %w", err)
	}
	return nil
}
