//! Writing a manifest of format 2.
//!
//! Promises: no allocation for an edit but where its bytes are kept for the next one to be compared with; a stream that was not
//! finished has no end mark. Cost: see the test `cost`.

use super::columns::*;
use super::record::{self, JsonEnd, JsonHeader, JsonHold};
use super::{BytesAt, Edit, EditSink, End, Header, Held, Permissions, Put, Written};
use crate::model::{DiskRow, Kind, NodeId, Timestamp, XattrSet};
use std::collections::HashMap;
use std::io::{self, Write};
use zstd::zstd_safe::CParameter;

/// Fast, and smaller than what a level more would gain.
const LEVEL: i32 = 3;
/// What is packed at once: some blocks, so that little waits in memory.
const JOB_BYTES: u32 = 2 << 20;

/// Writes a manifest: the header at once, edits in blocks, the end last.
pub struct Writer<W: Write> {
    out: Hashed<W>,
    columns: [Vec<u8>; COLUMNS],
    in_block: u64,
    edits: u64,
    sequence: u64,
    last: Last,
    dictionary: Dictionary,
}

/// The stream, with the digest of what went into it.
struct Hashed<W: Write> {
    out: zstd::Encoder<'static, W>,
    hasher: blake3::Hasher,
}

impl<W: Write> Hashed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hasher.update(bytes);
        self.out.write_all(bytes)
    }
}

/// The permissions that were met, by their numbers.
#[derive(Default)]
struct Dictionary {
    permissions: HashMap<(u32, u32, u32, u64), u64>,
    sets: HashMap<XattrSet, u64>,
    set_bytes: usize,
    /// The permissions of the put before; their set apart.
    last: Option<(u32, u32, u32, Option<XattrSet>)>,
}

impl<W: Write> Writer<W> {
    /// Begins a manifest. The header must be of format 2.
    ///
    /// # Errors
    /// That of `out`; `InvalidInput` if the header is too long.
    pub fn new(out: W, header: &Header) -> io::Result<Self> {
        assert_eq!(header.format, super::FORMAT, "only the newest format is written");
        let mut out = zstd::Encoder::new(out, LEVEL)?;
        out.include_checksum(true)?;
        // In a thread beside: whoever writes a generation is what its time hangs on.
        out.multithread(1)?;
        out.set_parameter(CParameter::JobSize(JOB_BYTES))?;
        let mut out = Hashed { out, hasher: blake3::Hasher::new() };
        let mut begin = MAGIC.to_vec();
        put_json(&mut begin, &JsonHeader::of(header))?;
        out.write(&begin)?;
        Ok(Self {
            out,
            columns: Default::default(),
            in_block: 0,
            edits: 0,
            sequence: header.sequence,
            last: Last::default(),
            dictionary: Dictionary::default(),
        })
    }

    /// Returns how many edits were written.
    pub fn edits(&self) -> u64 {
        self.edits
    }

    /// Writes the end, and returns what was written to. Number and checksum of `end` are set here.
    ///
    /// # Errors
    /// That of `out`.
    pub fn finish(mut self, end: &End) -> io::Result<W> {
        self.end_block()?;
        let checksum = *self.out.hasher.finalize().as_bytes();
        let mut bytes = vec![END];
        put_json(&mut bytes, &JsonEnd::of(&End { edits: self.edits, checksum, ..*end }))?;
        self.out.out.write_all(&bytes)?;
        self.out.out.finish()
    }

    fn end_block(&mut self) -> io::Result<()> {
        if self.in_block == 0 {
            return Ok(());
        }
        if self.columns.iter().map(Vec::len).sum::<usize>() > BLOCK_BYTES_MAX {
            return Err(too_long(self.edits));
        }
        let mut head = vec![BLOCK];
        put_number(&mut head, self.in_block);
        self.columns.iter().for_each(|column| put_number(&mut head, column.len() as u64));
        self.out.write(&head)?;
        for column in &mut self.columns {
            self.out.write(column)?;
            column.clear();
        }
        self.in_block = 0;
        Ok(())
    }

    fn number(&mut self, column: usize, number: u64) {
        put_number(&mut self.columns[column], number);
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.number(LENGTHS, bytes.len() as u64);
        self.columns[BYTES].extend_from_slice(bytes);
    }

