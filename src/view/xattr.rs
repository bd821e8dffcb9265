//! Extended attributes: those that were recorded, and `user.asof.*`, which tell where an answer comes from.
//!
//! Promises: attributes that could not be read when they were indexed are an error in every generation that has them so, never none. A
//! node that never had attributes is answered from memory (a bit per node, read from the
//! catalog by blocks of 65,536 nodes when first asked for). `user.asof.*` are answered and never listed, so
//! that `rsync -X` and `cp -a` do not copy them.

use super::lock::lock;
use super::place::{Place, Spot};
use super::xattr_cache::{BLOCK_BITS, read_bits};
use super::{Error, Ino, Tree, Xattrs};
use crate::catalog::{Perm, Registry};
use crate::model::{Level, NodeId, Scan, Time, Visibility, XattrSet};
use std::sync::Arc;

const PREFIX: &[u8] = b"user.asof.";
/// The ACL that decides on access.
const ACCESS_ACL: &[u8] = b"system.posix_acl_access";
/// The name space of [`PREFIX`].
const USER: &[u8] = b"user.";

/// What a mount must be able to do with attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum XattrNeed {
    /// No version of any source has, or had, attributes.
    None,
    /// Some have, none of them ACLs.
    Plain,
    /// Some have POSIX ACLs, which must be enforced, or had what could not be read.
    Acl,
}

impl XattrNeed {
    pub(super) fn of(registry: &Registry) -> Self {
        match (registry.has_xattrs, registry.has_acls) {
            (_, true) => Self::Acl,
            (true, false) => Self::Plain,
            (false, false) => Self::None,
        }
    }
}

impl Tree {
    /// Returns what the catalog needs of a mount.
    pub fn xattr_need(&self) -> XattrNeed {
        let snapshot = self.snapshot();
        XattrNeed::of(&snapshot.registry)
    }

    /// Tells whether more than its modes decides on who may use a node that has `xattrs`: an ACL, or attributes that could not be read
    /// and may have been one. No query while no version of any source has such.
    ///
    /// # Errors
    /// [`Error::Catalog`].
    pub fn has_acl(&self, xattrs: Xattrs) -> Result<bool, Error> {
        match xattrs.0 {
            0 => Ok(false),
            _ if self.xattr_need() != XattrNeed::Acl => Ok(false),
            Perm::XATTRS_LOST => Ok(true),
            id => Ok(self.known_set(id)?.has_acl()),
        }
    }

    /// Returns attribute `name` of `ino`. No query for a node that never had attributes.
    ///
    /// # Errors
    /// [`Error::Unread`], [`Error::NoSuchView`], [`Error::Catalog`].
    pub fn xattr(&self, ino: Ino, name: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        let place = match self.spot(ino)? {
            Spot::Node(place) => place,
            Spot::Between(_, dir) => self.place_of(&dir)?,
            Spot::History(ino, dir) if name == ACCESS_ACL => {
                let set = self.history_xattrs(&self.snapshot(), (ino, &dir))?;
                return Ok(set.and_then(|set| set.get(name).map(<[u8]>::to_vec)));
            }
            _ => return Ok(None),
        };
        if self.is_overruled(&place, name) {
            return Ok(None);
        }
        let recorded = self.xattr_set(&place).map(|set| set.and_then(|set| set.get(name).map(<[u8]>::to_vec)));
        match (recorded, name.strip_prefix(PREFIX)) {
            // A file may have such an attribute of its own: what was backed up comes back first.
            (Ok(None) | Err(_), Some(question)) => self.evidence(&place, question),
            (recorded, _) => recorded,
        }
    }

    /// Tells whether any version of any source has, or had, an attribute `name`; those of `user.*` may always be there.
    ///
    /// No query but the first time and after a publication.
    ///
    /// # Errors
    /// [`Error::Catalog`].
    pub fn may_have_xattr(&self, name: &[u8]) -> Result<bool, Error> {
        if name.starts_with(USER) {
            return Ok(true);
        }
        if self.xattr_need() == XattrNeed::None {
            return Ok(false);
        }
        let mut names = lock(&self.xattrs.names);
        names.read(&self.readers)?;
        Ok(names.may_have(name))
    }

