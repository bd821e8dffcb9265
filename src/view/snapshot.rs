//! What is published at one moment: sources, instants, views. Swapped whole when something is published.
//!
//! Promises: immutable; every question is answered from memory. A view that a later snapshot no longer has
//! (a generation was put in before it, so it would show something else) goes on to mean what it meant here.
//! Never reads the catalog by itself.

use crate::catalog::{InstantRow, Registry, RegistrySource};
use crate::model::{NodeId, SourceId, Time, Timestamp, ViewId};
use std::collections::HashMap;

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
    views: HashMap<ViewId, ViewKey>,
    numbers: HashMap<(Option<SourceId>, Time), ViewId>,
    blocks: HashMap<i64, SourceId>,
    /// Instants of any source, oldest first.
    instants: Vec<Time>,
}

impl Snapshot {
    pub(super) fn new(registry: Registry, read_at: Timestamp) -> Self {
        let mut snapshot = Self { read_at, ..Self::default() };
        for InstantRow { id, source, at } in &registry.instants {
            snapshot.views.insert(*id, ViewKey { source: *source, at: *at });
            snapshot.numbers.insert((*source, *at), *id);
            if source.is_none() {
                snapshot.instants.push(*at);
            }
        }
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

    pub(super) fn view(&self, id: ViewId) -> Option<ViewKey> {
        self.views.get(&id).copied()
    }

    pub(super) fn view_ids(&self) -> impl Iterator<Item = (ViewId, ViewKey)> {
        self.views.iter().map(|(id, key)| (*id, *key))
    }

    /// Returns the number of the view of exactly this instant.
    pub(super) fn number(&self, source: Option<SourceId>, at: Time) -> Option<ViewId> {
        self.numbers.get(&(source, at)).copied()
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
        newest(self.instants(source), at)
    }

    /// Returns the generation of `source` that a view shows.
    pub(super) fn resolve(&self, key: ViewKey, source: &RegistrySource) -> Option<Time> {
        match key.source {
            Some(id) => (id == source.id).then_some(key.at),
            None => newest(&source.instants, key.at),
        }
    }
}

/// Returns the last of the sorted `instants` at or before `at`.
pub(super) fn newest(instants: &[Time], at: Time) -> Option<Time> {
    instants[..instants.partition_point(|t| *t <= at)].last().copied()
}
