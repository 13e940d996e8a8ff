package s3_test

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/defectforge/defectforge/storage/s3"
)

func TestBadConfig(t *testing.T) {
	for name, c := range map[string]s3.Config{
		"no endpoint":  {},
		"ftp":          {Endpoint: "ftp://host"},
		"path":         {Endpoint: "http://host/bucket"},
		"query":        {Endpoint: "host?secret=" + secretKey},
		"password":     {Endpoint: "http://me:" + secretKey + "@host"},
		"no host":      {Endpoint: "https://:9000"},
		"half a key":   {Endpoint: "host:9000", AccessKey: accessKey},
		"other half":   {Endpoint: "host:9000", SecretKey: secretKey},
		"sync address": {Endpoint: "host:9000", AccessKey: accessKey, SecretKey: secretKey, SyncURL: "host:1/" + secretKey},
		"port":         {Endpoint: "http://host:port" + secretKey},
	} {
		_, err := s3.Connect(t.Context(), c)
		if err == nil {
			t.Errorf("%s: no error", name)
		} else if strings.Contains(err.Error(), secretKey) || strings.Contains(err.Error(), accessKey) {
			t.Errorf("%s: the error shows a secret", name)
		}
	}
}

func TestConfigHidesSecrets(t *testing.T) {
	c := s3.Config{Endpoint: "host:9000", AccessKey: accessKey, SecretKey: secretKey, SessionToken: "token-" + secretKey, SyncURL: "http://host/" + secretKey}
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("opening", "config", c)
	slog.New(slog.NewJSONHandler(&log, nil)).Info("opening", "config", c, "at", &c)
	for _, text := range []string{fmt.Sprint(c), fmt.Sprintf("%+v", c), fmt.Sprintf("%#v", c), fmt.Sprintf("%v", &c), log.String()} {
		if strings.Contains(text, secretKey) || strings.Contains(text, accessKey) {
			t.Errorf("printed as %s", text)
		}
	}
}

// TestCredentialChain has nothing anywhere, and then something in each place.
func TestCredentialChain(t *testing.T) {
	home := t.TempDir()
	for _, name := range []string{
		"MINIO_ROOT_USER", "MINIO_ROOT_PASSWORD", "MINIO_ACCESS_KEY", "MINIO_SECRET_KEY", "MINIO_ALIAS", "MINIO_SHARED_CREDENTIALS_FILE",
		"AWS_ACCESS_KEY_ID", "AWS_ACCESS_KEY", "AWS_SECRET_ACCESS_KEY", "AWS_SECRET_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE",
		"AWS_SHARED_CREDENTIALS_FILE", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
	} {
		t.Setenv(name, "")
		os.Unsetenv(name)
	}
	t.Setenv("HOME", home)
	t.Setenv("USERPROFILE", home)
	t.Setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://127.0.0.1:1") // instead of a cloud's address
	connect := func() error {
		_, err := s3.Connect(t.Context(), s3.Config{Endpoint: "host:9000"})
		return err
	}
	if err := connect(); !errors.Is(err, s3.ErrNoCredentials) || !strings.Contains(err.Error(), "AWS_ACCESS_KEY_ID") {
		t.Errorf("nothing anywhere: %v", err)
	}
	file := filepath.Join(home, ".aws", "credentials")
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte("[default]\naws_access_key_id = "+accessKey+"\naws_secret_access_key = "+secretKey+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := connect(); err != nil {
		t.Errorf("in the file: %v", err)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	t.Setenv("AWS_ACCESS_KEY_ID", accessKey)
	t.Setenv("AWS_SECRET_ACCESS_KEY", secretKey)
	if err := connect(); err != nil {
		t.Errorf("in the environment: %v", err)
	}
	os.Unsetenv("AWS_ACCESS_KEY_ID")
	os.Unsetenv("AWS_SECRET_ACCESS_KEY")
	t.Setenv("MINIO_ROOT_USER", accessKey)
	t.Setenv("MINIO_ROOT_PASSWORD", secretKey)
	if err := connect(); err != nil {
		t.Errorf("in MinIO's environment: %v", err)
	}
}
