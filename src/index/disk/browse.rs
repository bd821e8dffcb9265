//! One file system of a disk: its nodes, their names, and where their bytes lie on the disk.
//!
//! What there is is what names lead to from the top directory on, and nothing else: a record that says it is in use may be left from a file that
//! is gone. A file system is read whole, or as what changed since the generation before ([`plan`]): only if that was read without
//! a fault, for damage teaches nothing of what was behind it; if its nodes have records at all, it can be opened as it was then, has the same
//! layout, and this is the newest generation. Where anything is found amiss on the way, it is read whole.
//!
//! Promises: both ways come to the same tree. Damage to one record or directory is recorded with it and hides nothing else; the
//! root is a directory, or the file system cannot be read.

mod plan;
mod stale;
mod whole;

use super::changed::{Changed, Runs};
use super::rows::{DiskIndex, Trouble, made_attrs};
use super::volume::{is_at, open, path_of};
use crate::catalog::{NodeRow, Place, VolumeRow};
use crate::index::Error;
use crate::model::{Extent, FileKey, FileMap, Kind, NodeId, RelPath, Timestamp, chain};
use crate::source::block::volumes::{Volume, VolumeDevice};
use crate::source::block::{self, Content, Device, FileSystem, Inode, Records};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::ops::RangeInclusive;
use std::sync::Arc;

/// What is known of an inode number in this generation.
#[derive(Clone, Copy)]
struct Known {
    node: NodeId,
    kind: Kind,
}

/// The top of a file system.
pub(super) enum Top {
    /// Its directory.
    Directory(NodeId),
    /// There is none, for this reason.
    Lost(String),
}

pub(super) struct Browse<'b, 'a, 'w> {
    index: &'b mut DiskIndex<'a, 'w>,
    fs: &'b dyn FileSystem,
    volume: Volume,
    /// Which file system, in the upper half of the birth of its nodes.
    birth: i64,
    /// Whether it is known which bytes differ from those that the tree of the generation before is of.
    is_known: bool,
    /// What tells the nodes that changed, where that tree is what was on the disk, all of it.
    records: Option<&'b dyn Records>,
    /// Nodes of which the generation before saw no name.
    unseen: HashSet<NodeId>,
    changed: Changed<'a>,
    nodes: HashMap<u64, Known>,
    /// What is wrong with inodes: number and what.
    troubles: BTreeSet<(u64, String)>,
}

impl<'b, 'a, 'w> Browse<'b, 'a, 'w> {
    pub(super) fn new(
        index: &'b mut DiskIndex<'a, 'w>,
        fs: &'b dyn FileSystem,
        volume: Volume,
        uuid: &str,
    ) -> Result<Self, Error> {
        let before = index.writer.previous_volumes()?.into_iter().find(|before| {
            before.name == volume.name
                && before.uuid == uuid
                && !before.was_lost
                && is_at(&volume, &before.pieces, index.part.begin)
        });
        let then = before.as_ref().and(fs.records()).and_then(|_| open_before(index, &volume));
        // What a log has, or had, other bytes for is not what the disk says.
        let mut logged = Runs::new();
        for fs in then.as_deref().into_iter().chain([fs]) {
            fs.logged(&mut |at, length| volume.locate(at, length, |_, at, length| logged.push((at, length))));
        }
        let changed = Changed::new(&*index.new.device, index.new.before.as_ref(), &logged);
        let is_known = before.is_some_and(|before| !before.was_replayed || then.is_some());
        let is_laid_out_alike = |records: &&dyn Records| {
            then.as_deref().and_then(FileSystem::records).is_some_and(|then| then.layout() == records.layout())
        };
        let mut records = fs.records().filter(is_laid_out_alike).filter(|_| index.writer.is_newest());
        if records.is_some() && index.writer.previous_findings_below(&path_in_tree(&volume))? {
            records = None;
        }
        let unseen = index.writer.previous_unknown()?.into_iter().map(|(node, _)| node).collect();
        let digest = blake3::hash(format!("{}\0{uuid}", volume.name).as_bytes());
        let number = u32::from_le_bytes(digest.as_bytes()[..4].try_into().expect("four bytes"));
        // Without its top bit, so that none is MADE_HERE.
        let birth = i64::from(number >> 1) << 32;
        Ok(Self {
            index,
            fs,
            volume,
            birth,
            is_known,
            records,
            unseen,
            changed,
            nodes: HashMap::new(),
            troubles: BTreeSet::new(),
        })
    }

