-- The views in DuckDB: first ATTACH '/var/lib/asof/catalog.db' AS backups (TYPE sqlite, READ_ONLY); then read this file. Made from README.md:
-- `UPDATE=1 cargo test --test sql` writes it anew.
--
-- DuckDB hands a view to SQLite as it is (sqlite_query) and reads all of its rows: it has none of SQLite's functions and indexes itself. A
-- condition on a large view belongs inside: FROM sqlite_query('backups', 'SELECT ... FROM files WHERE ...').

CREATE OR REPLACE VIEW sources AS
SELECT "source", "kind", CAST("root" AS BIGINT) AS "root", "added_at", CAST("generations" AS BIGINT) AS "generations", "oldest", "newest"
  FROM sqlite_query('backups', 'SELECT "source", "kind", "root", "added_at", "generations", "oldest", "newest" FROM sources');

CREATE OR REPLACE VIEW generations AS
SELECT "source", "kind", "taken_at", CAST("taken_at_unix" AS BIGINT) AS "taken_at_unix", CAST("time" AS BIGINT) AS "time", CAST("number" AS BIGINT) AS "number", "level", "status", "looked_at", CAST("entries" AS BIGINT) AS "entries", CAST("size_bytes" AS BIGINT) AS "size_bytes", CAST("changed" AS BIGINT) AS "changed", CAST("losses" AS BIGINT) AS "losses", CAST("partial" AS BIGINT) AS "partial", CAST("notices" AS BIGINT) AS "notices", CAST("gaps" AS BIGINT) AS "gaps", "scan", "indexed_at", CAST("index_ms" AS BIGINT) AS "index_ms", "copy_path", "consistency", "location"
  FROM sqlite_query('backups', 'SELECT "source", "kind", "taken_at", "taken_at_unix", "time", "number", "level", "status", "looked_at", "entries", "size_bytes", "changed", "losses", "partial", "notices", "gaps", "scan", "indexed_at", "index_ms", "copy_path", "consistency", "location" FROM generations');

CREATE OR REPLACE VIEW copies AS
SELECT "source", "taken_at", CAST("taken_at_unix" AS BIGINT) AS "taken_at_unix", CAST("forgotten" AS BIGINT) AS "forgotten", "kind", "state", "state_since", "looked_at", "path", "store", "reach", "reach_at", CAST("settled" AS BIGINT) AS "settled", CAST("copy" AS BIGINT) AS "copy"
  FROM sqlite_query('backups', 'SELECT "source", "taken_at", "taken_at_unix", "forgotten", "kind", "state", "state_since", "looked_at", "path", "store", "reach", "reach_at", "settled", "copy" FROM copies');

CREATE OR REPLACE VIEW files AS
SELECT "source", "taken_at", CAST("taken_at_unix" AS BIGINT) AS "taken_at_unix", "path", "name", from_hex("name_raw") AS "name_raw", "kind", CAST("size_bytes" AS BIGINT) AS "size_bytes", "mtime", CAST("mtime_unix" AS BIGINT) AS "mtime_unix", CAST("mtime_ns" AS BIGINT) AS "mtime_ns", "mode", CAST("uid" AS BIGINT) AS "uid", CAST("gid" AS BIGINT) AS "gid", CAST("nlink" AS BIGINT) AS "nlink", CAST("has_xattrs" AS BIGINT) AS "has_xattrs", CAST("has_acl" AS BIGINT) AS "has_acl", CAST("xattr_set" AS BIGINT) AS "xattr_set", "link_target", CAST("unreadable" AS BIGINT) AS "unreadable", CAST("unknown" AS BIGINT) AS "unknown", "version_since", "restore_path", from_hex("restore_path_raw") AS "restore_path_raw", CAST("node" AS BIGINT) AS "node", CAST("parent" AS BIGINT) AS "parent"
  FROM sqlite_query('backups', 'SELECT "source", "taken_at", "taken_at_unix", "path", "name", hex("name_raw") AS "name_raw", "kind", "size_bytes", "mtime", "mtime_unix", "mtime_ns", "mode", "uid", "gid", "nlink", "has_xattrs", "has_acl", "xattr_set", "link_target", "unreadable", "unknown", "version_since", "restore_path", hex("restore_path_raw") AS "restore_path_raw", "node", "parent" FROM files');

CREATE OR REPLACE VIEW versions AS
SELECT "source", "path", "name", from_hex("name_raw") AS "name_raw", "since", CAST("since_unix" AS BIGINT) AS "since_unix", "until", CAST("until_unix" AS BIGINT) AS "until_unix", "kind", CAST("size_bytes" AS BIGINT) AS "size_bytes", "mtime", CAST("mtime_unix" AS BIGINT) AS "mtime_unix", CAST("mtime_ns" AS BIGINT) AS "mtime_ns", "mode", CAST("uid" AS BIGINT) AS "uid", CAST("gid" AS BIGINT) AS "gid", CAST("nlink" AS BIGINT) AS "nlink", CAST("xattr_set" AS BIGINT) AS "xattr_set", "restore_path", from_hex("restore_path_raw") AS "restore_path_raw", CAST("node" AS BIGINT) AS "node", CAST("parent" AS BIGINT) AS "parent"
  FROM sqlite_query('backups', 'SELECT "source", "path", "name", hex("name_raw") AS "name_raw", "since", "since_unix", "until", "until_unix", "kind", "size_bytes", "mtime", "mtime_unix", "mtime_ns", "mode", "uid", "gid", "nlink", "xattr_set", "restore_path", hex("restore_path_raw") AS "restore_path_raw", "node", "parent" FROM versions');

