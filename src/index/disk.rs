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

use super::run::{Done, end};
use super::{Error, KeepError};
use crate::catalog::{DiskRow, GenerationWriter, NewGeneration, NodeRow, Place, SourceRow, VolumeRow, Writer, Written};
use crate::clock::Clock;
use crate::model::{
    Attrs, EntryName, FileKey, Finding, FindingKind, Kind, Level, NodeId, RelPath, Time, Timestamp, XattrSet,
};
use crate::monitor::Monitor;
use crate::source::block::volumes::{self, Volume, VolumeDevice};
use crate::source::block::{self, Device, FileSystem, State, ext4, xfs};
use browse::Browse;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

/// The name of the disk itself in its tree.
const DISK: &str = "disk.raw";
/// Birth of the nodes that are on no file system: the top directory, the disk, the directories above volumes.
const MADE_HERE: i64 = -1;

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
    /// What is to be done when all is written and nothing is published yet.
    pub seal: Option<&'a Seal<'a>>,
    /// Whether it takes the place of the generation of this second.
    pub again: bool,
}

/// Is called with a generation that has all its rows; an error keeps it from being published.
pub type Seal<'a> = dyn Fn(&GenerationWriter<'_>) -> Result<(), KeepError> + 'a;

/// The disk as of the generation before.
pub struct DiskBefore {
    /// The disk as it was.
    pub device: Arc<dyn Device>,
    /// The runs that may hold other bytes now: offset and length, sorted, without overlap.
    pub changed: Vec<(u64, u64)>,
}

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
    let written = written.and_then(|()| Ok(generation.let_go()?)).and_then(|()| match new.seal {
        Some(seal) => seal(&generation).map_err(Error::Keep),
        None => Ok(()),
    });
    end(generation, written.map(|()| None), started)
}

/// The names that a directory has now, with what each points to.
type Names = BTreeMap<EntryName, (NodeId, Kind)>;

/// One run.
struct DiskIndex<'a, 'w> {
    writer: &'a mut GenerationWriter<'w>,
    new: &'a NewDisk<'a>,
    monitor: &'a dyn Monitor,
    /// What is wrong with nodes, to be told when they have their names.
    troubles: Vec<Trouble>,
    /// Directories that got a name, with it.
    named: Vec<(NodeId, EntryName, NodeId)>,
}

impl<'a, 'w> DiskIndex<'a, 'w> {
    fn new(writer: &'a mut GenerationWriter<'w>, new: &'a NewDisk<'a>, monitor: &'a dyn Monitor) -> Self {
        assert_eq!(writer.previous().is_some(), new.before.is_some(), "the generation before is told, if there is one");
        Self { writer, new, monitor, troubles: Vec::new(), named: Vec::new() }
    }

