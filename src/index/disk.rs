//! One generation of a disk: the disk itself as a file, and a tree for each file system on it.
//!
//! What may have changed since the generation before is known as runs of the disk. Of a file system that was there already
//! only what lies in such runs is read, and compared with what was there: inodes whose records are others (or in its log) are
//! read, and directories listed anew; for all others the catalog knows which of them have bytes in such runs. So an
//! increment costs what changed, and one pass over the files that lie in more than one piece.
//!
//! Who a node is: the file system (its UUID and its place on the disk), the inode number, and the number that the file system
//! itself counts its reuse by (`i_generation`, `di_gen`).
//!
//! Promises: what cannot be read is named, and never a shorter listing; what is not a file system that can be read is
//! named too, and is in the disk as it was. A directory has one name and no loop, whatever the disk says. Never decides
//! which images make a disk.

mod browse;
mod changed;
mod guest;
mod new;
mod part;
mod rows;
mod volume;

pub use new::{DiskBefore, GuestDisk, GuestDisks, NewDisk};

use super::Error;
use super::run::{Done, end};
use crate::catalog::{NewGeneration, NodeRow, Place, VolumeRow, Writer};
use crate::clock::Clock;
use crate::model::{EntryName, FileKey, FindingKind, Kind, NodeId, Timestamp};
use crate::monitor::Monitor;
use crate::source::block::volumes::{self, Volume, VolumeDevice};
use crate::source::block::{self, Device, State};
use browse::{Browse, Top};
use rows::{DiskIndex, Names, made_attrs};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;
use volume::{open, path_of, pieces_text};

/// What is in each directory above volumes.
type Tree = BTreeMap<Vec<EntryName>, Names>;

/// The name of the disk itself in its tree.
const DISK: &str = "disk.raw";
/// Birth of the nodes that are on no file system: the top directory, the disk, the directories above volumes.
const MADE_HERE: i64 = -1;

/// Indexes a disk as a generation of its source and publishes it.
///
/// # Errors
/// [`Error`]; then the catalog is as before.
pub fn index_disk(
    writer: &mut Writer,
    new: &NewDisk<'_>,
    clock: &dyn Clock,
    monitor: &dyn Monitor,
) -> Result<Done, Error> {
    let started = Instant::now();
    let store = writer.store_at(new.store)?;
    let begin = NewGeneration {
        source: new.source,
        at: new.at,
        level: new.level,
        copy: (store, new.below),
        now: clock.now(),
        again: new.again,
    };
    let mut generation = writer.begin(&begin)?;
    let written = DiskIndex::new(&mut generation, new, monitor).run();
    end(generation, written.map(|()| None), started)
}

impl DiskIndex<'_, '_> {
    fn run(mut self) -> Result<(), Error> {
        self.writer.hold(self.new.row)?;
        let mut tree = Tree::new();
        tree.insert(Vec::new(), Names::new());
        match self.new.guest {
            Some(guest) => self.guest(guest, &mut tree)?,
            None => self.disk(&mut tree)?,
        }
        let mut nodes = BTreeMap::new();
        for (path, names) in tree.iter().rev() {
            // The deepest come first, so that each is known when the one above it is written.
            let node = self.directory(path, names, &nodes)?;
            nodes.insert(path.clone(), node);
        }
        self.end_names()?;
        self.tell_troubles()
    }

    /// Writes a disk and what is on it.
    fn disk(&mut self, tree: &mut Tree) -> Result<(), Error> {
        let disk = self.disk_itself()?;
        add(tree, &self.part.path(&[name(DISK)]), disk, Kind::File);
        let found = volumes::find(&self.part.device(&self.new.device));
        let found = found.unwrap_or_else(|e| volumes::Volumes {
            notes: vec![("disk".to_owned(), crate::model::chain(&e))],
            ..volumes::Volumes::default()
        });
        for (place, what) in &found.notes {
            self.note(&self.part.text(place), what)?;
        }
        for (member, note) in found.members {
            let (member, kind) = (self.part.placed(member), Some("LVM2_member".to_owned()));
            self.writer.add_volume(&VolumeRow { kind, note, ..self.row_of(&member) })?;
        }
        let mut volumes: Vec<Volume> = found.volumes.into_iter().map(|volume| self.part.placed(volume)).collect();
        self.add_missing(&mut volumes, &found.notes)?;
        for volume in volumes {
            let Some(path) = path_of(&volume.name) else { continue };
            if let Some(node) = self.volume(volume)? {
                add(tree, &path, node, Kind::Directory);
            }
        }
        Ok(())
    }

