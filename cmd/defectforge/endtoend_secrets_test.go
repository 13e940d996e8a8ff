//go:build !nodevstack && !windows

package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"aead.dev/minisign"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/defectforge/defectforge/cmd/defectforge/internal/console"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/api/proxy"
	"go.temporal.io/api/temporalproto"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"google.golang.org/protobuf/proto"

	"github.com/defectforge/defectforge/cmd/defectforge/internal/process/sealing"
	"github.com/defectforge/defectforge/config"
)

// planted are secrets by what they are, each so long and so odd that it occurs
// by no chance.
type planted map[string]string

func (s planted) add(name string) string {
	s[name] = "Planted-" + strings.NewReplacer(".", "-", "_", "-").Replace(name) + "-" + rand.Text()
	return s[name]
}

// forms are the ways in which a secret might be written down.
func forms(secret string) map[string][]byte {
	quoted, _ := json.Marshal(secret)
	out := map[string][]byte{
		"as it is": []byte(secret), "in JSON": bytes.Trim(quoted, `"`), "in hex": []byte(hex.EncodeToString([]byte(secret))), "in a URL": []byte(url.QueryEscape(secret)),
	}
	// Base64 of a text depends on where it begins in what was encoded.
	for shift := range 3 {
		raw := base64.StdEncoding.EncodeToString(append(make([]byte, shift), secret...))
		out[fmt.Sprintf("in base64, %d", shift)] = []byte(raw[4*((shift+2)/3) : len(raw)-4])
	}
	return out
}

// search looks for every secret in text that came from a place.
type search struct {
	t       *testing.T
	secrets planted
	bytes   map[string]int // searched, by kind of place
}

func (s *search) in(kind, place string, raw []byte) {
	s.t.Helper()
	s.bytes[kind] += len(raw)
	for name, secret := range s.secrets {
		for form, pattern := range forms(secret) {
			if at := bytes.Index(raw, pattern); at >= 0 {
				assert.Fail(s.t, "a secret is shown", "%s, %s, in %s (%s): ...%q", name, form, place, kind, raw[max(0, at-80):min(len(raw), at+len(pattern)+20)])
			}
		}
	}
}

func (s *search) output(place string, p *child) {
	s.t.Helper()
	s.in("standard output", place, []byte(p.stdout.String()))
	s.in("standard error", place, []byte(p.stderr.String()))
}

// folder searches every file, and its name.
func (s *search) folder(kind, dir string, except ...string) {
	s.t.Helper()
	require.NoError(s.t, filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || slices.Contains(except, filepath.Base(name)) {
			return err
		}
		raw, err := os.ReadFile(name)
		s.in(kind, name, append(raw, name...))
		return err
	}))
}

// secretFields are the configuration's secrets, by key.
func secretFields(t reflect.Type, prefix string) (out []string) {
	for i := range t.NumField() {
		f := t.Field(i)
		key := prefix + f.Tag.Get("yaml")
		switch {
		case f.Type == reflect.TypeFor[config.Secret]():
			out = append(out, key)
		case f.Type.Kind() == reflect.Struct:
			out = append(out, secretFields(f.Type, key+".")...)
		}
	}
	return out
}

func variable(key string) string {
	return "DEFECTFORGE_" + strings.ToUpper(strings.ReplaceAll(key, ".", "_"))
}

// signingKey is a new key file, encrypted with the password. The file's content
// is a secret too.
func (s planted) signingKey(t *testing.T, password string) string {
	t.Helper()
	_, private, err := minisign.GenerateKey(nil)
	require.NoError(t, err)
	raw, err := minisign.EncryptKey(password, private)
	require.NoError(t, err)
	lines := strings.Split(strings.TrimSpace(string(raw)), "\n")
	s["the signing key's file"] = lines[len(lines)-1]
	return writeFile(t, filepath.Join(t.TempDir(), "minisign.key"), string(raw))
}

// lineagePath is where OpenLineage events go.
const lineagePath = "/lineage"

// hooked is a webhook that keeps headers and bodies.
type hooked struct {
	mu   sync.Mutex
	told []byte
}

