//! One file system of a disk: its nodes, their names, and where their bytes lie on the disk.
//!
//! Promises: a file system of which the generation before has no tree, or could not read it, is read whole, from the top directory
//! down; of another one what may have changed. Damage to one record or directory is recorded with it and hides nothing else.

use super::changed::{Changed, Runs, parts};
use super::{DiskIndex, Names, Trouble};
use crate::catalog::{NodeRow, Place, VolumeRow};
use crate::index::Error;
use crate::model::{EntryName, Extent, FileKey, FileMap, FindingKind, Kind, NodeId, RelPath, Timestamp, chain};
use crate::source::block::volumes::{Volume, VolumeDevice};
use crate::source::block::{self, Content, Device, FileSystem, Inode};
use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::ops::{ControlFlow, RangeInclusive};
use std::rc::Rc;
use std::sync::Arc;

/// Runs that lie this near to each other are one part of the disk for the catalog: asking it once more costs more than the
/// names of the files in between.
const NEAR_BYTES: u64 = 256 << 10;
/// The longest part of the disk that the catalog is asked for at once: so many blocks are so many files at most.
const PART_BYTES: u64 = 64 << 20;

/// Names and inode numbers of a directory, sorted.
type Listed = Vec<(EntryName, u64)>;

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
        let before =
            index.writer.previous_volumes()?.into_iter().find(|before| {
                before.name == volume.name && before.uuid == uuid && super::is_at(&volume, &before.pieces)
            });
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
            }
        }
        Ok(())
    }

    /// Looks at nodes whose records did not change and some of whose bytes did.
    fn look_again(&mut self) -> Result<(), Error> {
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

    /// Notes the directories in which another node has a name by this inode number: the name leads to `node` now, and
    /// nothing else need have changed in them.
    fn rename_others(&mut self, number: u64, node: NodeId) -> Result<(), Error> {
        for other in self.index.writer.nodes_of_inode(number, self.births())? {
            if other != node {
                let names = self.index.writer.previous_names(other)?;
                self.renamed.extend(names.into_iter().map(|(dir, _)| dir));
            }
        }
        Ok(())
    }

    /// Has the directories that [`Browse::rename_others`] noted listed, too.
    fn list_renamed(&mut self) -> Result<(), Error> {
        for dir in std::mem::take(&mut self.renamed) {
            let Some(key) = self.index.writer.key_of(dir)? else { continue };
            if self.directories.contains_key(&key.inode) {
                continue;
            }
            match self.fs.inode(key.inode) {
                Ok(inode) if self.key(&inode) == key => drop(self.inode(inode)?),
                Ok(_) | Err(block::Error::NotInUse(_)) => {}
                Err(e) => self.damaged(key.inode, &e)?,
            }
        }
        Ok(())
    }

    /// Returns the births of all nodes of this file system.
    fn births(&self) -> RangeInclusive<i64> {
        self.birth..=self.birth | i64::from(u32::MAX)
    }

    /// Lists every directory that can be reached, each once.
    fn list_all(&mut self) -> Result<(), Error> {
        let root = self.fs.root();
        if !self.nodes.contains_key(&root) {
            // The scan did not come to it; without it there would be an empty directory.
            match self.fs.inode(root) {
                Ok(inode) => drop(self.inode(inode)?),
                Err(e) => {
                    self.finding(root, &chain(&e));
                    self.lost_node(root, Kind::Directory)?;
                }
            }
        }
        let mut reached = HashSet::from([root]);
        let mut next = VecDeque::from([root]);
        while let Some(number) = next.pop_front() {
            let Some((names, complete)) = self.read_names(number)? else { continue };
            let dir = self.nodes[&number].node;
            let mut kept = Names::new();
            for (name, inode) in names {
                let Some(known) = self.resolve(inode, None)? else { continue };
                if known.kind == Kind::Directory && !reached.insert(inode) {
                    self.finding(number, &format!("\"{name}\" is a further name of directory {inode}"));
                    continue;
                }
                if known.kind == Kind::Directory {
                    next.push_back(inode);
                }
                kept.insert(name, (known.node, known.kind));
            }
            self.index.names(dir, &kept, complete)?;
        }
        Ok(())
    }

    /// Compares the names of a directory with those before.
    fn list(&mut self, number: u64) -> Result<(), Error> {
        let Some((names, complete)) = self.read_names(number)? else { return Ok(()) };
        let dir = self.nodes[&number].node;
        let mut before = HashMap::new();
        self.index.writer.list_previous(dir, |entry| {
            before.insert(entry.name, entry.node);
        })?;
        let mut kept = Names::new();
        for (name, inode) in names {
            if let Some(known) = self.resolve(inode, before.get(&name).copied())? {
                kept.insert(name, (known.node, known.kind));
            }
        }
        self.index.names(dir, &kept, complete)
    }

    /// Reads the names of a directory, sorted; and whether they are all. None if it is not one that is known.
    fn read_names(&mut self, number: u64) -> Result<Option<(Listed, bool)>, Error> {
        let Some(inode) = self.directories.remove(&number) else { return Ok(None) };
        let mut names = Vec::new();
        let listed = self.fs.list(&inode, &mut |entry| names.push((entry.name, entry.inode)));
        names.sort();
        let count = names.len();
        names.dedup_by(|b, a| a.0 == b.0);
        let why = match &listed {
            Err(e) => Some(chain(e)),
            Ok(()) if names.len() < count => Some("a name is there twice".to_owned()),
            Ok(()) => None,
        };
        if let Some(why) = &why {
            self.finding(number, why);
            self.lose_listing(self.nodes[&number].node)?;
        }
        Ok(Some((names, why.is_none())))
    }

    fn lose_listing(&mut self, dir: NodeId) -> Result<(), Error> {
        self.index.writer.keep_unknown();
        let Some(row) = self.index.writer.current_version(dir)? else { return Ok(()) };
        Ok(self.index.writer.amend(dir, NodeRow { place: Place::Lost, ..row })?)
    }

    /// Returns what an inode number is in this generation; `before` is what the name pointed to that leads to it.
    fn resolve(&mut self, number: u64, before: Option<NodeId>) -> Result<Option<Known>, Error> {
        if let Some(known) = self.nodes.get(&number) {
            return Ok(Some(*known));
        }
        if let Some(node) = before
            && let Some(key) = self.index.writer.key_of(node)?
            && key.inode == number
            && let Some(kind) = self.index.writer.known_kind(node)?
        {
            let known = Known { node, kind };
            self.nodes.insert(number, known);
            return Ok(Some(known));
        }
        match self.fs.inode(number) {
            Ok(inode) => match self.inode(inode)? {
                Some(known) => Ok(Some(known)),
                None => self.lost_node(number, Kind::File).map(Some),
            },
            Err(e) => {
                self.damaged(number, &e)?;
                match self.live_node(number)? {
                    Some(known) => {
                        self.nodes.insert(number, known);
                        Ok(Some(known))
                    }
                    None => self.lost_node(number, Kind::File).map(Some),
                }
            }
        }
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
        let mut attrs = super::made_attrs(kind, 0, Timestamp { seconds: 0, nanos: 0 });
        // Of an empty file the kernel asks no bytes, so that reading it would not fail.
        attrs.size_bytes = 1;
        let row = self.index.writer.encode(&attrs, false, base.as_ref())?;
        self.index.version(node, NodeRow { place: Place::Lost, ..row }, base.as_ref(), false)?;
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
        if let Some(names) = super::path_of(&self.volume.name) {
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
    let fs = super::open(&device, &mut VolumeRow::default()).ok()??;
    let mut logged = Runs::new();
    fs.logged(&mut |at, length| volume.locate(at, length, |_, at, length| logged.push((at, length))));
    Some(logged)
}
