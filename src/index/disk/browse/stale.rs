//! What the generation before says of nodes and may not hold any more, since bytes that it was read from are others now.
//!
//! Promises: of every node that lives as of the generation before either all bytes are the same from which it was read (its
//! record, the blocks that its map and its attributes are in, a directory's names, a file's bytes), or it is here. The disk is compared in
//! its own order, and only where something may have changed.

use super::Browse;
use crate::catalog::{NodeRow, Place};
use crate::index::Error;
use crate::index::disk::changed::{Runs, parts};
use crate::model::{Kind, NodeId};
use crate::source::block::Records;
use std::collections::{BTreeMap, HashSet};

/// Runs that lie this near to each other are one part of the disk for the catalog: asking it once more costs more than the
/// names of the files in between.
const NEAR_BYTES: u64 = 256 << 10;
/// The longest part of the disk that the catalog is asked for at once: so many blocks are so many files at most.
const PART_BYTES: u64 = 64 << 20;

/// Nodes of the generation before of which something has to be read again.
#[derive(Default)]
pub(super) struct Stale {
    /// Those whose record has to be, or what it leads to: by their numbers.
    pub(super) records: BTreeMap<u64, NodeId>,
    /// Files of which nothing but bytes changed.
    pub(super) files: Vec<(NodeId, NodeRow)>,
}

impl Browse<'_, '_, '_> {
    /// Finds what may not hold any more.
    pub(super) fn find_stale(&self, records: &dyn Records) -> Result<Stale, Error> {
        let mut stale = Stale::default();
        self.find_changed_records(records, &mut stale)?;
        let mut done: HashSet<NodeId> = stale.records.values().copied().collect();
        let mut maps = Vec::new();
        let changed = &self.changed;
        self.index.writer.previous_maps(|node, row, map| {
            // No file system has a disk in it.
            if row.place.begin_of_disk().is_some() {
                return;
            }
            let data = map.extents.iter().any(|run| !run.unwritten && changed.may_differ(run.at, run.length));
            let map_itself = map.rests_on.iter().any(|(at, length)| changed.may_differ(*at, *length));
            // Where they lie is not known.
            let anyhow = matches!(row.place, Place::Inline(_) | Place::Lost);
            if (data || map_itself || anyhow) && !done.contains(&node) {
                maps.push((node, row, map));
            }
        })?;
        for (node, row, map) in maps {
            let map_itself = matches!(row.place, Place::Inline(_) | Place::Lost)
                || map.rests_on.iter().any(|(at, length)| self.changed.differs(*at, *length));
            if map_itself || self.differ(&map.extents, row.size_bytes) {
                done.insert(node);
                self.add_stale(&mut stale, node, row, map_itself)?;
            }
        }
        for (at, length) in self.changed_parts() {
            let (mut runs, changed) = (Vec::new(), &self.changed);
            self.index.writer.previous_runs(at, length, |node, at, length| {
                if changed.may_differ(at, length) && !done.contains(&node) {
                    runs.push((at, length, node));
                }
            })?;
            // In the order of the disk, as what is compared is fetched.
            runs.sort_unstable();
            for (at, length, node) in runs {
                if !self.changed.differs(at, length) {
                    continue;
                }
                let row = self.index.writer.previous_version(node)?;
                if let Some(row) = row.filter(|row| row.place == Place::Run(at) && row.size_bytes == length)
                    && done.insert(node)
                {
                    self.add_stale(&mut stale, node, row, false)?;
                }
            }
        }
        Ok(stale)
    }

    /// Finds the nodes whose records are others.
    fn find_changed_records(&self, records: &dyn Records, stale: &mut Stale) -> Result<(), Error> {
        let (mut numbers, mut offset) = (Vec::new(), 0);
        for piece in &self.volume.pieces {
            for (at, length) in parts(self.changed.runs(), piece.at, piece.length) {
                records.numbers_in(offset + (at - piece.at), length, &mut |run| numbers.push(run));
            }
            offset += piece.length;
        }
        for run in numbers {
            for (number, node) in self.index.writer.previous_nodes_of(run, self.births())? {
                let record = records.record_of(number);
                if record.is_none_or(|(at, length)| self.differs_on_volume(at, length)) {
                    stale.records.insert(number, node);
                }
            }
        }
        Ok(())
    }

    fn differs_on_volume(&self, at: u64, length: u64) -> bool {
        let mut differs = false;
        self.volume.locate(at, length, |_, at, length| differs = differs || self.changed.differs(at, length));
        differs
    }

    /// Returns parts of the disk in which all runs of the volume lie that may have changed.
    fn changed_parts(&self) -> Runs {
        let mut out: Runs = Vec::new();
        for piece in &self.volume.pieces {
            for (at, length) in parts(self.changed.runs(), piece.at, piece.length) {
                match out.last_mut() {
                    Some(last)
                        if last.0 <= at && at <= last.0 + last.1 + NEAR_BYTES && at + length - last.0 <= PART_BYTES =>
                    {
                        last.1 = at + length - last.0;
                    }
                    _ => out.extend(
                        (at..at + length)
                            .step_by(PART_BYTES as usize)
                            .map(|from| (from, PART_BYTES.min(at + length - from))),
                    ),
                }
            }
        }
        out
    }

    /// Adds a node some of whose blocks are others; `map_itself`: blocks among them that say where its bytes are.
    fn add_stale(&self, stale: &mut Stale, node: NodeId, row: NodeRow, map_itself: bool) -> Result<(), Error> {
        let Some(number) = self.number_of(node)?.filter(|number| !stale.records.contains_key(number)) else {
            return Ok(());
        };
        if !self.index.writer.had_name(node)? {
            return Ok(());
        }
        if map_itself || self.index.writer.known_kind(node)? == Some(Kind::Directory) {
            stale.records.insert(number, node);
        } else {
            stale.files.push((node, row));
        }
        Ok(())
    }
}
