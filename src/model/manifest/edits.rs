//! The edits of a block of a manifest of format 2.
//!
//! Promises: what an edit says is what an edit can say, or it is damage; no number, name or path is believed.

use super::blocks::Columns;
use super::columns::*;
use super::record::{self, JsonHold, JsonVolume};
use super::{BytesAt, Edit, Error, Held, Permissions, Put, Written};
use crate::model::{
    EntryName, FilesystemId, FindingKind, Kind, NodeId, RelPath, Scan, SeenCopy, SeenRoot, Time, Timestamp, XattrSet,
};
use std::io::Read;
use std::ops::Range;

/// An edit whose bytes are not looked up yet.
enum Raw {
    Link(NodeId, Kind),
    Unlink,
    Put(RawPut),
    Amend(RawPut),
    Define(NodeId, Kind),
    LeaveCtimes,
    Walked(SeenCopy),
    Identify(NodeId, u64, i64),
    Doubt(NodeId, bool, Range<usize>),
    Saw,
    Report(FindingKind, Range<usize>, Range<usize>),
    Hold(u32),
    Extents(Range<usize>),
    Volume(u32),
    Resume(Scan, Range<usize>),
}

struct RawPut {
    node: NodeId,
    size_bytes: u64,
    allocated_bytes: Option<u64>,
    mtime: Timestamp,
    ctime: Timestamp,
    nlink: u32,
    bytes: u64,
    written: Written,
    at: RawAt,
}

enum RawAt {
    Plain(BytesAt<'static>),
    CopyOf(Held, Range<usize>),
    Map(Range<usize>),
    Inline(Range<usize>),
}

impl<R: Read> Columns<R> {
    pub(super) fn next_edit(&mut self) -> Result<Option<Edit<'_>>, Error> {
        while self.in_block == 0 {
            if self.end.is_some() || !self.begin_block()? {
                return Ok(None);
            }
        }
        let raw = self.raw()?;
        self.edits += 1;
        self.in_block -= 1;
        if self.in_block == 0 && self.left.iter().any(|left| !left.is_empty()) {
            return Err(self.damaged("a block says more than its edits"));
        }
        Ok(Some(self.edit(raw)?))
    }

    fn node(&mut self, edit: u8) -> Result<NodeId, Error> {
        let by = match edit & (SAME_NODE | NEXT_NODE) {
            SAME_NODE => 0,
            NEXT_NODE => 1,
            0 => unzigzag(self.number(NODES)?),
            _ => return Err(self.damaged("a node is two")),
        };
        self.last.node = self.last.node.wrapping_add(by);
        self.check_node(self.last.node)
    }

    fn dir(&mut self, edit: u8) -> Result<NodeId, Error> {
        if edit & SAME_DIR == 0 {
            self.last.dir = self.last.dir.wrapping_add(unzigzag(self.number(NODES)?));
        }
        self.check_node(self.last.dir)
    }

    fn check_node(&self, node: i64) -> Result<NodeId, Error> {
        match (0..NODE_MAX.0).contains(&node) {
            true => Ok(NodeId(node)),
            false => Err(self.damaged("a node is none of a catalog")),
        }
    }

    fn name(&mut self) -> Result<(), Error> {
        let (shared, length) = (self.number(LENGTHS)?, self.number(LENGTHS)?);
        if shared > self.last.name.len() as u64 {
            return Err(self.damaged("a name shares more than there is"));
        }
        let rest = self.take(NAMES, length)?;
        self.last.name.truncate(shared as usize);
        self.last.name.extend_from_slice(&self.block[rest]);
        EntryName::check(&self.last.name).map_err(|_| self.damaged("a name is none"))
    }

    /// Reads a directory, a node, a name and a type.
    fn named(&mut self, edit: u8) -> Result<(NodeId, Kind), Error> {
        self.dir(edit)?;
        let node = self.node(edit)?;
        self.name()?;
        let kind = KINDS.get(usize::from(self.byte(WORDS)?)).copied();
        Ok((node, kind.ok_or_else(|| self.damaged("a type is none"))?))
    }

