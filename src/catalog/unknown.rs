//! What a generation says that it does not know, while it is told: directories in doubt, names in them that were seen, and what follows.
//!
//! Promises: memory is that of SQLite's cache, whatever the number of names. Never touches the catalog.

use crate::model::NodeId;
use rusqlite::{Connection, params};

/// Edits between two commits, so that SQLite's cache can be written out.
const BATCH: u64 = 100_000;

const TABLES: &str = "
CREATE TABLE doubt(node INTEGER PRIMARY KEY, reason TEXT NOT NULL);
CREATE TABLE saw(parent INTEGER NOT NULL, name BLOB NOT NULL, PRIMARY KEY(parent, name)) WITHOUT ROWID;
CREATE TABLE kept(parent INTEGER NOT NULL, name BLOB NOT NULL, node INTEGER NOT NULL, PRIMARY KEY(parent, name)) WITHOUT ROWID;
CREATE INDEX kept_node ON kept(node);
";

/// What a generation says that it does not know, while it is told; in a file of SQLite's own that has no name.
pub(super) struct Unknown {
    connection: Connection,
    edits: u64,
    /// Names that are kept, as of the last time that it was worked out.
    pub(super) kept: u64,
}

impl Unknown {
    pub(super) fn new() -> rusqlite::Result<Self> {
        let connection = Connection::open("")?;
        connection.execute_batch("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -8192;")?;
        connection.execute_batch(TABLES)?;
        connection.execute_batch("BEGIN")?;
        Ok(Self { connection, edits: 0, kept: 0 })
    }

    fn wrote(&mut self) -> rusqlite::Result<()> {
        self.edits += 1;
        if self.edits.is_multiple_of(BATCH) { self.connection.execute_batch("COMMIT; BEGIN") } else { Ok(()) }
    }

    pub(super) fn doubt(&mut self, dir: NodeId, reason: &str) -> rusqlite::Result<()> {
        self.connection
            .prepare_cached("INSERT OR IGNORE INTO doubt(node, reason) VALUES (?1, ?2)")?
            .execute(params![dir.0, reason])?;
        self.wrote()
    }

    pub(super) fn is_in_doubt(&self, dir: NodeId) -> rusqlite::Result<bool> {
        self.connection.prepare_cached("SELECT 1 FROM doubt WHERE node = ?1")?.exists([dir.0])
    }

    /// Notes that `name` was seen, though nothing else is said of it.
    pub(super) fn see(&mut self, dir: NodeId, name: &[u8]) -> rusqlite::Result<()> {
        self.connection
            .prepare_cached("INSERT OR IGNORE INTO saw(parent, name) VALUES (?1, ?2)")?
            .execute(params![dir.0, name])?;
        self.wrote()
    }

    pub(super) fn has_seen(&self, dir: NodeId, name: &[u8]) -> rusqlite::Result<bool> {
        self.connection
            .prepare_cached("SELECT 1 FROM saw WHERE parent = ?1 AND name = ?2")?
            .exists(params![dir.0, name])
    }

    pub(super) fn keep(&mut self, dir: NodeId, name: &[u8], node: NodeId) -> rusqlite::Result<()> {
        self.kept += self
            .connection
            .prepare_cached("INSERT OR IGNORE INTO kept(parent, name, node) VALUES (?1, ?2, ?3)")?
            .execute(params![dir.0, name, node.0])? as u64;
        self.wrote()
    }

    pub(super) fn keep_nothing(&mut self) -> rusqlite::Result<()> {
        self.kept = 0;
        self.connection.execute("DELETE FROM kept", []).map(drop)
    }

    pub(super) fn is_kept(&self, dir: NodeId, name: &[u8]) -> rusqlite::Result<bool> {
        self.connection
            .prepare_cached("SELECT 1 FROM kept WHERE parent = ?1 AND name = ?2")?
            .exists(params![dir.0, name])
    }

    pub(super) fn kept_nodes(&self) -> rusqlite::Result<Vec<NodeId>> {
        let mut statement = self.connection.prepare("SELECT DISTINCT node FROM kept ORDER BY node")?;
        statement.query_map([], |r| r.get(0).map(NodeId))?.collect()
    }

    pub(super) fn kept_names(&self) -> rusqlite::Result<Vec<(NodeId, Vec<u8>)>> {
        let mut statement = self.connection.prepare("SELECT parent, name FROM kept ORDER BY parent, name")?;
        statement.query_map([], |r| Ok((NodeId(r.get(0)?), r.get(1)?)))?.collect()
    }

    pub(super) fn doubts(&self) -> rusqlite::Result<Vec<(NodeId, String)>> {
        let mut statement = self.connection.prepare("SELECT node, reason FROM doubt ORDER BY node")?;
        statement.query_map([], |r| Ok((NodeId(r.get(0)?), r.get(1)?)))?.collect()
    }
}
