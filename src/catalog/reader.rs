//! Reading the catalog as of an instant: look-ups, listings, attributes, paths, places.
//!
//! Promises: every answer is as of the instant that is given, which must be one of a published
//! generation of the node's source. The functions on a mount's path run one query each, on one held read
//! transaction; a listing streams in name order and costs what lives in the directory, not what died
//! in it. Never writes, never opens a file of a backup.

use super::kept;
use super::rows::{KindNumber, NODE_COLUMNS, NodeRow, Perm};
use super::{CopyRow, Error, ObjectRow, connect, notes};
use crate::model::{
    CopyId, EntryName, FOREVER, GenerationId, Kind, NodeId, ObjectId, RelPath, Rule, SourceId, StoreId, Time, XattrSet,
    escape_bytes,
};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, StatementStatus, params};
use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// The deepest directory whose path is told; a longer chain of parents is a loop.
pub(super) const DEPTH_MAX: usize = 65_536;

pub(super) const LOOKUP: &str = "SELECT node, kind, died FROM dirent \
     WHERE parent = ?1 AND name = ?2 AND born <= ?3 ORDER BY born DESC LIMIT 1";
pub(super) const NODE: &str = "SELECT i.born, i.perm, i.size, i.allocated, i.mtime, i.mtime_ns, i.ctime_ns, i.nlink, i.place, i.content, i.bytes \
     FROM inode i WHERE i.node = ?1 AND i.born <= ?2 ORDER BY i.born DESC LIMIT 1";
pub(super) const NAMES: &str = "SELECT parent, name FROM dirent INDEXED BY dirent_node \
     WHERE node = ?1 AND born <= ?2 AND died > ?2";
const CHANGED: &str = "SELECT DISTINCT node FROM change WHERE source = ?1 AND at > ?2 AND at <= ?3 ORDER BY node";
const NEXT_VERSION: &str = "SELECT born FROM inode WHERE node = ?1 AND born > ?2 ORDER BY born LIMIT 1";
const NODE_END: &str = "SELECT max(died) FROM dirent INDEXED BY dirent_node WHERE node = ?1";
const INLINE: &str = "SELECT bytes FROM content WHERE id = ?1";
const PERM: &str = "SELECT mode, uid, gid, xattr FROM perm WHERE id = ?1";
const XATTRS: &str = "SELECT name, value FROM xattr_item WHERE xattr = ?1 ORDER BY name";
const XATTR_NODES: &str = "SELECT node FROM xattr_node WHERE node BETWEEN ?1 AND ?2";

/// Listing of an ordinary directory: one range of `dirent`, one seek in `inode` a living name. An outer join, as in
/// [`list_hot_sql`]: a name without a version is damage, and is not left out ([`each_entry`]).
pub(super) fn list_sql() -> String {
    format!(
        "SELECT d.name, d.node, d.kind, {NODE_COLUMNS} FROM dirent d LEFT JOIN inode i \
         ON i.node = d.node AND i.born = (SELECT max(v.born) FROM inode v WHERE v.node = d.node AND v.born <= ?2) \
         WHERE d.parent = ?1 AND d.name > ?3 AND d.born <= ?2 AND d.died > ?2 ORDER BY d.name LIMIT ?4"
    )
}

/// Listing of a hot directory: the forks that may hold the instant, each a range of the covering index.
pub(super) fn list_hot_sql() -> String {
    format!(
        "SELECT d.name, d.node, d.kind, {NODE_COLUMNS} FROM instant_fork p \
         CROSS JOIN dirent d INDEXED BY dirent_hot ON d.parent = ?1 AND d.fork = p.fork AND d.fork IS NOT NULL \
         LEFT JOIN inode i \
         ON i.node = d.node AND i.born = (SELECT max(v.born) FROM inode v WHERE v.node = d.node AND v.born <= ?2) \
         WHERE p.at = ?2 AND d.name > ?3 AND d.born <= ?2 AND d.died > ?2 ORDER BY d.name LIMIT ?4"
    )
}