    fn nanos(&mut self) -> Result<u32, Error> {
        let low = self.take(NANOS_LOW, 3)?;
        let high = self.byte(NANOS_HIGH)?;
        let low = &self.block[low];
        let nanos = u32::from_le_bytes([low[0], low[1], low[2], high]);
        if nanos < 1_000_000_000 { Ok(nanos) } else { Err(self.damaged("a second has too many nanoseconds")) }
    }

    fn raw(&mut self) -> Result<Raw, Error> {
        let edit = self.byte(EDITS)?;
        Ok(match edit & WHAT {
            LINK => {
                let (node, kind) = self.named(edit)?;
                Raw::Link(node, kind)
            }
            UNLINK => {
                self.dir(edit)?;
                self.name()?;
                Raw::Unlink
            }
            PUT => Raw::Put(self.put(edit)?),
            AMEND => Raw::Amend(self.put(edit)?),
            DEFINE => {
                let (node, kind) = self.named(edit)?;
                Raw::Define(node, kind)
            }
            LEAVE_CTIMES => Raw::LeaveCtimes,
            WALKED => {
                let mut numbers = [0; 4];
                for number in &mut numbers {
                    *number = unzigzag(self.number(MORE)?);
                }
                let [born_ns, ctime_ns, newest_ctime_ns, at] = numbers;
                let inode = self.number(MORE)?;
                let filesystem = if edit & ON_FILESYSTEM == 0 { None } else { Some(FilesystemId(self.number(MORE)?)) };
                let root = SeenRoot { inode, born_ns, ctime_ns, filesystem };
                Raw::Walked(SeenCopy { root, newest_ctime_ns, settled: self.flag()?, at: Time(at) })
            }
            IDENTIFY => Raw::Identify(self.node(edit)?, self.number(MORE)?, unzigzag(self.number(MORE)?)),
            DOUBT => {
                let node = self.node(edit)?;
                let subtree = self.flag()?;
                Raw::Doubt(node, subtree, self.bytes()?)
            }
            SAW => {
                self.dir(edit)?;
                self.name()?;
                Raw::Saw
            }
            REPORT => {
                let word = self.bytes()?;
                let kind = FindingKind::from_word(self.text(word)?);
                let kind = kind.ok_or_else(|| self.damaged("a finding is of a kind that is not known"))?;
                let path = self.bytes()?;
                if RelPath::parse(&self.block[path.clone()]).is_err() {
                    return Err(self.damaged("a path is none"));
                }
                Raw::Report(kind, path, self.bytes()?)
            }
            HOLD => {
                let disk = self.small(MORE)?;
                let json = self.bytes()?;
                let row = record::from_json::<JsonHold>(&self.block[json]).and_then(JsonHold::row);
                self.held = row.ok_or_else(|| self.damaged("a layer is none"))?;
                Raw::Hold(disk)
            }
            EXTENTS => Raw::Extents(self.bytes()?),
            VOLUME => {
                let disk = self.small(MORE)?;
                let json = self.bytes()?;
                let row = record::from_json::<JsonVolume>(&self.block[json]).map(JsonVolume::row);
                self.volume = row.ok_or_else(|| self.damaged("a volume is none"))?;
                Raw::Volume(disk)
            }
            RESUME => {
                let word = self.bytes()?;
                let scan = Scan::from_word(self.text(word)?);
                Raw::Resume(scan.ok_or_else(|| self.damaged("a scan is of no known kind"))?, self.bytes()?)
            }
            _ => return Err(self.damaged("an edit is of no known kind")),
        })
    }

