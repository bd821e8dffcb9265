//! Reading the catalog as of an instant: look-ups, listings, attributes, places; one connection with its statements.
//!
//! Promises: every answer is as of the instant that is given, which must be one of a published
//! generation of the node's source. The functions on a mount's path run one query each, on one held read
//! transaction; a listing streams in name order and costs what lives in the directory, not what died
//! in it. Never writes, never opens a file of a backup.

use super::error::Error;
use super::listing::{DirEntry, each_entry, hot_directories, list_hot_sql, list_sql, no_version};
use super::objects::{CopyRow, ObjectRow, copies, copies_of, object, pinned};
use super::parts::{PERM, XATTRS, perm, xattrs};
use super::rows::{KindNumber, NodeRow, Perm};
use super::tables::{LOOKUP, NAMES, NODE, NODE_OF};
use super::{connect, kept, notes};
use crate::model::{EntryName, FOREVER, GenerationId, Kind, NodeId, ObjectId, RelPath, SourceId, Time, XattrSet};
use foldhash::{HashMap, HashSet};
use rusqlite::{Connection, OptionalExtension, StatementStatus, params};
use std::cell::{Cell, RefCell};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

const CHANGED: &str = "SELECT DISTINCT node FROM change WHERE source = ?1 AND at > ?2 AND at <= ?3 ORDER BY node";
const NEXT_VERSION: &str = "SELECT born FROM inode WHERE node = ?1 AND born > ?2 ORDER BY born LIMIT 1";
const NODE_END: &str = "SELECT max(died) FROM dirent INDEXED BY dirent_node WHERE node = ?1";
const INLINE: &str = "SELECT bytes FROM content WHERE id = ?1";
const XATTR_NODES: &str = "SELECT node FROM xattr_node WHERE node BETWEEN ?1 AND ?2";
/// In bytes, `user.`.
const XATTR_NAMES: &str =
    "SELECT DISTINCT name FROM xattr_item WHERE xattr > ?1 AND substr(name, 1, 5) <> x'757365722E' LIMIT ?2";
const LAST_XATTRS: &str = "SELECT coalesce(max(id), 0) FROM xattr_set";

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

    /// Reads through a connection in which a question is being answered already, so that both are of one moment.
    pub(super) fn over(connection: Connection, path: &Path) -> rusqlite::Result<Self> {
        let has_kept = kept::has_any(&connection)?;
        Ok(Self {
            connection,
            path: path.to_owned(),
            in_transaction: Cell::new(true),
            data_version: Cell::new(-1),
            has_kept: Cell::new(has_kept),
            hot: RefCell::default(),
            perms: RefCell::default(),
            list_sql: String::new(),
            list_hot_sql: String::new(),
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
            let ended = self.connection.execute_batch("COMMIT");
            // What was only read has nothing to lose: in a damaged file it is rolled back where it cannot be committed.
            if let Err(e) = ended
                && !self.connection.is_autocommit()
                && self.connection.execute_batch("ROLLBACK").is_err()
            {
                self.in_transaction.set(true);
                return Err(Error::sqlite("ending a read transaction", &self.path, e));
            }
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
        let all = [
            &self.list_sql,
            &self.list_hot_sql,
            LOOKUP,
            NODE,
            NAMES,
            NEXT_VERSION,
            INLINE,
            PERM,
            XATTRS,
            XATTR_NODES,
            XATTR_NAMES,
            LAST_XATTRS,
        ];
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

    /// Returns the version of `node` as of `at`, if the generation that was published there is still this one. What is kept of a
    /// generation, and what is asked of it later, are of one tree then.
    ///
    /// # Errors
    /// [`Error::Sqlite`] if SQLite fails.
    pub fn node_of(&self, generation: GenerationId, node: NodeId, at: Time) -> Result<Option<NodeRow>, Error> {
        self.run("reading attributes", |connection| {
            let mut statement = connection.prepare_cached(NODE_OF)?;
            statement.query_row([node.0, at.0, generation.0], |row| NodeRow::read(row, 0)).optional()
        })
    }

    /// Tells whether this generation is published; one that was indexed again is another one.
    ///
    /// # Errors
    /// [`Error::Sqlite`] if SQLite fails.
    pub fn is_published(&self, generation: GenerationId) -> Result<bool, Error> {
        self.run("looking for a generation", |connection| {
            let text = "SELECT EXISTS (SELECT 1 FROM generation WHERE id = ?1 AND status = 'published')";
            connection.prepare_cached(text)?.query_row([generation.0], |row| row.get(0))
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
        self.first_names(node, at, usize::MAX)
    }

    /// Returns up to `max` of them. Reads no more rows than that.
    ///
    /// # Errors
    /// [`Error::Sqlite`] if SQLite fails.
    pub fn first_names(&self, node: NodeId, at: Time, max: usize) -> Result<Vec<(NodeId, EntryName)>, Error> {
        self.run("finding the names of a node", |connection| {
            let mut statement = connection.prepare_cached(NAMES)?;
            let mut rows = statement.query([node.0, at.0])?;
            let mut names = Vec::new();
            while names.len() < max
                && let Some(row) = rows.next()?
            {
                let name = EntryName::new(row.get_ref(1)?.as_blob()?).map_err(|_| rusqlite::Error::InvalidQuery)?;
                names.push((NodeId(row.get(0)?), name));
            }
            Ok(names)
        })
    }

    /// Tells whether any generation keeps names that it did not see. No query but those that begin a read transaction.
    pub(super) fn has_kept(&self) -> Result<bool, Error> {
        self.begin().map_err(|e| Error::sqlite("reading what is unknown", &self.path, e))?;
        Ok(self.has_kept.get())
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

    /// Tells whether `node`, which is no root, has a name as of `at`. One seek.
    ///
    /// # Errors
    /// [`Error::Sqlite`] if SQLite fails.
    pub fn lives(&self, node: NodeId, at: Time) -> Result<bool, Error> {
        self.run("looking whether a node lives", |connection| connection.prepare_cached(NAMES)?.exists([node.0, at.0]))
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

    /// Returns the names of attributes, but for `user.*`, in the sets after the set `after`, each once and `limit` at most; and the last set.
    ///
    /// Sets are only ever added, so a caller who goes on from the last one misses none. Cost: one range of a table, the new sets.
    ///
    /// # Errors
    /// [`Error::Sqlite`] if SQLite fails.
    pub fn xattr_names_after(&self, after: i64, limit: usize) -> Result<(Vec<Vec<u8>>, i64), Error> {
        self.run("finding names of attributes", |connection| {
            let mut statement = connection.prepare_cached(XATTR_NAMES)?;
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            let names = statement.query_map([after, limit], |row| row.get(0))?.collect::<Result<_, _>>()?;
            Ok((names, connection.prepare_cached(LAST_XATTRS)?.query_row([], |row| row.get(0))?))
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

    pub(super) fn contradiction(&self, what: &'static str, node: NodeId, at: Time) -> Error {
        Error::Contradiction { path: self.path.clone(), what, node, at }
    }
}
