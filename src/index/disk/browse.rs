//! One file system of a disk: its nodes, their names, and where their bytes lie on the disk.
//!
//! Promises: a file system of which the generation before has no tree, or could not read it, is read whole, from the top directory
//! down; of another one what may have changed. Damage to one record or directory is recorded with it and hides nothing else.

mod look_again;
mod names;

use super::changed::{Changed, Runs};
use super::rows::{DiskIndex, Trouble, made_attrs};
use super::volume::{is_at, open, path_of};
use crate::catalog::{NodeRow, Place, VolumeRow};
use crate::index::Error;
use crate::model::{Extent, FileKey, FileMap, FindingKind, Kind, NodeId, RelPath, Timestamp, chain};
use crate::source::block::volumes::{Volume, VolumeDevice};
use crate::source::block::{self, Content, Device, FileSystem, Inode};
use std::collections::{BTreeSet, HashMap};
use std::ops::{ControlFlow, RangeInclusive};
use std::rc::Rc;
use std::sync::Arc;

/// What is known of an inode number in this generation.
#[derive(Clone, Copy)]
struct Known {
    node: NodeId,
    kind: Kind,
}

pub(super) struct Browse<'b, 'a, 'w> {
    index: &'b mut DiskIndex<'a, 'w>,
    fs: &'b dyn FileSystem,
    volume: Volume,
    /// Which file system, in the upper half of the birth of its nodes.
    birth: i64,
    /// Whether the generation before has a tree of it.
    was_there: bool,
    /// Whether it is known which records differ from those that the tree is of.
    is_known: bool,
    changed: Rc<Changed<'a>>,
    nodes: HashMap<u64, Known>,
    /// Directories whose names may be others.
    directories: HashMap<u64, Inode>,
    /// What is wrong with inodes: number and what.
    troubles: BTreeSet<(u64, String)>,
    /// Directories with names of an inode that is another node now.
    renamed: BTreeSet<NodeId>,
}

impl<'b, 'a, 'w> Browse<'b, 'a, 'w> {
    pub(super) fn new(
        index: &'b mut DiskIndex<'a, 'w>,
        fs: &'b dyn FileSystem,
        volume: Volume,
        uuid: &str,
    ) -> Result<Self, Error> {
        let before = index
            .writer
            .previous_volumes()?
            .into_iter()
            .find(|before| before.name == volume.name && before.uuid == uuid && is_at(&volume, &before.pieces));
        let was_there = before.is_some();
        // What its log had other bytes for is not what the tree is of.
        let logged = match before {
            Some(before) if before.was_replayed => logged_before(index, &volume),
            before => before.map(|_| Runs::new()),
        };
        let is_known = logged.is_some();
        let changed = Changed::new(&*index.new.device, index.new.before.as_ref(), &logged.unwrap_or_default());
        let digest = blake3::hash(format!("{}\0{uuid}", volume.name).as_bytes());
        let number = u32::from_le_bytes(digest.as_bytes()[..4].try_into().expect("four bytes"));
        // Without its top bit, so that none is MADE_HERE.
        let birth = i64::from(number >> 1) << 32;
        Ok(Self {
            index,
            fs,
            volume,
            birth,
            was_there,
            is_known,
            changed: Rc::new(changed),
            nodes: HashMap::new(),
            directories: HashMap::new(),
            troubles: BTreeSet::new(),
            renamed: BTreeSet::new(),
        })
    }

    /// Writes what changed and returns the node of the top directory.
    pub(super) fn run(mut self) -> Result<NodeId, Error> {
        // Where not all records were found, those that are reached are read, one by one.
        if self.scan()? && self.was_there {
            self.look_again()?;
            self.list_renamed()?;
            let mut changed: Vec<u64> = self.directories.keys().copied().collect();
            changed.sort_unstable();
            for number in changed {
                self.list(number)?;
            }
        } else {
            self.list_all()?;
        }
        let root = self.fs.root();
        let top = match self.resolve(root, None)? {
            Some(known) if known.kind == Kind::Directory => known,
            _ => self.lost_node(root, Kind::Directory)?,
        };
        self.tell_troubles()?;
        Ok(top.node)
    }

