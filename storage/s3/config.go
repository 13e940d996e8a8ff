// Package s3 keeps buckets in any store that speaks S3.
package s3

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/minio/minio-go/v7"
)

// Config says where a store is and how to connect to it.
type Config struct {
	Endpoint string // host or host:port; http:// or https:// before it decides instead of Secure
	Region   string // empty: asked from the store
	Bucket   string
	// AccessKey and SecretKey are looked up in the environment, the files of
	// the usual tools and the machine's role, in this order, if both are empty.
	AccessKey string `json:"-"`
	SecretKey string `json:"-"`
	// SessionToken goes with temporary keys.
	SessionToken string `json:"-"`
	Secure       bool   // TLS
	// CAFile holds authorities to trust besides the system's, ClientCertFile and
	// ClientKeyFile the certificate to show; all PEM.
	CAFile, ClientCertFile, ClientKeyFile string
	CreateBucket                          bool // create Bucket where it is missing
	// SyncURL, if set, is posted to where Bucket.Sync is called; the store
	// answers 2xx once everything acknowledged is on disk.
	SyncURL string `json:"-"`
}

// String hides the secrets.
func (c Config) String() string {
	return fmt.Sprintf("s3{endpoint: %s, region: %s, bucket: %s, secure: %t}", c.Endpoint, c.Region, c.Bucket, c.Secure)
}

// GoString hides the secrets.
func (c Config) GoString() string { return c.String() }

// address splits Endpoint. Its errors never quote the endpoint: a user may have
// put a password there.
func (c Config) address() (host string, secure bool, err error) {
	endpoint, secure := c.Endpoint, c.Secure
	if !strings.Contains(endpoint, "://") {
		endpoint = "scheme://" + endpoint
	}
	u, err := url.Parse(endpoint)
	if err != nil {
		return "", false, errors.New("endpoint: not of the form host:port or http://host:port")
	}
	switch u.Scheme {
	case "http":
		secure = false
	case "https":
		secure = true
	case "scheme":
	default:
		return "", false, fmt.Errorf("endpoint: scheme %q: use http or https", u.Scheme)
	}
	switch {
	case u.User != nil:
		return "", false, errors.New("endpoint: has a user or password in it: set the access key and secret key instead")
	case u.Host == "" || u.Hostname() == "":
		return "", false, errors.New("endpoint: names no host: use host:port")
	case strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "":
		return "", false, fmt.Errorf("endpoint: something follows the host %q: leave it out", u.Host)
	}
	return u.Host, secure, nil
}

// Client is a connection to one store, for any of its buckets.
type Client struct {
	core    minio.Core
	host    string
	secrets []string // never to appear in an error
	syncURL string
	http    *http.Client
}

// Connect prepares a client. It finds the credentials but sends nothing to the
// store; config.Bucket is not looked at.
func Connect(ctx context.Context, config Config) (*Client, error) {
	host, secure, err := config.address()
	if err != nil {
		return nil, fmt.Errorf("object store: %w", err)
	}
	if config.SyncURL != "" {
		if u, err := url.Parse(config.SyncURL); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
			return nil, errors.New("object store: sync URL: not an http or https URL")
		}
	}
	transport, err := config.transport(secure)
	if err != nil {
		return nil, fmt.Errorf("object store %s: %w", host, err)
	}
	creds, err := config.credentials(ctx, transport)
	if err != nil {
		return nil, fmt.Errorf("object store %s: %w", host, err)
	}
	core, err := minio.NewCore(host, &minio.Options{Creds: creds, Secure: secure, Region: config.Region, Transport: transport})
	if err != nil {
		return nil, fmt.Errorf("object store %s: %w", host, err)
	}
	c := &Client{core: *core, host: host, syncURL: config.SyncURL, http: &http.Client{Transport: transport}}
	for _, s := range []string{config.AccessKey, config.SecretKey, config.SessionToken, config.SyncURL} {
		if s != "" {
			c.secrets = append(c.secrets, s)
		}
	}
	return c, nil
}

// Bucket returns the store's bucket of that name, which need not exist.
func (c *Client) Bucket(name string) *Bucket { return &Bucket{client: c, name: name} }

// Close closes idle connections. A store that is being stopped may wait for
// them.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Open connects to config.Bucket and makes sure that it exists, or creates it
// where config says so. A missing bucket is ErrNotFound.
func Open(ctx context.Context, config Config) (*Bucket, error) {
	c, err := Connect(ctx, config)
	if err != nil {
		return nil, err
	}
	b := c.Bucket(config.Bucket)
	if err := b.ensure(ctx, config.CreateBucket, config.Region); err != nil {
		return nil, err
	}
	return b, nil
}
