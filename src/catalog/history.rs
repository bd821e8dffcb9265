//! Histories: all names and all versions that a node ever had, node by node.
//!
//! Promises: nodes come in the order of their numbers, from two indexes that are read side by side; no more than the rows of one
//! node are in memory. Rows come as they are in the tables: births and deaths are turned into generations by [`Instants`], in one
//! way for all who ask. Never writes.

use super::rows::{KindNumber, NODE_COLUMN_COUNT, NODE_COLUMNS, NodeRow};
use crate::model::{Kind, NodeId, SourceId, Time};
use rusqlite::{Connection, Rows};
use std::ops::Range;

/// The columns of [`next_name`].
const NAME: &str = "node, parent, name, born, died, kind";

fn names_sql() -> String {
    format!("SELECT {NAME} FROM dirent INDEXED BY dirent_node WHERE node BETWEEN ?1 AND ?2 ORDER BY node")
}

/// Versions with what they keep in `content`; the columns of [`next_version`].
fn versions_sql(which: &str) -> String {
    format!(
        "SELECT i.node, {NODE_COLUMNS}, c.bytes FROM inode i LEFT JOIN content c ON i.place IN (3, 4) AND c.id = i.content \
         WHERE {which}"
    )
}

/// A row of `dirent`.
#[derive(Clone, Debug)]
pub(super) struct NameRow {
    /// The directory.
    pub(super) dir: NodeId,
    /// The name.
    pub(super) name: Vec<u8>,
    /// First generation that has it.
    pub(super) born: i64,
    /// First generation after it that has not.
    pub(super) died: i64,
    /// The type of what it points to.
    pub(super) kind: Kind,
}

/// A name, or the top directory, which has none.
#[derive(Clone, Copy)]
pub(super) struct Named<'a> {
    /// The directory; 0 for the top one.
    pub(super) dir: NodeId,
    /// The name; empty for the top directory.
    pub(super) name: &'a [u8],
    /// The type, as the name has it.
    pub(super) kind: Kind,
}

/// A row of `inode`, with the bytes that it keeps in `content`.
#[derive(Clone, Debug)]
pub(super) struct VersionRow {
    /// The row.
    pub(super) row: NodeRow,
    /// A link target, a small file or a map; none where the row refers to none, or where that row is lost.
    pub(super) content: Option<Vec<u8>>,
}

/// All rows of one node.
#[derive(Debug)]
pub(super) struct History {
    /// The node.
    pub(super) node: NodeId,
    /// In the order of directory, name and birth.
    pub(super) names: Vec<NameRow>,
    /// In the order of birth.
    pub(super) versions: Vec<VersionRow>,
}

impl Default for History {
    fn default() -> Self {
        Self { node: NodeId(0), names: Vec::new(), versions: Vec::new() }
    }
}

impl NameRow {
    /// Returns what does not depend on the time.
    pub(super) fn named(&self) -> Named<'_> {
        Named { dir: self.dir, name: &self.name, kind: self.kind }
    }
}

/// Calls `each` with the history of every node in `nodes` (its ends included) that has rows.
///
/// **Cost:** a range of `inode`, a range of the index `dirent_node`, and a seek a name.
pub(super) fn each_history(
    c: &Connection,
    nodes: (i64, i64),
    each: &mut dyn FnMut(&History) -> rusqlite::Result<()>,
) -> rusqlite::Result<()> {
    let all_versions = versions_sql("i.node BETWEEN ?1 AND ?2 ORDER BY i.node, i.born");
    let (mut names, mut versions) = (c.prepare_cached(&names_sql())?, c.prepare_cached(&all_versions)?);
    let range = [nodes.0, nodes.1];
    let (mut names, mut versions) = (names.query(range)?, versions.query(range)?);
    let (mut name, mut version) = (next_name(&mut names)?, next_version(&mut versions)?);
    let mut history = History::default();
    while let Some(node) = [name.as_ref().map(|n| n.0), version.as_ref().map(|v| v.0)].into_iter().flatten().min() {
        history.node = NodeId(node);
        history.names.clear();
        history.versions.clear();
        while let Some((_, row)) = name.take_if(|(owner, _)| *owner == node) {
            history.names.push(row);
            name = next_name(&mut names)?;
        }
        while let Some((_, row)) = version.take_if(|(owner, _)| *owner == node) {
            history.versions.push(row);
            version = next_version(&mut versions)?;
        }
        each(&history)?;
    }
    Ok(())
}

