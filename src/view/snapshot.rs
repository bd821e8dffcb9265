//! What is published at one moment: sources, their generations, what each instant resolves to. Swapped whole when
//! something is published.
//!
//! Promises: immutable; every question is answered from memory. What all sources resolve to at each instant is worked
//! out when it is first asked for. Never reads the catalog by itself, never gives a number.

use super::past::Past;
use crate::catalog::numbers::{Vector, view_of};
use crate::catalog::{Registry, RegistrySource};
use crate::model::{GenerationId, NodeId, SourceId, Time, Timestamp, ViewId};
use std::collections::HashMap;
use std::sync::OnceLock;

/// Which tree a view shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ViewKey {
    /// One source, or none for all.
    pub(super) source: Option<SourceId>,
    /// As of when.
    pub(super) at: Time,
}

/// A moment of the catalog.
#[derive(Debug, Default)]
pub(super) struct Snapshot {
    pub(super) registry: Registry,
    /// When it was read; the mtime of the directories of the top.
    pub(super) read_at: Timestamp,
    generations: HashMap<GenerationId, ViewKey>,
    blocks: HashMap<i64, SourceId>,
    /// Instants of any source, oldest first.
    instants: Vec<Time>,
    vectors: OnceLock<Vectors>,
    /// What was asked of histories in it.
    pub(super) past: Past,
}

/// What all sources resolve to.
#[derive(Debug)]
struct Vectors {
    /// At each instant, in their order.
    by_instant: Vec<Vector>,
    instants: HashMap<Vector, Time>,
}

impl Snapshot {
    pub(super) fn new(registry: Registry, read_at: Timestamp) -> Self {
        let mut snapshot = Self { read_at, ..Self::default() };
        for source in &registry.sources {
            let keys = source.instants.iter().map(|at| ViewKey { source: Some(source.id), at: *at });
            snapshot.generations.extend(source.generations.iter().copied().zip(keys));
            snapshot.instants.extend(&source.instants);
        }
        snapshot.instants.sort_unstable();
        snapshot.instants.dedup();
        snapshot.blocks = registry.blocks.iter().copied().collect();
        snapshot.registry = registry;
        snapshot
    }

    pub(super) fn sources(&self) -> &[RegistrySource] {
        &self.registry.sources
    }

    pub(super) fn source(&self, id: SourceId) -> Option<&RegistrySource> {
        self.registry.sources.iter().find(|s| s.id == id)
    }

    pub(super) fn source_named(&self, name: &[u8]) -> Option<&RegistrySource> {
        self.registry.sources.iter().find(|s| s.name.as_bytes() == name)
    }

    /// Returns the source that owns `node`.
    pub(super) fn owner(&self, node: NodeId) -> Option<&RegistrySource> {
        self.blocks.get(&(node.0 >> 16)).and_then(|id| self.source(*id))
    }

    /// Returns what the view of one generation shows.
    pub(super) fn generation(&self, id: GenerationId) -> Option<ViewKey> {
        self.generations.get(&id).copied()
    }

    /// Returns every generation with what it shows.
    pub(super) fn generations(&self) -> impl Iterator<Item = (GenerationId, ViewKey)> {
        self.generations.iter().map(|(id, key)| (*id, *key))
    }

    /// Returns what the sources resolve to at exactly this instant.
    pub(super) fn vector(&self, at: Time) -> Option<Vector> {
        self.instants.binary_search(&at).ok().map(|place| self.vectors().by_instant[place])
    }

    /// Returns what the sources resolve to at each instant, oldest first.
    pub(super) fn all_vectors(&self) -> &[Vector] {
        &self.vectors().by_instant
    }

    /// Returns the instant at which the sources resolve to `vector`.
    pub(super) fn instant_of(&self, vector: Vector) -> Option<Time> {
        self.vectors().instants.get(&vector).copied()
    }

    fn vectors(&self) -> &Vectors {
        self.vectors.get_or_init(|| {
            let vectors = self.registry.vectors();
            Vectors {
                by_instant: vectors.iter().map(|(_, vector)| *vector).collect(),
                instants: vectors.into_iter().map(|(at, vector)| (vector, at)).collect(),
            }
        })
    }

    /// Tells whether `other` has every generation to which the sources resolve at `at` here.
    pub(super) fn is_kept_by(&self, at: Time, other: &Self) -> bool {
        let resolved = self.sources().iter().filter_map(|s| s.newest(at).map(|place| s.generations[place]));
        self.registry.catalog == other.registry.catalog
            && resolved.into_iter().all(|generation| other.generation(generation).is_some())
    }

    /// Returns the instants of a source, or of all, oldest first.
    pub(super) fn instants(&self, source: Option<SourceId>) -> &[Time] {
        match source {
            None => &self.instants,
            Some(id) => self.source(id).map_or(&[], |s| &s.instants),
        }
    }

    /// Returns the newest instant at or before `at`.
    pub(super) fn newest(&self, source: Option<SourceId>, at: Time) -> Option<Time> {
        let instants = self.instants(source);
        instants[..instants.partition_point(|t| *t <= at)].last().copied()
    }

    /// Returns which generation of `source` a view shows, as a place in its lists.
    pub(super) fn resolve(&self, key: ViewKey, source: &RegistrySource) -> Option<usize> {
        match key.source {
            Some(id) if id != source.id => None,
            Some(_) => source.instants.binary_search(&key.at).ok(),
            None => source.newest(key.at),
        }
    }
}

/// Returns the number of the view of the generation at `place` in the lists of `source`.
pub(super) fn view_at(source: &RegistrySource, place: usize) -> ViewId {
    view_of(source.generations[place])
}
