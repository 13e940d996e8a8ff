package s3

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

// ErrNoCredentials: neither the configuration nor the environment has any.
var ErrNoCredentials = errors.New("no credentials for the object store: set the access key and secret key, " +
	"or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or MINIO_ROOT_USER and MINIO_ROOT_PASSWORD, " +
	"or AWS_WEB_IDENTITY_TOKEN_FILE and AWS_ROLE_ARN, or have them in ~/.aws/credentials or ~/.mc/config.json, " +
	"or run where the cloud provides a role")

// The environment's names for a web identity, as every AWS program reads them.
const (
	tokenFileVariable   = "AWS_WEB_IDENTITY_TOKEN_FILE"
	stsEndpointVariable = "AWS_ENDPOINT_URL_STS"
)

// credentialsPatience bounds one question for credentials: without a role the
// cloud's address answers nothing.
const credentialsPatience = 3 * time.Second

// transport is how the store is spoken with.
func (c Config) transport(secure bool) (*http.Transport, error) {
	t, err := minio.DefaultTransport(secure)
	if err != nil {
		return nil, err
	}
	// A store may take minutes to acknowledge a large object.
	t.ResponseHeaderTimeout = 10 * time.Minute
	t.MaxIdleConnsPerHost = 64
	if t.TLSClientConfig == nil {
		t.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	if c.CAFile != "" {
		pem, err := os.ReadFile(c.CAFile)
		if err != nil {
			return nil, fmt.Errorf("read authorities: %w", err)
		}
		pool := t.TLSClientConfig.RootCAs
		if pool == nil {
			if pool, err = x509.SystemCertPool(); err != nil {
				pool = x509.NewCertPool()
			}
		}
		if !pool.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("authorities in %s: no certificate in PEM form", c.CAFile)
		}
		t.TLSClientConfig.RootCAs = pool
	}
	if c.ClientCertFile != "" || c.ClientKeyFile != "" {
		// Read at every handshake, as short-lived certificates are replaced.
		load := func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(c.ClientCertFile, c.ClientKeyFile)
			return &pair, err
		}
		if _, err := load(nil); err != nil {
			return nil, fmt.Errorf("client certificate: %w", err)
		}
		t.TLSClientConfig.GetClientCertificate = load
	}
	return t, nil
}

// credentials returns the configured keys or else looks for some.
func (c Config) credentials(ctx context.Context, transport http.RoundTripper) (*credentials.Credentials, error) {
	if c.AccessKey != "" || c.SecretKey != "" {
		if c.AccessKey == "" || c.SecretKey == "" {
			return nil, errors.New("only one of access key and secret key is set: set both or neither")
		}
		return credentials.NewStaticV4(c.AccessKey, c.SecretKey, c.SessionToken), nil
	}
	client := &http.Client{Transport: transport, Timeout: credentialsPatience}
	chain := &chain{providers: []credentials.Provider{&credentials.EnvMinio{}, &credentials.EnvAWS{}}}
	iam := &credentials.IAM{Region: c.Region, Client: client}
	if os.Getenv(tokenFileVariable) != "" {
		// A token that is refused must not be passed over for other credentials.
		iam.Endpoint, iam.Client = os.Getenv(stsEndpointVariable), &http.Client{Transport: transport, Timeout: 5 * credentialsPatience}
		chain.last = iam
	} else {
		chain.providers = append(chain.providers, &credentials.FileAWSCredentials{}, &credentials.FileMinioClient{}, iam)
	}
	creds := credentials.New(chain)
	if _, err := creds.GetWithContext(&credentials.CredContext{Client: client, Context: ctx}); err != nil {
		return nil, err
	}
	return creds, nil
}

// chain asks one provider after the other. Unlike the library's, it does not
// go on anonymously where none has an answer.
type chain struct {
	providers []credentials.Provider
	last      credentials.Provider // of a web identity: its error is reported
	current   credentials.Provider
}

func (c *chain) RetrieveWithCredContext(cc *credentials.CredContext) (credentials.Value, error) {
	for _, p := range c.providers {
		value, err := p.RetrieveWithCredContext(cc)
		if err == nil && value.AccessKeyID != "" && value.SecretAccessKey != "" {
			c.current = p
			return value, nil
		}
	}
	c.current = nil
	if c.last == nil {
		return credentials.Value{}, ErrNoCredentials
	}
	value, err := c.last.RetrieveWithCredContext(cc)
	if err != nil {
		return credentials.Value{}, fmt.Errorf("exchange the web identity of %s for credentials: %s; check it, AWS_ROLE_ARN and %s",
			tokenFileVariable, reason(err), stsEndpointVariable)
	}
	c.current = c.last
	return value, nil
}

func (c *chain) Retrieve() (credentials.Value, error) { return c.RetrieveWithCredContext(nil) }

func (c *chain) IsExpired() bool { return c.current == nil || c.current.IsExpired() }