func (h *hooked) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	h.mu.Lock()
	defer h.mu.Unlock()
	if r.URL.Path != lineagePath { // there the key belongs into a header
		h.told = fmt.Appendf(h.told, "%v\n", r.Header)
	}
	h.told = fmt.Appendf(h.told, "%s\n", body)
	w.WriteHeader(http.StatusNoContent)
}

// plant puts a secret into every field of the configuration and into the
// environment, and returns what was planted.
func plant(t *testing.T, stack upReport, keys map[string]string, webhook string) planted {
	t.Helper()
	s := planted{}
	values := map[string]string{
		// The embedded store has one credential, drawn at its first start.
		"store.access_key": keys["access_key"], "store.secret_key": keys["secret_key"],
		"publisher.access_key": keys["access_key"], "publisher.secret_key": keys["secret_key"],
		"notify.webhook": webhook + "/" + s.add("notify.webhook"),
		"codec.keys":     "main:" + base64.StdEncoding.EncodeToString([]byte(rand.Text() + "12345678")[:32]),
	}
	s["store.access_key"], s["store.secret_key"] = keys["access_key"], keys["secret_key"]
	s["codec.keys"] = strings.TrimPrefix(values["codec.keys"], "main:")
	for _, key := range secretFields(reflect.TypeFor[config.Config](), "") {
		value, given := values[key]
		if !given {
			value = s.add(key)
		}
		if file := filepath.Join(t.TempDir(), "secret"); key == "notify.secret" || key == "codec.keys" {
			t.Setenv(variable(key+"_file"), writeFile(t, file, value+"\n"))
		} else {
			t.Setenv(variable(key), value)
		}
	}
	for name, value := range map[string]string{
		"TEMPORAL_ADDRESS": stack.Temporal, "TEMPORAL_API_KEY": s.add("TEMPORAL_API_KEY"), "TEMPORAL_TLS": "false",
		"AWS_SECRET_ACCESS_KEY": s.add("AWS_SECRET_ACCESS_KEY"), "AWS_ACCESS_KEY_ID": "another", "AWS_SESSION_TOKEN": s.add("AWS_SESSION_TOKEN"),
		"MINIO_ROOT_PASSWORD":        s.add("MINIO_ROOT_PASSWORD"),
		"DEFECTFORGE_STORE_ENDPOINT": stack.Store, "DEFECTFORGE_STORE_SECURE": "false",
		"DEFECTFORGE_LINEAGE_ENDPOINT": webhook + lineagePath, "DEFECTFORGE_LINEAGE_NAMESPACE": "factory",
		"DEFECTFORGE_RELEASE_SIGNING_KEY": s.signingKey(t, s["release.signing_password"]),
		"DEFECTFORGE_TEMPORAL_TASK_QUEUE": "other", "DEFECTFORGE_TEMPORAL_TRAINING_TASK_QUEUE": "other-training",
		"DEFECTFORGE_LOG_LEVEL": "debug", "DEFECTFORGE_LOG_FORMAT": "json",
	} {
		t.Setenv(name, value)
	}
	return s
}

// startUp starts a stack of its own, and says how to get in.
func (b *bench) startUp(data string) (*child, upReport, map[string]string) {
	b.t.Helper()
	up := b.start("up", "--data-dir", data, "--json")
	require.Eventually(b.t, func() bool { return strings.Contains(up.stdout.String(), "}") }, patience, 20*time.Millisecond)
	var stack upReport
	require.NoError(b.t, json.Unmarshal([]byte(up.stdout.String()), &stack))
	raw, err := os.ReadFile(filepath.Join(data, "credentials.json"))
	require.NoError(b.t, err)
	var keys map[string]string
	require.NoError(b.t, json.Unmarshal(raw, &keys))
	return up, stack, keys
}

// scrape reads a worker's metrics.
func scrape(t *testing.T, p *child) []byte {
	t.Helper()
	found := regexp.MustCompile(`http://[0-9.:]+/metrics`).FindString(p.stderr.String())
	require.NotEmpty(t, found, p.stderr.String())
	answer, err := http.Get(found)
	require.NoError(t, err)
	defer answer.Body.Close()
	raw, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	return raw
}

