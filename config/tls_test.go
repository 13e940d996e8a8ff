package config

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
)

// authority issues certificates.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	dir  string
	made int64
}

func newAuthority(t *testing.T, dir string) *authority {
	t.Helper()
	a := &authority{t: t, dir: dir}
	a.issue("ca", func(c *x509.Certificate) {
		c.IsCA, c.BasicConstraintsValid, c.KeyUsage = true, true, x509.KeyUsageCertSign
	})
	return a
}

// issue writes name.pem and name-key.pem; the first is the authority itself.
func (a *authority) issue(name string, change func(*x509.Certificate)) (certFile, keyFile string) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(a.t, err)
	a.made++
	template := &x509.Certificate{SerialNumber: big.NewInt(a.made), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	change(template)
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	require.NoError(a.t, err)
	if a.cert == nil {
		a.cert, err = x509.ParseCertificate(der)
		require.NoError(a.t, err)
		a.key = key
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	require.NoError(a.t, err)
	certFile, keyFile = filepath.Join(a.dir, name+".pem"), filepath.Join(a.dir, name+"-key.pem")
	require.NoError(a.t, os.WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	require.NoError(a.t, os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER}), 0o600))
	return certFile, keyFile
}

// frontend is as much of a Temporal server as a client asks for when it dials.
type frontend struct {
	workflowservice.UnimplementedWorkflowServiceServer
	authorization []string
}

func (f *frontend) GetSystemInfo(ctx context.Context, _ *workflowservice.GetSystemInfoRequest) (*workflowservice.GetSystemInfoResponse, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	f.authorization = md.Get("authorization")
	return &workflowservice.GetSystemInfoResponse{}, nil
}

// TEMPORAL_TLS_..., TEMPORAL_API_KEY and temporal.toml lead to a server that
// demands a client certificate.
func TestTemporalBehindTLSWithClientCertificates(t *testing.T) {
	dir := isolate(t)
	a := newAuthority(t, dir)
	serverCert, serverKey := a.issue("server", func(c *x509.Certificate) {
		c.DNSNames, c.ExtKeyUsage = []string{"temporal.internal"}, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	})
	clientCert, clientKey := a.issue("client", func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} })
	pair, err := tls.LoadX509KeyPair(serverCert, serverKey)
	require.NoError(t, err)
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	server, f := grpc.NewServer(grpc.Creds(credentials.NewTLS(&tls.Config{
		Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool, MinVersion: tls.VersionTLS12,
	}))), &frontend{}
	workflowservice.RegisterWorkflowServiceServer(server, f)
	go func() { _ = server.Serve(listener) }()
	defer server.Stop()

	dial := func() error {
		place, err := Config{Store: Store{Endpoint: "s3.example"}}.Place()
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		place.Client.Logger = log.NewStructuredLogger(slog.New(slog.DiscardHandler))
		c, err := client.DialContext(ctx, place.Client)
		if err == nil {
			c.Close()
		}
		return err
	}
	for name, value := range map[string]string{
		"TEMPORAL_ADDRESS": listener.Addr().String(), "TEMPORAL_TLS": "true", "TEMPORAL_TLS_SERVER_NAME": "temporal.internal",
		"TEMPORAL_TLS_SERVER_CA_CERT_PATH": filepath.Join(dir, "ca.pem"),
		"TEMPORAL_TLS_CLIENT_CERT_PATH":    clientCert, "TEMPORAL_TLS_CLIENT_KEY_PATH": clientKey, "TEMPORAL_API_KEY": "the-api-key",
	} {
		t.Setenv(name, value)
	}
	require.NoError(t, dial())
	assert.Equal(t, []string{"Bearer the-api-key"}, f.authorization)

	for _, one := range []string{"TEMPORAL_TLS_SERVER_CA_CERT_PATH", "TEMPORAL_TLS_SERVER_NAME"} {
		t.Run("without "+one, func(t *testing.T) {
			t.Setenv(one, "")
			err := dial()
			require.Error(t, err)
			assert.NotContains(t, err.Error(), "the-api-key")
		})
	}
	t.Run("without a client certificate", func(t *testing.T) {
		t.Setenv("TEMPORAL_TLS_CLIENT_CERT_PATH", "")
		t.Setenv("TEMPORAL_TLS_CLIENT_KEY_PATH", "")
		require.Error(t, dial())
	})
	t.Run("a certificate that is not there", func(t *testing.T) {
		t.Setenv("TEMPORAL_TLS_CLIENT_CERT_PATH", filepath.Join(dir, "none.pem"))
		err := dial()
		require.ErrorContains(t, err, "none.pem")
		require.ErrorContains(t, err, "check the TEMPORAL_TLS_ variables")
	})
	t.Run("from a mounted file", func(t *testing.T) {
		for _, name := range []string{
			"TEMPORAL_ADDRESS", "TEMPORAL_TLS", "TEMPORAL_TLS_SERVER_NAME", "TEMPORAL_TLS_SERVER_CA_CERT_PATH",
			"TEMPORAL_TLS_CLIENT_CERT_PATH", "TEMPORAL_TLS_CLIENT_KEY_PATH", "TEMPORAL_API_KEY",
		} {
			t.Setenv(name, "")
			require.NoError(t, os.Unsetenv(name))
		}
		t.Setenv("TEMPORAL_CONFIG_FILE", write(t, filepath.Join(dir, "temporal.toml"), `[profile.default]
address = "`+listener.Addr().String()+`"
api_key = "from-the-file"
[profile.default.tls]
server_name = "temporal.internal"
server_ca_cert_path = "`+filepath.Join(dir, "ca.pem")+`"
client_cert_path = "`+clientCert+`"
client_key_path = "`+clientKey+`"
`))
		require.NoError(t, dial())
		assert.Equal(t, []string{"Bearer from-the-file"}, f.authorization)
	})
}
