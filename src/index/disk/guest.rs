//! All disks of a guest in one generation: each in a folder of its own, as a disk is that is alone.
//!
//! Promises: a disk that the generation before has and this one has no image of is missing, by name, and its tree is kept as unknown; it is not
//! told as deleted, unless the guest is known to have it no more. Of the disk itself nothing can be read then.

use super::new::GuestDisks;
use super::part::Part;
use super::rows::DiskIndex;
use super::{DISK, Tree, add, name};
use crate::catalog::{NodeRow, Place, VolumeRow};
use crate::index::Error;
use crate::model::{FindingKind, Kind, NodeId};
use std::collections::BTreeSet;

/// What a disk is called in the list of volumes.
const KIND: &str = "disk";
const NO_IMAGE: &str = "there is no image of this disk of that moment";

impl DiskIndex<'_, '_> {
    /// Writes the disks of a guest.
    pub(super) fn guest(&mut self, guest: &GuestDisks, tree: &mut Tree) -> Result<(), Error> {
        for disk in &guest.disks {
            self.part = Part::of(disk);
            self.writer.add_volume(&VolumeRow {
                name: disk.name.clone(),
                size_bytes: disk.size_bytes,
                pieces: format!("{}+{}", self.part.begin, disk.size_bytes),
                kind: Some(KIND.to_owned()),
                ..VolumeRow::default()
            })?;
            self.disk(tree)?;
        }
        self.missing(guest, tree)
    }

    /// Writes the disks that there is no image of.
    fn missing(&mut self, guest: &GuestDisks, tree: &mut Tree) -> Result<(), Error> {
        let mut missing: BTreeSet<String> = guest.amiss.keys().cloned().collect();
        let root = self.writer.root();
        self.writer.list_previous(root, |entry| {
            if let (Kind::Directory, Ok(disk)) = (entry.kind, std::str::from_utf8(entry.name.as_bytes())) {
                missing.insert(disk.to_owned());
            }
        })?;
        for disk in missing {
            if guest.disks.iter().any(|known| known.name == disk) || guest.removed.contains(&disk) {
                continue;
            }
            let why = guest.amiss.get(&disk).map_or(NO_IMAGE, String::as_str);
            self.finding(FindingKind::Missing, &disk, why)?;
            let path = [name(&disk)];
            let node = self.lost_directory(&path, why)?;
            self.lost_disk(node)?;
            add(tree, &path, node, Kind::Directory);
        }
        Ok(())
    }

    /// Writes that the disk itself, whose folder is `dir`, cannot be read: it is what it is at one moment, and no image is of this one.
    fn lost_disk(&mut self, dir: NodeId) -> Result<(), Error> {
        let (disk, mut known) = (name(DISK), None);
        self.writer.list_previous(dir, |entry| {
            if entry.name == disk && entry.kind == Kind::File {
                known = Some(entry.node);
            }
        })?;
        let Some(node) = known else { return Ok(()) };
        if let Some(base) = self.writer.living(node)? {
            self.version(node, NodeRow { place: Place::Lost, ..base }, Some(&base), false)?;
            self.writer.saw(dir, &disk)?;
        }
        Ok(())
    }
}
