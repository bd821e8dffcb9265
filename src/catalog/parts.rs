//! Parts that versions share: rights, sets of extended attributes, bytes kept in the catalog; their rows, and which of them a run met.
//!
//! Promises: equal rights and equal sets are one row; a row once given out never changes. Never deletes one: what nothing names is
//! found by `check`.

use super::rows::Perm;
use crate::model::{Kind, XattrSet};
use foldhash::{HashMap, HashSet};
use rusqlite::{Connection, OptionalExtension, params};

pub(super) const PERM: &str = "SELECT mode, uid, gid, xattr FROM perm WHERE id = ?1";
pub(super) const XATTRS: &str = "SELECT name, value FROM xattr_item WHERE xattr = ?1 ORDER BY name";

/// Returns owner, rights and attribute set of a row of `perm`.
pub(super) fn perm(c: &Connection, id: i64) -> rusqlite::Result<Perm> {
    c.prepare_cached(PERM)?
        .query_row([id], |row| Ok(Perm { mode: row.get(0)?, uid: row.get(1)?, gid: row.get(2)?, xattr: row.get(3)? }))
}

/// Returns the extended attributes of a row of `xattr_set`.
pub(super) fn xattrs(c: &Connection, id: i64) -> rusqlite::Result<XattrSet> {
    let mut statement = c.prepare_cached(XATTRS)?;
    let items = statement.query_map([id], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(XattrSet::new(items.collect::<rusqlite::Result<_>>()?))
}

/// Returns the digest of extended attributes, as `xattr_set.digest` holds it: of names and values, each with its length.
pub(super) fn xattr_digest(xattrs: &XattrSet) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    for (name, value) in xattrs.iter() {
        for part in [name, value] {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
    }
    *hasher.finalize().as_bytes()
}

/// Returns the row of `perm` with these rights; a new one, if there is none.
pub(super) fn put_perm(c: &Connection, perm: Perm) -> rusqlite::Result<i64> {
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
}

/// Returns the row of `xattr_set` with these attributes, whose digest this is; a new one, if there is none.
pub(super) fn put_xattrs(c: &Connection, digest: &[u8; 32], xattrs: &XattrSet) -> rusqlite::Result<i64> {
    let known = c
        .prepare_cached("SELECT id FROM xattr_set WHERE digest = ?1")?
        .query_row([&digest[..]], |r| r.get(0))
        .optional()?;
    if let Some(id) = known {
        return Ok(id);
    }
    c.prepare_cached("INSERT INTO xattr_set(digest, has_acl) VALUES (?1, ?2)")?
        .execute(params![&digest[..], xattrs.has_acl()])?;
    let id = c.last_insert_rowid();
    let mut statement = c.prepare_cached("INSERT INTO xattr_item(xattr, name, value) VALUES (?1, ?2, ?3)")?;
    for (name, value) in xattrs.iter() {
        statement.execute(params![id, name, value])?;
    }
    Ok(id)
}

/// Returns a row of `content` with these bytes: `known`, if it has them, else a new one.
pub(super) fn put_bytes(c: &Connection, bytes: &[u8], known: Option<i64>) -> rusqlite::Result<i64> {
    if let Some(id) = known {
        let mut statement = c.prepare_cached("SELECT bytes = ?2 FROM content WHERE id = ?1")?;
        if statement.query_row(params![id, bytes], |r| r.get(0)).optional()? == Some(true) {
            return Ok(id);
        }
    }
    c.prepare_cached("INSERT INTO content(bytes) VALUES (?1)")?.execute([bytes])?;
    Ok(c.last_insert_rowid())
}

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

    /// Returns the row of `perm` that has these rights, if this run met it.
    pub(super) fn perm(&self, perm: &Perm) -> Option<i64> {
        self.perms.get(perm).copied()
    }

    /// Remembers the row that has these rights.
    pub(super) fn met_perm(&mut self, perm: Perm, id: i64) {
        self.perms.insert(perm, id);
        match Kind::from_mode(perm.mode) {
            Some(Kind::File) => drop(self.files.insert(id)),
            Some(Kind::Directory) => drop(self.directories.insert(id)),
            _ => {}
        }
        if perm.xattr != 0 {
            self.perms_with_xattrs.insert(id);
        }
    }

    /// Returns the row of `xattr_set` that has this digest, if this run met it.
    pub(super) fn xattrs(&self, digest: &[u8; 32]) -> Option<i64> {
        self.xattrs.get(digest).copied()
    }

    /// Remembers the row that has this digest.
    pub(super) fn met_xattrs(&mut self, digest: [u8; 32], id: i64) {
        self.xattrs.insert(digest, id);
    }
}
