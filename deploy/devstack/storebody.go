package devstack

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/gofiber/fiber/v3"
	"github.com/versity/versitygw/s3api/utils"
	"github.com/versity/versitygw/s3err"
)

const (
	maxChunkHeader = 1 << 10
	maxTrailer     = 8 << 10
)

// guardBody stands before the gateway's own handlers and mends two faults of
// versitygw 1.8.0 in how it reads uploads. A client that dies in the middle of
// one ends the body with io.ErrUnexpectedEOF, which its hash readers take for
// the end, so that a truncated object is published: here a short body is an
// error. And it refuses signed trailers in the form "name:value\n\r\n", which
// is AWS's own and minio-go's: here the "\n" is taken out.
//
// It also reads to the end what a refused upload still has to say, which the
// gateway does for 256 KiB only: closing the connection on a client that is
// sending shows it a reset, which it retries, and not the answer.
func guardBody(c fiber.Ctx) error {
	if c.Method() != http.MethodPut {
		return c.Next()
	}
	body := c.Request().BodyStream()
	length := c.Request().Header.ContentLength()
	if body == nil || length == 0 {
		return c.Next()
	}
	sized := &sizedBody{r: body, left: int64(length)}
	var guarded io.Reader = sized
	if strings.HasPrefix(c.Get("X-Amz-Content-Sha256"), "STREAMING-") {
		decoded, err := strconv.ParseInt(c.Get("X-Amz-Decoded-Content-Length"), 10, 64)
		if err != nil {
			return c.Next() // refused by the gateway, in its own words
		}
		guarded = newChunkedBody(guarded, decoded)
	}
	utils.ContextKeyBodyReader.Set(c, guarded)
	err := c.Next()
	// A handler that asked for the body as a whole has given the stream back.
	if length > 0 && c.Request().BodyStream() == body {
		_, _ = io.Copy(io.Discard, sized)
	}
	return err
}

// errIncomplete is what the gateway's error handling turns into a 400.
func errIncomplete() error { return s3err.GetAPIError(s3err.ErrIncompleteBody) }

// sizedBody passes on exactly left bytes, or as many as come where left is
// negative, and ends in errIncomplete where there are fewer. It never reads on
// after an end or an error: fasthttp would wait for more.
type sizedBody struct {
	r    io.Reader
	left int64
	err  error
}

func (b *sizedBody) Read(p []byte) (int, error) {
	switch {
	case b.err != nil:
		return 0, b.err
	case b.left == 0:
		return 0, io.EOF
	case b.left > 0 && int64(len(p)) > b.left:
		p = p[:b.left]
	}
	n, err := b.r.Read(p)
	if b.left > 0 {
		b.left -= int64(n)
	}
	switch {
	case b.left == 0, err == nil:
	case b.left < 0 && errors.Is(err, io.EOF):
		b.err = io.EOF
	default:
		b.err = errIncomplete()
	}
	return n, b.err
}

// chunkedBody passes on an aws-chunked body, checks its framing and total, and
// rewrites its trailer:
//
//	hex-size[;chunk-signature=...]\r\n data \r\n ... 0[;...]\r\n [trailer]
type chunkedBody struct {
	r       *bufio.Reader
	left    int64  // bytes of the current chunk, its closing \r\n included
	decoded int64  // bytes of data that the chunks to come must have
	pending []byte // header or trailer to be passed on first
	last    bool   // the trailer is in pending or passed on
	err     error
}

func newChunkedBody(r io.Reader, decoded int64) *chunkedBody {
	return &chunkedBody{r: bufio.NewReaderSize(r, 64<<10), decoded: decoded}
}

// Read fills p wherever it can: the gateway's parser copes best with few,
// large reads.
func (b *chunkedBody) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) && b.err == nil {
		var m int
		m, b.err = b.read(p[n:])
		n += m
	}
	if n > 0 {
		return n, nil
	}
	return 0, b.err
}

func (b *chunkedBody) read(p []byte) (int, error) {
	switch {
	case len(b.pending) > 0:
		n := copy(p, b.pending)
		b.pending = b.pending[n:]
		return n, nil
	case b.last:
		return 0, io.EOF
	case b.left > 0:
		n, err := b.r.Read(p[:min(int64(len(p)), b.left)])
		b.left -= int64(n)
		if err != nil {
			return n, errIncomplete()
		}
		return n, nil
	}
	return 0, b.nextHeader()
}

// nextHeader reads the line that opens a chunk, and after the last one the
// trailer.
func (b *chunkedBody) nextHeader() error {
	line, err := b.r.ReadSlice('\n')
	if err != nil || len(line) > maxChunkHeader {
		return errIncomplete()
	}
	digits, _, _ := bytes.Cut(bytes.TrimRight(line, "\r\n"), []byte(";"))
	size, err := strconv.ParseInt(string(bytes.TrimSpace(digits)), 16, 64)
	if err != nil || size < 0 || size > b.decoded {
		return errIncomplete()
	}
	b.decoded -= size
	b.pending = bytes.Clone(line)
	if size > 0 {
		b.left = size + 2
		return nil
	}
	if b.decoded != 0 {
		return errIncomplete()
	}
	trailer, err := io.ReadAll(io.LimitReader(b.r, maxTrailer))
	if err != nil || !bytes.HasSuffix(trailer, []byte("\r\n")) {
		return errIncomplete()
	}
	b.pending = append(b.pending, plainTrailer(trailer)...)
	b.last = true
	return nil
}

// plainTrailer removes each "\n" that stands between a value and its "\r\n".
func plainTrailer(t []byte) []byte {
	out := make([]byte, 0, len(t))
	for i, c := range t {
		if c == '\n' && i > 0 && t[i-1] != '\r' && bytes.HasPrefix(t[i+1:], []byte("\r\n")) {
			continue
		}
		out = append(out, c)
	}
	return out
}
