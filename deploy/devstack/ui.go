package devstack

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/temporalio/ui-server/v2/server"
	uiconfig "github.com/temporalio/ui-server/v2/server/config"
	"github.com/temporalio/ui-server/v2/server/server_options"
)

type webUI struct{ server *server.Server }

// startUI serves the web UI and returns when it answers. Its port must be free:
// the library ends the process where it is not.
func startUI(ctx context.Context, p ports, cfg Config) (*webUI, error) {
	if !isFree(p.UI) {
		return nil, fmt.Errorf("%w: %s was free a moment ago and is not now: start again", ErrPortTaken, address(p.UI))
	}
	ui := &webUI{server.NewServer(server_options.WithConfigProvider(&uiconfig.Config{
		TemporalGRPCAddress: address(p.Temporal),
		Host:                host,
		Port:                p.UI,
		EnableUI:            true,
		DefaultNamespace:    cfg.Namespace,
		Codec:               uiconfig.Codec{Endpoint: cfg.CodecEndpoint},
		DisableNewsFetch:    true, // nothing here calls out
		HideLogs:            true,
		Distribution:        "server",
		CORS:                uiconfig.CORS{CookieInsecure: true}, // plain HTTP
	}))}
	go func() { _ = ui.server.Start() }()
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	if err := poll(ctx, nil, func(ctx context.Context) error { return get(ctx, "http://"+address(p.UI)+"/healthz") }); err != nil {
		return ui, fmt.Errorf("wait for web UI: %w", err)
	}
	return ui, nil
}

func (u *webUI) stop(context.Context) error {
	u.server.Stop()
	return nil
}

// local never goes through a proxy and keeps no connections.
var local = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 2 * time.Second}

// get succeeds when url answers 200.
func get(ctx context.Context, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	res, err := local.Do(req)
	if err != nil {
		return err
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("answer %s", res.Status)
	}
	return nil
}
