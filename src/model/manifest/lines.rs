//! Reading a manifest of format 1: JSON lines, each an edit, of a volume or a disk.
//!
//! It has no kind of source, UUID, sequence, number, place of the copy, counts, findings or volumes; a layer of a disk has no
//! extents, and its files have neither size nor time; whether bytes were written is not said. A disk is known by its `disk`, all
//! others are volumes. How a generation was scanned follows from its state: it has the instant of the last look at everything.
//!
//! Promises: as [`super::reader`]. Lines are up to 16 MiB.

use super::columns::NODE_MAX;
use super::record::unhex_all;
use super::stream::{Unpacked, stream_error};
use super::{Base, BytesAt, Edit, End, Error, Header, Held, Permissions, Put, SourceFacts, Written};
use crate::model::{
    DiskRow, EntryName, Extent, FileMap, ImageFile, Kind, Layer, Level, NodeId, Rule, Scan, SourceKind, Time,
    Timestamp, XattrSet, unescape_bytes,
};
use serde::Deserialize;
use std::ffi::OsString;
use std::io::{BufRead, Read};
use std::os::unix::ffi::OsStringExt;

const LINE_BYTES_MAX: u64 = 16 << 20;

#[derive(Deserialize)]
struct FirstLine {
    manifest: u32,
    source: String,
    settings: Box<serde_json::value::RawValue>,
    taken_at: i64,
    previous: Option<i64>,
    level: String,
    root: i64,
    disk: Option<Disk>,
}

#[derive(Deserialize)]
struct Disk {
    size: u64,
    parent: Option<i64>,
    files: Vec<String>,
    format: String,
    acquire: Option<String>,
    checkpoint: Option<String>,
    consistency: Option<String>,
    location: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Line {
    Close { parent: i64, name: String },
    Open { parent: i64, name: String, node: i64, kind: char },
    Version(Box<Version>),
    End { lines: u64, resume: Option<String> },
}

#[derive(Deserialize)]
struct Version {
    node: i64,
    mode: u32,
    uid: u32,
    gid: u32,
    size: u64,
    allocated: Option<u64>,
    mtime: (i64, u32),
    ctime: (i64, u32),
    nlink: u32,
    place: String,
    at: Option<i64>,
    target: Option<String>,
    xattrs: Vec<(String, String)>,
    inode: Option<(u64, i64)>,
    gfid: Option<String>,
    runs: Option<Vec<Run>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Run {
    Written(u64, u64, u64),
    Unwritten(u64, u64, u64, bool),
}

/// What of a generation says when it was last looked at as a whole.
#[derive(Deserialize)]
struct State {
    walked_at: Option<i64>,
}

/// A manifest of format 1.
pub(super) struct Lines<R: Read> {
    input: Unpacked<R>,
    line: Vec<u8>,
    lines: u64,
    edits: u64,
    taken_at: i64,
    /// The layer, until it was given.
    disk: Option<DiskRow>,
    held: DiskRow,
    name: Vec<u8>,
    /// The version whose identity was given, until it is given itself.
    version: Option<Box<Version>>,
    xattrs: XattrSet,
    bytes: Vec<u8>,
    state: String,
    end: Option<End>,
}

impl<R: Read> Lines<R> {
    pub(super) fn new(input: Unpacked<R>) -> Result<(Header, Self), Error> {
        let mut lines = Self {
            input,
            line: Vec::new(),
            lines: 0,
            edits: 0,
            taken_at: 0,
            disk: None,
            held: DiskRow::default(),
            name: Vec::new(),
            version: None,
            xattrs: XattrSet::default(),
            bytes: Vec::new(),
            state: String::new(),
            end: None,
        };
        lines.read_line()?;
        let first: FirstLine = serde_json::from_slice(&lines.line).map_err(|_| Error::NotOne)?;
        if first.manifest != 1 {
            return Err(Error::TooNew { found: first.manifest });
        }
        let what_cannot_be = lines.damaged("its header says what cannot be");
        let (Some(level), Some(root)) = (Level::from_word(&first.level), checked(first.root)) else {
            return Err(what_cannot_be);
        };
        let kind = SourceKind::of_first_format(first.disk.is_some());
        if let Some(disk) = first.disk {
            let Some(files) = disk.files.iter().map(|file| unescape_bytes(file)).collect::<Option<Vec<_>>>() else {
                return Err(what_cannot_be);
            };
            let file =
                |path| ImageFile { path: OsString::from_vec(path).into(), size_bytes: 0, mtime: Timestamp::default() };
            lines.disk = Some(DiskRow {
                layer: Layer {
                    size_bytes: disk.size,
                    files: files.into_iter().map(file).collect(),
                    extents: Vec::new(),
                },
                parent: disk.parent.map(Time),
                format: disk.format,
                acquire: disk.acquire,
                checkpoint: disk.checkpoint,
                consistency: disk.consistency,
                location: disk.location,
            });
        }
        lines.taken_at = first.taken_at;
        let taken_at = Time(first.taken_at);
        let source = SourceFacts {
            uuid: None,
            name: first.source,
            kind,
            settings: first.settings.get().to_owned(),
            policy: "{}".to_owned(),
            rule: Rule::WRITES,
            root,
            added_at: taken_at,
        };
        let header = Header {
            format: 1,
            source,
            taken_at,
            level,
            number: 0,
            sequence: 0,
            after: 0,
            base: first.previous.map(|at| Base { at: Time(at), sequence: 0, indexed_at: None, state_hash: None }),
            replaces: None,
            indexed_at: taken_at,
            copy: None,
        };
        Ok((header, lines))
    }