CREATE OR REPLACE VIEW changes AS
SELECT "source", "taken_at", CAST("taken_at_unix" AS BIGINT) AS "taken_at_unix", "what", "path", "old_path", "name", from_hex("name_raw") AS "name_raw", "kind", CAST("size_bytes" AS BIGINT) AS "size_bytes", CAST("node" AS BIGINT) AS "node"
  FROM sqlite_query('backups', 'SELECT "source", "taken_at", "taken_at_unix", "what", "path", "old_path", "name", hex("name_raw") AS "name_raw", "kind", "size_bytes", "node" FROM changes');

CREATE OR REPLACE VIEW deleted AS
SELECT "source", "path", "name", from_hex("name_raw") AS "name_raw", "kind", CAST("size_bytes" AS BIGINT) AS "size_bytes", "last_seen", CAST("last_seen_unix" AS BIGINT) AS "last_seen_unix", "deleted_in", CAST("deleted_in_unix" AS BIGINT) AS "deleted_in_unix", "restore_path", from_hex("restore_path_raw") AS "restore_path_raw", "lives_as", CAST("node" AS BIGINT) AS "node"
  FROM sqlite_query('backups', 'SELECT "source", "path", "name", hex("name_raw") AS "name_raw", "kind", "size_bytes", "last_seen", "last_seen_unix", "deleted_in", "deleted_in_unix", "restore_path", hex("restore_path_raw") AS "restore_path_raw", "lives_as", "node" FROM deleted');

CREATE OR REPLACE VIEW xattrs AS
SELECT "source", "taken_at", CAST("taken_at_unix" AS BIGINT) AS "taken_at_unix", "path", "name", from_hex("name_raw") AS "name_raw", "kind", "attribute", from_hex("value_raw") AS "value_raw", CAST("node" AS BIGINT) AS "node"
  FROM sqlite_query('backups', 'SELECT "source", "taken_at", "taken_at_unix", "path", "name", hex("name_raw") AS "name_raw", "kind", "attribute", hex("value_raw") AS "value_raw", "node" FROM xattrs');

CREATE OR REPLACE VIEW findings AS
SELECT "source", "taken_at", CAST("taken_at_unix" AS BIGINT) AS "taken_at_unix", CAST("number" AS BIGINT) AS "number", "kind", "path", from_hex("path_raw") AS "path_raw", "detail"
  FROM sqlite_query('backups', 'SELECT "source", "taken_at", "taken_at_unix", "number", "kind", "path", hex("path_raw") AS "path_raw", "detail" FROM findings');

CREATE OR REPLACE VIEW bricks AS
SELECT "source", "taken_at", CAST("taken_at_unix" AS BIGINT) AS "taken_at_unix", "brick", CAST("number" AS BIGINT) AS "number", CAST("replica_set" AS BIGINT) AS "replica_set", CAST("arbiter" AS BIGINT) AS "arbiter", CAST("running" AS BIGINT) AS "running", CAST("answered" AS BIGINT) AS "answered", "clock_ahead_s", CAST("skewed" AS BIGINT) AS "skewed", CAST("to_heal" AS BIGINT) AS "to_heal", "changelogs_until", CAST("changelogs_until_unix" AS BIGINT) AS "changelogs_until_unix"
  FROM sqlite_query('backups', 'SELECT "source", "taken_at", "taken_at_unix", "brick", "number", "replica_set", "arbiter", "running", "answered", "clock_ahead_s", "skewed", "to_heal", "changelogs_until", "changelogs_until_unix" FROM bricks');

CREATE OR REPLACE VIEW skewed_clocks AS
SELECT "source", "taken_at", CAST("taken_at_unix" AS BIGINT) AS "taken_at_unix", "brick", "clock_ahead_s"
  FROM sqlite_query('backups', 'SELECT "source", "taken_at", "taken_at_unix", "brick", "clock_ahead_s" FROM skewed_clocks');

CREATE OR REPLACE VIEW unresolved AS
SELECT "source", "taken_at", CAST("taken_at_unix" AS BIGINT) AS "taken_at_unix", "gfid", CAST("node" AS BIGINT) AS "node"
  FROM sqlite_query('backups', 'SELECT "source", "taken_at", "taken_at_unix", "gfid", "node" FROM unresolved');