    /// Adds the volumes that the generation before has and that were not found, as volumes without bytes, where something is wrong
    /// with the table that has, or had, them: so it cannot be told that they are gone.
    fn add_missing(&self, found: &mut Vec<Volume>, notes: &[(String, String)]) -> Result<(), Error> {
        for before in self.writer.previous_volumes()? {
            let is_found = found.iter().any(|volume| volume.name == before.name);
            let Some(on_disk) = self.part.below(&before.name) else { continue };
            if !is_found && notes.iter().any(|(place, _)| may_hide(place, on_disk)) {
                found.push(Volume { name: before.name, label: String::new(), pieces: Vec::new() });
            }
        }
        Ok(())
    }

    /// Writes the disk as a file and returns its node.
    fn disk_itself(&mut self) -> Result<NodeId, Error> {
        let (node, base) = self.made_here(&self.part.path(&[name(DISK)]))?;
        let size_bytes = self.part.size_bytes;
        let is_same = self.new.before.as_ref().is_some_and(|before| !self.part.has_any(&before.changed));
        let mtime = match base {
            Some(base) if is_same => base.mtime,
            _ => Timestamp { seconds: self.writer.at().0, nanos: 0 },
        };
        let mut attrs = made_attrs(Kind::File, 0o400, mtime);
        attrs.size_bytes = size_bytes;
        attrs.allocated_bytes = Some(self.part.allocated_bytes).filter(|allocated| *allocated < size_bytes);
        let row = self.writer.encode(&attrs, false, base.as_ref())?;
        let place = match self.new.guest {
            None => Place::WholeDisk,
            Some(_) => Place::Run(self.part.begin),
        };
        let row = NodeRow { place, ..row };
        self.version(node, row, base.as_ref(), !is_same)?;
        Ok(node)
    }

    /// Returns the node of something that is on no file system, and its version before.
    fn made_here(&mut self, path: &[EntryName]) -> Result<(NodeId, Option<NodeRow>), Error> {
        if path.is_empty() {
            let root = self.writer.root();
            return Ok((root, self.writer.living(root)?));
        }
        let mut hasher = blake3::Hasher::new();
        for name in path {
            hasher.update(name.as_bytes());
            hasher.update(b"/");
        }
        let inode = u64::from_le_bytes(hasher.finalize().as_bytes()[..8].try_into().expect("eight bytes"));
        self.node_of(FileKey { device: 0, inode, born_ns: MADE_HERE })
    }

    /// Writes a directory above volumes, with its names, and returns its node.
    fn directory(
        &mut self,
        path: &[EntryName],
        names: &Names,
        below: &BTreeMap<Vec<EntryName>, NodeId>,
    ) -> Result<NodeId, Error> {
        let (node, base) = self.made_here(path)?;
        let mut names = names.clone();
        for (child, child_node) in
            below.iter().filter(|(child, _)| child.len() == path.len() + 1 && child.starts_with(path))
        {
            names.insert(child[path.len()].clone(), (*child_node, Kind::Directory));
        }
        let mtime = base.map_or(Timestamp { seconds: self.writer.at().0, nanos: 0 }, |base| base.mtime);
        // What is on the disk belongs to users of another machine, whose numbers may be those of others here.
        let mut attrs = made_attrs(Kind::Directory, 0o700, mtime);
        attrs.nlink = 2 + names.values().filter(|(_, kind)| *kind == Kind::Directory).count() as u32;
        let row = self.writer.encode(&attrs, false, base.as_ref())?;
        self.version(node, row, base.as_ref(), false)?;
        self.names(node, &names, true)?;
        Ok(node)
    }

    /// Writes one volume and returns the top directory of its tree, if there is one.
    fn volume(&mut self, volume: Volume) -> Result<Option<NodeId>, Error> {
        let device = VolumeDevice { device: Arc::clone(&self.new.device), volume: volume.clone() };
        let device: Arc<dyn Device> = Arc::new(device);
        let mut row = self.row_of(&volume);
        let mut opened = open(&device, &mut row);
        let was_there = self.writer.previous_volumes()?.iter().any(|before| before.name == volume.name);
        if was_there && row.kind.is_none() && matches!(opened, Ok(None)) {
            // Wiped, or its superblock is damaged.
            let what = "there was a file system in the generation before, and nothing that is known is there now";
            opened = Err(block::Error::Damaged(what.to_owned()));
        }
        let node = match opened {
            Ok(Some(fs)) => {
                let info = fs.info().clone();
                row.kind = Some(info.kind.to_owned());
                (row.uuid, row.fs_label, row.features) = (info.uuid, info.label, info.features.join(" "));
                match Browse::new(self, &*fs, volume.clone(), &row.uuid)?.run()? {
                    Top::Directory(top) => {
                        row.browsable = true;
                        row.state = match info.state {
                            State::Clean => "clean".to_owned(),
                            State::Replayed { .. } => "replayed".to_owned(),
                            State::InUse => "in use".to_owned(),
                        };
                        if let Some(odd) = info.odd {
                            // While it was written to that is as it has to be.
                            if info.state != State::InUse {
                                self.note(&volume.name, &odd)?;
                            }
                            row.note = odd;
                        }
                        Some(top)
                    }
                    Top::Lost(why) => Some(self.lost_volume(&volume, &mut row, FindingKind::Unreadable, why)?),
                }
            }
            Ok(None) => {
                let is_loader = is_loader(&volume.label);
                match row.kind.as_deref() {
                    Some("swap" | "swsuspend") => {}
                    Some(kind) => row.note = format!("{kind} is not read; it is in {} as it was", self.part.text(DISK)),
                    None if is_loader || !volumes::holds_something(&*device) => {}
                    None => {
                        row.note = format!("what it holds is not known; it is in {} as it was", self.part.text(DISK))
                    }
                }
                let is_usual = is_loader && row.kind.is_none();
                if !(row.note.is_empty() || is_usual) {
                    self.finding(FindingKind::Unsupported, &volume.name, &row.note)?;
                }
                None
            }
            Err(e) => {
                let kind = match e {
                    block::Error::Unsupported(_) => FindingKind::Unsupported,
                    _ => FindingKind::Unreadable,
                };
                Some(self.lost_volume(&volume, &mut row, kind, crate::model::chain(&e))?)
            }
        };
        self.writer.add_volume(&row)?;
        Ok(node)
    }

