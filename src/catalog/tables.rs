//! The rows that history is made of (names, versions, notes), one function per statement.
//!
//! Promises: every function runs one statement, and says no more than that statement does; what rows mean beside each other is for the
//! rooms above. A hot directory's rows get their fork here, so nobody else has to know of it.

use super::interval;
use super::rows::{ChangeOps, KindNumber, NodeRow, Place};
use crate::model::{EntryName, FOREVER, Finding, NodeId, ObjectId, SourceId, Time, escape_bytes};
use rusqlite::{Connection, OptionalExtension, params};
use std::collections::BTreeSet;

/// Node numbers are given out to sources in blocks of 2^16.
pub(super) const BLOCK_BITS: u32 = 16;

/// A look-up as a mount makes it.
pub(super) const LOOKUP: &str = "SELECT node, kind, died FROM dirent \
     WHERE parent = ?1 AND name = ?2 AND born <= ?3 ORDER BY born DESC LIMIT 1";
/// The version of a node as of an instant, if one more condition holds.
macro_rules! version_of_node {
    ($condition:literal) => {
        concat!(
            "SELECT i.born, i.perm, i.size, i.allocated, i.mtime, i.mtime_ns, i.ctime_ns, i.nlink, i.place, i.content, i.bytes \
             FROM inode i WHERE i.node = ?1 AND i.born <= ?2",
            $condition,
            " ORDER BY i.born DESC LIMIT 1"
        )
    };
}

/// The version of a node as of an instant.
pub(super) const NODE: &str = version_of_node!("");
/// [`NODE`], but of no generation that is not the one meant: another one may have its second meanwhile.
pub(super) const NODE_OF: &str =
    version_of_node!(" AND EXISTS (SELECT 1 FROM generation g WHERE g.id = ?3 AND g.status = 'published')");
/// The names of a node as of an instant.
pub(super) const NAMES: &str = "SELECT parent, name FROM dirent INDEXED BY dirent_node \
     WHERE node = ?1 AND born <= ?2 AND died > ?2";

/// What follows `INSERT OR ...` where a version is written.
macro_rules! version_into {
    () => {
        "INTO inode(node, born, perm, size, allocated, mtime, mtime_ns, ctime_ns, nlink, place, content, bytes) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)"
    };
}

/// A row of `dirent` without its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NameRow {
    pub(super) born: i64,
    pub(super) died: i64,
    pub(super) node: NodeId,
    pub(super) kind: KindNumber,
}

/// A name in a directory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot<'n> {
    pub(super) dir: NodeId,
    pub(super) name: &'n [u8],
}

fn name_row(r: &rusqlite::Row<'_>) -> rusqlite::Result<NameRow> {
    Ok(NameRow { born: r.get(0)?, died: r.get(1)?, node: NodeId(r.get(2)?), kind: r.get(3)? })
}

/// Returns the row of a name that holds at `at`.
pub(super) fn lookup(c: &Connection, slot: Slot<'_>, at: Time) -> rusqlite::Result<Option<NameRow>> {
    let mut statement = c.prepare_cached(
        "SELECT born, died, node, kind FROM dirent WHERE parent = ?1 AND name = ?2 AND born <= ?3 ORDER BY born DESC LIMIT 1",
    )?;
    let row = statement.query_row(params![slot.dir.0, slot.name, at.0], name_row).optional()?;
    Ok(row.filter(|r| r.died > at.0))
}

/// Returns all rows of a name, the earliest first.
pub(super) fn rows_of(c: &Connection, slot: Slot<'_>) -> rusqlite::Result<Vec<NameRow>> {
    let mut statement =
        c.prepare_cached("SELECT born, died, node, kind FROM dirent WHERE parent = ?1 AND name = ?2 ORDER BY born")?;
    statement.query_map(params![slot.dir.0, slot.name], name_row)?.collect()
}

/// Returns the row of a name that was born at exactly `born`.
pub(super) fn name_born(c: &Connection, slot: Slot<'_>, born: i64) -> rusqlite::Result<Option<NameRow>> {
    c.prepare_cached("SELECT born, died, node, kind FROM dirent WHERE parent = ?1 AND name = ?2 AND born = ?3")?
        .query_row(params![slot.dir.0, slot.name, born], name_row)
        .optional()
}