// allHistories are all histories of a namespace as the server keeps them.
func allHistories(t *testing.T, stack upReport) (all []*historypb.History) {
	t.Helper()
	ctx := context.Background()
	c, err := client.Dial(client.Options{HostPort: stack.Temporal, Namespace: stack.Namespace})
	require.NoError(t, err)
	defer c.Close()
	page, err := c.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{Namespace: stack.Namespace})
	require.NoError(t, err)
	for _, info := range page.GetExecutions() {
		h := &historypb.History{}
		for events := c.GetWorkflowHistory(ctx, info.GetExecution().GetWorkflowId(), info.GetExecution().GetRunId(), false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT); events.HasNext(); {
			event, err := events.Next()
			require.NoError(t, err)
			h.Events = append(h.Events, event)
		}
		all = append(all, h)
	}
	return all
}

// opened is what an encrypted message says.
func opened(t *testing.T, m proto.Message, keys string) []byte {
	t.Helper()
	codec, err := sealing.New(keys)
	require.NoError(t, err)
	var out []byte
	sealed := 0
	require.NoError(t, proxy.VisitPayloads(context.Background(), m, proxy.VisitPayloadsOptions{SkipSearchAttributes: true, Visitor: func(_ *proxy.VisitPayloadsContext, in []*commonpb.Payload) ([]*commonpb.Payload, error) {
		plain, err := codec.Decode(in)
		for i, p := range plain {
			if string(p.Data) != string(in[i].Data) {
				sealed++
			}
			out = append(append(out, p.Data...), '\n')
		}
		return in, err
	}}))
	require.NotZero(t, sealed, "nothing was encrypted")
	return out
}

// Secrets are planted everywhere, a cluster does its work and fails in many ways,
// and then everything it left is searched.
func TestEndToEndShowsNoSecrets(t *testing.T) {
	b := wholeBench(t)
	root := t.TempDir()
	data := filepath.Join(root, "data")
	t.Setenv("DEFECTFORGE_LOG_LEVEL", "debug")
	up, stack, keys := b.startUp(data)
	webhook := &hooked{}
	server := httptest.NewServer(webhook)
	defer server.Close()
	secrets := plant(t, stack, keys, server.URL)
	s := &search{t, secrets, map[string]int{}}
	done := map[string]*child{"up": up}
	do := func(want int, args ...string) outcome {
		p := b.start(args...)
		o := p.wait()
		assert.Equal(t, want, o.status, "%v\n%s", args, o.stderr)
		done[fmt.Sprint(len(done), " ", strings.Join(args, " "))] = p
		return o
	}

	mover := b.start("worker", "--role", "io", "--metrics-listen", "127.0.0.1:0")
	trainer := b.start("worker", "--role", "training")
	done["io worker"], done["training worker"] = mover, trainer
	mover.seen("role io")
	got := b.published(do(console.ExitOK, b.runArgs(filepath.Join(root, "unused"), "--set", "train.epochs=2")...))
	few := t.TempDir()
	writeFile(t, filepath.Join(few, "one.png"), "no image")
	do(console.ExitFailed, "run", "--images", few, "--class", "few", "--recipe", b.recipe)
	for _, args := range [][]string{
		{"runs", "list"}, {"runs", "show", got.WorkflowID, "-o", "yaml"}, {"runs", "watch", got.WorkflowID}, {"releases", "list"},
		{"releases", "verify", "metal"}, {"releases", "pull", "metal", "--dir", filepath.Join(root, "pulled")},
		{"config", "show"}, {"config", "show", "--json"}, {"config", "validate"}, {"doctor"}, {"version"},
		{"__complete", "runs", "show", ""}, {"run", "--images", b.images, "--class", "metal", "--dry-run", "--recipe", b.recipe},
		{"schedule", "list"}, {"releases", "withdraw", "metal", "--reason", "planted secrets were looked for"},
	} {
		do(console.ExitOK, args...)
	}
	secretsGoWrong(t, b, s, do)
	s.in("metrics", "io worker", scrape(t, mover))
	histories := allHistories(t, stack)
	require.GreaterOrEqual(t, len(histories), 2)
	for _, p := range []*child{mover, trainer} {
		require.NoError(t, p.cmd.Process.Signal(syscall.SIGTERM))
		assert.Equal(t, console.ExitOK, p.wait().status)
	}
	require.NoError(t, up.cmd.Process.Signal(os.Interrupt))
	assert.Equal(t, console.ExitOK, up.wait().status)

	for place, p := range done {
		s.output(place, p)
	}
	for _, h := range histories {
		raw, err := temporalproto.CustomJSONMarshalOptions{}.Marshal(h)
		require.NoError(t, err)
		s.in("history", "history as exported", raw)
		plain := opened(t, h, "main:"+secrets["codec.keys"])
		s.in("history, decrypted", "history", plain)
		assert.Contains(t, string(plain), b.recipeName(), "what was searched is what was run")
		assert.NotContains(t, string(raw), b.recipeName(), "and Temporal does not know")
	}
	s.in("notices", "webhook", webhook.told)
	// The embedded store's own credential lies there, for its owner alone.
	s.folder("data folder with bucket, database and logs", data, "credentials.json")
	s.folder("release", filepath.Join(root, "pulled"))
	for _, kind := range []string{
		"standard output", "standard error", "history", "history, decrypted", "notices", "data folder with bucket, database and logs", "release", "metrics",
	} {
		assert.Greater(t, s.bytes[kind], 1000, "%s: was it searched?", kind)
		t.Logf("%-45s %9d bytes searched for %d secrets", kind, s.bytes[kind], len(secrets))
	}
	there, err := os.ReadFile(filepath.Join(data, "credentials.json"))
	require.NoError(t, err)
	require.Contains(t, string(there), secrets["store.secret_key"], "the search can find something")
	info, err := os.Stat(filepath.Join(data, "credentials.json"))
	require.NoError(t, err)
	require.Equal(t, fs.FileMode(0o600), info.Mode().Perm())
}