/// One entry of a listing.
#[derive(Clone, Debug)]
pub struct DirEntry {
    /// Its name.
    pub name: EntryName,
    /// What it points to.
    pub node: NodeId,
    /// The type of that.
    pub kind: Kind,
    /// The version as of the instant of the listing.
    pub row: NodeRow,
}

/// A name that has no version: its row in `inode` is lost.
pub(super) struct Unversioned {
    name: EntryName,
    node: NodeId,
}

impl Unversioned {
    /// Returns what is wrong with the catalog at `path`, for who asked for a listing as of `at`.
    pub(super) fn into_error(self, path: &Path, at: Time) -> Error {
        no_version(path, self.name.as_bytes(), self.node, at)
    }
}

fn no_version(path: &Path, name: &[u8], node: NodeId, at: Time) -> Error {
    Error::NoVersion { path: path.to_owned(), name: escape_bytes(name).into_owned(), node, at }
}

/// Calls `each` with the rows of [`list_sql`] or [`list_hot_sql`] until it breaks; ends at a name without a version, and returns it.
pub(super) fn each_entry(
    rows: &mut rusqlite::Rows<'_>,
    mut each: impl FnMut(DirEntry) -> ControlFlow<()>,
) -> rusqlite::Result<Option<Unversioned>> {
    while let Some(row) = rows.next()? {
        let name = EntryName::new(row.get_ref(0)?.as_blob()?).map_err(|_| rusqlite::Error::InvalidQuery)?;
        let node = NodeId(row.get(1)?);
        // `born` is NULL in no row of a version.
        if row.get_ref(3)? == ValueRef::Null {
            return Ok(Some(Unversioned { name, node }));
        }
        let entry = DirEntry { name, node, kind: row.get::<_, KindNumber>(2)?.0, row: NodeRow::read(row, 3)? };
        if each(entry).is_break() {
            break;
        }
    }
    Ok(None)
}

/// A row of `source`.
#[derive(Clone, Debug)]
pub struct SourceRow {
    /// Its row id.
    pub id: SourceId,
    /// Its name.
    pub name: String,
    /// The word of its kind.
    pub kind: String,
    /// JSON that its kind understands.
    pub settings: String,
    /// JSON that no kind reads.
    pub policy: String,
    /// The same source in manifests and in other catalogs; none: it is damaged.
    pub uuid: Option<[u8; 16]>,
    /// Its top directory.
    pub root: NodeId,
    /// When two of its versions are the same.
    pub rule: Rule,
    /// When it was added.
    pub added_at: Time,
}

/// A row of `generation`, as the command line shows it.
#[derive(Clone, Debug)]
pub struct GenerationRow {
    /// Its row id.
    pub id: GenerationId,
    /// Its source.
    pub source: SourceId,
    /// Its instant.
    pub taken_at: Time,
    /// `full` or `incremental`.
    pub level: String,
    /// Whether its bytes were there when they were last looked at: `available`, `degraded`, `unreachable`, `gone`.
    pub status: String,
    /// When that was: RFC 3339; none: not since it was indexed.
    pub looked_at: Option<String>,
    /// When it was indexed.
    pub indexed_at: Time,
    /// How long that took, in milliseconds.
    pub index_ms: i64,
    /// Names in it.
    pub entries: i64,
    /// Bytes of its regular files.
    pub size_bytes: i64,
    /// Nodes that differ from the generation before.
    pub changed_nodes: i64,
    /// Findings that make it partial.
    pub losses: i64,
    /// Other findings.
    pub notices: i64,
}

/// A read-only connection with its statements, for one thread at a time.
pub struct Reader {
    connection: Connection,
    path: PathBuf,
    in_transaction: Cell<bool>,
    data_version: Cell<i64>,
    /// Whether any generation keeps names that it did not see.
    has_kept: Cell<bool>,
    hot: RefCell<HashSet<i64>>,
    perms: RefCell<HashMap<i64, Perm>>,
    list_sql: String,
    list_hot_sql: String,
    queries: Cell<u64>,
}

