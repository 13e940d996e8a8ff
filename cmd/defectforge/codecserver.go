package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/defectforge/defectforge/cmd/defectforge/sealing"
)

// codecReport is the JSON object of `codec-server`, printed when it answers.
type codecReport struct {
	Endpoint string   `json:"endpoint"`
	Origins  []string `json:"origins"`
	Token    bool     `json:"token"` // whether one is demanded
}

func (p *program) codecServerCommand() *cobra.Command {
	var listen string
	var origins []string
	c := &cobra.Command{
		Use:   "codec-server",
		Short: "Decrypt payloads for Temporal's web UI and command line",
		Long: `Decrypt payloads for Temporal's web UI and command line. With codec.keys set,
inputs, results and failures are encrypted before they reach Temporal; this server
holds the keys and answers at /decode and /encode. In the web UI, enter its address
under "Configure Codec Server"; the stack that this program runs itself has its own.

Whoever may ask reads everything. So it listens on this machine alone unless told
otherwise, and then demands codec.token; TLS is for a proxy before it.`,
		Example: `  defectforge codec-server --origin http://127.0.0.1:8080
  DEFECTFORGE_CODEC_TOKEN_FILE=/run/secrets/token defectforge codec-server --listen 0.0.0.0:8888 --origin https://temporal.example`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := p.load(c); err != nil {
				return err
			}
			return p.codecServer(c.Context(), listen, origins)
		},
	}
	c.Flags().StringVar(&listen, "listen", "127.0.0.1:8888", "address to listen on, host:port; port 0 takes a free one")
	c.Flags().StringArrayVar(&origins, "origin", nil, "origin of a web UI that may ask, as http://host:port; may be repeated")
	return c
}

func (p *program) codecServer(ctx context.Context, listen string, origins []string) error {
	codec, err := p.codec()
	if err != nil {
		return err
	}
	if codec == nil {
		return usageError("codec.keys: not set, so nothing is encrypted; set it, or codec.keys_file, to the keys of the workers")
	}
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return usageError("--listen: %q: write host:port", listen)
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) && p.cfg.Codec.Token == "" {
		return usageError("--listen: %q: others could decrypt everything; set codec.token or codec.token_file, or listen on 127.0.0.1", listen)
	}
	for _, o := range origins {
		if !strings.HasPrefix(o, "http://") && !strings.HasPrefix(o, "https://") || strings.Count(o, "/") != 2 {
			return usageError("--origin: %q: write http://host:port or https://host, without a path", o)
		}
	}
	s, err := startCodec(sealing.NewServer(codec, p.cfg.Codec.Token.Reveal(), origins...), listen)
	if err != nil {
		return err
	}
	defer s.close()
	if p.json {
		if err := p.emit(codecReport{s.endpoint, append([]string{}, origins...), p.cfg.Codec.Token != ""}); err != nil {
			return err
		}
	}
	p.print("codec      %s", s.endpoint)
	p.print("Ctrl-C stops it.")
	select {
	case <-ctx.Done():
		return nil
	case err := <-s.failed:
		return fmt.Errorf("codec server: %w; start it again", err)
	}
}

// codecHTTP is a codec server that listens.
type codecHTTP struct {
	endpoint string // its URL
	codec    *sealing.Server
	server   *http.Server
	failed   chan error
}

func startCodec(codec *sealing.Server, listen string) (*codecHTTP, error) {
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return nil, fmt.Errorf("listen for the codec server: %w; choose another --listen", err)
	}
	s := &codecHTTP{
		endpoint: "http://" + l.Addr().String(), codec: codec, failed: make(chan error, 1),
		server: &http.Server{Handler: codec, ReadTimeout: 30 * time.Second, WriteTimeout: 30 * time.Second, IdleTimeout: time.Minute},
	}
	go func() {
		if err := s.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			s.failed <- err
		}
	}()
	return s, nil
}

func (s *codecHTTP) close() {
	if s != nil {
		_ = s.server.Close()
	}
}

// embeddedCodec serves the web UI of the embedded stack, which can show no token;
// nil where nothing is encrypted.
func (p *program) embeddedCodec() (*codecHTTP, error) {
	codec, err := p.codec()
	if err != nil || codec == nil {
		return nil, err
	}
	if p.cfg.Codec.Token != "" {
		p.log.Info("the embedded web UI can show no codec.token; it is given no codec server")
		return nil, nil
	}
	return startCodec(sealing.NewServer(codec, ""), "127.0.0.1:0")
}

// startOwnStack starts the embedded stack, and with keys a codec server for its
// web UI.
func (p *program) startOwnStack(ctx context.Context) (*embedded, error) {
	c, err := p.embeddedCodec()
	if err != nil {
		return nil, err
	}
	endpoint := ""
	if c != nil {
		endpoint = c.endpoint
	}
	e, err := startStack(ctx, p.cfg.Config, endpoint, p.log)
	if err != nil {
		c.close()
		return nil, err
	}
	if c != nil {
		c.codec.Allow(e.UIURL)
		stop := e.stop
		e.stop = func(ctx context.Context) error {
			c.close()
			return stop(ctx)
		}
	}
	return e, nil
}
