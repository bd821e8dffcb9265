//! Tells every node that has a name, directory by directory.
//!
//! Promises: names come in their bytewise order. Memory: the directories of one depth and one directory's names.

use super::error::Error;
use super::writer::Part;
use crate::model::{Kind, Timestamp, chain};
use crate::source::gluster::Gfid;
use crate::source::gluster::brick::{self, Brick, Reader, Sight};
use crate::source::gluster::part::{Line, Node, State, Text};
use crate::sys::walk::{self as sys, FileAt};
use std::collections::{BTreeMap, VecDeque};
use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

/// Room for names per call of a listing: about 8,000 of them.
const NAMES_BYTES: usize = 256 * 1024;
/// Names that are looked at together, in the order of their inodes, which lie beside each other on disk.
pub(super) const BATCH: usize = 4096;

/// Tells every node that has a name, directory by directory.
pub(super) fn walk(reader: &mut Reader<'_>, began: Timestamp, part: &mut Part<'_>) -> Result<(), Error> {
    match reader.root() {
        Ok(state) => part.line(&Line::Node(Node { state, names: Vec::new(), data: false, made: false }))?,
        Err(error) => part.trouble(b"", chain(&error))?,
    }
    tell_shards(reader, part)?;
    let mut names = Names::default();
    let mut queue = VecDeque::from([(Vec::new(), Gfid::ROOT)]);
    while let Some((path, gfid)) = queue.pop_front() {
        match reader.open_walked(&path, gfid) {
            Ok(Some(dir)) => {
                if let Err(error) = names.load(dir.as_fd()) {
                    part.trouble(&path, format!("listing: {error}"))?;
                    continue;
                }
                part.line(&Line::Directory { path: components(&path) })?;
                walk_entries(reader, began, dir.as_fd(), &path, gfid, &names, &mut queue, part)?;
            }
            // It was removed since it was named: so it was empty.
            Ok(None) => part.line(&Line::Directory { path: components(&path) })?,
            Err(error) => part.trouble(&path, format!("listing: {error}"))?,
        }
    }
    Ok(())
}

/// Tells when the shards on this brick changed last, by file.
fn tell_shards(reader: &mut Reader<'_>, part: &mut Part<'_>) -> Result<(), Error> {
    let mut newest: BTreeMap<Gfid, Timestamp> = BTreeMap::new();
    let stamped = reader.stamp_shards(&mut |base, changed| {
        let known = newest.entry(base).or_insert(changed);
        *known = changed.max(*known);
    });
    if let Err(error) = stamped {
        part.trouble(b".shard", chain(&error))?;
    }
    for (base, changed) in newest {
        part.line(&Line::Shards { base, changed: changed.into() })?;
    }
    Ok(())
}

fn components(path: &[u8]) -> Vec<Text> {
    path.split(|b| *b == b'/').filter(|name| !name.is_empty()).map(|name| Text(name.to_vec())).collect()
}

/// Tells the entries of one directory, in name order.
#[allow(clippy::too_many_arguments, reason = "one step of the walk, called from one place")]
fn walk_entries(
    reader: &mut Reader<'_>,
    began: Timestamp,
    dir: BorrowedFd<'_>,
    path: &[u8],
    gfid: Gfid,
    names: &Names,
    queue: &mut VecDeque<(Vec<u8>, Gfid)>,
    part: &mut Part<'_>,
) -> Result<(), Error> {
    let mut sights: Vec<(&CStr, io::Result<Sight>)> = Vec::new();
    for batch in names.batches() {
        let mut by_inode = batch.to_vec();
        if gfid == Gfid::ROOT {
            by_inode.retain(|name| !brick::is_internal_name(names.get(name).to_bytes()));
        }
        by_inode.sort_unstable_by_key(|name| name.inode);
        sights.extend(by_inode.iter().map(|name| {
            let name = names.get(name);
            (name, reader.sight(FileAt::Named(dir, name)))
        }));
        sights.sort_unstable_by_key(|sight| sight.0);
        for (name, sight) in sights.drain(..) {
            let name = name.to_bytes();
            let child = || brick::join(path, name);
            match sight {
                Ok(Sight::Node(state)) if is_told(reader.brick(), gfid, name, &state) => {
                    if Kind::from_mode(state.mode) == Some(Kind::Directory) {
                        queue.push_back((child(), state.gfid));
                    }
                    part.line(&Line::Entry { name: Text(name.to_vec()), state: *state })?;
                }
                Ok(Sight::Node(_)) => {}
                Ok(Sight::Boundary) => {
                    part.trouble(&child(), "another file system is mounted here; it was not entered".to_owned())?;
                }
                // Between its creation and its gfid, or by hand: the records of this very moment tell.
                Ok(Sight::Stranger(stat)) if stat.ctime >= began => {}
                Ok(Sight::Stranger(_)) => {
                    let detail = "it has no trusted.gfid: it was put onto the brick by hand, and is not in the volume \
                                  before a client has looked it up";
                    part.trouble(&child(), detail.to_owned())?;
                }
                // It was removed or renamed since it was listed: records tell.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => part.trouble(&child(), format!("attributes: {error}"))?,
            }
        }
    }
    Ok(())
}

fn is_told(brick: &Brick, parent: Gfid, name: &[u8], state: &State) -> bool {
    !state.linkto && !brick.is_internal(parent, name, state.gfid)
}

/// The names in one directory, in their bytewise order; one allocation for all of them.
#[derive(Debug, Default)]
struct Names {
    bytes: Vec<u8>,
    places: Vec<NamePlace>,
    buffer: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
struct NamePlace {
    inode: u64,
    begin: usize,
    end: usize,
}

impl Names {
    /// Reads all names of `dir` in place of those before.
    fn load(&mut self, dir: BorrowedFd<'_>) -> io::Result<()> {
        self.bytes.clear();
        self.places.clear();
        self.buffer.resize(NAMES_BYTES, 0);
        loop {
            let entries = sys::read_directory(dir, &mut self.buffer)?;
            if entries.is_end() {
                break;
            }
            for (inode, name) in entries.iter() {
                let begin = self.bytes.len();
                self.bytes.extend_from_slice(name.to_bytes_with_nul());
                self.places.push(NamePlace { inode, begin, end: self.bytes.len() });
            }
        }
        let bytes = &self.bytes;
        self.places.sort_unstable_by_key(|place| &bytes[place.begin..place.end]);
        // A file system may list a name twice while it is renamed.
        self.places.dedup_by_key(|place| &bytes[place.begin..place.end]);
        Ok(())
    }

    fn batches(&self) -> impl Iterator<Item = &[NamePlace]> {
        self.places.chunks(BATCH)
    }

    fn get(&self, place: &NamePlace) -> &CStr {
        CStr::from_bytes_with_nul(&self.bytes[place.begin..place.end]).expect("it was put there as a C string")
    }
}