/// Returns the history of one node, which may be empty.
pub(super) fn history_of(c: &Connection, node: NodeId) -> rusqlite::Result<History> {
    let mut found = History { node, ..History::default() };
    each_history(c, (node.0, node.0), &mut |history| {
        found.names.clone_from(&history.names);
        found.versions.clone_from(&history.versions);
        Ok(())
    })?;
    Ok(found)
}

/// Returns the names of `node` as of `at`.
pub(super) fn names_at(c: &Connection, node: NodeId, at: Time) -> rusqlite::Result<Vec<NameRow>> {
    let sql = format!("SELECT {NAME} FROM dirent INDEXED BY dirent_node WHERE node = ?1 AND born <= ?2 AND died > ?2");
    let mut statement = c.prepare_cached(&sql)?;
    let mut rows = statement.query([node.0, at.0])?;
    let mut names = Vec::new();
    while let Some((_, name)) = next_name(&mut rows)? {
        names.push(name);
    }
    Ok(names)
}

/// Returns the version of `node` as of `at`.
pub(super) fn version_at(c: &Connection, node: NodeId, at: Time) -> rusqlite::Result<Option<VersionRow>> {
    let mut statement = c.prepare_cached(&versions_sql("i.node = ?1 AND i.born <= ?2 ORDER BY i.born DESC LIMIT 1"))?;
    let mut rows = statement.query([node.0, at.0])?;
    Ok(next_version(&mut rows)?.map(|(_, version)| version))
}

fn next_name(rows: &mut Rows<'_>) -> rusqlite::Result<Option<(i64, NameRow)>> {
    let Some(row) = rows.next()? else { return Ok(None) };
    let name = NameRow {
        dir: NodeId(row.get(1)?),
        name: row.get(2)?,
        born: row.get(3)?,
        died: row.get(4)?,
        kind: row.get::<_, KindNumber>(5)?.0,
    };
    Ok(Some((row.get(0)?, name)))
}

fn next_version(rows: &mut Rows<'_>) -> rusqlite::Result<Option<(i64, VersionRow)>> {
    let Some(row) = rows.next()? else { return Ok(None) };
    let version = VersionRow { row: NodeRow::read(row, 1)?, content: row.get(1 + NODE_COLUMN_COUNT)? };
    Ok(Some((row.get(0)?, version)))
}

/// The ranges of node numbers of a source, in order: first and last of each block.
pub(super) fn blocks(c: &Connection, source: SourceId) -> rusqlite::Result<Vec<(i64, i64)>> {
    let mut statement = c.prepare_cached("SELECT block FROM node_block WHERE source = ?1 ORDER BY block")?;
    let blocks = statement.query_map([source.0], |r| r.get::<_, i64>(0))?;
    blocks.map(|block| block.map(|block| (block << 16, (block << 16) + 0xffff))).collect()
}

/// The generations of one source whose rows are there, by their instants; what rows say of time is turned into places among them.
///
/// A birth or death is that of the first generation at or after it: births older than the oldest generation mean
/// "since the oldest", and what a generation that nobody sees wrote covers no place.
#[derive(Clone, Debug, Default)]
pub(super) struct Instants(Vec<i64>);

impl Instants {
    /// Returns these instants; they are in order, and none comes twice.
    pub(super) fn new(instants: Vec<i64>) -> Self {
        debug_assert!(instants.is_sorted(), "instants are asked for in order");
        Self(instants)
    }

    /// Reads those of `source`: of generations that are published, or are still to be removed.
    pub(super) fn load(c: &Connection, source: SourceId) -> rusqlite::Result<Self> {
        let mut statement = c.prepare_cached(
            "SELECT taken_at FROM generation WHERE source = ?1 AND status IN ('published', 'deleting') ORDER BY taken_at",
        )?;
        Ok(Self(statement.query_map([source.0], |r| r.get(0))?.collect::<rusqlite::Result<_>>()?))
    }

    /// Returns how many they are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns the instant at `place`.
    pub(super) fn at(&self, place: usize) -> Option<i64> {
        self.0.get(place).copied()
    }

    /// Tells whether one of them is `at`.
    pub(super) fn has(&self, at: i64) -> bool {
        self.0.binary_search(&at).is_ok()
    }

    /// Returns the place of the first one at or after `at`; their number if there is none.
    pub(super) fn place(&self, at: i64) -> usize {
        self.0.partition_point(|instant| *instant < at)
    }

    /// Returns the places at which a row from `born` until `died` holds.
    pub(super) fn span(&self, born: i64, died: i64) -> Range<usize> {
        let from = self.place(born);
        from..self.place(died).max(from)
    }
}