impl Reader {
    /// Opens the catalog at `path` for reading.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::NotACatalog`], [`Error::TooNew`], or [`Error::Sqlite`].
    pub fn open(path: &Path) -> Result<Self, Error> {
        Ok(Self {
            connection: connect::open_read_only(path)?,
            path: path.to_owned(),
            in_transaction: Cell::new(false),
            data_version: Cell::new(-1),
            has_kept: Cell::new(false),
            hot: RefCell::default(),
            perms: RefCell::default(),
            list_sql: list_sql(),
            list_hot_sql: list_hot_sql(),
            queries: Cell::new(0),
        })
    }

    /// Returns the file that is read.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Ends the read transaction; the next question begins a new one and sees what was published since.
    ///
    /// A reader that never rests keeps the write-ahead log from being folded back.
    ///
    /// # Errors
    /// [`Error::Sqlite`] if SQLite fails.
    pub fn rest(&self) -> Result<(), Error> {
        if self.in_transaction.replace(false) {
            self.connection
                .execute_batch("COMMIT")
                .map_err(|e| Error::sqlite("ending a read transaction", &self.path, e))?;
        }
        Ok(())
    }

    /// Returns a number that differs after another connection has committed; one pragma, no table.
    ///
    /// # Errors
    /// [`Error::Sqlite`] if SQLite fails.
    pub fn data_version(&self) -> Result<i64, Error> {
        self.rest()?;
        self.connection
            .query_row("PRAGMA data_version", [], |row| row.get(0))
            .map_err(|e| Error::sqlite("watching for changes", &self.path, e))
    }

    /// Returns how many queries this reader has run.
    pub fn query_count(&self) -> u64 {
        self.queries.get()
    }

    /// Returns how often SQLite had to plan one of the statements of a mount anew; 0 is what is promised.
    ///
    /// # Errors
    /// [`Error::Sqlite`] if SQLite fails.
    pub fn replan_count(&self) -> Result<i32, Error> {
        let all =
            [&self.list_sql, &self.list_hot_sql, LOOKUP, NODE, NAMES, NEXT_VERSION, INLINE, PERM, XATTRS, XATTR_NODES];
        self.run("counting plans", |connection| {
            all.iter().map(|sql| Ok(connection.prepare_cached(sql)?.get_status(StatementStatus::RePrepare))).sum()
        })
    }

    /// Runs one question inside the read transaction.
    pub(super) fn run<T>(
        &self,
        doing: &'static str,
        ask: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, Error> {
        self.queries.set(self.queries.get() + 1);
        self.begin().and_then(|()| ask(&self.connection)).map_err(|e| Error::sqlite(doing, &self.path, e))
    }

    fn begin(&self) -> rusqlite::Result<()> {
        if self.in_transaction.get() {
            return Ok(());
        }
        self.connection.execute_batch("BEGIN")?;
        self.in_transaction.set(true);
        let version = self.connection.query_row("PRAGMA data_version", [], |row| row.get(0))?;
        if self.data_version.replace(version) != version {
            self.has_kept.set(kept::has_any(&self.connection)?);
            let hot = hot_directories(&self.connection)?;
            *self.hot.borrow_mut() = hot;
        }
        Ok(())
    }

    /// Returns what `name` in `dir` points to as of `at`. One seek, however long the history.
    ///
    /// # Errors
    /// [`Error::Sqlite`] if SQLite fails.
    pub fn lookup(&self, dir: NodeId, name: &[u8], at: Time) -> Result<Option<(NodeId, Kind)>, Error> {
        self.run("looking a name up", |connection| {
            let mut statement = connection.prepare_cached(LOOKUP)?;
            let found = statement
                .query_row(params![dir.0, name, at.0], |row| {
                    Ok((NodeId(row.get(0)?), row.get::<_, KindNumber>(1)?.0, row.get::<_, i64>(2)?))
                })
                .optional()?;
            Ok(found.filter(|(_, _, died)| *died > at.0).map(|(node, kind, _)| (node, kind)))
        })
    }

    /// Returns the version of `node` as of `at`. One seek. A version outlives the last name of its node.
    ///
    /// # Errors
    /// [`Error::Sqlite`] if SQLite fails.
    pub fn node(&self, node: NodeId, at: Time) -> Result<Option<NodeRow>, Error> {
        self.run("reading attributes", |connection| {
            let mut statement = connection.prepare_cached(NODE)?;
            statement.query_row([node.0, at.0], |row| NodeRow::read(row, 0)).optional()
        })
    }

    /// Returns the version of `node` as of `at`, which must be there.
    ///
    /// # Errors
    /// [`Error::Contradiction`] if it is not.
    pub fn known_node(&self, node: NodeId, at: Time) -> Result<NodeRow, Error> {
        self.node(node, at)?.ok_or_else(|| self.contradiction("no version", node, at))
    }

    /// Returns the digest of the bytes that the generation of this sequence brought to `node`, if it was written down.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub fn digest(&self, node: NodeId, bytes: i64) -> Result<Option<[u8; 32]>, Error> {
        self.run("reading a digest", |c| notes::digest(c, node, bytes))
    }

