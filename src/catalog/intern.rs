//! Parts that versions share: rights, sets of extended attributes, bytes kept in the catalog.
//!
//! Promises: equal parts are one row; a row once given out never changes, so it may be committed before anything names it. Never
//! deletes one: what nothing names is found by `check`.

use super::rows::{NodeRow, Perm, Place};
use super::tables::insert_odd_name;
use super::{Error, GenerationWriter, parts};
use crate::model::{Attrs, Kind};
use rusqlite::{OptionalExtension, params};
use std::collections::{HashMap, HashSet};

/// What a run has met already.
#[derive(Default)]
pub(super) struct Interned {
    perms: HashMap<Perm, i64>,
    perms_with_xattrs: HashSet<i64>,
    /// Those of regular files.
    files: HashSet<i64>,
    /// Those of directories, whose link count is not the number of their names.
    directories: HashSet<i64>,
    xattrs: HashMap<[u8; 32], i64>,
}

impl Interned {
    /// Tells whether versions with these rights have extended attributes, as far as this run met them. A row of an earlier run has
    /// rights that this run may not have met; then its node is known already.
    pub(super) fn has_xattrs(&self, perm: i64) -> bool {
        self.perms_with_xattrs.contains(&perm)
    }

    /// Tells whether versions with these rights are directories; as [`Interned::is_file`].
    pub(super) fn is_directory(&self, perm: i64) -> bool {
        self.directories.contains(&perm)
    }

    /// Tells whether versions with these rights are regular files; this run met them, since it made the version.
    pub(super) fn is_file(&self, perm: i64) -> bool {
        self.files.contains(&perm)
    }
}

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
        if let Some(id) = self.interned.perms.get(&perm) {
            return Ok(*id);
        }
        let id = self.write("adding rights", |c| {
            let key = params![perm.mode, perm.uid, perm.gid, perm.xattr];
            let known = c
                .prepare_cached("SELECT id FROM perm WHERE mode = ?1 AND uid = ?2 AND gid = ?3 AND xattr = ?4")?
                .query_row(key, |r| r.get(0))
                .optional()?;
            if let Some(id) = known {
                return Ok(id);
            }
            c.prepare_cached("INSERT INTO perm(mode, uid, gid, xattr) VALUES (?1, ?2, ?3, ?4)")?.execute(key)?;
            Ok(c.last_insert_rowid())
        })?;
        self.interned.perms.insert(perm, id);
        match Kind::from_mode(perm.mode) {
            Some(Kind::File) => drop(self.interned.files.insert(id)),
            Some(Kind::Directory) => drop(self.interned.directories.insert(id)),
            _ => {}
        }
        if perm.xattr != 0 {
            self.interned.perms_with_xattrs.insert(id);
        }
        Ok(id)
    }

    fn intern_xattrs(&mut self, attrs: &Attrs) -> Result<i64, Error> {
        let digest = parts::xattr_digest(&attrs.xattrs);
        if let Some(id) = self.interned.xattrs.get(&digest) {
            return Ok(*id);
        }
        let id = self.write("adding extended attributes", |c| {
            let known = c
                .prepare_cached("SELECT id FROM xattr_set WHERE digest = ?1")?
                .query_row([&digest[..]], |r| r.get(0))
                .optional()?;
            if let Some(id) = known {
                return Ok(id);
            }
            let has_acl = parts::has_acl(&attrs.xattrs);
            c.prepare_cached("INSERT INTO xattr_set(digest, has_acl) VALUES (?1, ?2)")?
                .execute(params![&digest[..], has_acl])?;
            let id = c.last_insert_rowid();
            let mut statement = c.prepare_cached("INSERT INTO xattr_item(xattr, name, value) VALUES (?1, ?2, ?3)")?;
            for (name, value) in attrs.xattrs.iter() {
                statement.execute(params![id, name, value])?;
            }
            Ok(id)
        })?;
        self.interned.xattrs.insert(digest, id);
        Ok(id)
    }

    /// Returns a row of `content` with these bytes: `known`, if it has them, else a new one.
    pub(super) fn intern_bytes(&mut self, bytes: &[u8], known: Option<i64>) -> Result<i64, Error> {
        self.write("adding bytes", |c| {
            if let Some(id) = known {
                let mut statement = c.prepare_cached("SELECT bytes = ?2 FROM content WHERE id = ?1")?;
                if statement.query_row(params![id, bytes], |r| r.get(0)).optional()? == Some(true) {
                    return Ok(id);
                }
            }
            c.prepare_cached("INSERT INTO content(bytes) VALUES (?1)")?.execute([bytes])?;
            Ok(c.last_insert_rowid())
        })
    }
}
