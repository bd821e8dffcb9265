//! What the agent beside a brick does: answers one request with one part.
//!
//! Promises: the history is asked before the brick is looked at, so what changes during a scan is told again by the next.
//! Trouble with one node is a line and does not stop the scan; where changelogs do not tell all, no node of theirs is
//! told at all, and the end mark says why. Memory: a walk holds the directories of one depth and one directory's names;
//! the rest holds the gfids and names that changelogs tell, and one changelog. Never writes below the brick.

#[cfg(test)]
mod tests;
mod window;

use super::Gfid;
use super::brick::{self, Brick, Look, Occupant, Reader, Sight};
use super::changelog::{self, Record, Spot, What};
use super::history::{self, Plan};
use super::part::{Cursor, End, FORMAT, Gap, Header, Line, Node, Request, State, Text, Want};
use crate::clock::Clock;
use crate::model::{Kind, Timestamp, chain, escape_bytes};
use crate::sys::walk as sys;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::ffi::{CStr, OsStr};
use std::io::{self, BufWriter, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Bytes of a part that are written at once.
const PART_BYTES: usize = 256 * 1024;
/// Room for names per call of a listing: about 8,000 of them.
const NAMES_BYTES: usize = 256 * 1024;
/// Names that are looked at together, in the order of their inodes, which lie beside each other on disk.
const BATCH: usize = 4096;

/// Why a request got no part. What was written until then has no end mark.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A request of another version of this program.
    #[error("the request is of format {found}, this program answers format {FORMAT}")]
    Format {
        /// Its format.
        found: u32,
    },
    /// The brick cannot be opened.
    #[error("cannot scan a brick of {volume:?}")]
    Brick {
        /// The volume.
        volume: String,
        /// What it is.
        #[source]
        source: brick::Error,
    },
    /// The directory is a brick of another volume.
    #[error("the brick {brick:?} is of the volume with the id {found}, expected {expected}")]
    OtherVolume {
        /// Its root.
        brick: String,
        /// The id that it carries.
        found: Gfid,
        /// The id of the request.
        expected: Gfid,
    },
    /// The part cannot be written.
    #[error("cannot write the part of the brick {brick:?}")]
    Write {
        /// The root of the brick.
        brick: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// What a scan told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Lines of the part, the first and the last among them.
    pub lines: u64,
    /// [`Line::Node`] lines.
    pub nodes: u64,
    /// [`Line::Directory`] lines.
    pub directories: u64,
    /// [`Line::Entry`] lines.
    pub entries: u64,
    /// [`Line::Gone`] lines.
    pub gone: u64,
    /// [`Line::Name`] lines.
    pub names: u64,
    /// [`Line::Trouble`] lines.
    pub troubles: u64,
    /// Closed changelogs that were read.
    pub slices: u64,
    /// Records in them and in the open one.
    pub records: u64,
    /// Holes in the changelogs.
    pub gaps: u64,
}

/// Answers `request` and returns what it told.
///
/// `version` is that of the program, `clock` tells when it began. Writes in pieces of 256 KiB and flushes `out` at the end.
///
/// # Errors
/// [`Error`]; all that concerns single nodes or changelogs is in the part.
pub fn scan(request: &Request, version: &str, clock: &dyn Clock, out: &mut dyn Write) -> Result<Summary, Error> {
    if request.format != FORMAT {
        return Err(Error::Format { found: request.format });
    }
    // A file that is stamped before this, by the clock that file systems use, was made before the scan began.
    let began = sys::stamp_clock();
    let fail = |source| Error::Brick { volume: request.volume.clone(), source };
    let path = Path::new(OsStr::from_bytes(&request.brick.0));
    let brick = Brick::open(path, &request.volume, request.fragments).map_err(fail)?;
    if brick.volume_id() != request.volume_id {
        return Err(Error::OtherVolume {
            brick: path_text(path),
            found: brick.volume_id(),
            expected: request.volume_id,
        });
    }
    let mut reader = brick.reader().map_err(fail)?;
    let mut part = Part::new(path, out);
    part.line(&Line::Part(Header {
        format: FORMAT,
        asof: version.to_owned(),
        volume: request.volume.clone(),
        volume_id: request.volume_id,
        brick: request.brick.clone(),
        want: want_text(&request.want).to_owned(),
        began_ns: clock.now().0.saturating_mul(1_000_000_000),
    }))?;
    let end = match &request.want {
        Want::Walk => {
            let plan = plan(&brick, None);
            walk(&mut reader, began, &mut part)?;
            End { lines: 0, cursor: plan.next, gaps: plan.gaps, slices: Vec::new(), records: 0 }
        }
        Want::Since { cursor, also } => since(&mut reader, plan(&brick, Some(cursor)), also, &mut part)?,
        Want::Window { from, until } => window::window(&mut reader, *from, *until, &mut part)?,
        Want::Look { gfids } => {
            let asked = Touch { data: false, made: false, outside: true };
            let nodes = gfids.iter().map(|gfid| (*gfid, asked)).collect();
            tell(&mut reader, BTreeSet::new(), nodes, &mut part)?;
            End { lines: 0, cursor: None, gaps: Vec::new(), slices: Vec::new(), records: 0 }
        }
    };
    part.finish(end)
}

fn want_text(want: &Want) -> &'static str {
    match want {
        Want::Walk => "walk",
        Want::Since { .. } => "since",
        Want::Window { .. } => "window",
        Want::Look { .. } => "look",
    }
}