    /// Writes what changed and returns the top directory.
    pub(super) fn run(mut self) -> Result<Top, Error> {
        let root = self.fs.root();
        match self.fs.inode(root) {
            Ok(inode) if Kind::from_mode(inode.attrs.mode) == Some(Kind::Directory) => {}
            Ok(_) => return Ok(Top::Lost(format!("inode {root} is its top and not a directory"))),
            Err(e) => return Ok(Top::Lost(format!("its top directory: {}", chain(&e)))),
        }
        let plan = self.records.map_or(Ok(None), |records| self.plan(records))?;
        match plan {
            Some(plan) => self.carry_out(plan)?,
            None => self.read_whole()?,
        }
        let top = match self.nodes.get(&root) {
            Some(top) => Some(*top),
            None => self.live_node(root)?,
        };
        self.tell_troubles()?;
        Ok(Top::Directory(top.expect("it was read, or is as it was").node))
    }

    /// Returns the keys that the node of an inode of this type may have. The second one is for an inode that is of another type under the same
    /// number and the same count of its reuse: what it was keeps its key, for a generation in which it lives may come next.
    fn keys(&self, inode: &Inode, kind: Kind) -> [FileKey; 2] {
        let of_kind = (kind.mode_bits() >> 12).wrapping_mul(0x9e37_79b1);
        let key =
            |generation: u32| FileKey { device: 0, inode: inode.number, born_ns: self.birth | i64::from(generation) };
        [key(inode.generation), key(inode.generation ^ of_kind)]
    }

    /// Writes what an inode is now.
    fn inode(&mut self, inode: &Inode) -> Result<Option<Known>, Error> {
        let Some(kind) = Kind::from_mode(inode.attrs.mode) else {
            let what = block::Error::Damaged(format!("its mode is {:o}, which is no type", inode.attrs.mode));
            self.damaged(inode.number, &what)?;
            return Ok(None);
        };
        let (node, base) = self.node_of(inode, kind)?;
        let known = Known { node, kind };
        self.nodes.insert(inode.number, known);
        let (row, runs) = self.row(inode, kind, base.as_ref())?;
        // What was written meanwhile is not known of what the generation before could not read.
        let other_bytes = kind == Kind::File
            && base.is_some_and(|base| base.place == row.place && base.size_bytes == row.size_bytes)
            && (!self.is_known || self.unseen.contains(&node) || self.differ(&runs, row.size_bytes));
        self.index.version(node, row, base.as_ref(), other_bytes)?;
        Ok(Some(known))
    }

    /// Tells whether any byte of a file differs that lies in these runs.
    fn differ(&self, runs: &[Extent], size_bytes: u64) -> bool {
        let written = runs.iter().filter(|run| !run.unwritten && run.offset < size_bytes);
        written.into_iter().any(|run| self.changed.differs(run.at, run.length.min(size_bytes - run.offset)))
    }

    fn node_of(&mut self, inode: &Inode, kind: Kind) -> Result<(NodeId, Option<NodeRow>), Error> {
        let [own, of_kind] = self.keys(inode, kind);
        let mut free = own;
        if !self.index.writer.is_only() {
            for key in [own, of_kind] {
                let Some(node) = self.index.writer.identified(key)? else { break };
                if self.index.writer.known_kind(node)? == Some(kind) {
                    // Of one that came back it is not known what was written to it meanwhile.
                    return Ok((node, self.index.writer.living(node)?));
                }
                free = of_kind;
            }
        }
        let node = self.index.writer.new_node()?;
        self.index.writer.identify(free, node)?;
        Ok((node, None))
    }

    /// Returns the version that an inode is, and its runs on the disk.
    fn row(&mut self, inode: &Inode, kind: Kind, base: Option<&NodeRow>) -> Result<(NodeRow, Vec<Extent>), Error> {
        let attrs = &inode.attrs;
        if let Some(why) = &inode.unreadable {
            self.finding(inode.number, why);
        }
        let mut row = self.index.writer.encode(attrs, inode.unreadable.is_some(), base)?;
        let mut runs = Vec::new();
        match (&inode.content, kind) {
            (Content::Mapped(map), Kind::File | Kind::Directory) => {
                let map = self.on_disk(map);
                row.place = self.index.writer.place_on_disk(&map, attrs.size_bytes, base)?;
                runs = map.extents;
            }
            (Content::Bytes(bytes), Kind::File) => row.place = self.index.writer.place_inline(bytes, base)?,
            (Content::None, Kind::File) => row.place = Place::OnDisk(None),
            (Content::Unreadable(why), Kind::File | Kind::Directory) => {
                row.place = Place::Lost;
                self.finding(inode.number, why);
            }
            _ => {}
        }
        Ok((row, runs))
    }

    /// Returns a map of the volume as one of the disk.
    fn on_disk(&self, map: &FileMap) -> FileMap {
        let mut out = FileMap::default();
        for run in &map.extents {
            self.volume.locate(run.at, run.length, |from, at, length| {
                out.extents.push(Extent { offset: run.offset + (from - run.at), at, length, unwritten: run.unwritten });
            });
        }
        for (at, length) in &map.rests_on {
            self.volume.locate(*at, *length, |_, at, length| out.rests_on.push((at, length)));
        }
        out
    }

