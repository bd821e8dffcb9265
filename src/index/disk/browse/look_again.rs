//! Looks at nodes whose records did not change and some of whose bytes did.
//!
//! Promises: of a file whose bytes differ a version is written; of a directory, and of what has its map in other blocks, the
//! record is read again. The disk is compared in its own order, and only where something may have changed.

use super::Browse;
use crate::catalog::{NodeRow, Place};
use crate::index::Error;
use crate::index::disk::changed::{Runs, parts};
use crate::model::{Kind, NodeId};
use crate::source::block;
use std::collections::HashSet;
use std::rc::Rc;

/// Runs that lie this near to each other are one part of the disk for the catalog: asking it once more costs more than the
/// names of the files in between.
const NEAR_BYTES: u64 = 256 << 10;
/// The longest part of the disk that the catalog is asked for at once: so many blocks are so many files at most.
const PART_BYTES: u64 = 64 << 20;

impl Browse<'_, '_, '_> {
    /// Looks at nodes whose records did not change and some of whose bytes did.
    pub(super) fn look_again(&mut self) -> Result<(), Error> {
        let mut done: HashSet<NodeId> = self.nodes.values().map(|known| known.node).collect();
        let mut maps = Vec::new();
        let changed = Rc::clone(&self.changed);
        self.index.writer.previous_maps(|node, row, map| {
            let data = map.extents.iter().any(|run| !run.unwritten && changed.may_differ(run.at, run.length));
            let map_itself = map.rests_on.iter().any(|(at, length)| changed.may_differ(*at, *length));
            // Where a lost one was to be found is not known; or the disk did not give it then, and does now.
            let anyhow = matches!(row.place, Place::Inline(_) | Place::Lost);
            if (data || map_itself || anyhow) && !done.contains(&node) {
                maps.push((node, row, map));
            }
        })?;
        // The disk may give them now.
        let mut lost = Vec::new();
        self.index.writer.previous_lost_xattrs(|node, row| lost.push((node, row)))?;
        for (node, row) in lost {
            if done.insert(node) {
                self.look_at(node, row, true)?;
            }
        }
        // Of what was not seen the base says what it was before.
        for (node, row) in self.index.writer.previous_unknown()? {
            if done.insert(node) {
                self.look_at(node, row, true)?;
            }
        }
        for (node, row, map) in maps {
            if done.contains(&node) {
                continue;
            }
            let map_itself = matches!(row.place, Place::Inline(_) | Place::Lost)
                || map.rests_on.iter().any(|(at, length)| changed.differs(*at, *length));
            if map_itself || self.differ(&map.extents, row.size_bytes) {
                self.look_at(node, row, map_itself)?;
            }
        }
        for (at, length) in self.changed_parts() {
            let mut runs = Vec::new();
            self.index.writer.previous_runs(at, length, |node, at, length| {
                if changed.may_differ(at, length) && !done.contains(&node) {
                    runs.push((at, length, node));
                }
            })?;
            // In the order of the disk, as what is compared is fetched.
            runs.sort_unstable();
            for (at, length, node) in runs {
                if !changed.differs(at, length) {
                    continue;
                }
                let row = self.index.writer.previous_version(node)?;
                if let Some(row) = row.filter(|row| row.place == Place::Run(at) && row.size_bytes == length)
                    && done.insert(node)
                {
                    self.look_at(node, row, false)?;
                }
            }
        }
        Ok(())
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

    /// Looks at a node some of whose blocks are others; `map_itself`: blocks among them that tell where its bytes are.
    fn look_at(&mut self, node: NodeId, row: NodeRow, map_itself: bool) -> Result<(), Error> {
        let Some(key) = self.index.writer.key_of(node)? else { return Ok(()) };
        let is_here = key.born_ns & !i64::from(u32::MAX) == self.birth;
        if !is_here || self.nodes.contains_key(&key.inode) || !self.index.writer.had_name(node)? {
            return Ok(());
        }
        if !map_itself && self.index.writer.known_kind(node)? != Some(Kind::Directory) {
            return self.index.version(node, row, Some(&row), true);
        }
        match self.fs.inode(key.inode) {
            Ok(inode) if self.key(&inode) == key || row.place == Place::Lost => self.inode(inode).map(drop),
            // It was deleted; so were its names, or listing what has them tells.
            Ok(_) | Err(block::Error::NotInUse(_)) => Ok(()),
            Err(e) => self.damaged(key.inode, &e),
        }
    }
}
