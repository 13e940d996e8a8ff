package devstack

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/server/common/cluster"
	"go.temporal.io/server/common/config"
	"go.temporal.io/server/common/dynamicconfig"
	"go.temporal.io/server/common/log"
	"go.temporal.io/server/common/membership/static"
	"go.temporal.io/server/common/primitives"
	"go.temporal.io/server/temporal"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

const (
	clusterName   = "active"
	databaseStore = "sqlite"
)

// startPatience bounds the wait for a part to answer where the caller's
// context does not.
const startPatience = 60 * time.Second

type temporalServer struct {
	log   *logFile
	built chan built // what became of the start, once
}

type built struct {
	server temporal.Server
	err    error
}

// startTemporal brings up the four services and returns when the frontend
// serves the namespace. fail hears when the server gives up later. On an error
// the server returned, if any, still needs a stop.
func startTemporal(ctx context.Context, dir *dataDir, p ports, cfg Config, fail func(error)) (*temporalServer, error) {
	attributes, err := attributeTypes(cfg.SearchAttributes)
	if err != nil {
		return nil, err
	}
	db, err := openDatabase(ctx, dir.file("temporal/temporal.db"))
	if err != nil {
		return nil, err
	}
	if err := createNamespace(db, cfg.Namespace, attributes); err != nil {
		return nil, err
	}
	file, err := openLog(dir.file("logs/temporal.log"), logLimit)
	if err != nil {
		return nil, err
	}
	t := &temporalServer{log: file, built: make(chan built, 1)}
	fatal := make(chan error, 1)
	logger := serverLogger(file, func(err error) {
		fail(err)
		select {
		case fatal <- err:
		default:
		}
	})
	if err := t.run(ctx, db, p, logger, fatal); err != nil {
		return t, fmt.Errorf("start Temporal server (see %s): %w", file.name, err)
	}
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	if err := waitNamespace(ctx, p.Temporal, cfg.Namespace, attributes, fatal); err != nil {
		return t, fmt.Errorf("wait for Temporal server (see %s): %w", file.name, err)
	}
	return t, nil
}

