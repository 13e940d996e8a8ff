package checkpoint

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Keys of the header's __metadata__ that this package owns.
const (
	// KeyVersion holds the version of this format, Version.
	KeyVersion = "format_version"
	// KeyChecksum holds the checksum, see FORMAT.md.
	KeyChecksum = "sha256"
	// Version is the format version that is written, and the only one read.
	Version = "1"
)

const (
	metadataKey = "__metadata__"
	chunk       = 1 << 18 // bytes converted at a time; a multiple of 8
)

// noChecksum stands in the header while the checksum is computed.
var noChecksum = strings.Repeat("0", sha256.Size*2)

// Write writes tensors and meta to w. Tensors are sorted by name, so equal
// input gives equal bytes in any order. meta must not use this package's keys.
// The data is read twice: once for the checksum, which stands in front.
func Write(w io.Writer, meta map[string]string, tensors []Tensor) error {
	sorted, err := prepare(tensors)
	if err != nil {
		return fmt.Errorf("write safetensors: %w", err)
	}
	head, err := header(meta, sorted)
	if err != nil {
		return fmt.Errorf("write safetensors: %w", err)
	}
	sum := sha256.New()
	sum.Write(head)
	if err := stream(sum, sorted); err != nil {
		return fmt.Errorf("write safetensors: %w", err)
	}
	at := bytes.Index(head, checksumField(noChecksum))
	copy(head[at:], checksumField(hex.EncodeToString(sum.Sum(nil))))
	if _, err := w.Write(head); err != nil {
		return fmt.Errorf("write safetensors header: %w", err)
	}
	if err := stream(w, sorted); err != nil {
		return fmt.Errorf("write safetensors data: %w", err)
	}
	return nil
}

// checksumField is the checksum as it stands in the header.
func checksumField(sum string) []byte {
	return []byte(`"` + KeyChecksum + `":"` + sum + `"`)
}

// prepare returns tensors sorted by name, with their types filled in.
func prepare(tensors []Tensor) ([]Tensor, error) {
	sorted := slices.Clone(tensors)
	slices.SortFunc(sorted, func(a, b Tensor) int { return strings.Compare(a.Name, b.Name) })
	for i := range sorted {
		t := &sorted[i]
		if t.Name == "" || t.Name == metadataKey {
			return nil, fmt.Errorf("tensor name %q is not allowed", t.Name)
		}
		if i > 0 && t.Name == sorted[i-1].Name {
			return nil, fmt.Errorf("tensor %q is given twice", t.Name)
		}
		dtype, have, err := describe(t.Data)
		if err != nil {
			return nil, fmt.Errorf("tensor %q: %w", t.Name, err)
		}
		if t.DType != "" && t.DType != dtype {
			return nil, fmt.Errorf("tensor %q: type %s with data of type %s", t.Name, t.DType, dtype)
		}
		t.DType = dtype
		want, err := elements(t.Shape)
		if err != nil {
			return nil, fmt.Errorf("tensor %q: %w", t.Name, err)
		}
		if want != int64(have) {
			return nil, fmt.Errorf("tensor %q: shape %v wants %d elements, data has %d", t.Name, t.Shape, want, have)
		}
	}
	return sorted, nil
}

// header is the length prefix and the padded JSON, with noChecksum in it.
func header(meta map[string]string, tensors []Tensor) ([]byte, error) {
	all := map[string]string{KeyVersion: Version, KeyChecksum: noChecksum}
	for k, v := range meta {
		if _, taken := all[k]; taken {
			return nil, fmt.Errorf("metadata key %q is reserved", k)
		}
		all[k] = v
	}
	b := bytes.NewBuffer(make([]byte, 8))
	b.WriteByte('{')
	if err := field(b, metadataKey, all); err != nil { // encoding/json sorts map keys
		return nil, err
	}
	at := int64(0)
	for _, t := range tensors {
		_, n, _ := describe(t.Data)
		end := at + int64(n)*t.DType.Size()
		b.WriteByte(',')
		place := placement{t.DType, append([]int{}, t.Shape...), [2]int64{at, end}}
		if err := field(b, t.Name, place); err != nil {
			return nil, err
		}
		at = end
	}
	b.WriteByte('}')
	for b.Len()%8 != 0 {
		b.WriteByte(' ')
	}
	head := b.Bytes()
	if bytes.Count(head, checksumField(noChecksum)) != 1 {
		return nil, errors.New("metadata imitates the checksum")
	}
	binary.LittleEndian.PutUint64(head, uint64(len(head)-8))
	return head, nil
}

// placement is a tensor's entry in the JSON header.
type placement struct {
	DType   DType    `json:"dtype"`
	Shape   []int    `json:"shape"`
	Offsets [2]int64 `json:"data_offsets"`
}

func field(b *bytes.Buffer, name string, v any) error {
	key, err := json.Marshal(name)
	if err != nil {
		return fmt.Errorf("encode name %q: %w", name, err)
	}
	value, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode %q: %w", name, err)
	}
	b.Write(key)
	b.WriteByte(':')
	b.Write(value)
	return nil
}

// stream writes the data section.
func stream(w io.Writer, tensors []Tensor) error {
	buf := make([]byte, chunk)
	for _, t := range tensors {
		_, n, _ := describe(t.Data)
		size := int(t.DType.Size())
		for i := 0; i < n; {
			used := encode(buf, t.Data, i)
			if _, err := w.Write(buf[:used]); err != nil {
				return fmt.Errorf("tensor %q: %w", t.Name, err)
			}
			i += used / size
		}
	}
	return nil
}