// secretsGoWrong tries what a user gets wrong about secrets.
func secretsGoWrong(t *testing.T, b *bench, s *search, do func(int, ...string) outcome) {
	wrong := func(name, value string, status int, args ...string) {
		t.Helper()
		old := os.Getenv(name)
		require.NoError(t, os.Setenv(name, value))
		do(status, args...)
		require.NoError(t, os.Setenv(name, old))
	}
	wrong("DEFECTFORGE_STORE_SECRET_KEY", s.secrets.add("a wrong secret key"), console.ExitFailed, "doctor")
	wrong("DEFECTFORGE_STORE_SECRET_KEY", s.secrets["a wrong secret key"], console.ExitFailed, "releases", "list")
	wrong("DEFECTFORGE_STORE_ENDPOINT", "me:"+s.secrets.add("an endpoint with a password")+"@127.0.0.1", console.ExitUsage, "releases", "list")
	wrong("DEFECTFORGE_NOTIFY_WEBHOOK", "ftp://"+s.secrets.add("a webhook of no use"), console.ExitUsage, "doctor")
	wrong("DEFECTFORGE_RELEASE_SIGNING_PASSWORD", s.secrets.add("a wrong password"), console.ExitUsage, "worker", "--role", "io")
	file := os.Getenv("DEFECTFORGE_CODEC_KEYS_FILE")
	bad := writeFile(t, filepath.Join(t.TempDir(), "keys"), "main:"+s.secrets.add("a key of no use"))
	wrong("DEFECTFORGE_CODEC_KEYS_FILE", bad, console.ExitUsage, "runs", "list")
	wrong("DEFECTFORGE_CODEC_KEYS_FILE", file, console.ExitUsage, "codec-server", "--listen", "nonsense")
	wrong("DEFECTFORGE_PUBLISHER_SECRET_KEY", s.secrets.add("a publisher's wrong key"), console.ExitFailed, "doctor", "--json")
	wrong("TEMPORAL_ADDRESS", "127.0.0.1:1", console.ExitFailed, "runs", "list")
	wrong("TEMPORAL_TLS", "true", console.ExitFailed, "runs", "list")
	file = writeFile(t, filepath.Join(t.TempDir(), "bad.yaml"), "store:\n  secret_key: ["+s.secrets.add("a key in a list")+"]\nnotify:\n  secret: "+s.secrets.add("a secret in a bad file")+"\n  secrets: x\n")
	do(console.ExitUsage, "config", "show", "--config", file)
}

// recipeName is the name that the recipe gets from its file.
func (b *bench) recipeName() string { return `"name":"tiny"` }
