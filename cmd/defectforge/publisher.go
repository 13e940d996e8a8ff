package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"strings"

	"github.com/defectforge/defectforge/config"
	"github.com/defectforge/defectforge/storage"
	"github.com/defectforge/defectforge/storage/s3"
)

// storeConfig is the configured store, entered with these keys.
func (p *program) storeConfig(access, secret config.Secret) s3.Config {
	c := p.cfg.Store
	return s3.Config{
		Endpoint: c.Endpoint, Region: c.Region, Bucket: c.Bucket, Secure: c.Secure,
		AccessKey: access.Reveal(), SecretKey: secret.Reveal(),
		CAFile: c.CAFile, ClientCertFile: c.ClientCertFile, ClientKeyFile: c.ClientKeyFile,
	}
}

// publisher is the bucket by the credential that releases are published with, nil
// where that is the store's own, or where the role does not publish.
func (p *program) publisher(role string) (storage.Bucket, error) {
	c := p.cfg.Publisher
	if c.AccessKey == "" || role == config.RoleTraining {
		return nil, nil
	}
	client, err := s3.Connect(context.Background(), p.storeConfig(c.AccessKey, c.SecretKey)) // asks nobody: the keys are given
	if err != nil {
		return nil, fmt.Errorf("publisher's credential: %w", err)
	}
	return client.Bucket(p.cfg.Store.Bucket), nil
}

// publisher checks that the publisher may write below releases/, and that the
// store's own credential may not.
func (d *doctor) publisher(ctx context.Context, trainer storage.Bucket) {
	own, err := d.p.publisher(config.RoleIO)
	if err != nil {
		d.fail("publisher", "check publisher.access_key and publisher.secret_key", "%v", err)
		return
	}
	if own == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, doctorPatience)
	defer cancel()
	// No class is called so, and nothing lists it.
	key := "releases/-doctor/probe-" + strings.ToLower(rand.Text())
	put := func(b storage.Bucket) error {
		raw := []byte("probe")
		_, err := b.Put(ctx, key, bytes.NewReader(raw), int64(len(raw)), storage.Digest(raw), storage.Condition{})
		return err
	}
	clean := func(b storage.Bucket) { _ = b.Delete(context.WithoutCancel(ctx), key) } // a probe left behind is in nobody's way
	const remedy = "see deploy/policies: the publisher writes below releases/, the store's credential everywhere else"
	if err := put(own); err != nil {
		d.fail("publisher", remedy, "write a probe: %v", err)
		return
	}
	clean(own)
	if put(trainer) == nil {
		clean(trainer)
		d.warn("publisher", remedy, "the store's own credential may write below releases/ as well")
		return
	}
	d.ok("publisher", "may write below releases/, and the store's own credential may not")
}
