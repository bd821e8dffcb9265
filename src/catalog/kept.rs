//! The marks of kept names, as whoever reads asks for them.
//!
//! Promises: one seek; where nothing is in doubt it is known by one query for all names. Never writes.

use crate::model::{NodeId, Time};
use rusqlite::{Connection, params};

/// Tells whether any generation of any source is in doubt.
pub(super) fn has_any(c: &Connection) -> rusqlite::Result<bool> {
    c.prepare_cached("SELECT EXISTS(SELECT 1 FROM doubt) OR EXISTS(SELECT 1 FROM kept)")?.query_row([], |r| r.get(0))
}

/// Tells whether a name is kept at `at`.
pub(super) fn is_kept(c: &Connection, dir: NodeId, name: &[u8], at: Time) -> rusqlite::Result<bool> {
    c.prepare_cached("SELECT 1 FROM kept WHERE parent = ?1 AND name = ?2 AND born <= ?3 AND died > ?3")?
        .exists(params![dir.0, name, at.0])
}