    /// Reads the records that may have changed. Returns whether all of them were found.
    fn scan(&mut self) -> Result<bool, Error> {
        let mut trouble = Ok(());
        // Not by way of `self`, to which each inode is written.
        let (changed, volume, all) = (Rc::clone(&self.changed), self.volume.clone(), !self.is_known);
        let differs = |at: u64, length: u64| {
            let mut differs = all;
            volume.locate(at, length, |_, at, length| differs = differs || changed.differs(at, length));
            differs
        };
        let scanned = self.fs.scan_inodes(&differs, &mut |inode| {
            let told = match inode {
                Ok(inode) => self.inode(inode).map(drop),
                Err((number, e)) => self.damaged(number, &e),
            };
            self.index.monitor.advance(1);
            match told {
                Ok(()) => ControlFlow::Continue(()),
                Err(e) => {
                    trouble = Err(e);
                    ControlFlow::Break(())
                }
            }
        });
        trouble?;
        if let Err(e) = &scanned {
            let place = self.volume.name.clone();
            self.index.finding(FindingKind::Unreadable, &place, &format!("not all inodes are found: {}", chain(e)))?;
        }
        Ok(scanned.is_ok())
    }

    fn key(&self, inode: &Inode) -> FileKey {
        FileKey { device: 0, inode: inode.number, born_ns: self.birth | i64::from(inode.generation) }
    }

    /// Writes what an inode is now.
    fn inode(&mut self, inode: Inode) -> Result<Option<Known>, Error> {
        let Some(kind) = Kind::from_mode(inode.attrs.mode) else {
            let what = block::Error::Damaged(format!("its mode is {:o}, which is no type", inode.attrs.mode));
            self.damaged(inode.number, &what)?;
            return Ok(None);
        };
        let (node, base) = self.node_of(&inode, kind)?;
        if base.is_none() && self.was_there {
            self.rename_others(inode.number, node)?;
        }
        let known = Known { node, kind };
        self.nodes.insert(inode.number, known);
        let (row, runs) = self.row(&inode, kind, base.as_ref())?;
        // Where the generation before could not read the file system, what was written to it meanwhile is not known.
        let other_bytes = kind == Kind::File
            && base.is_some_and(|base| base.place == row.place && base.size_bytes == row.size_bytes)
            && (!self.was_there || self.differ(&runs, row.size_bytes));
        self.index.version(node, row, base.as_ref(), other_bytes)?;
        if kind == Kind::Directory {
            self.directories.insert(inode.number, inode);
        }
        Ok(Some(known))
    }

    /// Tells whether any byte of a file differs that lies in these runs.
    fn differ(&self, runs: &[Extent], size_bytes: u64) -> bool {
        let written = runs.iter().filter(|run| !run.unwritten && run.offset < size_bytes);
        written.into_iter().any(|run| self.changed.differs(run.at, run.length.min(size_bytes - run.offset)))
    }

    fn node_of(&mut self, inode: &Inode, kind: Kind) -> Result<(NodeId, Option<NodeRow>), Error> {
        let key = self.key(inode);
        if !self.index.writer.is_only()
            && let Some(node) = self.index.writer.identified(key)?
            && self.index.writer.known_kind(node)? == Some(kind)
        {
            // Of one that came back it is not known what was written to it meanwhile.
            return Ok((node, self.index.writer.living(node)?));
        }
        let node = self.index.writer.new_node()?;
        self.index.writer.identify(key, node)?;
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

    /// Returns a node for an inode that a name leads to and nothing is known of.
    fn lost_node(&mut self, number: u64, kind: Kind) -> Result<Known, Error> {
        let key = FileKey { device: 0, inode: number, born_ns: self.birth | i64::from(u32::MAX) };
        let (node, base) = self.index.node_of(key)?;
        let mut attrs = made_attrs(kind, 0, Timestamp { seconds: 0, nanos: 0 });
        // Of an empty file the kernel asks no bytes, so that reading it would not fail.
        attrs.size_bytes = 1;
        let row = self.index.writer.encode(&attrs, false, base.as_ref())?;
        self.index.version(node, NodeRow { place: Place::Lost, ..row }, base.as_ref(), false)?;
        if kind == Kind::Directory {
            self.index.writer.doubt(node, "its inode cannot be read")?;
        }
        let known = Known { node, kind };
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
        let mut place = RelPath::root();
        if let Some(names) = path_of(&self.volume.name) {
            names.iter().for_each(|name| place.push(name));
        }
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

/// Returns the runs of the disk that the log of the file system had other bytes for when the generation before was indexed; none
/// if that cannot be told.
fn logged_before(index: &DiskIndex<'_, '_>, volume: &Volume) -> Option<Runs> {
    let before = index.new.before.as_ref()?;
    let device = VolumeDevice { device: Arc::clone(&before.device), volume: volume.clone() };
    let device: Arc<dyn Device> = Arc::new(device);
    let fs = open(&device, &mut VolumeRow::default()).ok()??;
    let mut logged = Runs::new();
    fs.logged(&mut |at, length| volume.locate(at, length, |_, at, length| logged.push((at, length))));
    Some(logged)
}