    fn damaged(&self, what: &'static str) -> Error {
        Error::Damaged { edits: self.edits, what }
    }

    fn read_line(&mut self) -> Result<(), Error> {
        self.line.clear();
        let read = (&mut self.input).take(LINE_BYTES_MAX).read_until(b'\n', &mut self.line);
        read.map_err(|e| stream_error(e, self.edits))?;
        match self.line.last() {
            Some(b'\n') => self.lines += 1,
            Some(_) if self.line.len() as u64 == LINE_BYTES_MAX => return Err(self.damaged("a line is too long")),
            _ => return Err(Error::EndsEarly { edits: self.edits }),
        }
        Ok(())
    }

    pub(super) fn end(&self) -> Option<&End> {
        self.end.as_ref()
    }

    pub(super) fn next_edit(&mut self) -> Result<Option<Edit<'_>>, Error> {
        if self.end.is_some() {
            return Ok(None);
        }
        if let Some(row) = self.disk.take() {
            self.held = row;
            self.edits += 1;
            return Ok(Some(Edit::Hold { disk: 0, row: &self.held }));
        }
        if let Some(version) = self.version.take() {
            self.edits += 1;
            return self.put(&version).map(Some);
        }
        self.read_line()?;
        let line = serde_json::from_slice(&self.line).map_err(|_| self.damaged("a line is no edit"))?;
        let edit = match line {
            Line::Close { parent, name } => {
                let dir = self.node(parent)?;
                self.read_name(&name)?;
                Edit::Unlink { dir, name: &self.name }
            }
            Line::Open { parent, name, node, kind } => {
                let (dir, node) = (self.node(parent)?, self.node(node)?);
                let kind = super::columns::KINDS.into_iter().find(|one| one.letter() == kind);
                let kind = kind.ok_or_else(|| self.damaged("a type is none"))?;
                self.read_name(&name)?;
                Edit::Link { dir, name: &self.name, node, kind }
            }
            Line::Version(version) => {
                let node = self.node(version.node)?;
                let Some((inode, born_ns)) = self.identity(&version)? else {
                    self.edits += 1;
                    return self.put(&version).map(Some);
                };
                self.version = Some(version);
                Edit::Identify { node, inode, born_ns }
            }
            Line::End { lines, resume } => return self.read_end(lines, resume),
        };
        self.edits += 1;
        Ok(Some(edit))
    }

    fn read_end(&mut self, lines: u64, resume: Option<String>) -> Result<Option<Edit<'_>>, Error> {
        if lines != self.lines - 1 {
            return Err(self.damaged("its end counts another number of lines"));
        }
        let more = self.input.fill_buf().map(|left| !left.is_empty());
        if more.map_err(|e| stream_error(e, self.edits))? {
            return Err(self.damaged("something follows its end"));
        }
        self.edits += u64::from(resume.is_some());
        self.end = Some(End { counts: None, state_hash: None, edits: self.edits, checksum: [0; 32] });
        let Some(state) = resume else { return Ok(None) };
        let told: Option<State> = serde_json::from_str(&state).ok();
        let walked = told.and_then(|told| told.walked_at) == Some(self.taken_at);
        self.state = state;
        let scan = if walked { Scan::Walk } else { Scan::Changelog };
        Ok(Some(Edit::Resume { scan, state: &self.state }))
    }

