package process

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"go.temporal.io/sdk/converter"

	"github.com/defectforge/defectforge/cmd/defectforge/internal/client"
	"github.com/defectforge/defectforge/cmd/defectforge/internal/console"
	"github.com/defectforge/defectforge/cmd/defectforge/internal/process/sealing"
)

// Codec encrypts what Temporal keeps, nil where no keys are set.
func (p *Process) Codec() (*sealing.Codec, error) {
	if p.cfg.Codec.Keys == "" {
		return nil, nil
	}
	c, err := sealing.New(p.cfg.Codec.Keys.Reveal())
	if err != nil {
		return nil, console.Usage("codec.keys: %w", err)
	}
	return c, nil
}

// payloads is how what Temporal keeps is written and read: encrypted where
// codec.keys is set.
func (p *Process) payloads() (client.Payloads, error) {
	c, err := p.Codec()
	if err != nil || c == nil {
		return client.PlainPayloads, err
	}
	data := converter.NewCodecDataConverter(client.PlainPayloads.Data, c)
	return client.Payloads{Data: data, Failures: sealing.Failures(data)}, nil
}

// CodecServer decrypts payloads for whoever may ask.
type CodecServer struct {
	Endpoint string       // its URL
	Failed   <-chan error // why it stopped serving

	codec  *sealing.Server
	server *http.Server
}

// ServeCodec listens. Pages of the origins may ask; a token is demanded where
// codec.token is set.
func (p *Process) ServeCodec(codec *sealing.Codec, listen string, origins ...string) (*CodecServer, error) {
	return serveCodec(sealing.NewServer(codec, p.cfg.Codec.Token.Reveal(), origins...), listen)
}

func serveCodec(codec *sealing.Server, listen string) (*CodecServer, error) {
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return nil, fmt.Errorf("listen for the codec server: %w; choose another --listen", err)
	}
	failed := make(chan error, 1)
	s := &CodecServer{
		Endpoint: "http://" + l.Addr().String(), Failed: failed, codec: codec, server: &http.Server{
			Handler: codec, ReadTimeout: 30 * time.Second, WriteTimeout: 30 * time.Second, IdleTimeout: time.Minute,
		},
	}
	go func() {
		if err := s.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			failed <- err
		}
	}()
	return s, nil
}

// Close stops listening. There may be no server.
func (s *CodecServer) Close() {
	if s != nil {
		_ = s.server.Close()
	}
}

// embeddedCodec serves the web UI of the embedded stack, which can show no token;
// nil where nothing is encrypted.
func (p *Process) embeddedCodec() (*CodecServer, error) {
	codec, err := p.Codec()
	if err != nil || codec == nil {
		return nil, err
	}
	if p.cfg.Codec.Token != "" {
		p.log.Info("the embedded web UI can show no codec.token; it is given no codec server")
		return nil, nil
	}
	return serveCodec(sealing.NewServer(codec, ""), "127.0.0.1:0")
}