    /// Returns the version of `node`, which is called `name`, as of `at`.
    ///
    /// # Errors
    /// [`Error::NoVersion`] if there is none.
    pub fn named_node(&self, name: &[u8], node: NodeId, at: Time) -> Result<NodeRow, Error> {
        self.node(node, at)?.ok_or_else(|| no_version(&self.path, name, node, at))
    }

    /// Calls `each` for up to `limit` entries of `dir` as of `at`, in name order (bytewise), after `after`.
    ///
    /// One prepared query; rows are not collected. Attributes come with the entry, so a caller needs no
    /// second look-up. Stops early, without error, when `each` breaks.
    ///
    /// # Errors
    /// [`Error::NoVersion`] at a name without a version: a listing is never shorter than it should be; [`Error::Sqlite`] if
    /// SQLite fails.
    pub fn list(
        &self,
        dir: NodeId,
        at: Time,
        after: Option<&[u8]>,
        limit: usize,
        each: impl FnMut(DirEntry) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        let unversioned = self.run("listing a directory", |connection| {
            let hot = self.hot.borrow().contains(&dir.0);
            let mut statement = connection.prepare_cached(if hot { &self.list_hot_sql } else { &self.list_sql })?;
            // No name is empty, so the empty name comes before all.
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            let mut rows = statement.query(params![dir.0, at.0, after.unwrap_or(b""), limit])?;
            each_entry(&mut rows, each)
        })?;
        unversioned.map_or(Ok(()), |entry| Err(entry.into_error(&self.path, at)))
    }

    /// Tells whether `dir` is listed by forks.
    pub fn is_hot(&self, dir: NodeId) -> bool {
        self.hot.borrow().contains(&dir.0)
    }

    /// Returns the names of `node` as of `at`, each with its directory. Empty for the root and for the dead.
    ///
    /// # Errors
    /// [`Error::Sqlite`] if SQLite fails.
    pub fn names(&self, node: NodeId, at: Time) -> Result<Vec<(NodeId, EntryName)>, Error> {
        self.run("finding the names of a node", |connection| {
            let mut statement = connection.prepare_cached(NAMES)?;
            let mut rows = statement.query([node.0, at.0])?;
            let mut names = Vec::new();
            while let Some(row) = rows.next()? {
                let name = EntryName::new(row.get_ref(1)?.as_blob()?).map_err(|_| rusqlite::Error::InvalidQuery)?;
                names.push((NodeId(row.get(0)?), name));
            }
            Ok(names)
        })
    }

    /// Tells whether `name` in `dir` is one that the generation at `at` did not see, and has of the one before it. No query where
    /// there is none such in the catalog.
    ///
    /// # Errors
    /// [`Error::Sqlite`] if SQLite fails.
    pub fn is_kept(&self, dir: NodeId, name: &[u8], at: Time) -> Result<bool, Error> {
        if !self.has_kept()? {
            return Ok(false);
        }
        self.run("reading what is unknown", |connection| kept::is_kept(connection, dir, name, at))
    }

    fn has_kept(&self) -> Result<bool, Error> {
        self.begin().map_err(|e| Error::sqlite("reading what is unknown", &self.path, e))?;
        Ok(self.has_kept.get())
    }