    /// Returns the bits that say which node it is; what they do not say goes to its column.
    fn node(&mut self, node: NodeId) -> u8 {
        assert!((0..NODE_MAX.0).contains(&node.0), "node {node} is none of a catalog");
        let by = node.0 - std::mem::replace(&mut self.last.node, node.0);
        match by {
            0 => SAME_NODE,
            1 => NEXT_NODE,
            _ => {
                self.number(NODES, zigzag(by));
                0
            }
        }
    }

    fn dir(&mut self, dir: NodeId) -> u8 {
        let by = dir.0 - std::mem::replace(&mut self.last.dir, dir.0);
        if by == 0 {
            return SAME_DIR;
        }
        self.number(NODES, zigzag(by));
        0
    }

    fn name(&mut self, name: &[u8]) {
        let shared = self.last.name.iter().zip(name).take_while(|(a, b)| a == b).count();
        self.number(LENGTHS, shared as u64);
        self.number(LENGTHS, (name.len() - shared) as u64);
        self.columns[NAMES].extend_from_slice(&name[shared..]);
        self.last.name.truncate(shared);
        self.last.name.extend_from_slice(&name[shared..]);
    }

    fn named(&mut self, what: u8, dir: NodeId, name: &[u8], kind: Kind, node: NodeId) {
        let bits = self.dir(dir) | self.node(node);
        self.name(name);
        let kind = KINDS.iter().position(|one| *one == kind).expect("every kind is in the table");
        self.columns[WORDS].push(kind as u8);
        self.columns[EDITS].push(what | bits);
    }

    fn nanos(&mut self, nanos: u32) {
        let [low @ .., high] = nanos.to_le_bytes();
        self.columns[NANOS_LOW].extend_from_slice(&low);
        self.columns[NANOS_HIGH].push(high);
    }

    fn put(&mut self, what: u8, put: &Put<'_>) -> io::Result<()> {
        let mut edit = what | self.node(put.node);
        edit |= self.permissions(&put.permissions)?;
        self.columns[EDITS].push(edit);
        self.number(SIZES, put.size_bytes);
        let mut shape = self.mtime(put.mtime);
        shape |= self.ctime(put.mtime, put.ctime);
        if put.nlink != 1 {
            shape |= LINKS;
            self.number(MORE, put.nlink.into());
        }
        if let Some(allocated) = put.allocated_bytes {
            shape |= ALLOCATED;
            self.number(MORE, allocated);
        }
        let word = self.bytes_at(&put.at);
        let expected = if has_bytes(word) { self.sequence } else { 0 };
        if put.bytes != expected {
            shape |= OTHER_BYTES;
            self.number(MORE, put.bytes);
        }
        let written = match put.written {
            Written::Unknown => WRITTEN_UNKNOWN,
            Written::No => WRITTEN_NO,
            Written::Yes => WRITTEN_YES,
            Written::Digest(digest) => {
                self.columns[BYTES].extend_from_slice(&digest);
                WRITTEN_DIGEST
            }
        };
        self.columns[WORDS].push(word | written);
        self.columns[SHAPES].push(shape);
        Ok(())
    }

    fn mtime(&mut self, mtime: Timestamp) -> u8 {
        let last = std::mem::replace(&mut self.last.mtime, mtime);
        if mtime == last {
            return SAME_MTIME;
        }
        self.number(MTIMES, zigzag(mtime.seconds.wrapping_sub(last.seconds)));
        if mtime.nanos == 0 {
            return WHOLE_SECONDS;
        }
        self.nanos(mtime.nanos);
        0
    }

    fn ctime(&mut self, mtime: Timestamp, ctime: Timestamp) -> u8 {
        let last = std::mem::replace(&mut self.last.ctime, ctime);
        if ctime == mtime {
            return CTIME_IS_MTIME;
        }
        if ctime == last {
            return CTIME_IS_SAME;
        }
        let after = ctime.ns_since(last);
        if last.plus_ns(after) == ctime {
            self.number(MORE, zigzag(after));
            return CTIME_AFTER;
        }
        self.number(MORE, zigzag(ctime.seconds.wrapping_sub(mtime.seconds)));
        self.nanos(ctime.nanos);
        CTIME_ITSELF
    }