fn path_text(path: &Path) -> String {
    escape_bytes(path.as_os_str().as_bytes()).into_owned()
}

/// Asks the history; what keeps it from answering is a gap.
fn plan(brick: &Brick, since: Option<&Cursor>) -> Plan {
    history::plan(brick.path(), brick.volume_id(), since).unwrap_or_else(|error| Plan {
        read: Vec::new(),
        open: None,
        next: None,
        gaps: vec![Gap { why: chain(&error), from: since.map(|cursor| cursor.last), until: None }],
    })
}

/// The part while it is written.
struct Part<'o> {
    brick: &'o Path,
    out: BufWriter<&'o mut dyn Write>,
    summary: Summary,
    /// The directories of the nodes that were told, where they are wanted.
    parents: Option<BTreeSet<Gfid>>,
}

impl<'o> Part<'o> {
    fn new(brick: &'o Path, out: &'o mut dyn Write) -> Self {
        Self { brick, out: BufWriter::with_capacity(PART_BYTES, out), summary: Summary::default(), parents: None }
    }

    fn line(&mut self, line: &Line) -> Result<(), Error> {
        let summary = &mut self.summary;
        summary.lines += 1;
        match line {
            Line::Part(_) | Line::Recorded(_) | Line::Shards { .. } => {}
            Line::Node(node) => {
                summary.nodes += 1;
                if let Some(parents) = &mut self.parents {
                    parents.extend(node.names.iter().map(|name| name.parent));
                }
            }
            Line::Directory { .. } => summary.directories += 1,
            Line::Entry { .. } => summary.entries += 1,
            Line::Gone { .. } => summary.gone += 1,
            Line::Name { .. } => summary.names += 1,
            Line::Trouble { .. } => summary.troubles += 1,
            Line::End(end) => {
                summary.gaps = end.gaps.len() as u64;
                summary.records = end.records;
            }
        }
        let written = serde_json::to_writer(&mut self.out, line)
            .map_err(io::Error::from)
            .and_then(|()| self.out.write_all(b"\n"));
        written.map_err(|source| Error::Write { brick: path_text(self.brick), source })
    }

    fn trouble(&mut self, path: &[u8], detail: String) -> Result<(), Error> {
        self.line(&Line::Trouble { path: Text(path.to_vec()), detail })
    }

    fn finish(mut self, mut end: End) -> Result<Summary, Error> {
        end.lines = self.summary.lines;
        self.line(&Line::End(end))?;
        self.out.flush().map_err(|source| Error::Write { brick: path_text(self.brick), source })?;
        Ok(self.summary)
    }
}