    /// Returns the names of `node` that the generation at `at` saw; all that it has, if it saw none of them.
    ///
    /// # Errors
    /// [`Error::Sqlite`] if SQLite fails.
    pub fn seen_names(&self, node: NodeId, at: Time) -> Result<Vec<(NodeId, EntryName)>, Error> {
        let names = self.names(node, at)?;
        if !self.has_kept()? {
            return Ok(names);
        }
        let mut seen = Vec::with_capacity(names.len());
        for (dir, name) in &names {
            if !self.is_kept(*dir, name.as_bytes(), at)? {
                seen.push((*dir, name.clone()));
            }
        }
        Ok(if seen.is_empty() { names } else { seen })
    }

    /// Tells whether the generation at `at` saw none of the names of `node`, and has it as the one before it has.
    ///
    /// # Errors
    /// [`Error::Sqlite`] if SQLite fails.
    pub fn is_unknown(&self, node: NodeId, at: Time) -> Result<bool, Error> {
        if !self.has_kept()? {
            return Ok(false);
        }
        let names = self.names(node, at)?;
        for (dir, name) in &names {
            if !self.is_kept(*dir, name.as_bytes(), at)? {
                return Ok(false);
            }
        }
        Ok(!names.is_empty())
    }

    /// Returns the instant of the newest generation of `source` up to `at` that saw `node`, which has a name at `at`.
    ///
    /// # Errors
    /// [`Error::Sqlite`] if SQLite fails.
    pub fn last_seen(&self, source: SourceId, node: NodeId, at: Time) -> Result<Time, Error> {
        if !self.is_unknown(node, at)? {
            return Ok(at);
        }
        self.run("finding who saw a node", |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT g.taken_at FROM generation g WHERE g.source = ?1 AND g.status = 'published' AND g.taken_at < ?3 \
                 AND EXISTS (SELECT 1 FROM dirent d INDEXED BY dirent_node \
                              WHERE d.node = ?2 AND d.born <= g.taken_at AND d.died > g.taken_at \
                                AND NOT EXISTS (SELECT 1 FROM kept k WHERE k.parent = d.parent AND k.name = d.name \
                                                   AND k.born <= g.taken_at AND k.died > g.taken_at)) \
                 ORDER BY g.taken_at DESC LIMIT 1",
            )?;
            let seen = statement.query_row([source.0, node.0, at.0], |r| r.get(0).map(Time)).optional()?;
            Ok(seen.unwrap_or(at))
        })
    }

    /// Returns the nodes of `source` that its generations after `after` and up to `until` tell as changed, each once, in
    /// order. Two trees differ in no other node; one that changed and changed back is among them.
    ///
    /// One range of a table; 8 bytes a node.
    ///
    /// # Errors
    /// [`Error::Sqlite`] if SQLite fails.
    pub fn changed_nodes(&self, source: SourceId, after: Time, until: Time) -> Result<Vec<NodeId>, Error> {
        self.run("finding what changed", |connection| {
            let mut statement = connection.prepare_cached(CHANGED)?;
            statement.query_map([source.0, after.0, until.0], |row| row.get(0).map(NodeId))?.collect()
        })
    }

    /// Returns where the bytes of `node` lie in `object`: at the path that is written down, or else at the node's path as of the
    /// object's generation; none if neither is known.
    ///
    /// # Errors
    /// As [`Reader::path_of`].
    pub fn path_in(&self, object: ObjectId, root: NodeId, node: NodeId) -> Result<Option<RelPath>, Error> {
        match (self.pinned(object, node)?, self.object(object)?) {
            (Some(path), _) => Ok(Some(path)),
            (None, Some(ObjectRow { at, has_generation: true, .. })) => self.path_of(root, node, at),
            (None, _) => Ok(None),
        }
    }

    /// Returns the path of `node` below `root` as of `at`: one query a level. For a hard link the path of one
    /// of its names, one that was seen if there is one. None if it has no name then.
    ///
    /// # Errors
    /// [`Error::Contradiction`] if directories form a loop.
    pub fn path_of(&self, root: NodeId, node: NodeId, at: Time) -> Result<Option<RelPath>, Error> {
        let mut names = Vec::new();
        let mut here = node;
        while here != root {
            let Some((parent, name)) = self.seen_names(here, at)?.into_iter().next() else {
                return Ok(None);
            };
            if names.len() == DEPTH_MAX {
                return Err(self.contradiction("a loop among the directories", node, at));
            }
            names.push(name);
            here = parent;
        }
        let mut path = RelPath::root();
        names.iter().rev().for_each(|name| path.push(name));
        Ok(Some(path))
    }

    /// Returns when the version of `node` that was born at `born` ends: the birth of the next one, or
    /// [`FOREVER`]. One seek.
    ///
    /// # Errors
    /// [`Error::Sqlite`] if SQLite fails.
    pub fn version_until(&self, node: NodeId, born: i64) -> Result<Time, Error> {
        self.run("finding the next version", |connection| {
            let mut statement = connection.prepare_cached(NEXT_VERSION)?;
            let next = statement.query_row([node.0, born], |row| row.get(0)).optional()?;
            Ok(next.map_or(FOREVER, Time))
        })
    }

    /// Returns when the last name of `node` ends, or [`FOREVER`]; the root has none. One range of an index.
    ///
    /// It may be the instant of a generation that is not published yet.
    ///
    /// # Errors
    /// [`Error::Sqlite`] if SQLite fails.
    pub fn node_until(&self, node: NodeId) -> Result<Time, Error> {
        self.run("finding the end of a node", |connection| {
            let mut statement = connection.prepare_cached(NODE_END)?;
            statement.query_row([node.0], |row| row.get::<_, Option<i64>>(0)).map(|end| end.map_or(FOREVER, Time))
        })
    }

    /// Returns owner, rights and attribute set of row `id` of `perm`; from memory after the first time.
    ///
    /// # Errors
    /// [`Error::Sqlite`] if there is no such row.
    pub fn perm(&self, id: i64) -> Result<Perm, Error> {
        if let Some(perm) = self.perms.borrow().get(&id) {
            return Ok(*perm);
        }
        let perm = self.run("reading rights", |connection| perm(connection, id))?;
        self.perms.borrow_mut().insert(id, perm);
        Ok(perm)
    }

    /// Returns bytes that are kept in the catalog.
    ///
    /// # Errors
    /// [`Error::Sqlite`] if there is no such row.
    pub fn inline(&self, id: i64) -> Result<Vec<u8>, Error> {
        self.run("reading inline content", |connection| {
            connection.prepare_cached(INLINE)?.query_row([id], |row| row.get(0))
        })
    }

    /// Returns the attribute set with row `id` of `xattr_set`.
    ///
    /// # Errors
    /// [`Error::Sqlite`] if SQLite fails.
    pub fn xattrs(&self, id: i64) -> Result<XattrSet, Error> {
        self.run("reading extended attributes", |connection| xattrs(connection, id))
    }

    /// Returns the nodes from `first` to `last` that have, or ever had, extended attributes.
    ///
    /// # Errors
    /// [`Error::Sqlite`] if SQLite fails.
    pub fn xattr_nodes(&self, first: NodeId, last: NodeId) -> Result<Vec<NodeId>, Error> {
        self.run("finding nodes with attributes", |connection| {
            let mut statement = connection.prepare_cached(XATTR_NODES)?;
            statement.query_map([first.0, last.0], |row| row.get(0).map(NodeId))?.collect()
        })
    }

    /// Returns the copies of the generation of `source` at `at`, in the order in which they were added.
    ///
    /// # Errors
    /// [`Error::Sqlite`] if SQLite fails.
    pub fn copies(&self, source: SourceId, at: Time) -> Result<Vec<CopyRow>, Error> {
        self.run("finding copies", |connection| copies(connection, source, at))
    }

    /// Returns the places where `object` lies, in the order in which they were added.
    ///
    /// # Errors
    /// [`Error::Sqlite`] if SQLite fails.
    pub fn copies_of(&self, object: ObjectId) -> Result<Vec<CopyRow>, Error> {
        self.run("finding copies", |connection| copies_of(connection, object))
    }

    /// Returns what is known of an object.
    ///
    /// # Errors
    /// [`Error::Sqlite`] if SQLite fails.
    pub fn object(&self, id: ObjectId) -> Result<Option<ObjectRow>, Error> {
        self.run("reading an object", |connection| object(connection, id))
    }

    /// Returns where the bytes of `node` lie in `object`, if that is written down: else they are at the node's path as of the
    /// object's generation.
    ///
    /// # Errors
    /// [`Error::Sqlite`] if SQLite fails.
    pub fn pinned(&self, object: ObjectId, node: NodeId) -> Result<Option<RelPath>, Error> {
        self.run("finding a path in an object", |connection| pinned(connection, object, node))
    }

    /// Returns all sources, by name.
    ///
    /// # Errors
    /// [`Error::Sqlite`] if SQLite fails.
    pub fn sources(&self) -> Result<Vec<SourceRow>, Error> {
        self.run("listing sources", |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT id, name, kind, settings, root, added_at, rule, by_inode, policy, uuid FROM source ORDER BY name",
            )?;
            statement
                .query_map([], |row| {
                    Ok(SourceRow {
                        id: SourceId(row.get(0)?),
                        name: row.get(1)?,
                        kind: row.get(2)?,
                        settings: row.get(3)?,
                        policy: row.get(8)?,
                        uuid: row.get_ref(9)?.as_blob()?.try_into().ok(),
                        root: NodeId(row.get(4)?),
                        added_at: Time(row.get(5)?),
                        rule: notes::read_rule(row, 6)?,
                    })
                })?
                .collect()
        })
    }

    /// Returns the source called `name`.
    ///
    /// # Errors
    /// [`Error::NoSuchSource`] with the names that there are.
    pub fn source(&self, name: &str) -> Result<SourceRow, Error> {
        let all = self.sources()?;
        match all.iter().find(|s| s.name == name) {
            Some(source) => Ok(source.clone()),
            None => {
                let known = all.into_iter().map(|s| s.name).collect();
                Err(Error::NoSuchSource { name: name.to_owned(), known })
            }
        }
    }

    /// Returns the published generations of `source`, oldest first.
    ///
    /// # Errors
    /// [`Error::Sqlite`] if SQLite fails.
    pub fn generations(&self, source: SourceId) -> Result<Vec<GenerationRow>, Error> {
        self.run("listing generations", |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT g.id, g.source, g.taken_at, g.level, v.status, g.indexed_at, g.index_ms, g.entries, g.size_bytes, \
                 g.changed_nodes, g.losses, g.notices, v.looked_at \
                 FROM generation g JOIN source s ON s.id = g.source JOIN generations v ON v.source = s.name AND v.taken_at_unix = g.taken_at \
                 WHERE g.source = ?1 AND g.status = 'published' ORDER BY g.taken_at",
            )?;
            statement
                .query_map([source.0], |row| {
                    Ok(GenerationRow {
                        id: GenerationId(row.get(0)?),
                        source: SourceId(row.get(1)?),
                        taken_at: Time(row.get(2)?),
                        level: row.get(3)?,
                        status: row.get(4)?,
                        indexed_at: Time(row.get::<_, Option<i64>>(5)?.unwrap_or(0)),
                        index_ms: row.get::<_, Option<i64>>(6)?.unwrap_or(0),
                        entries: row.get::<_, Option<i64>>(7)?.unwrap_or(0),
                        size_bytes: row.get::<_, Option<i64>>(8)?.unwrap_or(0),
                        changed_nodes: row.get::<_, Option<i64>>(9)?.unwrap_or(0),
                        losses: row.get::<_, Option<i64>>(10)?.unwrap_or(0),
                        notices: row.get::<_, Option<i64>>(11)?.unwrap_or(0),
                        looked_at: row.get(12)?,
                    })
                })?
                .collect()
        })
    }

    /// Returns what was found amiss while the generation of `source` at `at` was indexed: kind, path, detail.
    ///
    /// # Errors
    /// [`Error::Sqlite`] if SQLite fails.
    pub fn findings(&self, source: SourceId, at: Time) -> Result<Vec<(String, Vec<u8>, String)>, Error> {
        self.run("listing findings", |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT kind, path, detail FROM finding WHERE source = ?1 AND at = ?2 ORDER BY number",
            )?;
            statement.query_map([source.0, at.0], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?.collect()
        })
    }

    fn contradiction(&self, what: &'static str, node: NodeId, at: Time) -> Error {
        Error::Contradiction { path: self.path.clone(), what, node, at }
    }
}