    fn run(mut self) -> Result<(), Error> {
        self.writer.hold(self.new.row)?;
        let mut tree: BTreeMap<Vec<EntryName>, Names> = BTreeMap::new();
        tree.insert(Vec::new(), Names::new());
        let disk = self.disk_itself()?;
        add(&mut tree, &[name(DISK)], disk, Kind::File);
        let found = volumes::find(&self.new.device);
        let found = found.unwrap_or_else(|e| volumes::Volumes {
            volumes: Vec::new(),
            notes: vec![("disk".to_owned(), crate::model::chain(&e))],
        });
        for (place, what) in &found.notes {
            self.note(place, what)?;
        }
        let mut volumes = found.volumes;
        if !found.notes.is_empty() {
            self.add_missing(&mut volumes)?;
        }
        for volume in volumes {
            let Some(path) = path_of(&volume.name) else { continue };
            if let Some(node) = self.volume(volume)? {
                add(&mut tree, &path, node, Kind::Directory);
            }
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

    /// Adds the volumes that the generation before has and that were not found, as volumes without bytes: something is wrong with a
    /// table, so it cannot be told that they are gone.
    fn add_missing(&self, found: &mut Vec<Volume>) -> Result<(), Error> {
        for before in self.writer.previous_volumes()? {
            if !found.iter().any(|volume| volume.name == before.name) {
                found.push(Volume { name: before.name, label: String::new(), pieces: Vec::new() });
            }
        }
        Ok(())
    }

    /// Writes the disk as a file and returns its node.
    fn disk_itself(&mut self) -> Result<NodeId, Error> {
        let (node, base) = self.made_here(&[name(DISK)])?;
        let size_bytes = self.new.row.layer.size_bytes;
        let is_same = self.new.before.as_ref().is_some_and(|before| before.changed.is_empty());
        let mtime = match base {
            Some(base) if is_same => base.mtime,
            _ => Timestamp { seconds: self.writer.at().0, nanos: 0 },
        };
        let mut attrs = made_attrs(Kind::File, 0o400, mtime);
        attrs.size_bytes = size_bytes;
        attrs.allocated_bytes = Some(self.new.allocated_bytes).filter(|allocated| *allocated < size_bytes);
        let row = self.writer.encode(&attrs, false, base.as_ref())?;
        let row = NodeRow { place: Place::WholeDisk, ..row };
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

    /// Returns the node of `key`, a new one if none had it, and its version before.
    fn node_of(&mut self, key: FileKey) -> Result<(NodeId, Option<NodeRow>), Error> {
        if let Some(node) = self.writer.identified(key)? {
            return Ok((node, self.writer.living(node)?));
        }
        let node = self.writer.new_node()?;
        self.writer.identify(key, node)?;
        Ok((node, None))
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
        let mut row = VolumeRow {
            name: volume.name.clone(),
            size_bytes: volume.size_bytes(),
            pieces: pieces_text(&volume),
            label: volume.label.clone(),
            ..VolumeRow::default()
        };
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
                row.browsable = true;
                row.kind = Some(info.kind.to_owned());
                (row.uuid, row.fs_label, row.features) = (info.uuid, info.label, info.features.join(" "));
                row.state = match info.state {
                    State::Clean => "clean".to_owned(),
                    State::Replayed { .. } => "replayed".to_owned(),
                };
                Some(Browse::new(self, &*fs, volume, &row.uuid)?.run()?)
            }
            Ok(None) => {
                if let Some(kind) = row.kind.as_deref().filter(|kind| *kind != "swap") {
                    row.note = format!("{kind} is not read; it is in {DISK} as it was");
                    self.finding(FindingKind::Unsupported, &volume.name, &row.note)?;
                }
                None
            }
            Err(e) => {
                row.note = crate::model::chain(&e);
                "lost".clone_into(&mut row.state);
                let kind = match e {
                    block::Error::Unsupported(_) => FindingKind::Unsupported,
                    _ => FindingKind::Unreadable,
                };
                self.finding(kind, &volume.name, &format!("{}; it is in {DISK} as it was", row.note))?;
                // A directory that cannot be listed, not one that is not there.
                Some(self.lost_volume(&volume)?)
            }
        };
        self.writer.add_volume(&row)?;
        Ok(node)
    }

    /// Returns the top directory of a volume that cannot be read: it cannot be listed. Its tree stays what it was, if there was
    /// one, so that nothing of it is told as deleted.
    fn lost_volume(&mut self, volume: &Volume) -> Result<NodeId, Error> {
        let path = path_of(&volume.name).expect("it was checked");
        let known = self.previous_directory(&path)?;
        let (node, base) = match known {
            Some(node) => (node, self.writer.living(node)?),
            None => self.made_here(&path)?,
        };
        let row = match base {
            Some(base) => base,
            None => {
                let time = Timestamp { seconds: self.writer.at().0, nanos: 0 };
                self.writer.encode(&made_attrs(Kind::Directory, 0o700, time), false, None)?
            }
        };
        self.version(node, NodeRow { place: Place::Lost, ..row }, base.as_ref(), false)?;
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

    /// Says what `node` is; `other_bytes`: its bytes are others than those of `base`, whatever the rest says.
    fn version(&mut self, node: NodeId, row: NodeRow, base: Option<&NodeRow>, other_bytes: bool) -> Result<(), Error> {
        let written = if other_bytes { Written::Yes } else { Written::No };
        self.writer.put(node, base, row, written)?;
        Ok(())
    }

    /// Makes the names of `dir` these; `all`: what is not among them is not there.
    fn names(&mut self, dir: NodeId, names: &Names, all: bool) -> Result<(), Error> {
        let mut before = Vec::new();
        self.writer.list_previous(dir, |entry| before.push(entry))?;
        for entry in &before {
            match names.get(&entry.name) {
                Some((node, _)) if *node == entry.node => {}
                None if !all => {}
                _ => drop(self.writer.unlink(dir, &entry.name)?),
            }
        }
        for (name, (node, kind)) in names {
            let known = before.binary_search_by(|entry| entry.name.cmp(name));
            if known.is_ok_and(|at| before[at].node == *node) {
                continue;
            }
            if !all && known.is_ok() {
                // What was there is not told, and something else is.
                self.writer.unlink(dir, name)?;
            }
            self.writer.link(dir, name, *node, *kind)?;
            if *kind == Kind::Directory {
                self.named.push((dir, name.clone(), *node));
            }
        }
        Ok(())
    }

    /// Closes what is below directories that are gone, and names of directories that have two or hang in a loop.
    fn end_names(&mut self) -> Result<(), Error> {
        self.writer.bury()?;
        if self.writer.previous().is_none() {
            // All came down from the top, each directory once.
            return Ok(());
        }
        for (dir, name, node) in std::mem::take(&mut self.named) {
            let why = if self.writer.current_names(node)?.len() > 1 {
                "the directory has another name"
            } else if self.writer.hangs_in_a_loop(node)? {
                "the directory lies below itself"
            } else {
                continue;
            };
            self.writer.unlink(dir, &name)?;
            self.finding(FindingKind::Unreadable, &String::from_utf8_lossy(name.as_bytes()), why)?;
        }
        Ok(())
    }

    /// Records what is wrong with nodes, by their paths.
    fn tell_troubles(&mut self) -> Result<(), Error> {
        for trouble in std::mem::take(&mut self.troubles) {
            let path = match trouble.node {
                Some(node) if !self.writer.hangs_in_a_loop(node)? => self.writer.current_path(node)?,
                _ => None,
            };
            self.finding_at(FindingKind::Unreadable, path.unwrap_or(trouble.place), &trouble.detail)?;
        }
        Ok(())
    }

    /// Records something odd that loses nothing.
    fn note(&mut self, place: &str, what: &str) -> Result<(), Error> {
        self.finding(FindingKind::Unsupported, place, what)
    }

    fn finding(&mut self, kind: FindingKind, path: &str, detail: &str) -> Result<(), Error> {
        let mut at = RelPath::root();
        path.split('/').filter_map(|name| EntryName::new(name.as_bytes()).ok()).for_each(|name| at.push(&name));
        self.finding_at(kind, at, detail)
    }

    fn finding_at(&mut self, kind: FindingKind, path: RelPath, detail: &str) -> Result<(), Error> {
        let finding = Finding { kind, path, detail: detail.to_owned() };
        self.monitor.finding(&finding);
        Ok(self.writer.report(&finding)?)
    }
}

/// What is wrong with a node.
struct Trouble {
    node: Option<NodeId>,
    /// The volume, where the node has no path.
    place: RelPath,
    detail: String,
}

/// Opens the file system of a volume; says in `row` what is there otherwise.
fn open(device: &Arc<dyn Device>, row: &mut VolumeRow) -> Result<Option<Box<dyn FileSystem>>, block::Error> {
    if device.size_bytes() == 0 {
        return Err(block::Error::Damaged("the table of the disk does not tell where it is".to_owned()));
    }
    if ext4::is(&**device) {
        row.kind = Some("ext4".to_owned());
        return Ok(Some(Box::new(ext4::open(Arc::clone(device))?)));
    }
    if xfs::is(&**device) {
        row.kind = Some("xfs".to_owned());
        return Ok(Some(Box::new(xfs::open(Arc::clone(device))?)));
    }
    row.kind = volumes::identify(&**device).map(str::to_owned);
    Ok(None)
}

fn pieces_text(volume: &Volume) -> String {
    let pieces: Vec<String> = volume.pieces.iter().map(|piece| format!("{}+{}", piece.at, piece.length)).collect();
    pieces.join(" ")
}

/// Tells whether a volume is where these pieces are, as far as the shorter of both goes: one that grew is the same.
fn is_at(volume: &Volume, pieces: &str) -> bool {
    let number = |text: &str| text.parse::<u64>().ok();
    let mut offset = 0;
    pieces.split(' ').all(|piece| {
        let Some((at, length)) = piece.split_once('+').and_then(|(at, length)| Some((number(at)?, number(length)?)))
        else {
            return false;
        };
        let mut same = true;
        volume.locate(offset, length, |from, on_disk, _| same &= on_disk == at + (from - offset));
        offset += length;
        same
    })
}

fn name(text: &str) -> EntryName {
    EntryName::new(text.as_bytes()).expect("a plain word")
}

/// Returns the names of a volume's directory.
fn path_of(volume: &str) -> Option<Vec<EntryName>> {
    volume.split('/').map(|name| EntryName::new(name.as_bytes()).ok()).collect()
}

/// Puts something into the tree above volumes, with the directories that lead to it.
fn add(tree: &mut BTreeMap<Vec<EntryName>, Names>, path: &[EntryName], node: NodeId, kind: Kind) {
    let (last, above) = path.split_last().expect("a path has a name");
    for depth in 0..=above.len() {
        tree.entry(above[..depth].to_vec()).or_default();
    }
    tree.get_mut(above).expect("just made").insert(last.clone(), (node, kind));
}

fn made_attrs(kind: Kind, mode: u32, time: Timestamp) -> Attrs {
    Attrs {
        mode: kind.mode_bits() | mode,
        uid: 0,
        gid: 0,
        size_bytes: 0,
        allocated_bytes: None,
        mtime: time,
        ctime: time,
        nlink: 1,
        rdev: 0,
        xattrs: XattrSet::default(),
        target: Vec::new(),
    }
}
