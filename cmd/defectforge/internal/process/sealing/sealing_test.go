package sealing

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"
	"google.golang.org/protobuf/proto"
)

func key(fill byte) string {
	return base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{fill}, keySize))
}

func codec(t *testing.T, text string) *Codec {
	t.Helper()
	c, err := New(text)
	require.NoError(t, err)
	return c
}

func TestSealedValuesOpenAgain(t *testing.T) {
	c := codec(t, "a:"+key(1))
	d := converter.NewCodecDataConverter(converter.GetDefaultDataConverter(), c)
	first, err := d.ToPayload("scratches on line 3")
	require.NoError(t, err)
	second, err := d.ToPayload("scratches on line 3")
	require.NoError(t, err)
	assert.NotEqual(t, first.Data, second.Data, "the same twice looks different")
	assert.NotContains(t, first.String(), "scratches")
	assert.Equal(t, encoding, string(first.Metadata["encoding"]))
	assert.Equal(t, "a", string(first.Metadata[keyField]))
	var got string
	require.NoError(t, d.FromPayload(first, &got))
	assert.Equal(t, "scratches on line 3", got)

	plain, err := converter.GetDefaultDataConverter().ToPayload("from before")
	require.NoError(t, err)
	require.NoError(t, d.FromPayload(plain, &got))
	assert.Equal(t, "from before", got, "what was never sealed is still read")
}

// The first key seals, the others open what they sealed before.
func TestKeysRotate(t *testing.T) {
	old := codec(t, "2025:"+key(1))
	both := codec(t, "2026:"+key(2)+",\n2025:"+key(1)+"\n")
	fresh := codec(t, "2026:"+key(2))
	payload := []*commonpb.Payload{{Data: []byte("x")}}
	before, err := old.Encode(payload)
	require.NoError(t, err)
	now, err := both.Encode(payload)
	require.NoError(t, err)
	for _, sealed := range [][]*commonpb.Payload{before, now} {
		opened, err := both.Decode(sealed)
		require.NoError(t, err)
		assert.True(t, proto.Equal(payload[0], opened[0]))
	}
	_, err = fresh.Decode(now)
	require.NoError(t, err)
	_, err = fresh.Decode(before)
	require.ErrorIs(t, err, ErrUnknownKey)
	assert.ErrorContains(t, err, `"2025"; add that key to codec.keys`)
}

func TestWhatWasChangedDoesNotOpen(t *testing.T) {
	c := codec(t, "a:"+key(1)+" b:"+key(2))
	sealed, err := c.Encode([]*commonpb.Payload{{Data: []byte("verdict: fail")}})
	require.NoError(t, err)
	for name, change := range map[string]func(p *commonpb.Payload){
		"the last byte": func(p *commonpb.Payload) { p.Data[len(p.Data)-1] ^= 1 },
		"the nonce":     func(p *commonpb.Payload) { p.Data[0] ^= 1 },
		"cut short":     func(p *commonpb.Payload) { p.Data = p.Data[:5] },
		"cut at nonce":  func(p *commonpb.Payload) { p.Data = p.Data[:12] },
		"another key":   func(p *commonpb.Payload) { p.Metadata[keyField] = []byte("b") },
		"no key":        func(p *commonpb.Payload) { delete(p.Metadata, keyField) },
	} {
		p := proto.CloneOf(sealed[0])
		change(p)
		_, err := c.Decode([]*commonpb.Payload{p})
		assert.Error(t, err, name)
	}
	_, err = c.Decode(sealed)
	assert.NoError(t, err)
}

func TestBadKeysAreNotQuoted(t *testing.T) {
	for text, want := range map[string]string{
		"":                                   "no key",
		"hunter2":                            "key 1: write it as name:base64",
		"a b:" + key(1):                      "key 1:",
		"a:hunter2":                          `key "a": is not 32 bytes`,
		"a:" + key(1) + ",a:" + key(2):       `key "a": is given twice`,
		"a:" + key(1)[:40]:                   `key "a": is not 32 bytes`,
		"a:" + key(1) + "\n" + "ö:" + key(1): "key 2:",
	} {
		_, err := New(text)
		require.ErrorContains(t, err, want, text)
		assert.NotContains(t, err.Error(), "hunter2")
		assert.NotContains(t, err.Error(), key(1)[:10])
	}
}