/// Returns the row of a name that ends at exactly `died`.
pub(super) fn name_died(c: &Connection, slot: Slot<'_>, died: i64) -> rusqlite::Result<Option<NameRow>> {
    let mut statement = c.prepare_cached(
        "SELECT born, died, node, kind FROM dirent WHERE parent = ?1 AND name = ?2 AND born < ?3 ORDER BY born DESC LIMIT 1",
    )?;
    let row = statement.query_row(params![slot.dir.0, slot.name, died], name_row).optional()?;
    Ok(row.filter(|r| r.died == died))
}

/// The birth of an identity that is a name: no file system tells it.
pub(super) const NAMED: i64 = i64::MIN;

/// Returns the number by which a name defines a node, in place of an inode number.
pub(super) fn name_key(slot: Slot<'_>, kind: KindNumber) -> i64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&slot.dir.0.to_le_bytes());
    hasher.update(kind.0.letter().to_string().as_bytes());
    hasher.update(slot.name);
    i64::from_le_bytes(hasher.finalize().as_bytes()[..8].try_into().expect("eight bytes"))
}

/// Writes down who a node is: an inode number with its birth, or the name that defines it ([`NAMED`]).
pub(super) fn put_identity(
    c: &Connection,
    source: SourceId,
    (inode, born_ns): (i64, i64),
    node: NodeId,
) -> rusqlite::Result<()> {
    c.prepare_cached("INSERT OR REPLACE INTO identity(source, inode, born_ns, node) VALUES (?1, ?2, ?3, ?4)")?
        .execute([source.0, inode, born_ns, node.0])
        .map(drop)
}

/// Notes that a node has, or had, extended attributes.
pub(super) fn put_xattr_node(c: &Connection, node: NodeId) -> rusqlite::Result<()> {
    c.prepare_cached("INSERT OR IGNORE INTO xattr_node(node) VALUES (?1)")?.execute([node.0]).map(drop)
}

