//! From the two levels of tables to the runs of a layer (QEMU `docs/interop/qcow2.rst`, Cluster mapping).
//!
//! Promises: every table is read at most once for each state of the disk, every place in a file is checked against its
//! length. What QEMU (`qcow2_get_host_offset` in `block/qcow2-cluster.c`) reports as corruption is an error; reserved bits,
//! which it passes over, are a note.

use super::super::error::Error;
use super::super::gate::Opened;
use super::super::pieces::{Budget, Pieces, TooMany};
use super::header::Header;
use crate::model::{LayerBytes, LayerExtent};
use std::collections::HashSet;

/// The most bytes of tables that are read for all states of the disk in one image. 4 GiB are the tables of 32 TiB in
/// clusters of 64 KiB.
pub(super) const TABLE_BYTES_MAX: u64 = 4 << 30;
/// How much of the L1 table is read at once.
const L1_READ_BYTES: u64 = 1 << 20;

const OFFSET: u64 = 0x00ff_ffff_ffff_fe00;
const COPIED: u64 = 1 << 63;
const COMPRESSED: u64 = 1 << 62;
const ZERO: u64 = 1;
const L1_RESERVED: u64 = 0x7f00_0000_0000_01ff;
const L2_RESERVED: u64 = 0x3f00_0000_0000_01fe;
const SECTOR_BYTES: u64 = 512;
const SUBCLUSTERS: u32 = 32;

/// What may still be used up.
#[derive(Debug)]
pub(super) struct Budgets {
    pub(super) runs: Budget,
    pub(super) table_bytes: u64,
}

/// An image whose tables are read.
#[derive(Debug)]
pub(super) struct Mapper<'a> {
    pub(super) image: &'a Opened,
    /// Where the clusters are, if not in the image.
    pub(super) data: Option<&'a Opened>,
    pub(super) header: &'a Header,
    pub(super) budget: Budgets,
}

/// What a run of subclusters is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Absent,
    Zero,
    Data,
}

/// The runs of one state of the disk, as far as they are known.
struct Map {
    pieces: Pieces,
    /// The first entry with bits that no version gives a meaning to.
    odd: Option<String>,
}