/// Tells every node that has a name, directory by directory.
fn walk(reader: &mut Reader<'_>, began: Timestamp, part: &mut Part<'_>) -> Result<(), Error> {
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
            (name, reader.sight(dir, Some(name)))
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

/// What is to be told of a node.
#[derive(Clone, Copy, Debug, Default)]
struct Touch {
    /// Its bytes changed.
    data: bool,
    /// It was made.
    made: bool,
    /// It was asked for, or a record names it in a directory that is not internal: so, if it has internal names only,
    /// it is gone for clients, as what `features.trash` took away.
    outside: bool,
}

/// What records tell of.
#[derive(Debug, Default)]
struct Touched {
    nodes: BTreeMap<Gfid, Touch>,
    names: BTreeSet<(Gfid, Vec<u8>)>,
    /// Shards by the name that a record gives them.
    shards: HashSet<Gfid>,
    records: u64,
}

impl Touched {
    fn take(&mut self, record: &Record<'_>) {
        self.records += 1;
        let touch = self.nodes.entry(record.gfid).or_default();
        touch.data |= matches!(record.what, What::Data);
        touch.made |= matches!(record.what, What::Create { .. });
        match &record.what {
            What::Data | What::Metadata { .. } => {}
            What::Create { at, .. }
            | What::Link { at, .. }
            | What::Symlink { at, .. }
            | What::Unlink { at, .. }
            | What::Rmdir { at, .. } => self.take_spot(record.gfid, at),
            What::Rename { from, to } => {
                self.take_spot(record.gfid, from);
                self.take_spot(record.gfid, to);
            }
        }
    }

    fn take_spot(&mut self, gfid: Gfid, at: &Spot<'_>) {
        if at.parent == Gfid::SHARDS {
            if let Some(base) = brick::shard_base(at.name) {
                self.shards.insert(gfid);
                self.take_base(base);
            }
            return;
        }
        if brick::is_fixed_internal(at.parent) {
            return;
        }
        self.nodes.entry(gfid).or_default().outside = true;
        // Its times changed.
        self.nodes.entry(at.parent).or_default();
        self.names.insert((at.parent, at.name.to_vec()));
    }

    /// Takes in that a shard of `base` changed.
    fn take_base(&mut self, base: Gfid) {
        let touch = self.nodes.entry(base).or_default();
        touch.data = true;
        touch.outside = true;
    }
}

/// Tells what the changelogs of `plan` and `also` name.
fn since(reader: &mut Reader<'_>, plan: Plan, also: &[Gfid], part: &mut Part<'_>) -> Result<End, Error> {
    let mut end = End { lines: 0, cursor: plan.next, gaps: plan.gaps, slices: Vec::new(), records: 0 };
    if !end.gaps.is_empty() {
        return Ok(end);
    }
    let mut touched = Touched::default();
    for path in &plan.read {
        let read = changelog::read(path, &mut |record| touched.take(&record));
        if let Err(error) = read {
            return Ok(without_records(end, path, &error));
        }
        end.slices.push(slice_name(path));
    }
    // Read as far as it goes; it is not done with, since its nodes may change again without another record.
    if let Some(open) = &plan.open {
        let read = changelog::read_open(&open.file, &open.path, &mut |record| touched.take(&record));
        if let Err(error) = read {
            return Ok(without_records(end, &open.path, &error));
        }
    }
    part.summary.slices = end.slices.len() as u64;
    end.records = touched.records;
    for gfid in also {
        touched.nodes.entry(*gfid).or_default().outside = true;
    }
    map_shards(reader, &mut touched, part)?;
    tell(reader, touched.names, touched.nodes, part)?;
    Ok(end)
}

/// Returns the end mark of a part without records: those before the break are true, but what was after it is unknown.
fn without_records(end: End, path: &Path, error: &changelog::Error) -> End {
    let until = slice_name(path).strip_prefix("CHANGELOG.").and_then(|seconds| seconds.parse().ok());
    let gap = Gap { why: chain(error), from: None, until };
    End { cursor: None, gaps: vec![gap], slices: Vec::new(), ..end }
}

fn slice_name(path: &Path) -> String {
    escape_bytes(path.file_name().map_or(&b""[..], OsStr::as_bytes)).into_owned()
}

/// Puts the files in place of their shards: a write into a shard is recorded by the gfid of the shard alone.
fn map_shards(reader: &mut Reader<'_>, touched: &mut Touched, part: &mut Part<'_>) -> Result<(), Error> {
    for shard in std::mem::take(&mut touched.shards) {
        touched.nodes.remove(&shard);
    }
    match reader.has_shards() {
        Ok(true) => {}
        Ok(false) => return Ok(()),
        Err(error) => return part.trouble(Gfid::SHARDS.handle().as_bytes(), chain(&error)),
    }
    let mut shards = Vec::new();
    let mut nameless = HashMap::new();
    for gfid in touched.nodes.keys() {
        match reader.base_of_shard(*gfid) {
            Ok((Some(base), _)) => shards.push((*gfid, base)),
            Ok((None, Some(inode))) => drop(nameless.insert(inode, *gfid)),
            Ok((None, None)) => {}
            Err(error) => part.trouble(gfid.handle().as_bytes(), chain(&error))?,
        }
    }
    // Shards of before Gluster 3.12 do not say whose they are.
    if !nameless.is_empty() {
        let listed = reader.list_shards(&mut |inode, name| {
            if let (Some(gfid), Some(base)) = (nameless.get(&inode), brick::shard_base(name)) {
                shards.push((*gfid, base));
            }
        });
        if let Err(error) = listed {
            part.trouble(b".shard", chain(&error))?;
        }
    }
    for (shard, base) in shards {
        touched.nodes.remove(&shard);
        touched.take_base(base);
        match reader.inode_changed(shard) {
            Ok(Some(changed)) => part.line(&Line::Shards { base, changed: changed.into() })?,
            Ok(None) => {}
            Err(error) => part.trouble(shard.handle().as_bytes(), chain(&error))?,
        }
    }
    Ok(())
}

/// Tells what `names` point to and how `nodes` are.
///
/// In up to three passes: what does not add up is looked at a second time, since it may have changed the moment before,
/// and a third time after one walk over the brick has searched for it.
fn tell(
    reader: &mut Reader<'_>,
    mut names: BTreeSet<(Gfid, Vec<u8>)>,
    mut nodes: BTreeMap<Gfid, Touch>,
    part: &mut Part<'_>,
) -> Result<(), Error> {
    for pass in 0..3 {
        let mut unsure = Unsure::default();
        for (parent, name) in names {
            tell_name(reader, parent, name, &mut unsure, part)?;
        }
        for (gfid, touch) in nodes {
            tell_node(reader, gfid, touch, &mut unsure, part)?;
        }
        if unsure.names.is_empty() && unsure.nodes.is_empty() {
            return Ok(());
        }
        if pass == 1 {
            reader.find(&unsure.inodes, &unsure.directories);
        }
        (names, nodes) = (unsure.names, unsure.nodes);
    }
    Ok(())
}

/// What does not add up, and what to search for.
#[derive(Debug, Default)]
struct Unsure {
    names: BTreeSet<(Gfid, Vec<u8>)>,
    nodes: BTreeMap<Gfid, Touch>,
    inodes: HashSet<u64>,
    directories: HashSet<Gfid>,
}

fn tell_name(
    reader: &mut Reader<'_>,
    parent: Gfid,
    name: Vec<u8>,
    unsure: &mut Unsure,
    part: &mut Part<'_>,
) -> Result<(), Error> {
    let gfid = match reader.occupant(parent, &name) {
        Ok(Occupant::Node(gfid)) => Some(gfid),
        Ok(Occupant::Nobody) => None,
        Ok(Occupant::Internal) => return Ok(()),
        Ok(Occupant::Unsure(_)) => {
            unsure.directories.insert(parent);
            unsure.names.insert((parent, name));
            return Ok(());
        }
        Err(error) => {
            let path = brick::join(parent.handle().as_bytes(), &name);
            return part.trouble(&path, chain(&error));
        }
    };
    part.line(&Line::Name { parent, name: Text(name), gfid })
}

fn tell_node(
    reader: &mut Reader<'_>,
    gfid: Gfid,
    touch: Touch,
    unsure: &mut Unsure,
    part: &mut Part<'_>,
) -> Result<(), Error> {
    match reader.node(gfid) {
        Ok(Look::Node(mut node)) => {
            node.data = touch.data;
            node.made = touch.made;
            part.line(&Line::Node(*node))
        }
        Ok(Look::Gone) => part.line(&Line::Gone { gfid }),
        Ok(Look::Internal) if touch.outside => part.line(&Line::Gone { gfid }),
        Ok(Look::Internal) => Ok(()),
        Ok(Look::Unsure { inode, .. }) => {
            match inode {
                Some(inode) => drop(unsure.inodes.insert(inode)),
                None => drop(unsure.directories.insert(gfid)),
            }
            unsure.nodes.insert(gfid, touch);
            Ok(())
        }
        Err(error) => part.trouble(gfid.handle().as_bytes(), chain(&error)),
    }
}
