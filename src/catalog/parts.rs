//! Parts that versions share: their rows, and the digests by which equal ones are found.
//!
//! Promises: every function runs one statement, or none.

use super::rows::Perm;
use crate::model::XattrSet;
use rusqlite::Connection;

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

/// Tells whether a POSIX ACL is among extended attributes, as `xattr_set.has_acl` holds it.
pub(super) fn has_acl(xattrs: &XattrSet) -> bool {
    xattrs.iter().any(|(name, _)| name.starts_with(b"system.posix_acl_"))
}
