package checkpoint

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"maps"
	"slices"
)

// Limits bound what is read before it is believed. Zero fields take the
// values of DefaultLimits.
type Limits struct {
	Header  int64 // bytes of the JSON header
	Tensors int   // number of tensors
	Data    int64 // bytes of the data section
	// Foreign also accepts files without this package's version and checksum,
	// as other programs write them.
	Foreign bool
}

// DefaultLimits fit the deepest networks of this project several times over.
func DefaultLimits() Limits { return Limits{Header: 4 << 20, Tensors: 1 << 14, Data: 8 << 30} }

func (l Limits) filled() Limits {
	d := DefaultLimits()
	l.Header = cmp.Or(l.Header, d.Header)
	l.Tensors = cmp.Or(l.Tensors, d.Tensors)
	l.Data = cmp.Or(l.Data, d.Data)
	return l
}

// Reader reads one file: NewReader the header, ReadInto the data.
type Reader struct {
	r       io.Reader
	meta    map[string]string
	entries []Entry
	want    string // checksum; empty in a foreign file
	sum     hash.Hash
}

// NewReader reads and checks the header. size is the file's length in bytes,
// or negative where it is not known. The checksum is only verified by ReadInto:
// until then nothing that was read is to be trusted.
func NewReader(r io.Reader, size int64, limits Limits) (*Reader, error) {
	limits = limits.filled()
	head, err := readHead(r, size, limits)
	if err != nil {
		return nil, fmt.Errorf("read safetensors header: %w", err)
	}
	rd := &Reader{r: r, sum: sha256.New()}
	if err := rd.parse(head[8:], limits); err != nil {
		return nil, fmt.Errorf("read safetensors header: %w", err)
	}
	if data := rd.dataBytes(); size >= 0 && size != int64(len(head))+data {
		return nil, fmt.Errorf("read safetensors header: %w: file has %d bytes, its header describes %d",
			ErrFormat, size, int64(len(head))+data)
	}
	if err := rd.adoptChecksum(head, limits); err != nil {
		return nil, fmt.Errorf("read safetensors header: %w", err)
	}
	return rd, nil
}

func readHead(r io.Reader, size int64, limits Limits) ([]byte, error) {
	prefix := make([]byte, 8)
	if _, err := io.ReadFull(r, prefix); err != nil {
		return nil, fmt.Errorf("%w: length: %w", ErrFormat, err)
	}
	n := binary.LittleEndian.Uint64(prefix)
	if n > uint64(limits.Header) {
		return nil, fmt.Errorf("%w: header of %d bytes, at most %d are read", ErrLimit, n, limits.Header)
	}
	if n < 2 || size >= 0 && int64(n) > size-8 {
		return nil, fmt.Errorf("%w: header of %d bytes in a file of %d", ErrFormat, n, size)
	}
	head := make([]byte, 8+n)
	copy(head, prefix)
	if _, err := io.ReadFull(r, head[8:]); err != nil {
		return nil, fmt.Errorf("%w: header: %w", ErrFormat, err)
	}
	return head, nil
}

// parse fills meta and entries, which cover the data section without a gap.
func (rd *Reader) parse(raw []byte, limits Limits) error {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(raw, &fields); err != nil {
		return fmt.Errorf("%w: %w", ErrFormat, err)
	}
	if m, ok := fields[metadataKey]; ok {
		if err := json.Unmarshal(m, &rd.meta); err != nil {
			return fmt.Errorf("%w: metadata: %w", ErrFormat, err)
		}
		delete(fields, metadataKey)
	}
	if len(fields) > limits.Tensors {
		return fmt.Errorf("%w: %d tensors, at most %d are read", ErrLimit, len(fields), limits.Tensors)
	}
	for name, raw := range fields {
		e, err := parseEntry(name, raw)
		if err != nil {
			return fmt.Errorf("tensor %q: %w", name, err)
		}
		rd.entries = append(rd.entries, e)
	}
	slices.SortFunc(rd.entries, func(a, b Entry) int {
		return cmp.Or(cmp.Compare(a.Offset, b.Offset), cmp.Compare(a.Bytes, b.Bytes), cmp.Compare(a.Name, b.Name))
	})
	at := int64(0)
	for _, e := range rd.entries {
		if e.Offset != at {
			return fmt.Errorf("%w: tensor %q starts at %d, not at %d", ErrFormat, e.Name, e.Offset, at)
		}
		at += e.Bytes
		if at > limits.Data || at < 0 {
			return fmt.Errorf("%w: more than %d bytes of data", ErrLimit, limits.Data)
		}
	}
	return nil
}