    fn put(&mut self, edit: u8) -> Result<RawPut, Error> {
        let node = self.node(edit)?;
        if edit & SAME_PERMISSIONS == 0 {
            self.now = Some(self.new_permissions()?);
        }
        if self.now.is_none() {
            return Err(self.damaged("permissions are those of nothing"));
        }
        let size_bytes = self.number(SIZES)?;
        let shape = self.byte(SHAPES)?;
        self.mtime(shape)?;
        self.ctime(shape)?;
        let nlink = if shape & LINKS == 0 { 1 } else { self.small(MORE)? };
        let allocated_bytes = if shape & ALLOCATED == 0 { None } else { Some(self.number(MORE)?) };
        let word = self.byte(WORDS)?;
        let at = self.bytes_at(word & WHAT)?;
        let bytes = match (shape & OTHER_BYTES != 0, has_bytes(word & WHAT)) {
            (true, _) => self.number(MORE)?,
            (false, true) => self.sequence,
            (false, false) => 0,
        };
        let written = match word & !WHAT {
            WRITTEN_UNKNOWN => Written::Unknown,
            WRITTEN_NO => Written::No,
            WRITTEN_YES => Written::Yes,
            WRITTEN_DIGEST => {
                let digest = self.take(BYTES, 32)?;
                Written::Digest(self.block[digest].try_into().expect("32 bytes"))
            }
            _ => return Err(self.damaged("what was written is of no known kind")),
        };
        let (mtime, ctime) = (self.last.mtime, self.last.ctime);
        Ok(RawPut { node, size_bytes, allocated_bytes, mtime, ctime, nlink, bytes, written, at })
    }

    fn mtime(&mut self, shape: u8) -> Result<(), Error> {
        if shape & SAME_MTIME != 0 {
            return Ok(());
        }
        let by = unzigzag(self.number(MTIMES)?);
        let nanos = if shape & WHOLE_SECONDS != 0 { 0 } else { self.nanos()? };
        self.last.mtime = Timestamp { seconds: self.last.mtime.seconds.wrapping_add(by), nanos };
        Ok(())
    }

    fn ctime(&mut self, shape: u8) -> Result<(), Error> {
        self.last.ctime = match shape & CTIME {
            CTIME_IS_MTIME => self.last.mtime,
            CTIME_IS_SAME => self.last.ctime,
            CTIME_AFTER => {
                let after = unzigzag(self.number(MORE)?);
                self.last.ctime.plus_ns(after)
            }
            _ => {
                let by = unzigzag(self.number(MORE)?);
                let nanos = self.nanos()?;
                Timestamp { seconds: self.last.mtime.seconds.wrapping_add(by), nanos }
            }
        };
        Ok(())
    }

    fn bytes_at(&mut self, word: u8) -> Result<RawAt, Error> {
        Ok(match word {
            NOWHERE => RawAt::Plain(BytesAt::Nowhere),
            OWN_PATH => RawAt::Plain(BytesAt::OwnPath),
            THIS_COPY => RawAt::Plain(BytesAt::ThisCopy),
            COPY_OF => {
                let held = match self.number(MORE)? {
                    0 => Held::At(Time(unzigzag(self.number(MORE)?))),
                    sequence => Held::Sequence(sequence),
                };
                let path = self.bytes()?;
                if RelPath::parse(&self.block[path.clone()]).is_err() {
                    return Err(self.damaged("a path is none"));
                }
                RawAt::CopyOf(held, path)
            }
            MAP => RawAt::Map(self.bytes()?),
            RUN => RawAt::Plain(BytesAt::Run(self.number(MORE)?)),
            WHOLE_DISK => RawAt::Plain(BytesAt::WholeDisk),
            INLINE => RawAt::Inline(self.bytes()?),
            DEVICE => RawAt::Plain(BytesAt::Device(self.number(MORE)?)),
            LOST => RawAt::Plain(BytesAt::Lost),
            _ => return Err(self.damaged("bytes are nowhere that is known")),
        })
    }

