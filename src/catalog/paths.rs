//! The path of a node as of an instant, by a name that was seen if it has one.
//!
//! Promises: one seek a level; a loop among damaged directories ends.

use crate::model::{NodeId, Time};
use rusqlite::{Connection, OptionalExtension, params};

/// The deepest directory whose path is told; a longer chain of parents is a loop.
pub(super) const DEPTH_MAX: usize = 65_536;

/// Returns the path of a node at an instant: by its first name that was seen, else by its first; none if it has none.
pub(super) fn path_at(c: &Connection, root: NodeId, node: NodeId, at: Time) -> rusqlite::Result<Option<Vec<u8>>> {
    let mut statement = c.prepare_cached(
        "SELECT d.parent, d.name FROM dirent d INDEXED BY dirent_node WHERE d.node = ?1 AND d.born <= ?2 AND d.died > ?2 \
         ORDER BY EXISTS (SELECT 1 FROM kept k WHERE k.parent = d.parent AND k.name = d.name AND k.born <= ?2 AND k.died > ?2), \
         d.parent, d.name LIMIT 1",
    )?;
    let (mut here, mut path) = (node, Vec::new());
    for _ in 0..DEPTH_MAX {
        if here == root {
            return Ok(Some(path));
        }
        let up: Option<(i64, Vec<u8>)> =
            statement.query_row(params![here.0, at.0], |r| Ok((r.get(0)?, r.get(1)?))).optional()?;
        let Some((parent, mut name)) = up else { return Ok(None) };
        if !path.is_empty() {
            name.push(b'/');
        }
        name.append(&mut path);
        path = name;
        here = NodeId(parent);
    }
    Ok(None)
}
