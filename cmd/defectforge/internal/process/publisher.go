package process

import (
	"context"
	"fmt"

	"github.com/defectforge/defectforge/cmd/defectforge/internal/console"
	"github.com/defectforge/defectforge/config"
	"github.com/defectforge/defectforge/storage"
	"github.com/defectforge/defectforge/storage/release"
	"github.com/defectforge/defectforge/storage/release/sign"
	"github.com/defectforge/defectforge/storage/s3"
)

// storeConfig is the configured store, entered with these keys.
func (p *Process) storeConfig(access, secret config.Secret) s3.Config {
	c := p.cfg.Store
	return s3.Config{
		Endpoint: c.Endpoint, Region: c.Region, Bucket: c.Bucket, Secure: c.Secure,
		AccessKey: access.Reveal(), SecretKey: secret.Reveal(),
		CAFile: c.CAFile, ClientCertFile: c.ClientCertFile, ClientKeyFile: c.ClientKeyFile,
	}
}

// Publisher is the bucket by the credential that releases are published with, nil
// where that is the store's own, or where the role does not publish.
func (p *Process) Publisher(role string) (storage.Bucket, error) {
	c := p.cfg.Publisher
	if c.AccessKey == "" || role == config.RoleTraining {
		return nil, nil
	}
	// Nobody is asked for anything: the keys are given.
	connected, err := s3.Connect(context.Background(), p.storeConfig(c.AccessKey, c.SecretKey))
	if err != nil {
		return nil, fmt.Errorf("publisher's credential: %w", err)
	}
	return connected.Bucket(p.cfg.Store.Bucket), nil
}

// signer is what signs releases, nil where nothing does: no key is set, or the
// role does not publish.
func (p *Process) signer(role string) (release.Signer, error) {
	if p.cfg.Release.SigningKey == "" || role == config.RoleTraining {
		return nil, nil
	}
	key, err := sign.LoadKey(p.cfg.Release.SigningKey, p.cfg.Release.SigningPassword.Reveal())
	if err != nil {
		return nil, console.Usage("release.signing_key: %w (release.signing_password, or "+
			"DEFECTFORGE_RELEASE_SIGNING_PASSWORD, opens an encrypted one)", err)
	}
	p.log.Info("releases are signed", "public_key", key.Public().String())
	return key, nil
}