/// See [`Reader::copies`].
pub(super) fn copies(c: &Connection, source: SourceId, at: Time) -> rusqlite::Result<Vec<CopyRow>> {
    let mut statement = c.prepare_cached(
        "SELECT c.id, c.object, c.store, t.path, c.path FROM generation g JOIN object o ON o.generation = g.id \
         JOIN copy c ON c.object = o.id JOIN store t ON t.id = c.store \
         WHERE g.source = ?1 AND g.taken_at = ?2 ORDER BY c.id",
    )?;
    statement.query_map([source.0, at.0], copy)?.collect()
}

/// See [`Reader::copies_of`].
pub(super) fn copies_of(c: &Connection, object: ObjectId) -> rusqlite::Result<Vec<CopyRow>> {
    let mut statement = c.prepare_cached(
        "SELECT c.id, c.object, c.store, t.path, c.path FROM copy c JOIN store t ON t.id = c.store WHERE c.object = ?1 ORDER BY c.id",
    )?;
    statement.query_map([object.0], copy)?.collect()
}

/// Reads a row of copies.
fn copy(row: &rusqlite::Row<'_>) -> rusqlite::Result<CopyRow> {
    let mut path = PathBuf::from(std::ffi::OsString::from_vec(row.get(3)?));
    let below: Vec<u8> = row.get(4)?;
    if !below.is_empty() {
        path.push(std::ffi::OsString::from_vec(below));
    }
    Ok(CopyRow { id: CopyId(row.get(0)?), object: ObjectId(row.get(1)?), store: StoreId(row.get(2)?), path })
}