CREATE OR REPLACE VIEW disks AS
SELECT "source", "taken_at", CAST("taken_at_unix" AS BIGINT) AS "taken_at_unix", CAST("size_bytes" AS BIGINT) AS "size_bytes", CAST("stored_bytes" AS BIGINT) AS "stored_bytes", "format", "acquire", "parent", "checkpoint", "consistency", "location"
  FROM sqlite_query('backups', 'SELECT "source", "taken_at", "taken_at_unix", "size_bytes", "stored_bytes", "format", "acquire", "parent", "checkpoint", "consistency", "location" FROM disks');

CREATE OR REPLACE VIEW disk_files AS
SELECT "source", "taken_at", CAST("taken_at_unix" AS BIGINT) AS "taken_at_unix", "path", from_hex("path_raw") AS "path_raw", CAST("size_bytes" AS BIGINT) AS "size_bytes", "mtime", CAST("mtime_unix" AS BIGINT) AS "mtime_unix", CAST("mtime_ns" AS BIGINT) AS "mtime_ns"
  FROM sqlite_query('backups', 'SELECT "source", "taken_at", "taken_at_unix", "path", hex("path_raw") AS "path_raw", "size_bytes", "mtime", "mtime_unix", "mtime_ns" FROM disk_files');

CREATE OR REPLACE VIEW volumes AS
SELECT "source", "taken_at", CAST("taken_at_unix" AS BIGINT) AS "taken_at_unix", "volume", CAST("size_bytes" AS BIGINT) AS "size_bytes", "pieces", "kind", CAST("browsable" AS BIGINT) AS "browsable", "label", "fs_label", "uuid", "state", "features", "note"
  FROM sqlite_query('backups', 'SELECT "source", "taken_at", "taken_at_unix", "volume", "size_bytes", "pieces", "kind", "browsable", "label", "fs_label", "uuid", "state", "features", "note" FROM volumes');

CREATE OR REPLACE VIEW growth AS
SELECT "source", "taken_at", CAST("taken_at_unix" AS BIGINT) AS "taken_at_unix", CAST("time" AS BIGINT) AS "time", CAST("entries" AS BIGINT) AS "entries", CAST("size_bytes" AS BIGINT) AS "size_bytes", CAST("more_entries" AS BIGINT) AS "more_entries", CAST("more_bytes" AS BIGINT) AS "more_bytes", "previous", CAST("seconds" AS BIGINT) AS "seconds"
  FROM sqlite_query('backups', 'SELECT "source", "taken_at", "taken_at_unix", "time", "entries", "size_bytes", "more_entries", "more_bytes", "previous", "seconds" FROM growth');

CREATE OR REPLACE VIEW churn AS
SELECT "source", "taken_at", CAST("taken_at_unix" AS BIGINT) AS "taken_at_unix", CAST("time" AS BIGINT) AS "time", CAST("changed" AS BIGINT) AS "changed", CAST("created" AS BIGINT) AS "created", CAST("deleted" AS BIGINT) AS "deleted", CAST("modified" AS BIGINT) AS "modified", CAST("renamed" AS BIGINT) AS "renamed", CAST("attributes" AS BIGINT) AS "attributes", CAST("new_bytes" AS BIGINT) AS "new_bytes", CAST("gone_bytes" AS BIGINT) AS "gone_bytes"
  FROM sqlite_query('backups', 'SELECT "source", "taken_at", "taken_at_unix", "time", "changed", "created", "deleted", "modified", "renamed", "attributes", "new_bytes", "gone_bytes" FROM churn');

CREATE OR REPLACE VIEW usage_by_owner AS
SELECT "source", "taken_at", CAST("taken_at_unix" AS BIGINT) AS "taken_at_unix", CAST("time" AS BIGINT) AS "time", CAST("uid" AS BIGINT) AS "uid", CAST("gid" AS BIGINT) AS "gid", CAST("entries" AS BIGINT) AS "entries", CAST("files" AS BIGINT) AS "files", CAST("size_bytes" AS BIGINT) AS "size_bytes"
  FROM sqlite_query('backups', 'SELECT "source", "taken_at", "taken_at_unix", "time", "uid", "gid", "entries", "files", "size_bytes" FROM usage_by_owner');

CREATE OR REPLACE VIEW coverage AS
SELECT "source", "day", CAST("time" AS BIGINT) AS "time", "taken_at", CAST("taken_at_unix" AS BIGINT) AS "taken_at_unix", CAST("generations" AS BIGINT) AS "generations", CAST("age_seconds" AS BIGINT) AS "age_seconds", CAST("copies" AS BIGINT) AS "copies"
  FROM sqlite_query('backups', 'SELECT "source", "day", "time", "taken_at", "taken_at_unix", "generations", "age_seconds", "copies" FROM coverage');

CREATE OR REPLACE VIEW view_columns AS
SELECT "view", "column", "type", "meaning", CAST("fast" AS BIGINT) AS "fast"
  FROM sqlite_query('backups', 'SELECT "view", "column", "type", "meaning", "fast" FROM view_columns');