    /// Records that an inode cannot be read: whoever has it now has no bytes and no listing.
    fn damaged(&mut self, number: u64, why: &block::Error) -> Result<(), Error> {
        self.finding(number, &chain(why));
        for node in self.index.writer.nodes_of_inode(number, self.births())? {
            let Some(row) = self.index.writer.previous_version(node)? else { continue };
            if self.index.writer.had_name(node)? {
                self.index.version(node, NodeRow { place: Place::Lost, ..row }, Some(&row), false)?;
                if self.index.writer.known_kind(node)? == Some(Kind::Directory) {
                    self.index.writer.doubt(node, &chain(why))?;
                }
            }
        }
        Ok(())
    }

    /// Returns the births of all nodes of this file system.
    fn births(&self) -> RangeInclusive<i64> {
        self.birth..=self.birth | i64::from(u32::MAX)
    }

    /// Returns the node that had an inode number in the generation before.
    fn live_node(&self, number: u64) -> Result<Option<Known>, Error> {
        for node in self.index.writer.nodes_of_inode(number, self.births())? {
            if self.index.writer.had_name(node)?
                && let Some(kind) = self.index.writer.known_kind(node)?
            {
                return Ok(Some(Known { node, kind }));
            }
        }
        Ok(None)
    }

    /// Returns the type of what has a number now, if it is the node that had it.
    fn as_now(&self, number: u64, node: NodeId) -> Result<Option<Kind>, Error> {
        let Ok(inode) = self.fs.inode(number) else { return Ok(None) };
        let kind = self.index.writer.known_kind(node)?.filter(|kind| Kind::from_mode(inode.attrs.mode) == Some(*kind));
        let key = self.index.writer.key_of(node)?;
        Ok(kind.filter(|kind| key.is_some_and(|key| self.keys(&inode, *kind).contains(&key))))
    }

    /// Returns the inode number of a node, if it is of this file system.
    fn number_of(&self, node: NodeId) -> Result<Option<u64>, Error> {
        let key = self.index.writer.key_of(node)?;
        Ok(key.filter(|key| key.born_ns & !i64::from(u32::MAX) == self.birth).map(|key| key.inode))
    }

    /// Returns a node for an inode that a name leads to and nothing is known of.
    fn lost_node(&mut self, number: u64) -> Result<Known, Error> {
        let key = FileKey { device: 0, inode: number, born_ns: self.birth | i64::from(u32::MAX) };
        let (node, base) = self.index.node_of(key)?;
        let mut attrs = made_attrs(Kind::File, 0, Timestamp { seconds: 0, nanos: 0 });
        // Of an empty file the kernel asks no bytes, so that reading it would not fail.
        attrs.size_bytes = 1;
        let row = self.index.writer.encode(&attrs, false, base.as_ref())?;
        self.index.version(node, NodeRow { place: Place::Lost, ..row }, base.as_ref(), false)?;
        let known = Known { node, kind: Kind::File };
        self.nodes.insert(number, known);
        Ok(known)
    }

    /// Notes what is wrong with an inode; where it is, is known when all names are.
    fn finding(&mut self, number: u64, why: &str) {
        let detail = if why.starts_with("inode ") { why.to_owned() } else { format!("inode {number}: {why}") };
        self.troubles.insert((number, detail));
    }

    /// Hands over what was wrong, each with the node that it is wrong with, if that is known.
    fn tell_troubles(&mut self) -> Result<(), Error> {
        let place = path_in_tree(&self.volume);
        for (number, detail) in std::mem::take(&mut self.troubles) {
            let node = match self.nodes.get(&number) {
                Some(known) => Some(known.node),
                None => self.live_node(number)?.map(|known| known.node),
            };
            self.index.troubles.push(Trouble { node, place: place.clone(), detail });
        }
        Ok(())
    }
}

/// Returns the path of a volume in the tree of its disk.
fn path_in_tree(volume: &Volume) -> RelPath {
    let mut path = RelPath::root();
    path_of(&volume.name).into_iter().flatten().for_each(|name| path.push(&name));
    path
}

/// Opens the file system of a volume as of the generation before, if that can be done.
fn open_before(index: &DiskIndex<'_, '_>, volume: &Volume) -> Option<Box<dyn FileSystem>> {
    let before = index.new.before.as_ref()?;
    let device = VolumeDevice { device: Arc::clone(&before.device), volume: volume.clone() };
    let device: Arc<dyn Device> = Arc::new(device);
    open(&device, &mut VolumeRow::default()).ok()?
}
