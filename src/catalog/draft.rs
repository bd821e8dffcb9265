//! The edits of a generation that is not the newest, kept aside until they are whole.
//!
//! Such a generation changes what the rows of others say, so it is put in by one transaction ([`super::insert`]); until then its edits lie
//! in a file of SQLite's own that has no name and goes with the process, and the catalog is not held up.
//!
//! Promises: what was said last of a name or a node counts. Memory is that of SQLite's cache, whatever the number of edits. Never
//! touches the catalog.

use super::rows::{KindNumber, NODE_COLUMNS, NodeRow, Place};
use crate::model::{EntryName, Finding, FindingKind, NodeId, ObjectId, RelPath};
use rusqlite::{Connection, OptionalExtension, params};
use std::cell::Cell;

/// Edits between two commits, so that SQLite's cache can be written out.
const BATCH: u32 = 100_000;

/// How edits reach the rows of others.
pub(super) enum Mode {
    /// As they are told.
    Append,
    /// All at once, at the end.
    Aside(Draft),
}

/// The edits of one generation.
pub(super) struct Draft {
    connection: Connection,
    since_commit: Cell<u32>,
}

/// What a name points to now, or that it is gone.
pub(super) type Pointed = Option<(NodeId, KindNumber)>;

const TABLES: &str = "
CREATE TABLE name(parent INTEGER NOT NULL, name BLOB NOT NULL, node INTEGER, kind INTEGER, PRIMARY KEY(parent, name)) WITHOUT ROWID;
CREATE INDEX name_node ON name(node);
CREATE TABLE inode(node INTEGER PRIMARY KEY, born INTEGER NOT NULL, perm INTEGER NOT NULL, size INTEGER NOT NULL, allocated INTEGER,
  mtime INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, ctime_ns INTEGER NOT NULL, nlink INTEGER NOT NULL, place INTEGER NOT NULL,
  content INTEGER, bytes INTEGER);
CREATE TABLE digest(node INTEGER PRIMARY KEY, blake3 BLOB NOT NULL);
CREATE TABLE finding(number INTEGER PRIMARY KEY, kind TEXT NOT NULL, path BLOB NOT NULL, detail TEXT NOT NULL);
CREATE TABLE identity(inode INTEGER NOT NULL, born_ns INTEGER NOT NULL, node INTEGER NOT NULL, PRIMARY KEY(inode, born_ns)) WITHOUT ROWID;
CREATE TABLE touched(node INTEGER PRIMARY KEY);
";

impl Draft {
    pub(super) fn new() -> rusqlite::Result<Self> {
        let connection = Connection::open("")?;
        connection.execute_batch("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -32768;")?;
        connection.execute_batch(TABLES)?;
        connection.execute_batch("BEGIN")?;
        Ok(Self { connection, since_commit: Cell::new(0) })
    }

    fn wrote(&self) -> rusqlite::Result<()> {
        self.since_commit.set(self.since_commit.get() + 1);
        if self.since_commit.get() < BATCH {
            return Ok(());
        }
        self.since_commit.set(0);
        self.connection.execute_batch("COMMIT; BEGIN")
    }

    pub(super) fn point(&self, dir: NodeId, name: &EntryName, to: Pointed) -> rusqlite::Result<()> {
        let (node, kind) = to.unzip();
        self.connection
            .prepare_cached("INSERT OR REPLACE INTO name(parent, name, node, kind) VALUES (?1, ?2, ?3, ?4)")?
            .execute(params![dir.0, name.as_bytes(), node.map(|n| n.0), kind])?;
        self.wrote()
    }

    /// Returns what was said of a name; none: nothing.
    pub(super) fn pointed(&self, dir: NodeId, name: &[u8]) -> rusqlite::Result<Option<Pointed>> {
        self.connection
            .prepare_cached("SELECT node, kind FROM name WHERE parent = ?1 AND name = ?2")?
            .query_row(params![dir.0, name], pointed)
            .optional()
    }

