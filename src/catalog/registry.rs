//! The short lists that a mount keeps in memory: sources, their instants, and the numbers of views.
//!
//! Promises: one consistent picture of one moment; only published generations are in it. Its size grows
//! with the number of generations, never with the number of files.

use super::{Error, reader::Reader};
use crate::model::{CopyId, NodeId, ObjectId, SourceId, SourceKind, StoreId, Time, ViewId};
use std::path::PathBuf;

/// A source with the instants of its published generations.
#[derive(Clone, Debug)]
pub struct RegistrySource {
    /// Its row.
    pub id: SourceId,
    /// Its directory name.
    pub name: String,
    /// Its kind.
    pub kind: SourceKind,
    /// Its top directory.
    pub root: NodeId,
    /// Published instants, oldest first.
    pub instants: Vec<Time>,
    /// Losses of the generation at the same place in `instants`; 0 is complete.
    pub losses: Vec<i64>,
    /// For each of them, the spans in which the source did not record what changed.
    pub gaps: Vec<i64>,
    /// For each of them, the parts of a disk that are not read.
    pub unsupported: Vec<i64>,
}

/// A tree that can be shown: of one source, or of all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InstantRow {
    /// The upper part of its inode numbers.
    pub id: ViewId,
    /// The source, or none for all.
    pub source: Option<SourceId>,
    /// As of when.
    pub at: Time,
}

/// Where an object lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyRow {
    /// Its row.
    pub id: CopyId,
    /// What lies there.
    pub object: ObjectId,
    /// The store that it lies in.
    pub store: StoreId,
    /// The directory of the copy, absolute.
    pub path: PathBuf,
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

/// Sources, instants and view numbers at one moment.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    /// Sources by name.
    pub sources: Vec<RegistrySource>,
    /// Every view, by source (all first) and instant.
    pub instants: Vec<InstantRow>,
    /// Blocks of node numbers and the source that owns each, by block.
    pub blocks: Vec<(i64, SourceId)>,
    /// Entries and bytes of the newest generations together.
    pub entries: u64,
    /// Content bytes of the newest generations together.
    pub size_bytes: u64,
    /// Whether any version has, or had, extended attributes.
    pub has_xattrs: bool,
    /// Whether any version has, or had, a POSIX ACL.
    pub has_acls: bool,
}

impl Reader {
    /// Returns the registry as of now.
    ///
    /// Five queries; proportional to the number of generations and node blocks.
    ///
    /// # Errors
    /// [`Error::Sqlite`] if SQLite fails.
    pub fn registry(&self) -> Result<Registry, Error> {
        self.run("reading the registry", |connection| {
            let mut registry = Registry::default();
            let mut statement = connection.prepare_cached("SELECT id, name, kind, root FROM source ORDER BY name")?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                let kind: String = row.get(2)?;
                registry.sources.push(RegistrySource {
                    id: SourceId(row.get(0)?),
                    name: row.get(1)?,
                    kind: SourceKind::from_word(&kind).ok_or(rusqlite::Error::InvalidQuery)?,
                    root: NodeId(row.get(3)?),
                    instants: Vec::new(),
                    losses: Vec::new(),
                    gaps: Vec::new(),
                    unsupported: Vec::new(),
                });
            }
            let mut statement = connection.prepare_cached(
                "SELECT source, taken_at, losses, entries, size_bytes, gaps, \
                 (SELECT count(*) FROM finding f WHERE f.source = g.source AND f.at = g.taken_at AND f.kind = 'unsupported') \
                 FROM generation g WHERE status = 'published' ORDER BY source, taken_at",
            )?;
            let mut rows = statement.query([])?;
            let mut newest = std::collections::BTreeMap::new();
            while let Some(row) = rows.next()? {
                let id = SourceId(row.get(0)?);
                if let Some(source) = registry.sources.iter_mut().find(|s| s.id == id) {
                    source.instants.push(Time(row.get(1)?));
                    source.losses.push(row.get::<_, Option<i64>>(2)?.unwrap_or(0));
                    source.gaps.push(row.get(5)?);
                    source.unsupported.push(row.get(6)?);
                }
                let sizes: (Option<i64>, Option<i64>) = (row.get(3)?, row.get(4)?);
                newest.insert(id, sizes);
            }
            for (entries, bytes) in newest.into_values() {
                registry.entries += entries.unwrap_or(0) as u64;
                registry.size_bytes += bytes.unwrap_or(0) as u64;
            }
            let mut statement = connection
                .prepare_cached("SELECT id, source, taken_at FROM generation WHERE status = 'published' ORDER BY source, taken_at")?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                let source = Some(SourceId(row.get(1)?));
                registry.instants.push(InstantRow { id: ViewId(row.get(0)?), source, at: Time(row.get(2)?) });
            }
            let mut statement = connection.prepare_cached(
                "SELECT max(id), taken_at FROM generation WHERE status = 'published' GROUP BY taken_at ORDER BY taken_at",
            )?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                let id = ViewId((1 << 23) + row.get::<_, i64>(0)?);
                registry.instants.push(InstantRow { id, source: None, at: Time(row.get(1)?) });
            }
            let mut statement = connection.prepare_cached("SELECT block, source FROM node_block ORDER BY block")?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                registry.blocks.push((row.get(0)?, SourceId(row.get(1)?)));
            }
            let mut statement = connection.prepare_cached(
                "SELECT EXISTS(SELECT 1 FROM xattr_set) OR EXISTS(SELECT 1 FROM xattr_node), EXISTS(SELECT 1 FROM xattr_set INDEXED BY xattr_set_acl WHERE has_acl)",
            )?;
            (registry.has_xattrs, registry.has_acls) = statement.query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?;
            Ok(registry)
        })
    }
}

impl Registry {
    /// Tells whether two registries show the same views of the same sources.
    pub fn same_views(&self, other: &Self) -> bool {
        let name = |s: &RegistrySource| (s.id, s.name.clone(), s.losses.clone(), s.gaps.clone());
        self.instants == other.instants
            && self.has_xattrs == other.has_xattrs
            && self.has_acls == other.has_acls
            && self.sources.iter().map(name).eq(other.sources.iter().map(name))
    }
}
