package main

import (
	"context"
	"fmt"
	"net"
	"strings"

	"github.com/spf13/cobra"

	"github.com/defectforge/defectforge/cmd/defectforge/internal/console"
)

// codecReport is the JSON object of `codec-server`, printed when it answers.
type codecReport struct {
	Endpoint string   `json:"endpoint"`
	Origins  []string `json:"origins"`
	Token    bool     `json:"token"` // whether one is demanded
}

// codecOptions are the flags of `codec-server`.
type codecOptions struct {
	listen  string
	origins []string
}

func codecServerCommand(a *app) *cobra.Command {
	var o codecOptions
	c := &cobra.Command{
		Use:   "codec-server",
		Short: "Decrypt payloads for Temporal's web UI and command line",
		Long: `Decrypt payloads for Temporal's web UI and command line. With codec.keys set,
inputs, results and failures are encrypted before they reach Temporal; this server
holds the keys and answers at /decode and /encode. In the web UI, enter its address
under "Configure Codec Server"; the stack that this program runs itself has its own.

Whoever may ask reads everything. So it listens on this machine alone unless told
otherwise, and then demands codec.token; TLS is for a proxy in front of it.`,
		Example: `  defectforge codec-server --origin http://127.0.0.1:8080
  DEFECTFORGE_CODEC_TOKEN_FILE=/run/secrets/token defectforge codec-server --listen 0.0.0.0:8888 --origin https://temporal.example`,
		Args: cobra.NoArgs,
		RunE: a.loading(func(c *cobra.Command, _ []string) error { return serveCodec(c.Context(), a, o) }),
	}
	c.Flags().StringVar(&o.listen, "listen", "127.0.0.1:8888", "address to listen on, host:port; port 0 takes a free one")
	c.Flags().StringArrayVar(&o.origins, "origin", nil, "origin of a web UI that may ask, as http://host:port; may be repeated")
	return c
}

// serveCodec decrypts until ctx ends.
func serveCodec(ctx context.Context, a *app, o codecOptions) error {
	codec, err := a.process.Codec()
	if err != nil {
		return err
	}
	if codec == nil {
		return console.Usage("codec.keys: not set, so nothing is encrypted; set it, or codec.keys_file, to the keys of the workers")
	}
	token := a.cfg.Codec.Token != ""
	if err := o.check(token); err != nil {
		return err
	}
	s, err := a.process.ServeCodec(codec, o.listen, o.origins...)
	if err != nil {
		return err
	}
	defer s.Close()
	if a.console.JSON() {
		if err := a.console.Emit(codecReport{s.Endpoint, append([]string{}, o.origins...), token}); err != nil {
			return err
		}
	}
	a.console.Print("codec      %s", s.Endpoint)
	a.console.Print("Ctrl-C stops it.")
	select {
	case <-ctx.Done():
		return nil
	case err := <-s.Failed:
		return fmt.Errorf("codec server: %w; start it again", err)
	}
}

// check refuses what would let others read everything.
func (o codecOptions) check(token bool) error {
	host, _, err := net.SplitHostPort(o.listen)
	if err != nil {
		return console.Usage("--listen: %q: write host:port", o.listen)
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) && !token {
		return console.Usage("--listen: %q: others could decrypt everything; set codec.token or codec.token_file, "+
			"or listen on 127.0.0.1", o.listen)
	}
	for _, origin := range o.origins {
		if !strings.HasPrefix(origin, "http://") && !strings.HasPrefix(origin, "https://") || strings.Count(origin, "/") != 2 {
			return console.Usage("--origin: %q: write http://host:port or https://host, without a path", origin)
		}
	}
	return nil
}