impl Mapper<'_> {
    /// Checks that the L1 table covers the disk, without which QEMU opens no image.
    pub(super) fn check_covers(&self) -> Result<(), Error> {
        let needed = self.header.size_bytes.div_ceil(self.l1_entry_covers());
        let (_, entries) = self.header.l1;
        if u64::from(entries) < needed {
            return Err(self.image.damaged(format!("its L1 table has {entries} entries, expected {needed}")));
        }
        Ok(())
    }

    /// Returns the runs of the state of the disk that the L1 table at this place, of so many entries, has, and what a person
    /// should know of it.
    pub(super) fn map(&mut self, l1: (u64, u32), size_bytes: u64) -> Result<(Vec<LayerExtent>, Option<String>), Error> {
        let (at, entries) = l1;
        let covers = self.l1_entry_covers();
        // What comes after the disk is the memory of the guest (Snapshot table entry, VM state).
        let entries = u64::from(entries).min(size_bytes.div_ceil(covers));
        let mut map = Map { pieces: Pieces::new(size_bytes), odd: None };
        let mut seen = HashSet::new();
        let mut index = 0;
        while index < entries {
            let count = (entries - index).min(L1_READ_BYTES / 8);
            self.use_up(count * 8)?;
            let table = self.image.read(self.place(at, index * 8)?, count * 8)?;
            for (entry, index) in table.chunks_exact(8).map(be64).zip(index..) {
                map.note_odd(entry & L1_RESERVED, "L1", index);
                let table_at = entry & OFFSET;
                if table_at == 0 {
                    continue;
                }
                if !seen.insert(table_at) {
                    return Err(self.image.damaged(format!("its L2 table at byte {table_at} is used twice")));
                }
                self.map_table(&mut map, table_at, index * covers)?;
            }
            index += count;
        }
        let note = map.odd.map(|place| format!("reserved bits are set, first in {place}: it may be damaged"));
        Ok((map.pieces.finish(), note))
    }

    fn map_table(&mut self, map: &mut Map, table_at: u64, first_offset: u64) -> Result<(), Error> {
        let cluster_bytes = self.header.cluster_bytes();
        if !table_at.is_multiple_of(cluster_bytes) {
            return Err(self.image.damaged(format!("its L2 table at byte {table_at} begins inside a cluster")));
        }
        self.use_up(cluster_bytes)?;
        let table = self.image.read(table_at, cluster_bytes)?;
        for (entry, index) in table.chunks_exact(self.entry_bytes()).zip(0..) {
            let offset = first_offset + index * cluster_bytes;
            if offset >= map.size_bytes() {
                break;
            }
            let descriptor = entry.get(..8).map_or(0, be64);
            let subclusters = entry.get(8..16).map(be64);
            self.map_cluster(map, offset, descriptor, subclusters)?;
        }
        Ok(())
    }

    fn map_cluster(&mut self, map: &mut Map, offset: u64, entry: u64, subclusters: Option<u64>) -> Result<(), Error> {
        if entry == 0 && subclusters.unwrap_or(0) == 0 {
            return Ok(());
        }
        if entry & COMPRESSED != 0 {
            let run = self.compressed(offset, entry)?;
            return self.add(map, run);
        }
        let zero_flag = if subclusters.is_none() { ZERO } else { 0 };
        map.note_odd(entry & L2_RESERVED | entry & ZERO & !zero_flag, "the entry of the cluster at byte", offset);
        let at = entry & OFFSET;
        // In a data file byte 0 is a place like any other; the flag tells that it is used.
        let allocated = at != 0 || self.data.is_some() && entry & COPIED != 0;
        if allocated {
            self.check_place(offset, at)?;
        }
        match subclusters {
            Some(bitmap) => self.map_subclusters(map, offset, at, allocated, bitmap),
            None if entry & ZERO != 0 => self.map_zero(map, offset),
            None if allocated => self.map_data(map, offset, at, self.header.cluster_bytes()),
            None => Ok(()),
        }
    }

    fn map_zero(&mut self, map: &mut Map, offset: u64) -> Result<(), Error> {
        if self.header.version < 3 {
            return Err(self.image.damaged(format!(
                "the cluster at byte {offset} of the disk is marked as zeros, which version 2 does not have"
            )));
        }
        self.add(map, LayerExtent { offset, length: self.header.cluster_bytes(), bytes: LayerBytes::Zero })
    }

    fn map_subclusters(
        &mut self,
        map: &mut Map,
        offset: u64,
        at: u64,
        allocated: bool,
        bitmap: u64,
    ) -> Result<(), Error> {
        let (data, zero) = (bitmap as u32, (bitmap >> 32) as u32);
        if data & zero != 0 || data != 0 && !allocated {
            return Err(self.image.damaged(format!(
                "the subclusters of the cluster at byte {offset} of the disk are {bitmap:#018x}, which contradicts itself"
            )));
        }
        let state = |index: u32| match (data >> index & 1, zero >> index & 1) {
            (1, _) => State::Data,
            (_, 1) => State::Zero,
            _ => State::Absent,
        };
        let bytes = self.header.cluster_bytes() / u64::from(SUBCLUSTERS);
        let mut first = 0;
        while first < SUBCLUSTERS {
            let run = (first..SUBCLUSTERS).take_while(|index| state(*index) == state(first)).count() as u32;
            let (skip, length) = (u64::from(first) * bytes, u64::from(run) * bytes);
            match state(first) {
                State::Absent => {}
                State::Zero => self.add(map, LayerExtent { offset: offset + skip, length, bytes: LayerBytes::Zero })?,
                State::Data => self.map_data(map, offset + skip, at + skip, length)?,
            }
            first += run;
        }
        Ok(())
    }

    /// Adds a run of data; what of it lies past the end of the file are zeros: writers do not fill the last cluster.
    fn map_data(&mut self, map: &mut Map, offset: u64, at: u64, length: u64) -> Result<(), Error> {
        let (file, holder) = self.data.map_or((0, self.image), |data| (1, data));
        let length = length.min(map.size_bytes().saturating_sub(offset));
        let end = holder.device.size_bytes;
        let cluster_at = at & !(self.header.cluster_bytes() - 1);
        if length > 0 && cluster_at >= end {
            return Err(holder.cut(format!("the cluster at byte {offset} of the disk begins at byte {at}")));
        }
        let there = length.min(end.saturating_sub(at));
        self.add(map, LayerExtent { offset, length: there, bytes: LayerBytes::Plain { file, at } })?;
        self.add(map, LayerExtent { offset: offset + there, length: length - there, bytes: LayerBytes::Zero })
    }

    /// Compressed Clusters Descriptor.
    fn compressed(&self, offset: u64, entry: u64) -> Result<LayerExtent, Error> {
        if self.data.is_some() {
            return Err(self.image.damaged(format!(
                "the cluster at byte {offset} of the disk is compressed, which no external data file has"
            )));
        }
        let cluster_bits = self.header.cluster_bits;
        let shift = 62 - (cluster_bits - 8);
        let at = entry & ((1 << shift) - 1);
        let sectors = (entry & !(COPIED | COMPRESSED)) >> shift;
        let end = self.image.device.size_bytes;
        if at >= end {
            return Err(self
                .image
                .cut(format!("the compressed cluster at byte {offset} of the disk begins at byte {at}")));
        }
        // The last sector may not have been written to its end.
        let stored = ((sectors + 1) * SECTOR_BYTES - at % SECTOR_BYTES).min(end - at);
        let bytes = LayerBytes::Packed {
            file: 0,
            at,
            stored_bytes: stored as u32,
            unpacked_bytes: 1 << cluster_bits,
            skip: 0,
            packing: self.header.packing,
        };
        Ok(LayerExtent { offset, length: self.header.cluster_bytes(), bytes })
    }

    fn check_place(&self, offset: u64, at: u64) -> Result<(), Error> {
        if !at.is_multiple_of(self.header.cluster_bytes()) {
            let what = format!("the cluster at byte {offset} of the disk begins at byte {at}, inside a cluster");
            return Err(self.image.damaged(what));
        }
        if self.data.is_some() && at != offset {
            let what =
                format!("the cluster at byte {offset} of the disk is at byte {at} of the data file, not at its own");
            return Err(self.image.damaged(what));
        }
        Ok(())
    }

    fn add(&mut self, map: &mut Map, run: LayerExtent) -> Result<(), Error> {
        let added = map.pieces.add(&mut self.budget.runs, run);
        added.map_err(|TooMany| self.image.unsupported("it is in more pieces than its length can have"))
    }

    fn use_up(&mut self, table_bytes: u64) -> Result<(), Error> {
        let left = self.budget.table_bytes.checked_sub(table_bytes);
        self.budget.table_bytes = left.ok_or_else(|| self.image.unsupported("its tables have more than 4 GiB"))?;
        Ok(())
    }

    fn place(&self, at: u64, skip: u64) -> Result<u64, Error> {
        at.checked_add(skip).ok_or_else(|| self.image.damaged(format!("its L1 table begins at byte {at}")))
    }

    fn entry_bytes(&self) -> usize {
        if self.header.extended { 16 } else { 8 }
    }

    /// Returns how much of the disk one entry of the L1 table covers: at most 2^39 bytes.
    fn l1_entry_covers(&self) -> u64 {
        self.header.cluster_bytes() / self.entry_bytes() as u64 * self.header.cluster_bytes()
    }
}

impl Map {
    fn size_bytes(&self) -> u64 {
        self.pieces.size_bytes()
    }

    fn note_odd(&mut self, bits: u64, what: &str, place: u64) {
        if bits != 0 && self.odd.is_none() {
            self.odd = Some(format!("{what} {place}"));
        }
    }
}

fn be64(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}
