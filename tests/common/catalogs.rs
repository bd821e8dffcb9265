//! Two catalogs are compared by all that they say: rows of base tables by value, with what ids stand for in their place, and rows of
//! public views. Row ids alone may differ, and when a copy was looked at last: every run does so.
#![allow(dead_code, unreachable_pub)] // each test binary uses its own part

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};
use std::collections::BTreeMap;
use std::path::Path;

/// What a table says, without ids. `s` is the source of a row, `o` the object that one names.
const TABLES: [(&str, &str); 26] = [
    ("source", "SELECT uuid, name, kind, settings, policy, rule, by_inode, root, added_at FROM source"),
    // A run that was killed used some of them up, which nobody ever saw.
    ("counters", "SELECT name, next_node, last_number, last_sequence FROM source"),
    ("node_block", "SELECT s.name, b.block, b.disk FROM node_block b JOIN source s ON s.id = b.source"),
    (
        "generation",
        "SELECT s.name, taken_at, number, sequence, level, status, indexed_at, index_ms, entries, size_bytes, changed_nodes, losses, \
         notices, scan, resume, gaps, consistency, location, state_hash, expires_at, base_at \
         FROM generation g JOIN source s ON s.id = g.source",
    ),
    (
        "object",
        "SELECT s.name, o.at, EXISTS (SELECT 1 FROM generation g WHERE g.id = o.generation), o.disk, o.kind, o.size, \
         (SELECT p.at FROM object p WHERE p.id = o.parent), o.is_full, o.leaves FROM object o JOIN source s ON s.id = o.source",
    ),
    (
        "object_path",
        "SELECT s.name, o.at, p.node, p.path FROM object_path p JOIN object o ON o.id = p.object JOIN source s ON s.id = o.source",
    ),
    (
        "copy",
        "SELECT s.name, o.at, t.path, c.path, c.state, c.state_since, c.root_ino, c.root_btime, c.root_ctime, c.root_filesystem, c.newest_ctime, \
         c.settled, c.verified_at FROM copy c JOIN object o ON o.id = c.object JOIN source s ON s.id = o.source JOIN store t ON t.id = c.store",
    ),
    (
        "finding",
        "SELECT s.name, f.at, f.number, f.kind, f.path, f.detail FROM finding f JOIN source s ON s.id = f.source",
    ),
    ("dirent", "SELECT parent, name, born, died, fork, node, kind FROM dirent"),
    (
        "inode",
        "SELECT i.node, i.born, p.mode, p.uid, p.gid, p.xattr = -1, (SELECT x.digest FROM xattr_set x WHERE x.id = p.xattr), i.size, \
         i.allocated, i.mtime, i.mtime_ns, i.ctime_ns, i.nlink, i.place, \
         CASE WHEN i.place = 2 THEN (SELECT o.at FROM object o WHERE o.id = i.content) WHEN i.place NOT IN (3, 4) THEN i.content END, \
         CASE WHEN i.place IN (3, 4) THEN (SELECT c.bytes FROM content c WHERE c.id = i.content) END, i.bytes \
         FROM inode i JOIN perm p ON p.id = i.perm",
    ),
    ("content", "SELECT count(*) FROM content WHERE id IN (SELECT content FROM inode WHERE place IN (3, 4))"),
    // What a killed run wrote down for versions that were never put in: nobody sees it, and it stays.
    (
        "nameless content",
        "SELECT count(*) FROM content WHERE id NOT IN (SELECT content FROM inode WHERE place IN (3, 4))",
    ),
    (
        "xattr_item",
        "SELECT x.digest, x.has_acl, a.name, a.value FROM xattr_set x JOIN xattr_item a ON a.xattr = x.id \
         WHERE x.id IN (SELECT p.xattr FROM perm p JOIN inode i ON i.perm = p.id)",
    ),
    ("xattr_node", "SELECT node FROM xattr_node"),
    ("change", "SELECT s.name, c.at, c.node, c.op FROM change c JOIN source s ON s.id = c.source"),
    ("identity", "SELECT s.name, i.inode, i.born_ns, i.node FROM identity i JOIN source s ON s.id = i.source"),
    ("digest", "SELECT node, bytes, blake3, leaf, seen_at FROM digest"),
    (
        "disk_layer",
        "SELECT s.name, o.at, l.format, l.acquire, l.checkpoint, l.stored, l.extents FROM disk_layer l JOIN object o ON o.id = l.object \
         JOIN source s ON s.id = o.source",
    ),
    (
        "disk_file",
        "SELECT s.name, o.at, f.number, f.path, f.size, f.mtime, f.mtime_ns FROM disk_file f JOIN object o ON o.id = f.object \
         JOIN source s ON s.id = o.source",
    ),
    (
        "disk_volume",
        "SELECT s.name, g.taken_at, v.disk, v.name, v.size, v.pieces, v.kind, v.browsable, v.label, v.fs_label, v.uuid, v.state, v.features, \
         v.note FROM disk_volume v JOIN generation g ON g.id = v.generation JOIN source s ON s.id = g.source",
    ),
    ("kept", "SELECT parent, name, born, died FROM kept"),
    ("doubt", "SELECT node, born, died, subtree, reason FROM doubt"),
    ("instant_fork", "SELECT at, fork FROM instant_fork"),
    ("directory_history", "SELECT dir FROM directory_history WHERE hot"),
    // When to count the dead names of a directory, and see whether it is hot by now: nothing that is undone or forgotten is taken off.
    ("dead", "SELECT dir, dead FROM directory_history"),
    ("odd_name", "SELECT name, text FROM odd_name"),
];

