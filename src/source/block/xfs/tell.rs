//! An inode as it is told: its attributes, where its bytes are, where it points.
//!
//! Promises: extended attributes or a target that cannot be read are told as missing beside the rest.

use super::super::bytes::Fields;
use super::super::{Content, Error, Inode};
use super::bmap::{self, Format};
use super::inode::Record;
use super::volume::Seal;
use super::{attr, dir};
use crate::model::{Attrs, Kind, XattrSet};

const FLAG_REALTIME: u16 = 1 << 0;
const SYMLINK_SEAL: Seal = Seal { crc: 12, uuid: 16, address: Some(40), owner: Some(32) };
const SYMLINK_HEADER: usize = 56;
/// `XFS_SYMLINK_MAXLEN`.
const SYMLINK_MAX_BYTES: u64 = 1024;

impl Record<'_> {
    /// Returns the inode, or none if it has no name any more.
    pub(super) fn inode(&self) -> Result<Option<Inode>, Error> {
        let fields = self.fields();
        let nlink = if fields.byte(4)? == 1 { u32::from(fields.be16(6)?) } else { fields.be32(16)? };
        if nlink == 0 && self.mode != 0 {
            return Ok(None);
        }
        let kind = self.kind()?;
        let size = self.size_bytes()?;
        let xattrs = attr::load(self);
        let target = if kind == Kind::Symlink { self.target(size) } else { Ok(Vec::new()) };
        let unreadable = xattrs.as_ref().err().or(target.as_ref().err()).map(ToString::to_string);
        let allocated = fields.be64(64)?.saturating_mul(self.volume.superblock().block_bytes);
        let attrs = Attrs {
            mode: self.mode,
            uid: fields.be32(8)?,
            gid: fields.be32(12)?,
            size_bytes: if matches!(kind, Kind::File | Kind::Directory | Kind::Symlink) { size } else { 0 },
            allocated_bytes: (kind == Kind::File && allocated < size).then_some(allocated),
            mtime: self.time(40)?,
            ctime: self.time(48)?,
            nlink,
            rdev: self.device(kind)?,
            xattrs: XattrSet::new(xattrs.unwrap_or_default()),
            target: target.unwrap_or_default(),
        };
        let content = self.content(kind)?;
        Ok(Some(Inode { number: self.number, generation: fields.be32(92)?, attrs, content, unreadable }))
    }

    fn content(&self, kind: Kind) -> Result<Content, Error> {
        let is_realtime = self.fields().be16(90)? & FLAG_REALTIME != 0;
        let map = match kind {
            Kind::File if is_realtime => {
                return Ok(Content::Unreadable(format!("{} lies on the realtime device", self.what)));
            }
            Kind::File => self.data_fork().and_then(|fork| bmap::load(self.volume, fork)),
            Kind::Directory => dir::map(self),
            _ => return Ok(Content::None),
        };
        Ok(match map {
            Ok(mut map) => {
                map.rests_on.extend(attr::blocks(self));
                Content::Mapped(map)
            }
            Err(error) => Content::Unreadable(error.to_string()),
        })
    }

    fn target(&self, size: u64) -> Result<Vec<u8>, Error> {
        if !(1..=SYMLINK_MAX_BYTES).contains(&size) {
            return Err(Error::Damaged(format!("{} has a target of {size} bytes", self.what)));
        }
        let fork = self.data_fork()?;
        if fork.format == Format::Local {
            return Ok(fork.fields.slice(0, size as usize)?.to_vec());
        }
        let mut target = Vec::new();
        for extent in bmap::load(self.volume, fork)?.extents {
            self.add_target(extent.at, extent.length, size as usize - target.len(), &mut target)?;
            if target.len() == size as usize {
                return Ok(target);
            }
        }
        Err(Error::Damaged(format!("{} has {} of {size} bytes of its target", self.what, target.len())))
    }

    /// Appends what one extent has of a target: on version 5 behind one header per extent (`xfs_symlink_remote.c`).
    fn add_target(&self, at: u64, length: u64, wanted: usize, target: &mut Vec<u8>) -> Result<(), Error> {
        let what = format!("target of {}", self.what);
        if length > SYMLINK_MAX_BYTES * 64 {
            return Err(Error::Damaged(format!("{what} has an extent of {length} bytes")));
        }
        let bytes = self.volume.structure(at, length, &SYMLINK_SEAL, self.number, &what)?;
        let fields = Fields { bytes: &bytes, what: &what };
        let header = if self.volume.superblock().v5 { SYMLINK_HEADER } else { 0 };
        let count = wanted.min(bytes.len().saturating_sub(header));
        if header > 0 {
            let (offset, length) = (fields.be32(4)? as usize, fields.be32(8)? as usize);
            if fields.slice(0, 4)? != b"XSLM" || (offset, length) != (target.len(), count) {
                return Err(Error::Damaged(format!("{what} at byte {at} is another part of one")));
            }
        }
        target.extend_from_slice(fields.slice(header, count)?);
        Ok(())
    }
}