    fn bytes_at(&mut self, at: &BytesAt<'_>) -> u8 {
        match *at {
            BytesAt::Nowhere => NOWHERE,
            BytesAt::OwnPath => OWN_PATH,
            BytesAt::ThisCopy => THIS_COPY,
            BytesAt::CopyOf { held, path } => {
                match held {
                    Held::Sequence(sequence) => self.number(MORE, sequence),
                    Held::At(at) => {
                        self.number(MORE, 0);
                        self.number(MORE, zigzag(at.0));
                    }
                }
                self.bytes(path);
                COPY_OF
            }
            BytesAt::Map(map) => {
                self.bytes(map);
                MAP
            }
            BytesAt::Run(at) => {
                self.number(MORE, at);
                RUN
            }
            BytesAt::WholeDisk => WHOLE_DISK,
            BytesAt::Inline(bytes) => {
                self.bytes(bytes);
                INLINE
            }
            BytesAt::Device(number) => {
                self.number(MORE, number);
                DEVICE
            }
            BytesAt::Lost => LOST,
        }
    }

    fn permissions(&mut self, now: &Permissions<'_>) -> io::Result<u8> {
        let is_same = self.dictionary.last.as_ref().is_some_and(|(mode, uid, gid, xattrs)| {
            (*mode, *uid, *gid, xattrs.as_ref()) == (now.mode, now.uid, now.gid, now.xattrs)
        });
        if is_same {
            return Ok(SAME_PERMISSIONS);
        }
        self.dictionary.last = Some((now.mode, now.uid, now.gid, now.xattrs.cloned()));
        let set = match now.xattrs {
            None => Some(XATTRS_LOST),
            Some(set) if set.is_empty() => Some(XATTRS_NONE),
            Some(set) => self.dictionary.sets.get(set).copied(),
        };
        let known = set.and_then(|set| self.dictionary.permissions.get(&(now.mode, now.uid, now.gid, set)).copied());
        if let Some(number) = known {
            self.number(PERMISSIONS, number);
            return Ok(0);
        }
        let is_full =
            self.dictionary.permissions.len() >= PERMISSIONS_MAX || self.dictionary.set_bytes > XATTR_BYTES_MAX;
        let set = if is_full {
            self.dictionary.permissions.clear();
            self.dictionary.sets.clear();
            self.dictionary.set_bytes = 0;
            set.filter(|set| *set < XATTRS_NEW)
        } else {
            set
        };
        for number in [0, now.mode, now.uid, now.gid] {
            self.number(PERMISSIONS, number.into());
        }
        let set = match (set, now.xattrs) {
            (Some(set), _) => {
                self.number(PERMISSIONS, set);
                set
            }
            (None, Some(xattrs)) => {
                self.number(PERMISSIONS, XATTRS_NEW);
                self.new_set(xattrs)?
            }
            (None, None) => unreachable!("lost attributes have a number"),
        };
        let number = self.dictionary.permissions.len() as u64 + 1;
        self.dictionary.permissions.insert((now.mode, now.uid, now.gid, set), number);
        Ok(0)
    }

    fn new_set(&mut self, xattrs: &XattrSet) -> io::Result<u64> {
        self.number(MORE, xattrs.iter().count() as u64);
        let mut size_bytes = 0;
        for (name, value) in xattrs.iter() {
            self.bytes(name);
            self.bytes(value);
            size_bytes += item_bytes(name.len(), value.len());
        }
        if size_bytes > SET_BYTES_MAX {
            return Err(too_long(self.edits));
        }
        self.dictionary.set_bytes += size_bytes;
        let number = XATTRS_KNOWN + self.dictionary.sets.len() as u64;
        self.dictionary.sets.insert(xattrs.clone(), number);
        Ok(number)
    }

    fn hold(&mut self, disk: u32, row: &DiskRow) -> io::Result<()> {
        self.columns[EDITS].push(HOLD);
        self.number(MORE, disk.into());
        let json = record::to_json(&JsonHold::of(row))?;
        self.bytes(&json);
        self.wrote()?;
        row.layer.encode_extents().chunks(PIECE_BYTES).try_for_each(|piece| self.edit(&Edit::Extents(piece)))
    }