// run builds and starts the server in a goroutine of its own: the library
// panics on some failures and calls Fatal, which ends the goroutine, on others.
func (t *temporalServer) run(ctx context.Context, db *config.SQL, p ports, logger log.Logger, fatal <-chan error) error {
	conf, hosts, err := serverConfig(db, p)
	if err != nil {
		t.built <- built{err: err}
		return err
	}
	go func() {
		var b built
		defer func() {
			if r := recover(); r != nil {
				b.err = fmt.Errorf("%v", r)
			} else if b.server == nil && b.err == nil {
				b.err = errors.New("the server ended while starting")
			}
			t.built <- b
		}()
		b.server, b.err = temporal.NewServer(
			temporal.WithConfig(conf),
			temporal.ForServices(temporal.DefaultServices),
			temporal.WithStaticHosts(hosts),
			temporal.WithLogger(logger),
			temporal.WithDynamicConfigClient(dynamicSettings()),
		)
		if b.err == nil {
			b.err = b.server.Start()
		}
	}()
	select {
	case b := <-t.built:
		t.built <- b // for stop
		return b.err
	case err := <-fatal:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// stop ends the services, a start under way included. The library has no way
// to hurry it: where ctx ends first it is left alone, which loses nothing, as
// every commit is on the disk.
func (t *temporalServer) stop(ctx context.Context) error {
	defer func() { _ = t.log.Close() }()
	done := make(chan error, 1)
	go func() {
		defer func() {
			if r := recover(); r != nil {
				done <- fmt.Errorf("%v", r)
			}
		}()
		if b := <-t.built; b.server != nil {
			done <- b.server.Stop()
			return
		}
		done <- nil
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func serverConfig(db *config.SQL, p ports) (*config.Config, map[primitives.ServiceName]static.Hosts, error) {
	conf := &config.Config{
		Persistence: config.Persistence{
			DefaultStore:     databaseStore,
			VisibilityStore:  databaseStore,
			NumHistoryShards: 1,
			DataStores:       map[string]config.DataStore{databaseStore: {SQL: db}},
		},
		ClusterMetadata: &cluster.Config{
			FailoverVersionIncrement: 10,
			MasterClusterName:        clusterName,
			CurrentClusterName:       clusterName,
			// The cluster's id stays empty: the server draws a UUID and keeps it.
			ClusterInformation: map[string]cluster.ClusterInformation{
				clusterName: {Enabled: true, InitialFailoverVersion: 1, RPCAddress: address(p.Temporal)},
			},
		},
		DCRedirectionPolicy: config.DCRedirectionPolicy{Policy: "noop"},
		PublicClient:        config.PublicClient{HostPort: address(p.Temporal)},
		Archival: config.Archival{
			History:    config.HistoryArchival{State: "disabled"},
			Visibility: config.VisibilityArchival{State: "disabled"},
		},
		NamespaceDefaults: config.NamespaceDefaults{Archival: config.ArchivalNamespaceDefaults{
			History:    config.HistoryArchivalNamespaceDefaults{State: "disabled"},
			Visibility: config.VisibilityArchivalNamespaceDefaults{State: "disabled"},
		}},
		Services: map[string]config.Service{},
	}
	conf.Global.Membership = config.Membership{MaxJoinDuration: 30 * time.Second, BroadcastAddress: host}
	hosts, err := addServices(conf, p)
	return conf, hosts, err
}

// addServices gives each of the server's services a port, and says where they are.
func addServices(conf *config.Config, p ports) (map[primitives.ServiceName]static.Hosts, error) {
	hosts := map[primitives.ServiceName]static.Hosts{}
	used := map[int]bool{p.Temporal: true, p.UI: true, p.Store: true} // not all bound yet
	for _, name := range temporal.DefaultServices {
		port := p.Temporal
		if name != string(primitives.FrontendService) {
			var err error
			if port, err = freePort(used); err != nil {
				return nil, err
			}
		}
		used[port] = true
		conf.Services[name] = config.Service{RPC: config.RPC{GRPCPort: port, BindOnIP: host}}
		hosts[primitives.ServiceName(name)] = static.SingleLocalHost(address(port))
	}
	return hosts, nil
}

// dynamicSettings fit the server to one machine and one user.
func dynamicSettings() dynamicconfig.StaticClient {
	return dynamicconfig.StaticClient{
		// Without it new search attributes need 10 s to be usable.
		dynamicconfig.ForceSearchAttributesCacheRefreshOnRead.Key(): true,
		// One partition: with more, a task may wait for a poller of another.
		dynamicconfig.MatchingNumTaskqueueReadPartitions.Key():  1,
		dynamicconfig.MatchingNumTaskqueueWritePartitions.Key(): 1,
		// The default of 10 per second is less than the web UI asks for.
		dynamicconfig.FrontendMaxNamespaceVisibilityRPSPerInstance.Key(): 100,
		// Entries of a cache that would otherwise be sized for a cluster.
		dynamicconfig.HistoryCacheHostLevelMaxSize.Key(): 8192,
	}
}

// serverLogger writes to the log file only. A fatal message is reported rather
// than allowed to end the process: it ends the goroutine that wrote it.
func serverLogger(file *logFile, report func(error)) log.Logger {
	core := zapcore.NewCore(zapcore.NewConsoleEncoder(log.DefaultZapEncoderConfig), zapcore.AddSync(file), zap.InfoLevel)
	return log.NewZapLogger(zap.New(core, zap.WithFatalHook(fatalHook(report)), zap.ErrorOutput(zapcore.AddSync(file))))
}

type fatalHook func(error)

// OnWrite implements zapcore.CheckWriteHook.
func (h fatalHook) OnWrite(entry *zapcore.CheckedEntry, fields []zapcore.Field) {
	cause := ""
	for _, f := range fields {
		if err, ok := f.Interface.(error); ok {
			cause = ": " + err.Error()
		}
	}
	h(fmt.Errorf("temporal server gave up: %s%s", entry.Message, cause))
	runtime.Goexit()
}

func attributeTypes(names map[string]string) (map[string]enumspb.IndexedValueType, error) {
	types := make(map[string]enumspb.IndexedValueType, len(names))
	for name, typ := range names {
		t, err := enumspb.IndexedValueTypeFromString(typ)
		if err != nil || t == enumspb.INDEXED_VALUE_TYPE_UNSPECIFIED {
			return nil, fmt.Errorf("search attribute %s has type %q: use Keyword, Int, Datetime, Double, Bool, Text or KeywordList", name, typ)
		}
		types[name] = t
	}
	return types, nil
}
