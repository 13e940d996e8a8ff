// Package sealing encrypts what Temporal keeps: a payload codec with AES-256 in
// Galois/Counter Mode, and the server that lets the web UI read it.
//
// A sealed payload has the metadata encoding "binary/defectforge-aes256gcm" and
// the key's name under "defectforge-key"; its data is a nonce of 12 random bytes,
// then the encrypted payload, a protobuf message, with its tag of 16 bytes. The
// encoding and the key's name are authenticated with it. Nonces are drawn at
// random, so replace a key before it has sealed 2^32 payloads.
package sealing

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"strings"

	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"
	"google.golang.org/protobuf/proto"
)

const (
	encoding = "binary/defectforge-aes256gcm"
	keyField = "defectforge-key"
	keySize  = 32 // bytes
)

// ErrUnknownKey: a payload was sealed with a key that is not among ours.
var ErrUnknownKey = errors.New("the payload is encrypted with another key")

// Codec seals payloads with its first key, and opens them with any. It may be
// used from several goroutines.
type Codec struct {
	first string
	keys  map[string]cipher.AEAD
}

var _ converter.PayloadCodec = (*Codec)(nil)

var keyName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

// New reads keys as name:base64, separated by commas, spaces or line ends, the
// one that seals first. Errors name a key by its name or its place, never by
// its content.
func New(text string) (*Codec, error) {
	c := &Codec{keys: map[string]cipher.AEAD{}}
	for i, one := range strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune(", \t\r\n", r) }) {
		name, encoded, ok := strings.Cut(one, ":")
		if !ok || !keyName.MatchString(name) {
			return nil, fmt.Errorf("key %d: write it as name:base64, the name of letters, digits, dots, hyphens and underscores", i+1)
		}
		raw, err := base64.StdEncoding.DecodeString(encoded)
		if err != nil || len(raw) != keySize {
			return nil, fmt.Errorf("key %q: is not %d bytes in base64; `openssl rand -base64 %d` makes one", name, keySize, keySize)
		}
		if c.keys[name] != nil {
			return nil, fmt.Errorf("key %q: is given twice; each needs a name of its own", name)
		}
		block, err := aes.NewCipher(raw)
		if err != nil {
			return nil, fmt.Errorf("key %q: %w", name, err)
		}
		if c.keys[name], err = cipher.NewGCM(block); err != nil {
			return nil, fmt.Errorf("key %q: %w", name, err)
		}
		if i == 0 {
			c.first = name
		}
	}
	if c.first == "" {
		return nil, errors.New("no key; write one as name:base64")
	}
	return c, nil
}

// bound is what is authenticated beside a payload's content.
func bound(key string) []byte { return []byte(encoding + "\x00" + key) }

// Encode implements converter.PayloadCodec.
func (c *Codec) Encode(in []*commonpb.Payload) ([]*commonpb.Payload, error) {
	out := make([]*commonpb.Payload, len(in))
	for i, p := range in {
		raw, err := proto.Marshal(p)
		if err != nil {
			return in, fmt.Errorf("encrypt payload: %w", err)
		}
		key := c.keys[c.first]
		sealed := make([]byte, key.NonceSize(), key.NonceSize()+len(raw)+key.Overhead())
		_, _ = rand.Read(sealed) // never fails: see crypto/rand
		out[i] = &commonpb.Payload{
			Metadata: map[string][]byte{converter.MetadataEncoding: []byte(encoding), keyField: []byte(c.first)},
			Data:     key.Seal(sealed, sealed, raw, bound(c.first)),
		}
	}
	return out, nil
}

// Decode implements converter.PayloadCodec. What was not sealed passes: earlier
// runs stay readable.
func (c *Codec) Decode(in []*commonpb.Payload) ([]*commonpb.Payload, error) {
	out := make([]*commonpb.Payload, len(in))
	for i, p := range in {
		if string(p.GetMetadata()[converter.MetadataEncoding]) != encoding {
			out[i] = p
			continue
		}
		opened, err := c.open(p)
		if err != nil {
			return in, fmt.Errorf("decrypt payload: %w", err)
		}
		out[i] = opened
	}
	return out, nil
}

func (c *Codec) open(p *commonpb.Payload) (*commonpb.Payload, error) {
	name := string(p.GetMetadata()[keyField])
	key := c.keys[name]
	if key == nil {
		return nil, fmt.Errorf("%w: %q; add that key to codec.keys, behind the first", ErrUnknownKey, name)
	}
	if len(p.GetData()) < key.NonceSize() {
		return nil, errors.New("it is cut short")
	}
	nonce, sealed := p.GetData()[:key.NonceSize()], p.GetData()[key.NonceSize():]
	raw, err := key.Open(nil, nonce, sealed, bound(name))
	if err != nil {
		return nil, fmt.Errorf("it was changed, or key %q is another of that name", name)
	}
	out := &commonpb.Payload{}
	if err := proto.Unmarshal(raw, out); err != nil {
		return nil, errors.New("its content is no payload")
	}
	return out, nil
}

// Failures converts errors so that their messages and stack traces are payloads,
// which d seals. A failure's type stays readable: it decides on retries.
func Failures(d converter.DataConverter) converter.FailureConverter {
	return temporal.NewDefaultFailureConverter(temporal.DefaultFailureConverterOptions{DataConverter: d, EncodeCommonAttributes: true})
}
