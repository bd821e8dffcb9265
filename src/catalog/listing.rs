//! Listing a directory as of an instant: two statements, and their rows.
//!
//! Promises: names come in order (bytewise), each with its version; a listing costs what lives in the directory, not what died in
//! it. A name without a version is an error, never left out.

use super::error::Error;
use super::rows::{KindNumber, NODE_COLUMNS, NodeRow};
use crate::model::{EntryName, Kind, NodeId, Time, escape_bytes};
use foldhash::HashSet;
use rusqlite::Connection;
use rusqlite::types::ValueRef;
use std::ops::ControlFlow;
use std::path::Path;

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

/// Returns what is wrong where a name has no version.
pub(super) fn no_version(path: &Path, name: &[u8], node: NodeId, at: Time) -> Error {
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

/// Returns the directories that are listed by forks.
pub(super) fn hot_directories(c: &Connection) -> rusqlite::Result<HashSet<i64>> {
    let mut statement =
        c.prepare_cached("SELECT dir FROM directory_history INDEXED BY directory_history_hot WHERE hot")?;
    statement.query_map([], |row| row.get(0))?.collect()
}