    /// Calls `each` for every name that something was said of, in the order of directories and names.
    pub(super) fn names<E: From<rusqlite::Error>>(
        &self,
        mut each: impl FnMut(NodeId, &[u8], Pointed) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut statement =
            self.connection.prepare_cached("SELECT node, kind, parent, name FROM name ORDER BY parent, name")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let name = row.get_ref(3)?.as_blob().map_err(rusqlite::Error::from)?;
            each(NodeId(row.get(2)?), name, pointed(row)?)?;
        }
        Ok(())
    }

    /// Returns the names that were said to point to `node`.
    pub(super) fn names_of(&self, node: NodeId) -> rusqlite::Result<Vec<(NodeId, EntryName)>> {
        let mut statement =
            self.connection.prepare_cached("SELECT parent, name FROM name WHERE node = ?1 ORDER BY parent, name")?;
        let rows = statement.query_map([node.0], |r| Ok((NodeId(r.get(0)?), entry_name(r, 1)?)))?;
        rows.collect()
    }

    /// Returns what was said of the names in `dir`, in their order.
    pub(super) fn names_in(&self, dir: NodeId) -> rusqlite::Result<Vec<(EntryName, Pointed)>> {
        let mut statement =
            self.connection.prepare_cached("SELECT node, kind, name FROM name WHERE parent = ?1 ORDER BY name")?;
        let rows = statement.query_map([dir.0], |r| Ok((entry_name(r, 2)?, pointed(r)?)))?;
        rows.collect()
    }

    /// Keeps what a node is, and returns what it was said to be before.
    pub(super) fn put(&self, node: NodeId, row: &NodeRow) -> rusqlite::Result<Option<NodeRow>> {
        let before = super::tables::exchange_version(&self.connection, node, row)?;
        self.wrote()?;
        Ok(before)
    }

    pub(super) fn version(&self, node: NodeId) -> rusqlite::Result<Option<NodeRow>> {
        self.connection
            .prepare_cached(&format!("SELECT {NODE_COLUMNS} FROM inode i WHERE i.node = ?1"))?
            .query_row([node.0], |r| NodeRow::read(r, 0))
            .optional()
    }

    /// Takes back what was said of a node.
    pub(super) fn take_back(&self, node: NodeId) -> rusqlite::Result<()> {
        for table in ["inode", "digest"] {
            self.connection.execute(&format!("DELETE FROM {table} WHERE node = ?1"), [node.0])?;
        }
        self.wrote()
    }

    pub(super) fn identify(&self, inode: i64, born_ns: i64, node: NodeId) -> rusqlite::Result<()> {
        self.connection
            .prepare_cached("INSERT OR REPLACE INTO identity(inode, born_ns, node) VALUES (?1, ?2, ?3)")?
            .execute([inode, born_ns, node.0])?;
        self.wrote()
    }

    pub(super) fn identified(&self, inode: i64, born_ns: i64) -> rusqlite::Result<Option<NodeId>> {
        self.connection
            .prepare_cached("SELECT node FROM identity WHERE inode = ?1 AND born_ns = ?2")?
            .query_row([inode, born_ns], |r| r.get(0).map(NodeId))
            .optional()
    }

    /// Calls `each` for every key that was said to be a node: inode number, birth, node.
    pub(super) fn identities<E: From<rusqlite::Error>>(
        &self,
        mut each: impl FnMut(i64, i64, NodeId) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut statement = self.connection.prepare("SELECT inode, born_ns, node FROM identity")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            each(row.get(0)?, row.get(1)?, NodeId(row.get(2)?))?;
        }
        Ok(())
    }

    pub(super) fn put_digest(&self, node: NodeId, digest: &[u8; 32]) -> rusqlite::Result<()> {
        self.connection
            .prepare_cached("INSERT OR REPLACE INTO digest(node, blake3) VALUES (?1, ?2)")?
            .execute(params![node.0, digest])?;
        self.wrote()
    }

    pub(super) fn digest(&self, node: NodeId) -> rusqlite::Result<Option<[u8; 32]>> {
        self.connection
            .prepare_cached("SELECT blake3 FROM digest WHERE node = ?1")?
            .query_row([node.0], |r| r.get(0))
            .optional()
    }

    pub(super) fn report(&self, number: i64, finding: &Finding) -> rusqlite::Result<()> {
        self.connection
            .prepare_cached("INSERT INTO finding(number, kind, path, detail) VALUES (?1, ?2, ?3, ?4)")?
            .execute(params![number, finding.kind.word(), finding.path.as_bytes(), finding.detail])?;
        self.wrote()
    }

    /// Calls `each` for every finding, in the order in which they were reported.
    pub(super) fn findings<E: From<rusqlite::Error>>(
        &self,
        mut each: impl FnMut(i64, Finding) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut statement =
            self.connection.prepare("SELECT number, kind, path, detail FROM finding ORDER BY number")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let path: Vec<u8> = row.get(2)?;
            let finding = Finding {
                kind: FindingKind::from_word(&row.get::<_, String>(1)?).ok_or(rusqlite::Error::InvalidQuery)?,
                path: RelPath::parse(&path).map_err(|_| rusqlite::Error::InvalidQuery)?,
                detail: row.get(3)?,
            };
            each(row.get(0)?, finding)?;
        }
        Ok(())
    }

    /// Notes that rows of `node` may have to change.
    pub(super) fn touch(&self, node: NodeId) -> rusqlite::Result<()> {
        self.connection.prepare_cached("INSERT OR IGNORE INTO touched(node) VALUES (?1)")?.execute([node.0])?;
        self.wrote()
    }

    /// Touches every node that a version was said of.
    pub(super) fn touch_versions(&self) -> rusqlite::Result<()> {
        self.connection.execute("INSERT OR IGNORE INTO touched(node) SELECT node FROM inode", []).map(drop)
    }

    /// Makes versions whose bytes `old` holds name `new`, which takes its place.
    pub(super) fn replace_object(&self, old: ObjectId, new: ObjectId) -> rusqlite::Result<()> {
        let (place, old) = Place::InObject(old).columns();
        let (_, new) = Place::InObject(new).columns();
        let sql = "UPDATE inode SET content = ?3 WHERE place = ?1 AND content = ?2";
        self.connection.execute(sql, params![place, old, new]).map(drop)
    }

    /// Calls `each` for every node that was touched, in order.
    pub(super) fn touched<E: From<rusqlite::Error>>(
        &self,
        mut each: impl FnMut(NodeId) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut statement = self.connection.prepare("SELECT node FROM touched ORDER BY node")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            each(NodeId(row.get(0)?))?;
        }
        Ok(())
    }
}

fn pointed(row: &rusqlite::Row<'_>) -> rusqlite::Result<Pointed> {
    let node: Option<i64> = row.get(0)?;
    node.map(|node| Ok((NodeId(node), row.get(1)?))).transpose()
}

fn entry_name(row: &rusqlite::Row<'_>, at: usize) -> rusqlite::Result<EntryName> {
    EntryName::new(row.get_ref(at)?.as_blob()?).map_err(|_| rusqlite::Error::InvalidQuery)
}