/// See [`Reader::object`].
pub(super) fn object(c: &Connection, id: ObjectId) -> rusqlite::Result<Option<ObjectRow>> {
    c.prepare_cached(
        "SELECT o.source, o.at, EXISTS(SELECT 1 FROM generation g WHERE g.id = o.generation) FROM object o WHERE o.id = ?1",
    )?
    .query_row([id.0], |r| Ok(ObjectRow { source: SourceId(r.get(0)?), at: Time(r.get(1)?), has_generation: r.get(2)? }))
    .optional()
}

/// See [`Reader::pinned`].
pub(super) fn pinned(c: &Connection, object: ObjectId, node: NodeId) -> rusqlite::Result<Option<RelPath>> {
    let path: Option<Vec<u8>> = c
        .prepare_cached("SELECT path FROM object_path WHERE object = ?1 AND node = ?2")?
        .query_row([object.0, node.0], |r| r.get(0))
        .optional()?;
    path.map(|path| RelPath::parse(&path).map_err(|_| rusqlite::Error::InvalidQuery)).transpose()
}

/// See [`Reader::perm`].
pub(super) fn perm(c: &Connection, id: i64) -> rusqlite::Result<Perm> {
    c.prepare_cached(PERM)?
        .query_row([id], |row| Ok(Perm { mode: row.get(0)?, uid: row.get(1)?, gid: row.get(2)?, xattr: row.get(3)? }))
}

/// See [`Reader::xattrs`].
pub(super) fn xattrs(c: &Connection, id: i64) -> rusqlite::Result<XattrSet> {
    let mut statement = c.prepare_cached(XATTRS)?;
    let items = statement.query_map([id], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(XattrSet::new(items.collect::<rusqlite::Result<_>>()?))
}

/// Returns the directories that are listed by forks.
pub(super) fn hot_directories(c: &Connection) -> rusqlite::Result<HashSet<i64>> {
    let mut statement =
        c.prepare_cached("SELECT dir FROM directory_history INDEXED BY directory_history_hot WHERE hot")?;
    statement.query_map([], |row| row.get(0))?.collect()
}