    fn new_permissions(&mut self) -> Result<(u32, u32, u32, u64), Error> {
        let number = self.number(PERMISSIONS)?;
        if number > 0 {
            let known = usize::try_from(number - 1).ok().and_then(|at| self.permissions.get(at));
            return known.copied().ok_or_else(|| self.damaged("permissions are in no dictionary"));
        }
        if self.permissions.len() >= PERMISSIONS_MAX || self.set_bytes > XATTR_BYTES_MAX {
            self.permissions.clear();
            self.sets.clear();
            (self.set_bytes, self.now) = (0, None);
        }
        let (mode, uid, gid) = (self.small(PERMISSIONS)?, self.small(PERMISSIONS)?, self.small(PERMISSIONS)?);
        if Kind::from_mode(mode).is_none() {
            return Err(self.damaged("a mode names no type"));
        }
        let set = match self.number(PERMISSIONS)? {
            XATTRS_NEW => self.new_set()?,
            set if set < XATTRS_NEW || set - XATTRS_KNOWN < self.sets.len() as u64 => set,
            _ => return Err(self.damaged("attributes are in no dictionary")),
        };
        self.permissions.push((mode, uid, gid, set));
        Ok((mode, uid, gid, set))
    }

    fn new_set(&mut self) -> Result<u64, Error> {
        let count = self.number(MORE)?;
        let (mut items, mut size_bytes) = (Vec::new(), 0);
        for _ in 0..count {
            let (name, value) = (self.bytes()?, self.bytes()?);
            size_bytes += item_bytes(name.len(), value.len());
            if size_bytes > SET_BYTES_MAX {
                return Err(self.damaged("attributes are too many"));
            }
            items.push((self.block[name].to_vec(), self.block[value].to_vec()));
        }
        self.set_bytes += size_bytes;
        self.sets.push(XattrSet::new(items));
        Ok(XATTRS_KNOWN + self.sets.len() as u64 - 1)
    }

    /// Looks up the bytes of an edit.
    fn edit(&self, raw: Raw) -> Result<Edit<'_>, Error> {
        let (dir, name) = (NodeId(self.last.dir), self.last.name.as_slice());
        Ok(match raw {
            Raw::Link(node, kind) => Edit::Link { dir, name, node, kind },
            Raw::Unlink => Edit::Unlink { dir, name },
            Raw::Put(put) => Edit::Put(self.full(put)),
            Raw::Amend(put) => Edit::Amend(self.full(put)),
            Raw::Define(node, kind) => Edit::Define { dir, name, kind, node },
            Raw::LeaveCtimes => Edit::LeaveCtimes,
            Raw::Walked(seen) => Edit::Walked(seen),
            Raw::Identify(node, inode, born_ns) => Edit::Identify { node, inode, born_ns },
            Raw::Doubt(node, subtree, reason) => Edit::Doubt { node, subtree, reason: self.text(reason)? },
            Raw::Saw => Edit::Saw { dir, name },
            Raw::Report(kind, path, detail) => {
                Edit::Report { kind, path: &self.block[path], detail: self.text(detail)? }
            }
            Raw::Hold(disk) => Edit::Hold { disk, row: &self.held },
            Raw::Extents(piece) => Edit::Extents(&self.block[piece]),
            Raw::Volume(disk) => Edit::Volume { disk, row: &self.volume },
            Raw::Resume(scan, state) => Edit::Resume { scan, state: self.text(state)? },
        })
    }

    fn full(&self, put: RawPut) -> Put<'_> {
        let (mode, uid, gid, set) = self.now.expect("it was set with the put");
        let xattrs = match set {
            XATTRS_NONE => Some(&self.none),
            XATTRS_LOST => None,
            set => Some(&self.sets[(set - XATTRS_KNOWN) as usize]),
        };
        let at = match put.at {
            RawAt::Plain(at) => at,
            RawAt::CopyOf(held, path) => BytesAt::CopyOf { held, path: &self.block[path] },
            RawAt::Map(map) => BytesAt::Map(&self.block[map]),
            RawAt::Inline(bytes) => BytesAt::Inline(&self.block[bytes]),
        };
        Put {
            node: put.node,
            permissions: Permissions { mode, uid, gid, xattrs },
            size_bytes: put.size_bytes,
            allocated_bytes: put.allocated_bytes,
            mtime: put.mtime,
            ctime: put.ctime,
            nlink: put.nlink,
            bytes: put.bytes,
            written: put.written,
            at,
        }
    }
}
