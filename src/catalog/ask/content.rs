//! Which files have a content: by the digest of their bytes.
//!
//! Promises: one seek in the index of digests; knows the contents that somebody read whole and wrote down, and no others.

use super::scope::Scope;
use crate::catalog::{Error, Reader};
use crate::model::NodeId;
use rusqlite::params;

pub(super) const OF_DIGEST: &str = "SELECT d.node, d.bytes FROM digest d INDEXED BY digest_blake3 WHERE substr(d.blake3, 1, 6) = substr(?1, 1, 6) AND d.blake3 = ?1";
const BLOCK_OF: &str = "SELECT 1 FROM node_block WHERE block = ?1 AND source = ?2";

impl Reader {
    /// Returns the files of a source that have, or had, a content with this digest (BLAKE3), each with the number of those bytes.
    ///
    /// # Errors
    /// [`Error::Sqlite`] if SQLite fails.
    pub fn with_digest(&self, scope: &Scope, digest: &[u8; 32]) -> Result<Vec<(NodeId, i64)>, Error> {
        self.run("looking a digest up", |c| {
            let mut statement = c.prepare_cached(OF_DIGEST)?;
            let rows = statement.query_map([&digest[..]], |row| Ok((NodeId(row.get(0)?), row.get(1)?)))?;
            let mut found = Vec::new();
            for row in rows {
                let (node, bytes): (NodeId, i64) = row?;
                if c.prepare_cached(BLOCK_OF)?.exists(params![node.0 >> 16, scope.source.id.0])? {
                    found.push((node, bytes));
                }
            }
            found.sort_unstable();
            Ok(found)
        })
    }
}