// Failures are sealed with their messages and stack traces.
func TestFailuresAreSealed(t *testing.T) {
	d := converter.NewCodecDataConverter(converter.GetDefaultDataConverter(), codec(t, "a:"+key(1)))
	f := Failures(d)
	failure := f.ErrorToFailure(temporal.NewNonRetryableApplicationError("Ingest: s3://factory/secret-line/ is empty", "TooFewImages", errors.New("cause of secret-line")))
	raw, err := proto.Marshal(failure)
	require.NoError(t, err)
	assert.NotContains(t, string(raw), "secret-line")
	assert.NotContains(t, string(raw), "sealing_test.go", "nor a stack trace")
	back := f.FailureToError(failure)
	var app *temporal.ApplicationError
	require.ErrorAs(t, back, &app)
	assert.Equal(t, "Ingest: s3://factory/secret-line/ is empty", app.Message())
	assert.Equal(t, "TooFewImages", app.Type(), "what decides on retries stays readable")
}

func TestServer(t *testing.T) {
	c := codec(t, "a:"+key(1))
	ask := func(s *Server, path, origin, token string, body []byte) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodPost, path, bytes.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		if origin != "" {
			r.Header.Set("Origin", origin)
		}
		if token != "" {
			r.Header.Set("Authorization", token)
		}
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		return w
	}
	sealed, err := c.Encode([]*commonpb.Payload{{Metadata: map[string][]byte{"encoding": []byte("json/plain")}, Data: []byte(`"hello"`)}})
	require.NoError(t, err)
	body, err := json.Marshal(&commonpb.Payloads{Payloads: sealed})
	require.NoError(t, err)
	const ui = "http://127.0.0.1:8233"

	s := NewServer(c, "", ui)
	got := ask(s, "/decode", ui, "", body)
	require.Equal(t, http.StatusOK, got.Code, got.Body)
	assert.Equal(t, ui, got.Header().Get("Access-Control-Allow-Origin"))
	assert.Contains(t, got.Body.String(), base64.StdEncoding.EncodeToString([]byte(`"hello"`)))
	assert.Equal(t, http.StatusOK, ask(s, "/decode", "", "", body).Code, "programs have no origin")
	got = ask(s, "/decode", "https://evil.example", "", body)
	assert.Equal(t, http.StatusForbidden, got.Code)
	assert.Empty(t, got.Header().Get("Access-Control-Allow-Origin"))
	s.Allow("https://ui.example")
	assert.Equal(t, http.StatusOK, ask(s, "/decode", "https://ui.example", "", body).Code)
	sealed[0].Data[20] ^= 1
	changed, err := json.Marshal(&commonpb.Payloads{Payloads: sealed})
	require.NoError(t, err)
	assert.Equal(t, http.StatusBadRequest, ask(s, "/decode", ui, "", changed).Code)
	assert.NotEqual(t, http.StatusOK, ask(s, "/decode", ui, "", []byte(strings.Repeat(" ", maxRequest+1))).Code)
	assert.Equal(t, http.StatusNotFound, ask(s, "/other", ui, "", body).Code)

	s = NewServer(c, "between-us", ui)
	for _, wrong := range []string{"", "Bearer wrong", "between-us"} {
		got = ask(s, "/decode", ui, wrong, body)
		assert.Equal(t, http.StatusUnauthorized, got.Code, wrong)
		assert.NotContains(t, got.Body.String(), "hello")
	}
	assert.Equal(t, http.StatusOK, ask(s, "/decode", ui, "Bearer between-us", body).Code)
	r := httptest.NewRequest(http.MethodOptions, "/decode", nil)
	r.Header.Set("Origin", ui)
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	assert.Equal(t, http.StatusNoContent, w.Code)
	assert.Contains(t, w.Header().Get("Access-Control-Allow-Headers"), "Authorization")
}
