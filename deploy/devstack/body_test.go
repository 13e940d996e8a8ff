package devstack

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"
	"github.com/versity/versitygw/s3err"
)

const (
	signature = ";chunk-signature=0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	// signedBody is what minio-go sends over plain HTTP: 5 + 16 bytes of data.
	signedBody = "5" + signature + "\r\nhello\r\n10" + signature + "\r\n0123456789\r\nabcd\r\n0" + signature +
		"\r\nx-amz-checksum-crc32c:AAAAAA==\n\r\nx-amz-trailer-signature:ff\r\n\r\n"
)

func TestChunkedBodyRewritesOnlyTheTrailer(t *testing.T) {
	want := strings.Replace(signedBody, "==\n\r\n", "==\r\n", 1)
	for name, body := range map[string]struct{ in, out string }{
		"minio-go's":   {signedBody, want},
		"as it should": {want, want},
		"no trailer":   {"5\r\nhello\r\n10\r\n0123456789\n\r\nabc\r\n0\r\n\r\n", "5\r\nhello\r\n10\r\n0123456789\n\r\nabc\r\n0\r\n\r\n"},
	} {
		for _, size := range []int{1, 2, 7, 64, 4096} {
			for _, slow := range []bool{false, true} {
				var in io.Reader = strings.NewReader(body.in)
				if slow {
					in = iotest.OneByteReader(in)
				}
				var got bytes.Buffer
				_, err := io.CopyBuffer(struct{ io.Writer }{&got}, struct{ io.Reader }{newChunkedBody(in, 21)}, make([]byte, size))
				require.NoError(t, err, name)
				require.Equal(t, body.out, got.String(), "%s in reads of %d", name, size)
			}
		}
	}
}

func TestChunkedBodyRefusesWhatIsShort(t *testing.T) {
	// The last byte but one still leaves "\r" where "\r\n" must be.
	for cut := range len(signedBody) - 2 {
		body := newChunkedBody(io.MultiReader(strings.NewReader(signedBody[:cut]), iotest.ErrReader(io.ErrUnexpectedEOF)), 21)
		_, err := io.Copy(io.Discard, body)
		require.True(t, isIncomplete(err), "cut at %d: %v", cut, err)
		body = newChunkedBody(&sizedBody{r: strings.NewReader(signedBody[:cut]), left: int64(len(signedBody))}, 21)
		_, err = io.Copy(io.Discard, body)
		require.True(t, isIncomplete(err), "cut at %d with a plain EOF: %v", cut, err)
	}
}

func TestChunkedBodyRefusesNonsense(t *testing.T) {
	for name, in := range map[string]string{
		"fewer bytes than declared": "5\r\nhello\r\n0\r\n\r\n",
		"more bytes than declared":  "16\r\n" + strings.Repeat("x", 22) + "\r\n0\r\n\r\n",
		"negative size":             "-5\r\nhello\r\n0\r\n\r\n",
		"no number":                 "hello\r\n",
		"endless header":            strings.Repeat("0", 3*maxChunkHeader),
		"overflow":                  "ffffffffffffffffffff\r\n",
	} {
		_, err := io.Copy(io.Discard, newChunkedBody(strings.NewReader(in), 21))
		require.True(t, isIncomplete(err), "%s: %v", name, err)
	}
}

func TestSizedBody(t *testing.T) {
	read := func(r io.Reader, left int64) (string, error) {
		b, err := io.ReadAll(&sizedBody{r: r, left: left})
		return string(b), err
	}
	got, err := read(strings.NewReader("hello"), 5)
	require.NoError(t, err)
	require.Equal(t, "hello", got)
	got, err = read(strings.NewReader("hello, you"), 5)
	require.NoError(t, err)
	require.Equal(t, "hello", got)
	_, err = read(iotest.DataErrReader(strings.NewReader("hello")), 5)
	require.NoError(t, err)
	for _, r := range []io.Reader{strings.NewReader("hell"), iotest.DataErrReader(strings.NewReader("hell")),
		io.MultiReader(strings.NewReader("hell"), iotest.ErrReader(io.ErrUnexpectedEOF)),
		io.MultiReader(strings.NewReader("hell"), iotest.ErrReader(errors.New("reset")))} {
		_, err = read(r, 5)
		require.True(t, isIncomplete(err), "%v", err)
	}
	got, err = read(strings.NewReader("of unknown length"), -1)
	require.NoError(t, err)
	require.Equal(t, "of unknown length", got)
}

func isIncomplete(err error) bool {
	var e s3err.S3Error
	return errors.As(err, &e) && e.StatusCode() == 400
}
