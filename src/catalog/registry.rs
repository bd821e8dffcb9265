//! The short lists that a mount keeps in memory: sources and their generations.
//!
//! Promises: one consistent picture of one moment; only published generations are in it. Its size grows
//! with the number of generations, never with the number of files.

use super::numbers::{CatalogId, Vector, check_generation};
use super::rows::read_rule;
use super::{Error, Reader};
use crate::model::{GenerationId, NodeId, Rule, SourceId, SourceKind, Time, Visibility};
use std::collections::HashMap;

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
    /// When two versions of it are the same bytes.
    pub rule: Rule,
    /// Who may go into it.
    pub visible_to: Visibility,
    /// Published instants, oldest first.
    pub instants: Vec<Time>,
    /// The generation of each of them.
    pub generations: Vec<GenerationId>,
    /// Losses of the generation at the same place in `instants`; 0 is complete.
    pub losses: Vec<i64>,
    /// For each of them, the spans in which the source did not record what changed.
    pub gaps: Vec<i64>,
    /// For each of them, the parts of a disk that are not read.
    pub unsupported: Vec<i64>,
}

/// Sources and generations at one moment.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    /// Which catalog this is.
    pub catalog: CatalogId,
    /// Sources by name.
    pub sources: Vec<RegistrySource>,
    /// Blocks of node numbers and the source that owns each, by block.
    pub blocks: Vec<(i64, SourceId)>,
    /// Entries and bytes of the newest generations together.
    pub entries: u64,
    /// Content bytes of the newest generations together.
    pub size_bytes: u64,
    /// Whether any version has, or had, extended attributes.
    pub has_xattrs: bool,
    /// Whether any version has, or had, a POSIX ACL, or attributes that could not be read, which may have been one.
    pub has_acls: bool,
}

impl Reader {
    /// Returns the registry as of now.
    ///
    /// Five queries; proportional to the number of generations and node blocks.
    ///
    /// # Errors
    /// [`Error::NumbersUsedUp`] if a generation has a number that no view can have; [`Error::Sqlite`] if SQLite fails.
    pub fn registry(&self) -> Result<Registry, Error> {
        let registry = self.run("reading the registry", |connection| {
            let catalog = connection
                .prepare_cached("SELECT uuid, incarnation FROM catalog")?
                .query_row([], |row| Ok(CatalogId { uuid: row.get(0)?, incarnation: row.get(1)? }))?;
            let mut registry = Registry { catalog, ..Registry::default() };
            let mut statement = connection.prepare_cached("SELECT id, name, kind, root, rule, by_inode, policy FROM source ORDER BY name")?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                let (kind, policy): (String, String) = (row.get(2)?, row.get(6)?);
                registry.sources.push(RegistrySource {
                    id: SourceId(row.get(0)?),
                    name: row.get(1)?,
                    kind: SourceKind::from_word(&kind).ok_or(rusqlite::Error::InvalidQuery)?,
                    root: NodeId(row.get(3)?),
                    rule: read_rule(row, 4)?,
                    visible_to: Visibility::of_policy(&policy),
                    instants: Vec::new(),
                    generations: Vec::new(),
                    losses: Vec::new(),
                    gaps: Vec::new(),
                    unsupported: Vec::new(),
                });
            }
            let mut statement = connection.prepare_cached(
                "SELECT source, taken_at, losses, entries, size_bytes, gaps, \
                 (SELECT count(*) FROM finding f WHERE f.source = g.source AND f.at = g.taken_at AND f.kind = 'unsupported'), id \
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
                    source.generations.push(GenerationId(row.get(7)?));
                }
                let sizes: (Option<i64>, Option<i64>) = (row.get(3)?, row.get(4)?);
                newest.insert(id, sizes);
            }
            for (entries, bytes) in newest.into_values() {
                registry.entries += entries.unwrap_or(0) as u64;
                registry.size_bytes = registry.size_bytes.saturating_add(bytes.unwrap_or(0) as u64);
            }
            let mut statement = connection.prepare_cached("SELECT block, source FROM node_block ORDER BY block")?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                registry.blocks.push((row.get(0)?, SourceId(row.get(1)?)));
            }
            let mut statement = connection.prepare_cached(
                "SELECT EXISTS(SELECT 1 FROM xattr_set) OR EXISTS(SELECT 1 FROM xattr_node), EXISTS(SELECT 1 FROM xattr_set INDEXED BY xattr_set_acl WHERE has_acl) OR EXISTS(SELECT 1 FROM perm WHERE xattr = -1)",
            )?;
            (registry.has_xattrs, registry.has_acls) = statement.query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?;
            Ok(registry)
        })?;
        let generations = registry.sources.iter().flat_map(|source| &source.generations);
        generations.into_iter().try_for_each(|id| check_generation(self.path(), id.0).map(drop))?;
        Ok(registry)
    }
}

impl RegistrySource {
    /// Returns which of its generations is the newest at or before `at`, as a place in `instants`.
    pub fn newest(&self, at: Time) -> Option<usize> {
        self.instants.partition_point(|t| *t <= at).checked_sub(1)
    }
}

impl Registry {
    /// Tells whether two registries show the same views of the same sources.
    pub fn same_views(&self, other: &Self) -> bool {
        type Shown<'a> = (SourceId, &'a str, &'a Visibility, &'a [GenerationId], &'a [i64], &'a [i64]);
        fn shown(s: &RegistrySource) -> Shown<'_> {
            (s.id, &s.name, &s.visible_to, &s.generations, &s.losses, &s.gaps)
        }
        self.catalog == other.catalog
            && self.has_xattrs == other.has_xattrs
            && self.has_acls == other.has_acls
            && self.sources.iter().map(shown).eq(other.sources.iter().map(shown))
    }

    /// Returns every instant at which some source has a generation, oldest first, with the generations that it resolves
    /// to. They all differ.
    pub fn vectors(&self) -> Vec<(Time, Vector)> {
        let of_source = |s: &RegistrySource| -> Vec<(Time, SourceId, GenerationId)> {
            s.instants.iter().zip(&s.generations).map(|(at, generation)| (*at, s.id, *generation)).collect()
        };
        let mut events: Vec<_> = self.sources.iter().flat_map(of_source).collect();
        events.sort_unstable();
        let mut newest: HashMap<SourceId, [u8; 8]> = HashMap::new();
        // In ascending order: as bytes, the highest first, they sort as numbers do.
        let mut ids: Vec<[u8; 8]> = Vec::with_capacity(self.sources.len());
        let mut vectors = Vec::new();
        for instant in events.chunk_by(|a, b| a.0 == b.0) {
            for (_, source, generation) in instant {
                let id = generation.0.to_be_bytes();
                if let Some(place) = newest.insert(*source, id).and_then(|old| ids.binary_search(&old).ok()) {
                    ids.remove(place);
                }
                if let Err(place) = ids.binary_search(&id) {
                    ids.insert(place, id);
                }
            }
            vectors.push((instant[0].0, Vector::of(&ids)));
        }
        vectors
    }
}
