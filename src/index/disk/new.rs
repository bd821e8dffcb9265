//! A disk that is to become a generation, and the one before it: what an index run is given.
//! Values only; which images make a disk is decided elsewhere.

use crate::catalog::{DiskRow, SourceRow};
use crate::model::{Level, Time};
use crate::source::block::Device;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

/// A disk that is to become a generation.
pub struct NewDisk<'a> {
    /// The source.
    pub source: &'a SourceRow,
    /// Its instant.
    pub at: Time,
    /// Whether it holds everything by itself.
    pub level: Level,
    /// The directory that is recorded as its store.
    pub store: &'a Path,
    /// The image in it.
    pub below: &'a [u8],
    /// What it holds and where from.
    pub row: &'a DiskRow,
    /// The disk.
    pub device: Arc<dyn Device>,
    /// How much of it is in image files.
    pub allocated_bytes: u64,
    /// The generation before it in time, if there is one.
    pub before: Option<DiskBefore>,
    /// Whether it takes the place of the generation of this second.
    pub again: bool,
    /// The disks that it is, each in a folder of its own; none: it is one disk, at the top.
    pub guest: Option<&'a GuestDisks>,
}

/// All disks of a guest.
#[derive(Clone, Debug, Default)]
pub struct GuestDisks {
    /// Those that there are bytes of.
    pub disks: Vec<GuestDisk>,
    /// Why there are none of others, where something is known about that.
    pub amiss: BTreeMap<String, String>,
    /// Those that the guest has no more.
    pub removed: BTreeSet<String>,
}

/// A disk of a guest.
#[derive(Clone, Debug)]
pub struct GuestDisk {
    /// Its folder.
    pub name: String,
    /// Its number: where it begins ([`crate::model::disk_begin`]).
    pub number: usize,
    /// Its size.
    pub size_bytes: u64,
    /// How much of it is in image files.
    pub allocated_bytes: u64,
}

/// The disk as of the generation before.
pub struct DiskBefore {
    /// The disk as it was.
    pub device: Arc<dyn Device>,
    /// The runs that may hold other bytes now: offset and length, sorted, without overlap.
    pub changed: Vec<(u64, u64)>,
}
