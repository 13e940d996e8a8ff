// Package config is the program's configuration: defaults, then a YAML file,
// then the environment, then flags. It is strict: what is not understood is an
// error that names the key and the nearest one known. Recipes are read here
// too, in the same manner.
package config

import (
	"os"
	"path/filepath"
	"runtime"
)

// Config is the effective configuration. The `doc` tags are the one place that
// explains a key: `config init` and the flags' help both read them.
type Config struct {
	DataDir   string    `yaml:"data_dir" json:"data_dir" doc:"folder of the embedded stack: database, store, reports, logs"`
	Store     Store     `yaml:"store" json:"store" doc:"S3 store; without an endpoint the embedded one is used"`
	Temporal  Temporal  `yaml:"temporal" json:"temporal" doc:"task queues; the connection itself comes from TEMPORAL_ADDRESS and its kin"`
	Devstack  Devstack  `yaml:"devstack" json:"devstack" doc:"ports of the embedded stack; 0 takes a free one"`
	Worker    Worker    `yaml:"worker" json:"worker" doc:"what this process does at once"`
	Release   Release   `yaml:"release" json:"release" doc:"what this process's workers put into releases"`
	Publisher Publisher `yaml:"publisher" json:"publisher" doc:"credential of the store that releases are published with; without one it is the store's own"`
	Codec     Codec     `yaml:"codec" json:"codec" doc:"encryption of what Temporal keeps: inputs, results, failures, summaries"`
	Notify    Notify    `yaml:"notify" json:"notify" doc:"whom this process's workers tell of runs that wait for approval, and of how runs end"`
	Lineage   Lineage   `yaml:"lineage" json:"lineage" doc:"where this process's workers send OpenLineage events"`
	Log       Log       `yaml:"log" json:"log" doc:"logging, on standard error"`
	Metrics   Metrics   `yaml:"metrics" json:"metrics" doc:"what workers serve to Prometheus and to probes"`
}

// Store says where the bucket is.
type Store struct {
	Endpoint       string `yaml:"endpoint" json:"endpoint" doc:"host:port of an S3 server, without a scheme; empty for the embedded one"`
	Bucket         string `yaml:"bucket" json:"bucket" doc:"bucket that holds everything"`
	Region         string `yaml:"region" json:"region" doc:"region of the bucket"`
	AccessKey      Secret `yaml:"access_key" json:"access_key" doc:"access key; empty looks in the usual places (AWS_ACCESS_KEY_ID, MINIO_ROOT_USER, ~/.aws)"`
	SecretKey      Secret `yaml:"secret_key" json:"secret_key" doc:"secret key; goes with access_key"`
	AccessKeyFile  string `yaml:"access_key_file" json:"access_key_file" doc:"file with the access key, in place of access_key"`
	SecretKeyFile  string `yaml:"secret_key_file" json:"secret_key_file" doc:"file with the secret key, in place of secret_key"`
	CAFile         string `yaml:"ca_file" json:"ca_file" doc:"PEM file of authorities to trust for the store, besides the system's"`
	ClientCertFile string `yaml:"client_cert_file" json:"client_cert_file" doc:"PEM file of the certificate to show to the store"`
	ClientKeyFile  string `yaml:"client_key_file" json:"client_key_file" doc:"PEM file of the key of client_cert_file"`
	Secure         bool   `yaml:"secure" json:"secure" doc:"speak HTTPS with the store"`
	CreateBucket   bool   `yaml:"create_bucket" json:"create_bucket" doc:"create the bucket where it is missing"`
}

// Temporal names the task queues.
type Temporal struct {
	TaskQueue         string `yaml:"task_queue" json:"task_queue" doc:"task queue of workflows and of stages that move data"`
	TrainingTaskQueue string `yaml:"training_task_queue" json:"training_task_queue" doc:"task queue of training and sampling"`
}

// Devstack fixes the embedded stack's ports. 0 takes a free one.
type Devstack struct {
	TemporalPort int `yaml:"temporal_port" json:"temporal_port" doc:"port of the embedded Temporal server"`
	UIPort       int `yaml:"ui_port" json:"ui_port" doc:"port of the embedded web UI"`
	StorePort    int `yaml:"store_port" json:"store_port" doc:"port of the embedded store"`
}

// Roles of a worker.
const (
	RoleAll      = "all"
	RoleIO       = "io"
	RoleTraining = "training"
)

// Worker bounds what this process does at once.
type Worker struct {
	Threads         int    `yaml:"threads" json:"threads" doc:"threads of the numeric kernels, at most one for each processor; 0 is as many. Training workers of one machine share them. Results do not depend on it"`
	Role            string `yaml:"role" json:"role" doc:"what a worker takes on: io, training or all"`
	MaxConcurrentIO int    `yaml:"max_concurrent_io" json:"max_concurrent_io" doc:"stages other than training run at once"`
	MaxIOPerSecond  int    `yaml:"max_io_per_second" json:"max_io_per_second" doc:"stages other than training begun in a second; 0 is no limit"`

	MaxConcurrentTraining int `yaml:"max_concurrent_training" json:"max_concurrent_training" doc:"stages that compute run at once; they share the threads"`
	StopSeconds           int `yaml:"stop_seconds" json:"stop_seconds" doc:"how long running stages may take to hand over when the worker is told to stop; supervisors must wait longer"`

	Deployment string `yaml:"deployment" json:"deployment" doc:"name of a Temporal Worker Deployment, of which this worker is a version; empty is none"`
	BuildID    string `yaml:"build_id" json:"build_id" doc:"name of this version in the deployment; empty takes the revision that the binary was built from"`
	Versioning string `yaml:"versioning" json:"versioning" doc:"what runs under way do when another version becomes current: auto-upgrade moves them to it, pinned ends them where they began"`
}

