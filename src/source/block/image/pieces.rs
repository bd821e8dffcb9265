//! Putting a layer together, run by run.
//!
//! Promises: what comes out is as [`Layer`] wants it: sorted, without overlap, within the disk, runs that continue each
//! other as one. How many runs there may be is limited, so that a small file cannot fill the memory.

use crate::model::{Layer, LayerBytes, LayerExtent};

/// The most runs that the layers of one image file have together; 48 bytes each.
const RUNS_MAX: u64 = 1 << 26;
/// Runs that any image may have, however short it is.
const RUNS_MIN: u64 = 1 << 12;
/// So many bytes a file has for every run at least: half an entry of a table of clusters.
const BYTES_PER_RUN: u64 = 4;

/// How many more runs there may be.
#[derive(Debug)]
pub(super) struct Budget(u64);

/// There are more runs than an image of its length can honestly have.
#[derive(Debug)]
pub(super) struct TooMany;

impl Budget {
    /// Returns what a file of `size_bytes` may use.
    pub(super) fn of(size_bytes: u64) -> Self {
        Self((size_bytes / BYTES_PER_RUN).clamp(RUNS_MIN, RUNS_MAX))
    }

    /// Uses up one.
    pub(super) fn take(&mut self) -> Result<(), TooMany> {
        self.0 = self.0.checked_sub(1).ok_or(TooMany)?;
        Ok(())
    }
}

/// Runs of a disk, added in the order of the disk.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    extents: Vec<LayerExtent>,
    size_bytes: u64,
}

impl Pieces {
    /// Returns no run of a disk of `size_bytes`.
    pub(super) fn new(size_bytes: u64) -> Self {
        Self { extents: Vec::new(), size_bytes }
    }

    /// Adds a run that begins where the last one ended or later. What lies past the end of the disk is left out.
    pub(super) fn add(&mut self, budget: &mut Budget, run: LayerExtent) -> Result<(), TooMany> {
        let length = run.length.min(self.size_bytes.saturating_sub(run.offset));
        if length == 0 {
            return Ok(());
        }
        match self.extents.last_mut() {
            Some(last) if continues(last, &run) => last.length += length,
            _ => {
                budget.take()?;
                self.extents.push(LayerExtent { length, ..run });
            }
        }
        Ok(())
    }

    /// Returns the size of the disk.
    pub(super) fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// Returns the runs.
    pub(super) fn finish(self) -> Vec<LayerExtent> {
        self.extents
    }
}

fn continues(last: &LayerExtent, next: &LayerExtent) -> bool {
    let packed = matches!(last.bytes, LayerBytes::Packed { .. });
    !packed && last.offset + last.length == next.offset && last.bytes.skip_bytes(last.length) == next.bytes
}

/// Makes zeros of what `layer` does not tell of past the end of a parent of `parent_bytes`.
///
/// QEMU reads zeros past the end of a backing file (`docs/interop/qcow2.rst`, Cluster mapping). Without this, a disk
/// that shrank and grew again would show in its newest layer what an old one had there.
pub fn cover_beyond(layer: &mut Layer, parent_bytes: u64) {
    if parent_bytes >= layer.size_bytes {
        return;
    }
    let first = layer.extents.partition_point(|run| run.offset + run.length <= parent_bytes);
    let tail = layer.extents.split_off(first);
    let mut at = parent_bytes;
    for run in tail {
        push_zero(&mut layer.extents, at, run.offset);
        at = run.offset + run.length;
        layer.extents.push(run);
    }
    push_zero(&mut layer.extents, at, layer.size_bytes);
}

fn push_zero(extents: &mut Vec<LayerExtent>, from: u64, until: u64) {
    if from < until {
        extents.push(LayerExtent { offset: from, length: until - from, bytes: LayerBytes::Zero });
    }
}
