//! Parts that versions share, for whoever tells a generation: rights, sets of extended attributes, bytes kept in the catalog.
//!
//! Promises: rights and sets that this run met are known from memory, without a query. A row may be committed before anything names it.

use super::parts::{put_bytes, put_perm, put_xattrs, xattr_digest};
use super::rows::{NodeRow, Perm, Place};
use super::tables::insert_odd_name;
use super::{Error, GenerationWriter};
use crate::model::{Attrs, Kind};

impl GenerationWriter<'_> {
    /// Returns `attrs` as a version born at this generation. Shared parts (rights, attribute sets, link
    /// targets) are added to the catalog where they are new; a target equal to that of `base` is not.
    ///
    /// `unreadable` says that the extended attributes, or the target, could not be read.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub fn encode(&mut self, attrs: &Attrs, unreadable: bool, base: Option<&NodeRow>) -> Result<NodeRow, Error> {
        let xattr = match (unreadable, attrs.xattrs.is_empty()) {
            (true, _) => Perm::XATTRS_LOST,
            (false, true) => 0,
            (false, false) => self.intern_xattrs(attrs)?,
        };
        let perm = self.intern_perm(Perm { mode: attrs.mode, uid: attrs.uid, gid: attrs.gid, xattr })?;
        let place = match attrs.kind() {
            Kind::File => Place::OwnPath,
            Kind::Symlink if attrs.target.is_empty() => Place::Lost,
            Kind::Symlink => {
                let target = &attrs.target;
                self.write("adding a link target", |c| insert_odd_name(c, target))?;
                self.place_inline(target, base)?
            }
            Kind::CharDevice | Kind::BlockDevice => Place::Device(attrs.rdev),
            Kind::Directory | Kind::Fifo | Kind::Socket => Place::None,
        };
        Ok(NodeRow {
            born: self.at.0,
            perm,
            size_bytes: attrs.size_bytes,
            allocated_bytes: attrs.allocated_bytes,
            mtime: attrs.mtime,
            ctime: attrs.ctime,
            nlink: attrs.nlink,
            place,
            bytes: 0,
        })
    }

    /// Returns the place of bytes that are kept in the catalog, that of `base` if they are the same.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub fn place_inline(&mut self, bytes: &[u8], base: Option<&NodeRow>) -> Result<Place, Error> {
        let known = match base.map(|base| base.place) {
            Some(Place::Inline(known)) => Some(known),
            _ => None,
        };
        self.intern_bytes(bytes, known).map(Place::Inline)
    }

    pub(super) fn intern_perm(&mut self, perm: Perm) -> Result<i64, Error> {
        if let Some(id) = self.interned.perm(&perm) {
            return Ok(id);
        }
        let id = self.write("adding rights", |c| put_perm(c, perm))?;
        self.interned.met_perm(perm, id);
        Ok(id)
    }

    fn intern_xattrs(&mut self, attrs: &Attrs) -> Result<i64, Error> {
        let digest = xattr_digest(&attrs.xattrs);
        if let Some(id) = self.interned.xattrs(&digest) {
            return Ok(id);
        }
        let id = self.write("adding extended attributes", |c| put_xattrs(c, &digest, &attrs.xattrs))?;
        self.interned.met_xattrs(digest, id);
        Ok(id)
    }

    /// Returns a row of `content` with these bytes: `known`, if it has them, else a new one.
    pub(super) fn intern_bytes(&mut self, bytes: &[u8], known: Option<i64>) -> Result<i64, Error> {
        self.write("adding bytes", |c| put_bytes(c, bytes, known))
    }
}