func parseEntry(name string, raw json.RawMessage) (Entry, error) {
	var p placement
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&p); err != nil {
		return Entry{}, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	if p.DType.Size() == 0 {
		return Entry{}, fmt.Errorf("%w: type %q is not supported", ErrFormat, p.DType)
	}
	n, err := elements(p.Shape)
	if err != nil {
		return Entry{}, err
	}
	from, to := p.Offsets[0], p.Offsets[1]
	if from < 0 || to < from || to-from != n*p.DType.Size() {
		return Entry{}, fmt.Errorf("%w: bytes %d to %d for shape %v of %s", ErrFormat, from, to, p.Shape, p.DType)
	}
	return Entry{Name: name, DType: p.DType, Shape: p.Shape, Offset: from, Bytes: to - from}, nil
}

// adoptChecksum takes the wanted checksum out of the header and starts the sum
// with the header as it was before the checksum was filled in.
func (rd *Reader) adoptChecksum(head []byte, limits Limits) error {
	sum, signed := rd.meta[KeyChecksum]
	version := rd.meta[KeyVersion]
	if !signed && version == "" && limits.Foreign {
		return nil
	}
	if version != Version {
		return fmt.Errorf("%w: format version %q, this program reads %q", ErrFormat, version, Version)
	}
	at := bytes.Index(head, checksumField(sum))
	if !signed || len(sum) != len(noChecksum) || at < 0 {
		return fmt.Errorf("%w: no checksum", ErrFormat)
	}
	blank := slices.Clone(head)
	copy(blank[at:], checksumField(noChecksum))
	rd.sum.Write(blank)
	rd.want = sum
	return nil
}

func (rd *Reader) dataBytes() int64 {
	if len(rd.entries) == 0 {
		return 0
	}
	last := rd.entries[len(rd.entries)-1]
	return last.Offset + last.Bytes
}

// Metadata is the header's metadata without this package's own keys.
func (rd *Reader) Metadata() map[string]string {
	m := maps.Clone(rd.meta)
	delete(m, KeyVersion)
	delete(m, KeyChecksum)
	return m
}

// Entries lists the tensors in the order of their data.
func (rd *Reader) Entries() []Entry { return slices.Clone(rd.entries) }

// ReadInto reads the whole data section, once. place names the slice that an
// entry's data goes to, of the entry's type and length; with nil the data is
// skipped, though it still counts for the checksum. After an error the placed
// slices hold anything.
func (rd *Reader) ReadInto(place func(Entry) (any, error)) error {
	buf := make([]byte, chunk)
	for _, e := range rd.entries {
		data, err := place(e)
		if err != nil {
			return fmt.Errorf("read tensor %q: %w", e.Name, err)
		}
		if err := checkPlace(e, data); err != nil {
			return fmt.Errorf("read tensor %q: %w", e.Name, err)
		}
		if err := rd.fill(e, data, buf); err != nil {
			return fmt.Errorf("read tensor %q: %w", e.Name, err)
		}
	}
	if n, err := io.ReadFull(rd.r, buf[:1]); n != 0 {
		return fmt.Errorf("read safetensors: %w: bytes follow the data", ErrFormat)
	} else if !errors.Is(err, io.EOF) {
		return fmt.Errorf("read safetensors: %w", err)
	}
	if got := hex.EncodeToString(rd.sum.Sum(nil)); rd.want != "" && got != rd.want {
		return fmt.Errorf("read safetensors: %w: %s is written, the bytes give %s", ErrChecksum, rd.want, got)
	}
	return nil
}

func checkPlace(e Entry, data any) error {
	if data == nil {
		return nil
	}
	dtype, n, err := describe(data)
	if err != nil {
		return err
	}
	if dtype != e.DType || n != e.Elements() {
		return fmt.Errorf("file has %d elements of %s, wanted are %d of %s", e.Elements(), e.DType, n, dtype)
	}
	return nil
}

func (rd *Reader) fill(e Entry, data any, buf []byte) error {
	size := int(e.DType.Size())
	for at := int64(0); at < e.Bytes; {
		part := buf[:min(int64(len(buf)), e.Bytes-at)]
		if _, err := io.ReadFull(rd.r, part); err != nil {
			return fmt.Errorf("%w: data ends early: %w", ErrFormat, err)
		}
		rd.sum.Write(part)
		if data != nil {
			decode(data, int(at)/size, part)
		}
		at += int64(len(part))
	}
	return nil
}

// Read reads a whole file into new tensors, in the order of their data.
// size and limits are as in NewReader.
func Read(r io.Reader, size int64, limits Limits) ([]Tensor, map[string]string, error) {
	rd, err := NewReader(r, size, limits)
	if err != nil {
		return nil, nil, err
	}
	tensors := make([]Tensor, 0, len(rd.entries))
	err = rd.ReadInto(func(e Entry) (any, error) {
		data := newData(e.DType, e.Elements())
		tensors = append(tensors, Tensor{e.Name, e.DType, e.Shape, data})
		return data, nil
	})
	if err != nil {
		return nil, nil, err
	}
	return tensors, rd.Metadata(), nil
}