    /// Counts an edit, and ends the block if it is full.
    fn wrote(&mut self) -> io::Result<()> {
        self.edits += 1;
        self.in_block += 1;
        let is_full = || self.columns.iter().map(Vec::len).sum::<usize>() >= BLOCK_BYTES;
        // Most edits add some 30 bytes, so that not every one has to be measured.
        let is_full = self.in_block == BLOCK_EDITS || (self.columns[BYTES].len() >= BLOCK_BYTES / 2 && is_full());
        if is_full { self.end_block() } else { Ok(()) }
    }
}

impl<W: Write> EditSink for Writer<W> {
    fn edit(&mut self, edit: &Edit<'_>) -> io::Result<()> {
        match *edit {
            Edit::Link { dir, name, node, kind } => self.named(LINK, dir, name, kind, node),
            Edit::Unlink { dir, name } => {
                let bits = self.dir(dir);
                self.name(name);
                self.columns[EDITS].push(UNLINK | bits);
            }
            Edit::Put(ref put) => self.put(PUT, put)?,
            Edit::Amend(ref put) => self.put(AMEND, put)?,
            Edit::Define { dir, name, kind, node } => self.named(DEFINE, dir, name, kind, node),
            Edit::Walked(seen) => {
                for number in [seen.root.born_ns, seen.root.ctime_ns, seen.newest_ctime_ns, seen.at.0] {
                    self.number(MORE, zigzag(number));
                }
                self.number(MORE, seen.root.inode);
                self.columns[WORDS].push(seen.settled.into());
                let filesystem = seen.root.filesystem.map(|filesystem| self.number(MORE, filesystem.0));
                self.columns[EDITS].push(WALKED | filesystem.map_or(0, |()| ON_FILESYSTEM));
            }
            Edit::LeaveCtimes => self.columns[EDITS].push(LEAVE_CTIMES),
            Edit::Identify { node, inode, born_ns } => {
                let bits = self.node(node);
                self.number(MORE, inode);
                self.number(MORE, zigzag(born_ns));
                self.columns[EDITS].push(IDENTIFY | bits);
            }
            Edit::Doubt { node, subtree, reason } => {
                let bits = self.node(node);
                self.columns[WORDS].push(subtree.into());
                self.bytes(reason.as_bytes());
                self.columns[EDITS].push(DOUBT | bits);
            }
            Edit::Saw { dir, name } => {
                let bits = self.dir(dir);
                self.name(name);
                self.columns[EDITS].push(SAW | bits);
            }
            Edit::Report { kind, path, detail } => {
                for bytes in [kind.word().as_bytes(), path, detail.as_bytes()] {
                    self.bytes(bytes);
                }
                self.columns[EDITS].push(REPORT);
            }
            Edit::Hold { disk, row } => return self.hold(disk, row),
            Edit::Extents(piece) => {
                self.bytes(piece);
                self.columns[EDITS].push(EXTENTS);
            }
            Edit::Volume { disk, row } => {
                self.number(MORE, disk.into());
                let json = record::to_json(&record::JsonVolume::of(row))?;
                self.bytes(&json);
                self.columns[EDITS].push(VOLUME);
            }
            Edit::Resume { scan, state } => {
                for text in [scan.word(), state] {
                    self.bytes(text.as_bytes());
                }
                self.columns[EDITS].push(RESUME);
            }
        }
        self.wrote()
    }
}

fn too_long(edits: u64) -> io::Error {
    let text = format!("what edit {edits} says is longer than a manifest can hold");
    io::Error::new(io::ErrorKind::InvalidInput, text)
}

/// Appends a record with its length.
fn put_json(out: &mut Vec<u8>, value: &impl serde::Serialize) -> io::Result<()> {
    let json = record::to_json(value)?;
    if json.len() > JSON_BYTES_MAX {
        let text = format!("a header or end of {} bytes is longer than a manifest can hold", json.len());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    put_number(out, json.len() as u64);
    out.extend_from_slice(&json);
    Ok(())
}
