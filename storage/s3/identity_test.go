package s3_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/defectforge/defectforge/storage/s3"
)

func writePEM(t *testing.T, name, kind string, der []byte) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// selfSigned is a client's certificate that is its own authority.
func selfSigned(t *testing.T) (certFile, keyFile string, cert *x509.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	if cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return writePEM(t, "client.pem", "CERTIFICATE", der), writePEM(t, "client-key.pem", "EC PRIVATE KEY", keyDER), cert
}

// tlsFake is a store that demands a certificate of client's authority.
func tlsFake(t *testing.T, client *x509.Certificate) (f *fake, url, caFile string) {
	t.Helper()
	f = &fake{objects: map[string]fakeObject{}}
	server := httptest.NewUnstartedServer(f)
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.TLS = &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: x509.NewCertPool()}
	server.TLS.ClientCAs.AddCert(client)
	server.StartTLS()
	t.Cleanup(server.Close)
	return f, server.URL, writePEM(t, "ca.pem", "CERTIFICATE", server.Certificate().Raw)
}

func TestStoreBehindTLSWithClientCertificates(t *testing.T) {
	cert, key, parsed := selfSigned(t)
	_, url, ca := tlsFake(t, parsed)
	config := s3.Config{Endpoint: url, Region: "us-east-1", Bucket: "bucket", AccessKey: accessKey, SecretKey: secretKey, CAFile: ca, ClientCertFile: cert, ClientKeyFile: key}
	if _, err := s3.Open(t.Context(), config); err != nil {
		t.Errorf("with both: %v", err)
	}
	open := func(name, want string, change func(*s3.Config)) {
		c := config
		change(&c)
		_, err := s3.Connect(t.Context(), c)
		if err == nil {
			_, err = s3.Open(t.Context(), c)
		}
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), secretKey) {
			t.Errorf("%s: %v", name, err)
		}
	}
	open("an unknown authority", "certificate", func(c *s3.Config) { c.CAFile = "" })
	open("no authority in the file", "no certificate in PEM form", func(c *s3.Config) { c.CAFile = key })
	open("no such file", "read authorities", func(c *s3.Config) { c.CAFile = "missing.pem" })
	open("half a pair", "client certificate", func(c *s3.Config) { c.ClientKeyFile = "" })
	open("no client certificate", "certificate", func(c *s3.Config) { c.ClientCertFile, c.ClientKeyFile = "", "" })
}

// sts exchanges one web identity for credentials.
type sts struct {
	token, role string
	asked       int
}

func (s *sts) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.asked++
	if r.FormValue("Action") != "AssumeRoleWithWebIdentity" || r.FormValue("WebIdentityToken") != s.token || r.FormValue("RoleArn") != s.role {
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprint(w, `<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Code>InvalidIdentityToken</Code><Message>the token is not ours</Message></Error></ErrorResponse>`)
		return
	}
	fmt.Fprintf(w, `<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleWithWebIdentityResult><Credentials>
<AccessKeyId>FROMTHEROLE</AccessKeyId><SecretAccessKey>%s</SecretAccessKey><SessionToken>session</SessionToken><Expiration>%s</Expiration>
</Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>`, secretKey, time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
}

func TestWebIdentity(t *testing.T) {
	for _, name := range []string{"MINIO_ROOT_USER", "MINIO_ACCESS_KEY", "AWS_ACCESS_KEY_ID", "AWS_ACCESS_KEY"} {
		t.Setenv(name, "")
	}
	t.Setenv("HOME", t.TempDir())
	service := &sts{token: "a.signed.token", role: "arn:aws:iam::1:role/defectforge"}
	exchange := httptest.NewServer(service)
	defer exchange.Close()
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte(service.token), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("AWS_WEB_IDENTITY_TOKEN_FILE", token)
	t.Setenv("AWS_ROLE_ARN", service.role)
	t.Setenv("AWS_ENDPOINT_URL_STS", exchange.URL)
	f := &fake{objects: map[string]fakeObject{}}
	var signed, session string
	f.before = func(_ http.ResponseWriter, r *http.Request) bool {
		signed, session = r.Header.Get("Authorization"), r.Header.Get("X-Amz-Security-Token")
		return false
	}
	store := httptest.NewServer(f)
	defer store.Close()
	if _, err := s3.Open(t.Context(), s3.Config{Endpoint: store.URL, Region: "us-east-1", Bucket: "bucket"}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(signed, "Credential=FROMTHEROLE/") || session != "session" || service.asked != 1 {
		t.Errorf("signed by %q with session %q after %d questions", signed, session, service.asked)
	}

	// A refused token is reported, and never passed over.
	service.token = "another"
	if err := os.MkdirAll(filepath.Join(os.Getenv("HOME"), ".aws"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(os.Getenv("HOME"), ".aws", "credentials"), []byte("[default]\naws_access_key_id = x\naws_secret_access_key = y\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := s3.Connect(t.Context(), s3.Config{Endpoint: store.URL, Region: "us-east-1"})
	if err == nil || !strings.Contains(err.Error(), "the token is not ours") || !strings.Contains(err.Error(), "AWS_ROLE_ARN") || strings.Contains(err.Error(), "a.signed.token") {
		t.Errorf("a refused token: %v", err)
	}
}