/// The public views.
pub const VIEWS: [&str; 14] = [
    "sources",
    "generations",
    "files",
    "xattrs",
    "versions",
    "changes",
    "deleted",
    "findings",
    "disks",
    "disk_files",
    "volumes",
    "growth",
    "churn",
    "usage_by_owner",
];

/// What the public views say of a history, however its copies came in: without ids and what belongs to a run. Which of several
/// names `lives_as` tells is a matter of ids; so is, where a node lost a name and got several or the other way round, which of them
/// `changes` calls renamed.
const TOLD: [(&str, &str); 6] = [
    (
        "files",
        "SELECT source, taken_at, path, name, kind, size_bytes, mtime_unix, mtime_ns, mode, uid, gid, nlink, has_xattrs, has_acl, \
         link_target, unreadable, unknown, version_since FROM files",
    ),
    (
        "versions",
        "SELECT source, path, name, since, until, kind, size_bytes, mtime_unix, mode, uid, gid, nlink FROM versions",
    ),
    (
        "changes",
        "SELECT source, taken_at, CASE WHEN names > 1 AND what IN ('renamed', 'linked') THEN 'named' ELSE what END, \
         CASE WHEN names = 1 OR what <> 'unlinked' THEN path END, CASE WHEN names = 1 THEN old_path END, \
         CASE WHEN names = 1 OR what <> 'unlinked' THEN name END, kind, size_bytes \
         FROM (SELECT *, max(1, count(*) FILTER (WHERE what IN ('renamed', 'linked', 'unlinked')) \
         OVER (PARTITION BY source, taken_at, node)) AS names FROM changes)",
    ),
    (
        "deleted",
        "SELECT source, path, kind, size_bytes, last_seen, deleted_in, restore_path, lives_as IS NULL FROM deleted",
    ),
    ("generations", "SELECT source, taken_at, entries, size_bytes, changed, losses, notices FROM generations"),
    ("xattrs", "SELECT source, taken_at, path, attribute, value_raw FROM xattrs"),
];

/// Returns how two catalogs differ, one line for each row that only one has; empty: they say the same.
///
/// # Panics
/// If one cannot be read.
pub fn differences(one: &Path, other: &Path) -> Vec<String> {
    let tables = TABLES.iter().map(|(name, sql)| ((*name).to_owned(), (*sql).to_owned()));
    let (one, other) = (open(one), open(other));
    let views =
        VIEWS.iter().map(|name| (format!("view {name}"), format!("SELECT {} FROM {name}", columns(&one, name))));
    tables
        .chain(views)
        .flat_map(|(name, sql)| compare(&name, &rows(&one, &sql, &[]), &rows(&other, &sql, &[])))
        .collect()
}

/// Returns how two catalogs that were made from the same copies in other ways differ in what they tell of them, one line for each row
/// that only one has; empty: they say the same.
///
/// # Panics
/// If one cannot be read.
pub fn differences_in_history(one: &Path, other: &Path) -> Vec<String> {
    let (one, other) = (open(one), open(other));
    TOLD.iter().flat_map(|(name, sql)| compare(name, &rows(&one, sql, &[]), &rows(&other, sql, &[]))).collect()
}