    /// Returns the names of the attributes of `ino`, in order.
    ///
    /// # Errors
    /// As [`Tree::xattr`].
    pub fn xattr_names(&self, ino: Ino) -> Result<Vec<Vec<u8>>, Error> {
        let place = match self.spot(ino)? {
            Spot::Node(place) => place,
            Spot::Between(_, dir) => self.place_of(&dir)?,
            _ => return Ok(Vec::new()),
        };
        let Some(set) = self.xattr_set(&place)? else { return Ok(Vec::new()) };
        let names = set.iter().map(|(name, _)| name).filter(|name| !self.is_overruled(&place, name));
        Ok(names.map(<[u8]>::to_vec).collect())
    }

    /// Tells whether attribute `name` would let in somebody whom the source itself does not.
    fn is_overruled(&self, place: &Place, name: &[u8]) -> bool {
        name == ACCESS_ACL && self.visibility(place) != Visibility::Modes
    }

    fn xattr_set(&self, place: &Place) -> Result<Option<Arc<XattrSet>>, Error> {
        if !self.may_have_xattrs(place.node)? {
            return Ok(None);
        }
        let row = self.row_of(place)?;
        let id = self.readers.with(|reader| reader.perm(row.perm))?.xattr;
        match id {
            Perm::XATTRS_LOST => Err(Error::Unread(self.describe_place(place), "extended attributes")),
            0 => Ok(None),
            id => self.known_set(id).map(Some),
        }
    }

    pub(super) fn known_set(&self, id: i64) -> Result<Arc<XattrSet>, Error> {
        if let Some(set) = lock(&self.xattrs.sets).get(&id) {
            return Ok(set.clone());
        }
        let set = Arc::new(self.readers.with(|reader| reader.xattrs(id))?);
        lock(&self.xattrs.sets).put(id, set.clone());
        Ok(set)
    }

    fn may_have_xattrs(&self, node: NodeId) -> Result<bool, Error> {
        if self.xattr_need() == XattrNeed::None {
            return Ok(false);
        }
        let block = node.0 >> BLOCK_BITS;
        let known = lock(&self.xattrs.blocks).get(&block).cloned();
        let bits = match known {
            Some(bits) => bits,
            None => {
                let bits = Arc::new(self.readers.with(|reader| read_bits(reader, block))?);
                lock(&self.xattrs.blocks).insert(block, bits.clone());
                bits
            }
        };
        Ok(bits.has(node))
    }

    /// Tells in words how what is seen at this place was found out.
    fn how_seen(&self, place: &Place) -> Result<Option<String>, Error> {
        let row = self.row_of(place)?;
        let how = self.readers.with(|reader| reader.how_seen(place.source, place.at))?;
        let since = Time(row.born);
        let is_new = row.born == place.at.0;
        Ok(how.map(|(level, scan)| match (scan, level) {
            (Some(Scan::Walk), _) => "seen by a walk".to_owned(),
            (Some(Scan::Changelog), _) if is_new => "named by a changelog".to_owned(),
            (Some(Scan::Changelog), _) => format!("named by no changelog since {since}"),
            (Some(Scan::List), _) if is_new => "named by a list".to_owned(),
            (Some(Scan::List), _) => format!("named by no list since {since}"),
            (None, Level::Full) if row.place.is_on_a_disk() => "read from a full disk".to_owned(),
            (None, Level::Full) => "seen in a full copy".to_owned(),
            (None, Level::Incremental) if is_new => "read from an increment".to_owned(),
            (None, Level::Incremental) => format!("in no increment since {since}"),
        }))
    }

    /// Answers `user.asof.QUESTION`: where what is seen at this place comes from.
    fn evidence(&self, place: &Place, question: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        let text = match question {
            b"source" => self.snapshot().source(place.source).map(|s| s.name.clone().into_bytes()),
            b"generation" => Some(place.at.to_string().into_bytes()),
            b"taken_at" => Some(place.at.0.to_string().into_bytes()),
            b"evidence"
                if place.has_losses && self.readers.with(|reader| reader.is_unknown(place.node, place.at))? =>
            {
                Some(b"unknown".to_vec())
            }
            b"evidence" => self.how_seen(place)?.map(String::into_bytes),
            b"version_since" => {
                let row = self.row_of(place)?;
                Some(Time(row.born).to_string().into_bytes())
            }
            b"restore_source" => self.restore_source(place)?,
            _ => None,
        };
        Ok(text)
    }
}
