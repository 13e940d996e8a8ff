package config

import (
	"fmt"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

var bucketName = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`)

const (
	maxThreads   = 1024
	maxIO        = 1000
	maxQueueName = 200
	maxLicense   = 500 // bytes
	maxPerSecond = 100_000
	maxTraining  = 64
	maxStop      = 3600 // seconds
)

// versionName leaves out the characters that Temporal separates versions by.
var versionName = regexp.MustCompile(`^[A-Za-z0-9._-]{1,100}$`)

// Validate returns every problem of c at once, as Problems.
func (c Config) Validate() error {
	var p Problems
	if c.DataDir == "" {
		p.add("data_dir", "", "empty, and the environment names no home folder; set it, or --data-dir")
	}
	c.Store.validate(&p)
	c.Temporal.validate(&p)
	c.Devstack.validate(&p)
	c.Worker.validate(&p)
	c.Metrics.validate(&p)
	c.Notify.validate(&p)
	c.Lineage.validate(&p)
	c.Release.validate(&p)
	c.Publisher.validate(&p, c.Store.Endpoint)
	oneOf(&p, "log.level", c.Log.Level, "debug", "info", "warn", "error")
	oneOf(&p, "log.format", c.Log.Format, "text", "json")
	return p.orNil()
}

func (s Store) validate(p *Problems) {
	if strings.Contains(s.Endpoint, "@") { // not quoted: a password may stand before it
		p.add("store.endpoint", "", "has a user or password in it; give host or host:port, and set access_key and secret_key")
	} else if strings.Contains(s.Endpoint, "/") {
		p.add("store.endpoint", strconv.Quote(s.Endpoint), "give host or host:port only; store.secure chooses between http and https")
	} else if _, port, err := net.SplitHostPort(s.Endpoint); err == nil {
		if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
			p.add("store.endpoint", strconv.Quote(s.Endpoint), "the port must be within 1 and 65535")
		}
	}
	if !bucketName.MatchString(s.Bucket) {
		p.add("store.bucket", strconv.Quote(s.Bucket), "not a bucket name: 3 to 63 of a-z, 0-9, dot and hyphen")
	}
	if s.Region == "" {
		p.add("store.region", `""`, "empty; most servers other than AWS take us-east-1")
	}
	s.validateTLS(p)
	if (s.AccessKey == "") != (s.SecretKey == "") {
		p.add("store.access_key", "", "access_key and secret_key go together: set both, or neither to look for credentials in the usual places")
	}
}

func (s Store) validateTLS(p *Problems) {
	for _, f := range []struct{ field, file string }{
		{"store.ca_file", s.CAFile}, {"store.client_cert_file", s.ClientCertFile}, {"store.client_key_file", s.ClientKeyFile},
	} {
		if f.file != "" && !s.Secure {
			p.add(f.field, strconv.Quote(f.file), "is of no use over plain HTTP; set store.secure to true, or leave it out")
		}
	}
	if (s.ClientCertFile == "") != (s.ClientKeyFile == "") {
		p.add("store.client_cert_file", "", "client_cert_file and client_key_file go together: set both or neither")
	}
}

func (c Publisher) validate(p *Problems, endpoint string) {
	if (c.AccessKey == "") != (c.SecretKey == "") {
		p.add("publisher.access_key", "", "access_key and secret_key go together: set both, or neither to publish with the store's credential")
	}
	if c.AccessKey != "" && endpoint == "" {
		p.add("publisher.access_key", "", "set without store.endpoint, and the embedded store has one credential alone; leave publisher out")
	}
}

func (t Temporal) validate(p *Problems) {
	for _, q := range []struct{ field, name string }{
		{"temporal.task_queue", t.TaskQueue}, {"temporal.training_task_queue", t.TrainingTaskQueue},
	} {
		if q.name == "" || len(q.name) > maxQueueName || strings.TrimSpace(q.name) != q.name {
			p.add(q.field, strconv.Quote(q.name), fmt.Sprintf("give a name of 1 to %d characters without spaces around it", maxQueueName))
		}
	}
	if t.TaskQueue == t.TrainingTaskQueue {
		p.add("temporal.training_task_queue", strconv.Quote(t.TrainingTaskQueue),
			"is the same as temporal.task_queue; training needs a queue of its own")
	}
}

func (d Devstack) validate(p *Problems) {
	ports := []struct {
		field string
		port  int
	}{{"devstack.temporal_port", d.TemporalPort}, {"devstack.ui_port", d.UIPort}, {"devstack.store_port", d.StorePort}}
	for i, a := range ports {
		between(p, a.field, a.port, 0, 65535)
		for _, b := range ports[:i] {
			if a.port != 0 && a.port == b.port {
				p.add(a.field, strconv.Itoa(a.port), "is the port of "+b.field+" too; choose another, or 0 for a free one")
			}
		}
	}
}

func (w Worker) validate(p *Problems) {
	between(p, "worker.threads", w.Threads, 0, maxThreads)
	between(p, "worker.max_concurrent_io", w.MaxConcurrentIO, 1, maxIO)
	between(p, "worker.max_io_per_second", w.MaxIOPerSecond, 0, maxPerSecond)
	between(p, "worker.max_concurrent_training", w.MaxConcurrentTraining, 1, maxTraining)
	between(p, "worker.stop_seconds", w.StopSeconds, 1, maxStop)
	oneOf(p, "worker.role", w.Role, RoleAll, RoleIO, RoleTraining)
	oneOf(p, "worker.versioning", w.Versioning, VersioningAutoUpgrade, VersioningPinned)
	for _, name := range []struct{ field, value string }{{"worker.deployment", w.Deployment}, {"worker.build_id", w.BuildID}} {
		if name.value != "" && !versionName.MatchString(name.value) {
			p.add(name.field, strconv.Quote(name.value), "use 1 to 100 of letters, digits, hyphen, underscore and dot")
		}
	}
	if w.BuildID != "" && w.Deployment == "" {
		p.add("worker.build_id", strconv.Quote(w.BuildID), "set without worker.deployment, so nobody would ask for it; set that too")
	}
}

func (m Metrics) validate(p *Problems) {
	if m.Listen == "" {
		return
	}
	_, port, err := net.SplitHostPort(m.Listen)
	if n, bad := strconv.Atoi(port); err != nil || bad != nil || n < 0 || n > 65535 {
		p.add("metrics.listen", strconv.Quote(m.Listen), "give host:port or :port, with a port within 0 and 65535")
	}
}

func (r Release) validate(p *Problems) {
	if r.SigningKey == "" && r.SigningPassword != "" {
		p.add("release.signing_password", "", "set without release.signing_key; name the key's file, or leave both out")
	}
	if len(r.License) > maxLicense || strings.ContainsAny(r.License, "\r\n") {
		p.add("release.license", strconv.Quote(r.License), fmt.Sprintf("give one line of at most %d bytes", maxLicense))
	}
}

// validate never shows the address: many webhooks have a secret in theirs.
func (n Notify) validate(p *Problems) {
	if n.Webhook == "" {
		if n.Secret != "" {
			p.add("notify.secret", "", "set without notify.webhook, so nothing would be signed; set that too")
		}
		return
	}
	u, err := url.Parse(n.Webhook.Reveal())
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		p.add("notify.webhook", "", "is no address; write http://host/path or https://host/path")
	}
}

func (l Lineage) validate(p *Problems) {
	if l.Endpoint == "" {
		if l.APIKey != "" {
			p.add("lineage.api_key", "", "set without lineage.endpoint, so nothing would be sent; set that too")
		}
		return
	}
	u, err := url.Parse(l.Endpoint)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil {
		p.add("lineage.endpoint", "",
			"is no address; write http://host/api/v1/lineage or https://host/api/v1/lineage, and a key as lineage.api_key")
	}
	if strings.TrimSpace(l.Namespace) == "" {
		p.add("lineage.namespace", `""`, "name the namespace of the jobs, for example defectforge")
	}
}

func oneOf(p *Problems, field, value string, allowed ...string) {
	if !slices.Contains(allowed, value) {
		p.add(field, strconv.Quote(value), "choose one of "+strings.Join(allowed, ", "))
	}
}

func between(p *Problems, field string, value, low, high int) {
	if value < low || value > high {
		p.add(field, strconv.Itoa(value), fmt.Sprintf("must be within %d and %d", low, high))
	}
}