// What runs of a deployment do when another version becomes current.
const (
	VersioningAutoUpgrade = "auto-upgrade"
	VersioningPinned      = "pinned"
)

// Release says what a worker puts into the releases that it publishes.
type Release struct {
	SigningKey          string `yaml:"signing_key" json:"signing_key" doc:"file with minisign's private key, for workers that publish; empty does not sign"`
	SigningPassword     Secret `yaml:"signing_password" json:"signing_password" doc:"password of an encrypted signing key; better set in the environment than here"`
	SigningPasswordFile string `yaml:"signing_password_file" json:"signing_password_file" doc:"file with the password, in place of signing_password"`
	License             string `yaml:"license" json:"license" doc:"licence of published images: an SPDX identifier, a URL or words; empty states none"`
}

// Notify says where notices go.
type Notify struct {
	Webhook     Secret `yaml:"webhook" json:"webhook" doc:"http or https address that takes CloudEvents as JSON; empty tells nobody. Hidden like a secret: many have one in theirs"`
	WebhookFile string `yaml:"webhook_file" json:"webhook_file" doc:"file with the address, in place of webhook"`
	Secret      Secret `yaml:"secret" json:"secret" doc:"signs the notices: X-Defectforge-Signature-256 is sha256= and the HMAC-SHA256 of the body"`
	SecretFile  string `yaml:"secret_file" json:"secret_file" doc:"file with the secret, in place of secret"`
}

// Publisher is the credential that may write below releases/, where the store's own
// may not.
type Publisher struct {
	AccessKey     Secret `yaml:"access_key" json:"access_key" doc:"access key, used by workers of the role io and by releases withdraw"`
	AccessKeyFile string `yaml:"access_key_file" json:"access_key_file" doc:"file with the access key, in place of access_key"`
	SecretKey     Secret `yaml:"secret_key" json:"secret_key" doc:"secret key; goes with access_key"`
	SecretKeyFile string `yaml:"secret_key_file" json:"secret_key_file" doc:"file with the secret key, in place of secret_key"`
}

// Codec encrypts payloads. Client and worker need the same keys.
type Codec struct {
	Keys      Secret `yaml:"keys" json:"keys" doc:"AES-256 keys as id:base64, apart by commas or lines: the first encrypts, all decrypt; empty encrypts nothing"`
	KeysFile  string `yaml:"keys_file" json:"keys_file" doc:"file with the keys, in place of keys"`
	Token     Secret `yaml:"token" json:"token" doc:"bearer token that codec-server demands; empty demands none"`
	TokenFile string `yaml:"token_file" json:"token_file" doc:"file with the token, in place of token"`
}

// Lineage says where OpenLineage events go.
type Lineage struct {
	Endpoint   string `yaml:"endpoint" json:"endpoint" doc:"whole http or https address that takes OpenLineage events, as http://marquez:5000/api/v1/lineage; empty sends none"`
	APIKey     Secret `yaml:"api_key" json:"api_key" doc:"sent as a bearer token"`
	APIKeyFile string `yaml:"api_key_file" json:"api_key_file" doc:"file with the key, in place of api_key"`
	Namespace  string `yaml:"namespace" json:"namespace" doc:"namespace of the jobs in these events"`
}

// Log says how much is logged and in which form.
type Log struct {
	Level  string `yaml:"level" json:"level" doc:"debug, info, warn or error"`
	Format string `yaml:"format" json:"format" doc:"text or json"`
}

// Metrics says where workers serve their metrics and probes.
type Metrics struct {
	Listen string `yaml:"listen" json:"listen" doc:"address that serves /metrics, /healthz and /readyz, such as 127.0.0.1:9464 or :9464; empty serves none"`
}

// Default is the configuration where nothing is set.
func Default() Config {
	return Config{
		DataDir: DefaultDataDir(),
		Store:   Store{Bucket: "defectforge", Region: "us-east-1", Secure: true},
		Temporal: Temporal{
			TaskQueue:         "defectforge",
			TrainingTaskQueue: "defectforge-training",
		},
		Worker: Worker{
			Role: RoleAll, MaxConcurrentIO: 8, MaxConcurrentTraining: 1, StopSeconds: 30, Versioning: VersioningAutoUpgrade,
		},
		Lineage: Lineage{Namespace: "defectforge"},
		Log:     Log{Level: "warn", Format: "text"},
	}
}

// DefaultDataDir is the platform's folder for an application's data, or "" where
// the environment names no home.
func DefaultDataDir() string {
	return dataDirFor(runtime.GOOS, os.Getenv, homeDir())
}

func dataDirFor(goos string, env func(string) string, home string) string {
	const name = "defectforge"
	switch {
	case goos == "windows" && env("LocalAppData") != "":
		return filepath.Join(env("LocalAppData"), name)
	case goos == "darwin" && home != "":
		return filepath.Join(home, "Library", "Application Support", name)
	case goos != "windows" && goos != "darwin" && filepath.IsAbs(env("XDG_DATA_HOME")):
		return filepath.Join(env("XDG_DATA_HOME"), name)
	case goos != "windows" && home != "":
		return filepath.Join(home, ".local", "share", name)
	}
	return ""
}

func homeDir() string {
	home, err := os.UserHomeDir()
	if err != nil {
		return ""
	}
	return home
}
