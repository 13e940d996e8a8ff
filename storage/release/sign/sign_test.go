package sign_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"aead.dev/minisign"
	"github.com/stretchr/testify/require"

	"github.com/defectforge/defectforge/storage/release/sign"
)

// keyFile writes a new private key, encrypted unless the password is empty.
func keyFile(t *testing.T, password string) string {
	t.Helper()
	_, private, err := minisign.GenerateKey(nil)
	require.NoError(t, err)
	raw, err := private.MarshalText()
	if password != "" {
		raw, err = minisign.EncryptKey(password, private)
	}
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "key")
	require.NoError(t, os.WriteFile(path, raw, 0o600))
	return path
}

func load(t *testing.T, path, password string) *sign.Key {
	t.Helper()
	key, err := sign.LoadKey(path, password)
	require.NoError(t, err)
	return key
}

func TestSignAndVerify(t *testing.T) {
	key := load(t, keyFile(t, ""), "")
	message := []byte("manifest")
	signature, err := key.Sign(message, "release 1 of class a")
	require.NoError(t, err)
	again, err := key.Sign(message, "release 1 of class a")
	require.NoError(t, err)
	require.Equal(t, signature, again, "a repeated publish must find its own signature")
	require.Contains(t, string(signature), "trusted comment: release 1 of class a\n")

	path := filepath.Join(t.TempDir(), "key.pub")
	require.NoError(t, os.WriteFile(path, []byte("untrusted comment: mine\n"+key.Public().String()+"\n"), 0o600))
	for _, how := range []string{key.Public().String(), path} {
		public, err := sign.LoadPublicKey(how)
		require.NoError(t, err)
		require.NoError(t, public.Verify(message, signature))
		for i := range message {
			bad := append([]byte(nil), message...)
			bad[i] ^= 1
			require.Error(t, public.Verify(bad, signature))
		}
		require.NoError(t, public.Verify(message, bytes.ReplaceAll(signature, []byte("\n"), []byte("\r\n"))))
		for i := range signature {
			// The first line is for people and not covered, nor are line ends.
			if i <= len("untrusted comment: signature from minisign secret key 0123456789ABCDEF") || signature[i] == '\n' {
				continue
			}
			for bit := range 7 {
				bad := append([]byte(nil), signature...)
				bad[i] ^= 1 << bit
				require.Error(t, public.Verify(message, bad), "byte %d, bit %d", i, bit)
			}
		}
	}
	other := load(t, keyFile(t, ""), "")
	require.ErrorContains(t, other.Public().Verify(message, signature), "is of key")
	// What older programs sign, without hashing first, is as good.
	_, private, err := minisign.GenerateKey(nil)
	require.NoError(t, err)
	public, err := sign.LoadPublicKey(private.Public().(minisign.PublicKey).String())
	require.NoError(t, err)
	require.NoError(t, public.Verify(message, minisign.Sign(private, message)))
}

func TestKeysDoNotShow(t *testing.T) {
	path := keyFile(t, "")
	raw, err := os.ReadFile(path)
	require.NoError(t, err)
	var private minisign.PrivateKey
	require.NoError(t, private.UnmarshalText(raw))
	key := load(t, path, "")
	want := fmt.Sprintf("[signing key %016X]", private.ID())
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d"} {
		require.Equal(t, want, fmt.Sprintf(verb, key), verb)
	}
	text, err := json.Marshal(key)
	require.NoError(t, err)
	require.Equal(t, `"`+want+`"`, string(text))
}

func TestBadKeys(t *testing.T) {
	dir := t.TempDir()
	file := func(text string) string {
		path := filepath.Join(dir, "bad")
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	_, err := sign.LoadKey(filepath.Join(dir, "none"), "")
	require.ErrorIs(t, err, os.ErrNotExist)
	_, err = sign.LoadKey(file("secret rubbish"), "")
	require.ErrorContains(t, err, "minisign -G")
	require.NotContains(t, err.Error(), "rubbish")
	_, err = sign.LoadKey(file(string(make([]byte, 5000))), "")
	require.ErrorContains(t, err, "no key")
	_, err = sign.LoadPublicKey(file("rubbish"))
	require.Error(t, err)
	_, err = sign.LoadPublicKey("rubbish")
	require.ErrorContains(t, err, "neither")
	require.Error(t, load(t, keyFile(t, ""), "").Public().Verify([]byte("m"), []byte("rubbish")))
}

func TestEncryptedKey(t *testing.T) {
	if testing.Short() {
		t.Skip("opening an encrypted key takes a gigabyte and seconds, on purpose")
	}
	path := keyFile(t, "pass")
	_, err := sign.LoadKey(path, "")
	require.ErrorContains(t, err, "is encrypted")
	_, err = sign.LoadKey(path, "word")
	require.ErrorContains(t, err, "does not open it")
	require.NotContains(t, err.Error(), "word\"")
	_, err = load(t, path, "pass").Sign([]byte("m"), "c")
	require.NoError(t, err)
}