    fn node(&self, number: i64) -> Result<NodeId, Error> {
        checked(number).ok_or_else(|| self.damaged("a node is none of a catalog"))
    }

    fn read_name(&mut self, text: &str) -> Result<(), Error> {
        let name = unescape_bytes(text).filter(|name| EntryName::check(name).is_ok());
        self.name = name.ok_or_else(|| self.damaged("a name is none"))?;
        Ok(())
    }

    fn identity(&self, version: &Version) -> Result<Option<(u64, i64)>, Error> {
        let Some(gfid) = &version.gfid else { return Ok(version.inode) };
        let digits = gfid.replace('-', "");
        let number = u128::from_str_radix(&digits, 16).ok().filter(|_| digits.len() == 32);
        let number = number.ok_or_else(|| self.damaged("a gfid is none"))?;
        Ok(Some(((number >> 64) as u64, number as u64 as i64)))
    }

    fn put(&mut self, version: &Version) -> Result<Edit<'_>, Error> {
        let node = self.node(version.node)?;
        if Kind::from_mode(version.mode).is_none() {
            return Err(self.damaged("a mode names no type"));
        }
        let (mtime, ctime) = (self.time(version.mtime)?, self.time(version.ctime)?);
        let item = |(name, value): &(String, String)| Some((unescape_bytes(name)?, unhex_all(value)?));
        let items: Option<Vec<_>> = version.xattrs.iter().map(item).collect();
        self.xattrs = XattrSet::new(items.ok_or_else(|| self.damaged("attributes are none"))?);
        let at = self.bytes_at(version)?;
        let at = match at {
            Some(at) => at,
            None if version.place == "runs" => BytesAt::Map(&self.bytes),
            None => BytesAt::Inline(&self.bytes),
        };
        Ok(Edit::Put(Put {
            node,
            permissions: Permissions {
                mode: version.mode,
                uid: version.uid,
                gid: version.gid,
                xattrs: Some(&self.xattrs),
            },
            size_bytes: version.size,
            allocated_bytes: version.allocated,
            mtime,
            ctime,
            nlink: version.nlink,
            bytes: 0,
            written: Written::Unknown,
            at,
        }))
    }

    fn time(&self, (seconds, nanos): (i64, u32)) -> Result<Timestamp, Error> {
        match nanos < 1_000_000_000 {
            true => Ok(Timestamp { seconds, nanos }),
            false => Err(self.damaged("a second has too many nanoseconds")),
        }
    }

    /// Returns where the bytes are; none: in `self.bytes`.
    fn bytes_at(&mut self, version: &Version) -> Result<Option<BytesAt<'static>>, Error> {
        let nowhere_known = || self.damaged("bytes are nowhere that is known");
        Ok(Some(match (version.place.as_str(), version.at) {
            ("none", _) => BytesAt::Nowhere,
            ("own path", _) => BytesAt::OwnPath,
            ("copy", Some(at)) if at == self.taken_at => BytesAt::ThisCopy,
            ("copy", Some(at)) => BytesAt::CopyOf { held: Held::At(Time(at)), path: b"" },
            ("disk", _) => BytesAt::WholeDisk,
            ("device", Some(number)) => BytesAt::Device(number as u64),
            ("lost", _) => BytesAt::Lost,
            ("target", _) => {
                let target = version.target.as_deref().and_then(unescape_bytes);
                self.bytes = target.ok_or_else(nowhere_known)?;
                return Ok(None);
            }
            ("runs", _) => {
                let map = version.runs.as_deref().and_then(map_of).ok_or_else(nowhere_known)?;
                self.bytes = if map.extents.is_empty() { Vec::new() } else { map.encode() };
                return Ok(None);
            }
            _ => return Err(nowhere_known()),
        }))
    }
}

fn checked(node: i64) -> Option<NodeId> {
    (0..NODE_MAX.0).contains(&node).then_some(NodeId(node))
}

/// Returns the map of a file, if its runs are in order.
fn map_of(runs: &[Run]) -> Option<FileMap> {
    let mut map = FileMap::default();
    let mut from = 0;
    for run in runs {
        let (offset, at, length, unwritten) = match *run {
            Run::Written(offset, at, length) => (offset, at, length, false),
            Run::Unwritten(offset, at, length, unwritten) => (offset, at, length, unwritten),
        };
        if offset < from || at.checked_add(length)? > i64::MAX as u64 || length > i64::MAX as u64 {
            return None;
        }
        from = offset.checked_add(length)?;
        map.extents.push(Extent { offset, at, length, unwritten });
    }
    Some(map)
}
