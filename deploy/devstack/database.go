package devstack

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/server/common/config"
	"go.temporal.io/server/common/headers"
	sqliteplugin "go.temporal.io/server/common/persistence/sql/sqlplugin/sqlite"
	"go.temporal.io/server/schema/sqlite"
	"google.golang.org/protobuf/types/known/durationpb"
	_ "modernc.org/sqlite" // the driver "sqlite" that the server's plugin opens
)

// serverVersion is a variable for the test that comes with another version.
var serverVersion = headers.ServerVersion

// sqlConfig describes the database file to the server's plugin, which makes a
// file: URI of it without escaping anything.
func sqlConfig(name string, pragmas map[string]string) *config.SQL {
	attributes := map[string]string{"mode": "rwc"}
	for k, v := range pragmas {
		attributes[k] = v
	}
	return &config.SQL{PluginName: sqliteplugin.PluginName, DatabaseName: escapeFile(name), ConnectAttributes: attributes}
}

// escapeFile writes a path so that SQLite's URI parser reads it back.
func escapeFile(name string) string {
	return (&url.URL{Path: filepath.ToSlash(name)}).EscapedPath()
}

// durable are the pragmas of a running server: a commit is on the disk.
var durable = map[string]string{"journal_mode": "wal", "synchronous": "full", "busy_timeout": "5000"}

// openDatabase makes the database where it is missing and refuses one that
// another version of the server made, as SQLite schemas are never migrated.
func openDatabase(ctx context.Context, name string) (*config.SQL, error) {
	switch _, err := os.Stat(name); {
	case errors.Is(err, fs.ErrNotExist):
		if err := createDatabase(ctx, name); err != nil {
			return nil, fmt.Errorf("create Temporal's database %s: %w", name, err)
		}
	case err != nil:
		return nil, fmt.Errorf("find Temporal's database: %w", err)
	}
	if err := checkStamp(ctx, name); err != nil {
		return nil, err
	}
	return sqlConfig(name, durable), nil
}

// createDatabase sets up the schema in a file beside and renames it, so that a
// kill never leaves half a schema. A rollback journal keeps all in one file.
func createDatabase(ctx context.Context, name string) error {
	draft := name + ".new"
	for _, suffix := range []string{"", "-journal"} {
		if err := os.Remove(draft + suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	// The stamp's time makes the URI new in each process and start: the
	// plugin keeps connections by URI, also to files that are gone.
	pragmas := map[string]string{"journal_mode": "delete", "synchronous": "off",
		"busy_timeout": fmt.Sprint(5000 + time.Now().UnixMilli()%100000)}
	if err := sqlite.SetupSchema(sqlConfig(draft, pragmas)); err != nil {
		return err
	}
	if err := stamp(ctx, draft); err != nil {
		return err
	}
	if err := syncFile(draft); err != nil {
		return err
	}
	return os.Rename(draft, name)
}

func stamp(ctx context.Context, name string) error {
	db, err := openSQL(name)
	if err != nil {
		return err
	}
	_, err = db.ExecContext(ctx, `CREATE TABLE defectforge_stamp (server_version TEXT NOT NULL)`)
	if err == nil {
		_, err = db.ExecContext(ctx, `INSERT INTO defectforge_stamp VALUES (?)`, serverVersion)
	}
	return errors.Join(err, db.Close())
}

func checkStamp(ctx context.Context, name string) error {
	db, err := openSQL(name)
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	var version string
	if err := db.QueryRowContext(ctx, `SELECT server_version FROM defectforge_stamp`).Scan(&version); err != nil {
		return fmt.Errorf("%w: %s has no version stamp (%w): move it away, or name another data_dir", ErrVersion, name, err)
	}
	if version != serverVersion {
		return fmt.Errorf("%w: %s is of %s, this is %s: finish its runs with the defectforge that made it,"+
			" then move %s away (only the history of runs is in it; the store stays), or name another data_dir",
			ErrVersion, name, version, serverVersion, filepath.Dir(name))
	}
	return nil
}

func openSQL(name string) (*sql.DB, error) {
	db, err := sql.Open("sqlite", "file:"+escapeFile(name)+"?mode=rw&_pragma=busy_timeout=5000")
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", name, err)
	}
	return db, nil
}

func syncFile(name string) error {
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// createNamespace adds the namespace with its search attributes where it is
// missing. Done before the server starts, they are usable at once.
func createNamespace(db *config.SQL, name string, attributes map[string]enumspb.IndexedValueType) error {
	ns, err := sqlite.NewNamespaceConfig(clusterName, name, false, attributes)
	if err != nil {
		return fmt.Errorf("describe namespace %q: %w", name, err)
	}
	ns.Detail.Config.Retention = durationpb.New(Retention)
	if err := sqlite.CreateNamespaces(db, ns); err != nil {
		return fmt.Errorf("create namespace %q: %w", name, err)
	}
	return nil
}
