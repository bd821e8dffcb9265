//! Objects: what holds bytes, which generation it was made for, and where it lies.
//!
//! Promises: an object outlives its generation; nothing here removes one that something needs, but where another takes its place.

use super::rows::read_root;
use super::tables::insert_odd_name;
use crate::model::{
    CopyId, CopyState, ImageFile, NodeId, ObjectId, RelPath, SeenRoot, SourceId, StoreId, Time, Timestamp,
};
use rusqlite::{Connection, OptionalExtension, params};
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// Where an object lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyRow {
    /// Its row.
    pub id: CopyId,
    /// What lies there.
    pub object: ObjectId,
    /// The store that it lies in.
    pub store: StoreId,
    /// The directory of that, absolute.
    pub store_path: PathBuf,
    /// The directory of the copy, absolute.
    pub path: PathBuf,
    /// Its root as it was when the copy was indexed; none: nobody has looked at it.
    pub root: Option<SeenRoot>,
    /// What was last seen of it.
    pub state: CopyState,
}

/// What holds bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObjectRow {
    /// The source.
    pub source: SourceId,
    /// The instant of the generation that it was made for.
    pub at: Time,
    /// Whether that generation is still there.
    pub has_generation: bool,
}

/// Returns the copies of the generation of `source` at `at`, in the order in which they were added.
pub(super) fn copies(c: &Connection, source: SourceId, at: Time) -> rusqlite::Result<Vec<CopyRow>> {
    let mut statement = c.prepare_cached(
        "SELECT c.id, c.object, c.store, t.path, c.path, c.root_ino, c.root_btime, c.root_ctime, c.root_filesystem, c.state \
         FROM generation g JOIN object o ON o.generation = g.id JOIN copy c ON c.object = o.id JOIN store t ON t.id = c.store \
         WHERE g.source = ?1 AND g.taken_at = ?2 ORDER BY c.id",
    )?;
    statement.query_map([source.0, at.0], copy)?.collect()
}

/// Returns the places where `object` lies, in the order in which they were added.
pub(super) fn copies_of(c: &Connection, object: ObjectId) -> rusqlite::Result<Vec<CopyRow>> {
    let mut statement = c.prepare_cached(
        "SELECT c.id, c.object, c.store, t.path, c.path, c.root_ino, c.root_btime, c.root_ctime, c.root_filesystem, c.state \
         FROM copy c JOIN store t ON t.id = c.store WHERE c.object = ?1 ORDER BY c.id",
    )?;
    statement.query_map([object.0], copy)?.collect()
}

/// Reads a row of copies.
fn copy(row: &rusqlite::Row<'_>) -> rusqlite::Result<CopyRow> {
    let store_path = PathBuf::from(OsString::from_vec(row.get(3)?));
    let below: Vec<u8> = row.get(4)?;
    let path = if below.is_empty() { store_path.clone() } else { store_path.join(OsString::from_vec(below)) };
    Ok(CopyRow {
        id: CopyId(row.get(0)?),
        object: ObjectId(row.get(1)?),
        store: StoreId(row.get(2)?),
        store_path,
        path,
        root: read_root(row, 5)?,
        state: CopyState::from_word(&row.get::<_, String>(9)?).ok_or(rusqlite::Error::InvalidQuery)?,
    })
}

/// Returns what is known of an object.
pub(super) fn object(c: &Connection, id: ObjectId) -> rusqlite::Result<Option<ObjectRow>> {
    c.prepare_cached(
        "SELECT o.source, o.at, EXISTS(SELECT 1 FROM generation g WHERE g.id = o.generation) FROM object o WHERE o.id = ?1",
    )?
    .query_row([id.0], |r| Ok(ObjectRow { source: SourceId(r.get(0)?), at: Time(r.get(1)?), has_generation: r.get(2)? }))
    .optional()
}

/// Returns where the bytes of `node` lie in `object`, if that is written down.
pub(super) fn pinned(c: &Connection, object: ObjectId, node: NodeId) -> rusqlite::Result<Option<RelPath>> {
    let path: Option<Vec<u8>> = c
        .prepare_cached("SELECT path FROM object_path WHERE object = ?1 AND node = ?2")?
        .query_row([object.0, node.0], |r| r.get(0))
        .optional()?;
    path.map(|path| RelPath::parse(&path).map_err(|_| rusqlite::Error::InvalidQuery)).transpose()
}

/// Returns the object that holds the bytes of the generation of `source` at `at`.
pub(super) fn object_of(c: &Connection, source: SourceId, at: Time) -> rusqlite::Result<Option<ObjectId>> {
    c.prepare_cached(
        "SELECT o.id FROM generation g JOIN object o ON o.generation = g.id WHERE g.source = ?1 AND g.taken_at = ?2",
    )?
    .query_row([source.0, at.0], |r| r.get(0).map(ObjectId))
    .optional()
}

/// Returns the row id of the object of a generation.
pub(super) fn object_of_generation(c: &Connection, generation: i64) -> rusqlite::Result<Option<i64>> {
    c.query_row("SELECT id FROM object WHERE generation = ?1", [generation], |r| r.get(0)).optional()
}

/// Returns the files that a layer of a disk has bytes in by itself, its image first.
pub(super) fn image_files(c: &Connection, object: ObjectId) -> rusqlite::Result<Vec<ImageFile>> {
    let mut statement =
        c.prepare_cached("SELECT path, size, mtime, mtime_ns FROM disk_file WHERE object = ?1 ORDER BY number")?;
    let files = statement.query_map([object.0], |r| {
        let mtime = Timestamp { seconds: r.get(2)?, nanos: r.get(3)? };
        Ok(ImageFile { path: OsString::from_vec(r.get(0)?).into(), size_bytes: r.get::<_, i64>(1)? as u64, mtime })
    })?;
    files.collect()
}

/// Returns the store at `path`, a new one if none is known there.
pub(super) fn store_at(c: &Connection, path: &Path) -> rusqlite::Result<StoreId> {
    let bytes = path.as_os_str().as_bytes();
    insert_odd_name(c, bytes)?;
    c.execute("INSERT OR IGNORE INTO store(path) VALUES (?1)", [bytes])?;
    c.query_row("SELECT id FROM store WHERE path = ?1", [bytes], |r| r.get(0).map(StoreId))
}

/// What takes the place of an object when its generation is told again: everything that named the old one names the new one.
pub(super) fn replace_object(c: &Connection, old: i64, new: i64) -> rusqlite::Result<()> {
    c.execute("UPDATE inode SET content = ?2 WHERE place = 2 AND content = ?1", params![old, new])?;
    c.execute("UPDATE object SET parent = ?2 WHERE parent = ?1", params![old, new])?;
    c.execute("UPDATE OR IGNORE object_path SET object = ?2 WHERE object = ?1", params![old, new])?;
    for table in ["object_path", "disk_layer", "disk_file", "copy"] {
        c.execute(&format!("DELETE FROM {table} WHERE object = ?1"), [old])?;
    }
    c.execute("DELETE FROM object WHERE id = ?1", [old]).map(drop)
}