/// Adds the digest of the bytes that `node` has under the number `bytes`.
pub(super) fn insert_digest(
    c: &Connection,
    node: NodeId,
    bytes: i64,
    digest: &[u8; 32],
    seen_at: Time,
) -> rusqlite::Result<()> {
    c.prepare_cached("INSERT OR REPLACE INTO digest(node, bytes, blake3, seen_at) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![node.0, bytes, digest, seen_at.0])
        .map(drop)
}

/// Removes digests of bytes that no version of a node has.
pub(super) fn drop_digests(c: &Connection, node: NodeId) -> rusqlite::Result<()> {
    c.prepare_cached(
        "DELETE FROM digest WHERE node = ?1 AND bytes NOT IN (SELECT i.bytes FROM inode i WHERE i.node = ?1 AND i.bytes IS NOT NULL)",
    )?
    .execute([node.0])
    .map(drop)
}

/// Returns the node that a name is written down to define.
pub(super) fn defined(c: &Connection, source: SourceId, key: i64) -> rusqlite::Result<Option<NodeId>> {
    c.prepare_cached("SELECT node FROM identity WHERE source = ?1 AND inode = ?2 AND born_ns = ?3")?
        .query_row([source.0, key, NAMED], |r| r.get(0).map(NodeId))
        .optional()
}

/// Tells whether a name is written down to define a node.
pub(super) fn is_defined(c: &Connection, source: SourceId, node: NodeId) -> rusqlite::Result<bool> {
    c.prepare_cached(
        "SELECT 1 FROM identity INDEXED BY identity_node WHERE node = ?2 AND source = ?1 AND born_ns = ?3",
    )?
    .exists([source.0, node.0, NAMED])
}

/// Tells whether a name ever led to a node.
pub(super) fn had_ever(c: &Connection, slot: Slot<'_>, node: NodeId) -> rusqlite::Result<bool> {
    c.prepare_cached("SELECT 1 FROM dirent WHERE parent = ?1 AND name = ?2 AND node = ?3")?
        .exists(params![slot.dir.0, slot.name, node.0])
}

/// Returns the nodes of one type that a name ever led to, the earliest first.
pub(super) fn nodes_ever(c: &Connection, slot: Slot<'_>, kind: KindNumber) -> rusqlite::Result<Vec<NodeId>> {
    let mut statement =
        c.prepare_cached("SELECT node FROM dirent WHERE parent = ?1 AND name = ?2 AND kind = ?3 ORDER BY born")?;
    statement.query_map(params![slot.dir.0, slot.name, kind], |r| r.get(0).map(NodeId))?.collect()
}

/// Returns the fork of a row of a name; none where its directory is not hot.
pub(super) fn fork_of(hot: bool, born: i64, died: i64) -> Option<i64> {
    hot.then(|| if died == FOREVER.0 { interval::LIVE } else { interval::fork(born, died - 1) })
}

/// Adds a row of a name; there must be none of this birth.
pub(super) fn insert_name(c: &Connection, slot: Slot<'_>, row: NameRow, hot: bool) -> rusqlite::Result<()> {
    debug_assert!(row.born < row.died, "a name lives");
    let fork = fork_of(hot, row.born, row.died);
    c.prepare_cached(
        "INSERT INTO dirent(parent, name, born, died, fork, node, kind) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?
    .execute(params![slot.dir.0, slot.name, row.born, row.died, fork, row.node.0, row.kind])
    .map(drop)
}

/// Removes a row of a name.
pub(super) fn delete_name(c: &Connection, slot: Slot<'_>, born: i64) -> rusqlite::Result<()> {
    c.prepare_cached("DELETE FROM dirent WHERE parent = ?1 AND name = ?2 AND born = ?3")?
        .execute(params![slot.dir.0, slot.name, born])
        .map(drop)
}

/// Ends a row of a name at `died`.
pub(super) fn end_name(c: &Connection, slot: Slot<'_>, born: i64, died: i64, hot: bool) -> rusqlite::Result<()> {
    debug_assert!(born < died, "a name lives");
    c.prepare_cached("UPDATE dirent SET died = ?4, fork = ?5 WHERE parent = ?1 AND name = ?2 AND born = ?3")?
        .execute(params![slot.dir.0, slot.name, born, died, fork_of(hot, born, died)])
        .map(drop)
}

/// Records the text of a name, path or link target that views could not show as it is.
pub(super) fn insert_odd_name(c: &Connection, name: &[u8]) -> rusqlite::Result<()> {
    let std::borrow::Cow::Owned(text) = escape_bytes(name) else { return Ok(()) };
    c.prepare_cached("INSERT OR IGNORE INTO odd_name(name, text) VALUES (?1, ?2)")?
        .execute(params![name, text])
        .map(drop)
}

/// Returns the names of a node at `at`.
pub(super) fn names_at(c: &Connection, node: NodeId, at: Time) -> rusqlite::Result<BTreeSet<(i64, Vec<u8>)>> {
    let mut statement = c.prepare_cached(NAMES)?;
    statement.query_map([node.0, at.0], |r| Ok((r.get(0)?, r.get(1)?)))?.collect()
}

/// Tells whether a node has a name at `at`.
pub(super) fn has_name_at(c: &Connection, node: NodeId, at: Time) -> rusqlite::Result<bool> {
    c.prepare_cached(NAMES)?.exists([node.0, at.0])
}

/// A row of `dirent` with all that it has.
pub(super) struct FullName {
    pub(super) dir: NodeId,
    pub(super) name: EntryName,
    pub(super) row: NameRow,
}

/// Returns every row of names that a node ever had.
pub(super) fn names_ever(c: &Connection, node: NodeId) -> rusqlite::Result<Vec<FullName>> {
    let mut statement = c.prepare_cached(
        "SELECT born, died, node, kind, parent, name FROM dirent INDEXED BY dirent_node WHERE node = ?1 ORDER BY parent, name, born",
    )?;
    let rows = statement.query_map([node.0], |r| {
        let name = EntryName::new(r.get_ref(5)?.as_blob()?).map_err(|_| rusqlite::Error::InvalidQuery)?;
        Ok(FullName { dir: NodeId(r.get(4)?), name, row: name_row(r)? })
    })?;
    rows.collect()
}

/// Returns the version of a node that its rows tell at `at`, whether or not it has a name then.
pub(super) fn version_at(c: &Connection, node: NodeId, at: Time) -> rusqlite::Result<Option<NodeRow>> {
    c.prepare_cached(NODE)?.query_row([node.0, at.0], |row| NodeRow::read(row, 0)).optional()
}

/// Returns the births of all versions of a node, oldest first.
pub(super) fn births(c: &Connection, node: NodeId) -> rusqlite::Result<Vec<i64>> {
    let mut statement = c.prepare_cached("SELECT born FROM inode WHERE node = ?1 ORDER BY born")?;
    statement.query_map([node.0], |r| r.get(0))?.collect()
}

/// Returns the places of all versions of a node.
pub(super) fn places(c: &Connection, node: NodeId) -> rusqlite::Result<Vec<Place>> {
    let mut statement =
        c.prepare_cached(&format!("SELECT {} FROM inode i WHERE i.node = ?1", super::rows::NODE_COLUMNS))?;
    statement.query_map([node.0], |r| Ok(NodeRow::read(r, 0)?.place))?.collect()
}

/// Writes a version; one of the same birth is replaced.
pub(super) fn put_version(c: &Connection, node: NodeId, row: &NodeRow) -> rusqlite::Result<()> {
    write_version(c, concat!("INSERT OR REPLACE ", version_into!()), node, row).map(drop)
}

/// Writes a version, and returns the one of the same birth that it took the place of. One statement where there was none.
pub(super) fn exchange_version(c: &Connection, node: NodeId, row: &NodeRow) -> rusqlite::Result<Option<NodeRow>> {
    if write_version(c, concat!("INSERT OR IGNORE ", version_into!()), node, row)? == 1 {
        return Ok(None);
    }
    let before = version_at(c, node, Time(row.born))?;
    put_version(c, node, row)?;
    Ok(before)
}

fn write_version(c: &Connection, sql: &'static str, node: NodeId, row: &NodeRow) -> rusqlite::Result<usize> {
    let (place, content) = row.place.columns();
    c.prepare_cached(sql)?.execute(params![
        node.0,
        row.born,
        row.perm,
        row.size_bytes as i64,
        row.allocated_bytes.map(|n| n as i64),
        row.mtime.seconds,
        row.mtime.nanos,
        row.ctime.ns_since(row.mtime),
        row.nlink,
        place,
        content,
        (row.bytes != 0).then_some(row.bytes)
    ])
}

/// Removes a version.
pub(super) fn delete_version(c: &Connection, node: NodeId, born: i64) -> rusqlite::Result<()> {
    c.prepare_cached("DELETE FROM inode WHERE node = ?1 AND born = ?2")?.execute([node.0, born]).map(drop)
}

/// Makes another object the place of a version's bytes.
pub(super) fn set_object(c: &Connection, node: NodeId, born: i64, object: ObjectId) -> rusqlite::Result<()> {
    c.prepare_cached("UPDATE inode SET content = ?3 WHERE node = ?1 AND born = ?2 AND place = 2")?
        .execute([node.0, born, object.0])
        .map(drop)
}

/// Writes down where the bytes of a node lie in an object; what is written down already stays.
pub(super) fn pin_path(c: &Connection, object: ObjectId, node: NodeId, path: &[u8]) -> rusqlite::Result<()> {
    insert_odd_name(c, path)?;
    c.prepare_cached("INSERT OR IGNORE INTO object_path(object, node, path) VALUES (?1, ?2, ?3)")?
        .execute(params![object.0, node.0, path])
        .map(drop)
}

/// Adds to what a generation did to a node.
pub(super) fn add_note(
    c: &Connection,
    source: SourceId,
    at: Time,
    node: NodeId,
    ops: ChangeOps,
) -> rusqlite::Result<()> {
    c.prepare_cached(
        "INSERT INTO change(source, at, node, op) VALUES (?1, ?2, ?3, ?4) \
         ON CONFLICT(source, at, node) DO UPDATE SET op = op | excluded.op",
    )?
    .execute([source.0, at.0, node.0, ops.0])
    .map(drop)
}

/// Says what a generation did to a node; nothing leaves no row.
pub(super) fn set_note(
    c: &Connection,
    source: SourceId,
    at: Time,
    node: NodeId,
    ops: ChangeOps,
) -> rusqlite::Result<()> {
    if ops.is_empty() {
        c.prepare_cached("DELETE FROM change WHERE source = ?1 AND at = ?2 AND node = ?3")?
            .execute([source.0, at.0, node.0])
            .map(drop)
    } else {
        c.prepare_cached("INSERT OR REPLACE INTO change(source, at, node, op) VALUES (?1, ?2, ?3, ?4)")?
            .execute([source.0, at.0, node.0, ops.0])
            .map(drop)
    }
}

/// Returns the nodes that a generation changed, in order.
pub(super) fn noted(c: &Connection, source: SourceId, at: Time) -> rusqlite::Result<Vec<NodeId>> {
    let mut statement = c.prepare_cached("SELECT node FROM change WHERE source = ?1 AND at = ?2 ORDER BY node")?;
    statement.query_map([source.0, at.0], |r| r.get(0).map(NodeId))?.collect()
}

/// Returns the blocks of node numbers of a source, each as its first and its last number.
pub(super) fn blocks(c: &Connection, source: SourceId) -> rusqlite::Result<Vec<(i64, i64)>> {
    let mut statement = c.prepare_cached("SELECT block FROM node_block WHERE source = ?1 ORDER BY block")?;
    let blocks = statement.query_map([source.0], |r| r.get::<_, i64>(0))?;
    blocks.map(|block| block.map(|b| (b << BLOCK_BITS, ((b + 1) << BLOCK_BITS) - 1))).collect()
}

/// Returns a sum of bytes as a row holds it: no more than 8 EiB, less one byte.
pub(super) fn at_most(size_bytes: i128) -> i64 {
    i64::try_from(size_bytes).unwrap_or(if size_bytes < 0 { i64::MIN } else { i64::MAX })
}

/// Returns how many bytes the files of a generation have that has `more` than one which says that it has `before`. Where that has as many
/// as a row holds, or more, those of its own are counted, after all of its rows were written.
pub(super) fn bytes_after(
    c: &Connection,
    source: SourceId,
    at: Time,
    before: i64,
    more: i128,
) -> rusqlite::Result<i64> {
    if before < i64::MAX {
        return Ok(at_most(i128::from(before) + more));
    }
    // In two halves, which do not overflow.
    let (high, low): (i64, i64) = c
        .prepare_cached(
            "SELECT coalesce(sum(i.size >> 32), 0), coalesce(sum(i.size & 4294967295), 0) \
             FROM node_block b JOIN inode i ON i.node BETWEEN b.block << 16 AND (b.block << 16) + 65535 JOIN perm p ON p.id = i.perm \
             WHERE b.source = ?1 AND i.born <= ?2 AND p.mode & 61440 = 32768 \
             AND NOT EXISTS (SELECT 1 FROM inode j WHERE j.node = i.node AND j.born > i.born AND j.born <= ?2) \
             AND EXISTS (SELECT 1 FROM dirent d INDEXED BY dirent_node WHERE d.node = i.node AND d.born <= ?2 AND d.died > ?2)",
        )?
        .query_row([source.0, at.0], |r| Ok((r.get(0)?, r.get(1)?)))?;
    Ok(at_most((i128::from(high) << 32) + i128::from(low)))
}

/// Returns the number of the next block of node numbers; the caller inserts it.
pub(super) fn next_block(c: &Connection) -> rusqlite::Result<i64> {
    next_id(c, "node_block")
}

/// Returns the number that the next row of a table will have.
pub(super) fn next_id(c: &Connection, table: &str) -> rusqlite::Result<i64> {
    // SQLite keeps the highest number ever used of an AUTOINCREMENT table, those of deleted rows included.
    let highest: Option<i64> = c
        .query_row("SELECT max(seq) FROM sqlite_sequence WHERE name = ?1", [table], |r| r.get(0))
        .optional()?
        .flatten();
    Ok(highest.unwrap_or(0) + 1)
}

/// Removes a row of `content`, unless a version of `node` has it.
pub(super) fn drop_content(c: &Connection, node: NodeId, place: Place) -> rusqlite::Result<()> {
    let (Place::Inline(id) | Place::OnDisk(Some(id))) = place else { return Ok(()) };
    c.prepare_cached(
        "DELETE FROM content WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM inode WHERE node = ?2 AND place IN (3, 4) AND content = ?1)",
    )?
    .execute([id, node.0])
    .map(drop)
}

/// Adds a finding of the generation of a source at an instant.
pub(super) fn insert_finding(
    c: &Connection,
    (source, at): (i64, i64),
    number: i64,
    finding: &Finding,
) -> rusqlite::Result<()> {
    let path = finding.path.as_bytes();
    insert_odd_name(c, path)?;
    c.prepare_cached("INSERT INTO finding(source, at, number, kind, path, detail) VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?
        .execute(params![source, at, number, finding.kind.word(), path, finding.detail])
        .map(drop)
}

/// Counts names that died in a directory.
pub(super) fn count_dead(c: &Connection, dir: NodeId, count: i64) -> rusqlite::Result<()> {
    c.prepare_cached(
        "INSERT INTO directory_history(dir, dead) VALUES (?1, ?2) ON CONFLICT(dir) DO UPDATE SET dead = dead + excluded.dead",
    )?
    .execute([dir.0, count])
    .map(drop)
}

/// Gives every row of a directory its fork.
pub(super) fn heat(c: &Connection, dir: i64) -> rusqlite::Result<()> {
    let mut statement = c.prepare_cached("SELECT name, born, died FROM dirent WHERE parent = ?1 AND fork IS NULL")?;
    let rows: Vec<(Vec<u8>, i64, i64)> =
        statement.query_map([dir], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?)))?.collect::<rusqlite::Result<_>>()?;
    let mut statement =
        c.prepare_cached("UPDATE dirent SET fork = ?4 WHERE parent = ?1 AND name = ?2 AND born = ?3")?;
    for (name, born, died) in rows {
        statement.execute(params![dir, name, born, fork_of(true, born, died)])?;
    }
    c.execute("UPDATE directory_history SET hot = 1 WHERE dir = ?1", [dir]).map(drop)
}

/// Returns the first directory after `after`, up to `last`, that has rows of names.
pub(super) fn next_directory(c: &Connection, after: i64, last: i64) -> rusqlite::Result<Option<NodeId>> {
    c.prepare_cached("SELECT min(parent) FROM dirent WHERE parent > ?1 AND parent <= ?2")?
        .query_row([after, last], |r| Ok(r.get::<_, Option<i64>>(0)?.map(NodeId)))
}

/// Returns the rows of names in a directory that hold at `at`.
pub(super) fn list_rows(c: &Connection, dir: NodeId, at: Time) -> rusqlite::Result<Vec<(EntryName, NameRow)>> {
    let mut statement = c.prepare_cached(
        "SELECT born, died, node, kind, name FROM dirent WHERE parent = ?1 AND born <= ?2 AND died > ?2 ORDER BY name",
    )?;
    let rows = statement.query_map([dir.0, at.0], |r| {
        let name = EntryName::new(r.get_ref(4)?.as_blob()?).map_err(|_| rusqlite::Error::InvalidQuery)?;
        Ok((name, name_row(r)?))
    })?;
    rows.collect()
}

/// Returns a name that a directory has at `at`, if it has any.
pub(super) fn any_in(c: &Connection, dir: NodeId, at: Time) -> rusqlite::Result<Option<Vec<u8>>> {
    c.prepare_cached("SELECT name FROM dirent WHERE parent = ?1 AND born <= ?2 AND died > ?2 LIMIT 1")?
        .query_row([dir.0, at.0], |r| r.get(0))
        .optional()
}

/// Removes every row of the nodes of a source.
pub(super) fn delete_tree(c: &Connection, source: SourceId) -> rusqlite::Result<()> {
    delete_versions(c, source)?;
    for (first, last) in blocks(c, source)? {
        let range = [first, last];
        for table in ["xattr_node", "digest", "doubt"] {
            c.execute(&format!("DELETE FROM {table} WHERE node BETWEEN ?1 AND ?2"), range)?;
        }
        c.execute("DELETE FROM kept WHERE parent BETWEEN ?1 AND ?2", range)?;
        c.execute("DELETE FROM directory_history WHERE dir BETWEEN ?1 AND ?2", range)?;
    }
    Ok(())
}

/// Removes every name and version of a source.
pub(super) fn delete_versions(c: &Connection, source: SourceId) -> rusqlite::Result<()> {
    for (first, last) in blocks(c, source)? {
        let range = [first, last];
        c.execute(
            "DELETE FROM content WHERE id IN (SELECT content FROM inode WHERE node BETWEEN ?1 AND ?2 AND place IN (3, 4))",
            range,
        )?;
        c.execute("DELETE FROM dirent WHERE parent BETWEEN ?1 AND ?2", range)?;
        c.execute("DELETE FROM inode WHERE node BETWEEN ?1 AND ?2", range)?;
    }
    Ok(())
}