/// A catalog that is asked again and again.
pub struct Asked(Connection);

/// What a catalog tells of the history of one source, as [`differences_in_history`] compares it, without the name of the source.
#[derive(PartialEq, Eq)]
pub struct History(Vec<(&'static str, BTreeMap<String, usize>)>);

impl Asked {
    /// # Panics
    /// If it cannot be read.
    pub fn open(path: &Path) -> Self {
        let connection = open(path);
        connection.set_prepared_statement_cache_capacity(32);
        Self(connection)
    }

    /// Returns what a query gives, as sorted rows of text.
    ///
    /// # Panics
    /// If the catalog cannot be read.
    pub fn rows(&self, sql: &str) -> Vec<String> {
        rows(&self.0, sql, &[]).into_iter().flat_map(|(row, count)| vec![row; count]).collect()
    }

    /// Returns what it tells of the history of a source.
    ///
    /// # Panics
    /// If the catalog cannot be read.
    pub fn history(&self, source: &str) -> History {
        let of = |sql: &str| format!("SELECT {} WHERE source = ?1", sql.trim_start_matches("SELECT source, "));
        // A path that leads into a view has it, too.
        let unnamed = |row: String| row.replace(&format!("/{source}/"), "/SOURCE/");
        let told =
            |sql: &str| rows(&self.0, &of(sql), &[&source]).into_iter().map(|(row, count)| (unnamed(row), count));
        History(TOLD.iter().map(|(name, sql)| (*name, told(sql).collect())).collect())
    }
}

impl History {
    /// Returns how it differs from another one, one line for each row that only one has.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        self.0.iter().zip(&other.0).flat_map(|((name, one), (_, other))| compare(name, one, other)).collect()
    }
}

/// Returns what a query gives, as sorted rows of text.
///
/// # Panics
/// If the catalog cannot be read.
pub fn asked(catalog: &Path, sql: &str) -> Vec<String> {
    Asked::open(catalog).rows(sql)
}

fn open(path: &Path) -> Connection {
    Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap_or_else(|e| panic!("{path:?}: {e}"))
}

/// Returns the columns of a view but those that are row ids.
fn columns(connection: &Connection, view: &str) -> String {
    let mut statement = connection
        .prepare("SELECT name FROM pragma_table_info(?1) WHERE name NOT IN ('xattr_set', 'looked_at')")
        .unwrap();
    let names: Vec<String> = statement.query_map([view], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    assert!(!names.is_empty(), "there is a view {view}");
    names.join(", ")
}

/// Rows as text, and how often each is there.
fn rows(connection: &Connection, sql: &str, values: &[&dyn rusqlite::ToSql]) -> BTreeMap<String, usize> {
    let mut statement = connection.prepare_cached(sql).unwrap_or_else(|e| panic!("{sql}: {e}"));
    let count = statement.column_count();
    let mut rows = statement.query(values).unwrap();
    let mut found = BTreeMap::new();
    while let Some(row) = rows.next().unwrap() {
        let values: Vec<String> = (0..count).map(|at| shown(row.get_ref(at).unwrap())).collect();
        *found.entry(values.join("|")).or_insert(0) += 1;
    }
    found
}

fn shown(value: ValueRef<'_>) -> String {
    match value {
        ValueRef::Null => "NULL".to_owned(),
        ValueRef::Integer(number) => number.to_string(),
        ValueRef::Real(number) => number.to_string(),
        ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned(),
        ValueRef::Blob(bytes) => asof::model::escape_bytes(bytes).into_owned(),
    }
}

fn compare(what: &str, one: &BTreeMap<String, usize>, other: &BTreeMap<String, usize>) -> Vec<String> {
    let only = |a: &BTreeMap<String, usize>, b: &BTreeMap<String, usize>, which: &str| -> Vec<String> {
        a.iter()
            .filter(|(row, count)| b.get(*row) != Some(count))
            .map(|(row, _)| format!("{what}: only {which} says {row}"))
            .collect()
    };
    [only(one, other, "the first"), only(other, one, "the second")].concat()
}