    /// Returns what a table says of a volume.
    fn row_of(&self, volume: &Volume) -> VolumeRow {
        VolumeRow {
            name: volume.name.clone(),
            size_bytes: volume.size_bytes(),
            pieces: pieces_text(volume, self.part.begin),
            label: volume.label.clone(),
            ..VolumeRow::default()
        }
    }

    /// Records that a volume cannot be read, and returns its top directory: one that cannot be listed, not one that is not there. Its
    /// tree stays what it was, if there was one, so that nothing of it is told as deleted.
    fn lost_volume(
        &mut self,
        volume: &Volume,
        row: &mut VolumeRow,
        kind: FindingKind,
        why: String,
    ) -> Result<NodeId, Error> {
        self.finding(kind, &volume.name, &format!("{why}; it is in {} as it was", self.part.text(DISK)))?;
        (row.note, row.state) = (why, "lost".to_owned());
        let path = path_of(&volume.name).expect("it was checked");
        self.lost_directory(&path, "the volume cannot be read")
    }

    /// Returns the directory at this path, as one that cannot be listed.
    fn lost_directory(&mut self, path: &[EntryName], why: &str) -> Result<NodeId, Error> {
        let known = self.previous_directory(path)?;
        let (node, base) = match known {
            Some(node) => (node, self.writer.living(node)?),
            None => self.made_here(path)?,
        };
        let row = match base {
            Some(base) => base,
            None => {
                let time = Timestamp { seconds: self.writer.at().0, nanos: 0 };
                self.writer.encode(&made_attrs(Kind::Directory, 0o700, time), false, None)?
            }
        };
        self.version(node, NodeRow { place: Place::Lost, ..row }, base.as_ref(), false)?;
        self.writer.doubt(node, why)?;
        Ok(node)
    }

    /// Returns the directory that the generation before has at this path.
    fn previous_directory(&self, path: &[EntryName]) -> Result<Option<NodeId>, Error> {
        let mut node = self.writer.root();
        for name in path {
            let mut next = None;
            self.writer.list_previous(node, |entry| {
                if entry.name == *name && entry.kind == Kind::Directory {
                    next = Some(entry.node);
                }
            })?;
            match next {
                Some(next) => node = next,
                None => return Ok(None),
            }
        }
        Ok(Some(node))
    }
}

/// Tells whether a partition is one that firmware and boot loaders use: it is none in which an admin looks for files.
fn is_loader(label: &str) -> bool {
    ["EFI", "BIOS boot", "PowerPC PReP boot", "Microsoft reserved", "Linux reserved"]
        .iter()
        .any(|kind| label.starts_with(kind))
}

/// Tells whether what is said of one place may be why a volume was not found: it is a table, that volume, or what it is made of.
fn may_hide(place: &str, volume: &str) -> bool {
    let is_part = |whole: &str| volume.strip_prefix(whole).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    matches!(place, "disk" | "gpt" | "mbr")
        || is_part(place)
        || (volume.starts_with("lvm/") && !place.starts_with("lvm/"))
}

fn name(text: &str) -> EntryName {
    EntryName::new(text.as_bytes()).expect("a plain word")
}

/// Puts something into the tree above volumes, with the directories that lead to it.
fn add(tree: &mut Tree, path: &[EntryName], node: NodeId, kind: Kind) {
    let (last, above) = path.split_last().expect("a path has a name");
    for depth in 0..=above.len() {
        tree.entry(above[..depth].to_vec()).or_default();
    }
    tree.get_mut(above).expect("just made").insert(last.clone(), (node, kind));
}
