//! `du`: how much lies in each directory.
//!
//! Promises: counts as `du --apparent-size` does: every entry's size, a file with several names once, where it is met first in the order of
//! paths; holds a number for each such file, and a total for each directory on the way.

use super::find::{Asked, Hit, Searched, When, find};
use super::row::{InMount, text};
use crate::catalog::{Error, Reader, Scope};
use crate::model::{Kind, NodeId, RelPath, Time};
use serde::Serialize;
use std::collections::HashSet;
use std::ops::ControlFlow;

/// What lies in a directory, itself among it.
#[derive(Clone, Debug, Serialize)]
pub struct UsageRow {
    /// The source.
    pub source: String,
    /// The generation (RFC 3339).
    pub taken_at: String,
    /// The same in seconds.
    pub taken_at_unix: i64,
    /// The directory.
    pub path: String,
    /// Bytes.
    pub size_bytes: u64,
    /// Names, without its own.
    pub entries: u64,
    /// Where it is in a mount.
    pub restore_path: InMount,
}

/// What was counted of a directory so far.
struct Total {
    path: RelPath,
    depth: usize,
    size_bytes: u64,
    entries: u64,
}

/// Calls `each` with every directory at or below `start` that lies no more than `depth_max` levels below it, after what is in it, as du
/// prints them; of a start that is no directory, with that.
///
/// # Errors
/// As [`find`].
pub fn du(
    reader: &Reader,
    scope: &Scope,
    (start, at): (&RelPath, Time),
    depth_max: usize,
    each: &mut dyn FnMut(UsageRow) -> ControlFlow<()>,
) -> Result<Searched, Error> {
    let mut open: Vec<Total> = Vec::new();
    let mut met: HashSet<NodeId> = HashSet::new();
    let mut end = |open: &mut Vec<Total>, depth: usize| -> ControlFlow<()> {
        while let Some(total) = open.pop_if(|total| total.depth >= depth) {
            if let Some(above) = open.last_mut() {
                above.size_bytes = above.size_bytes.saturating_add(total.size_bytes);
                above.entries += total.entries;
            }
            if total.depth <= depth_max {
                each(UsageRow {
                    source: scope.source.name.clone(),
                    taken_at: at.to_string(),
                    taken_at_unix: at.0,
                    path: text(&total.path),
                    size_bytes: total.size_bytes,
                    entries: total.entries,
                    restore_path: InMount::of(scope, at, &total.path),
                })?;
            }
        }
        ControlFlow::Continue(())
    };
    let searched = find(reader, scope, start, When::At(at), &Asked::everything(), &mut |hit: Hit| {
        end(&mut open, hit.depth)?;
        let size_bytes = if counts(&mut met, &hit) { hit.row.size_bytes } else { 0 };
        if let Some(above) = open.last_mut() {
            above.entries += 1;
            if hit.kind != Kind::Directory {
                above.size_bytes = above.size_bytes.saturating_add(size_bytes);
            }
        }
        if hit.kind == Kind::Directory || hit.depth == 0 {
            open.push(Total { path: hit.path, depth: hit.depth, size_bytes, entries: 0 });
        }
        ControlFlow::Continue(())
    })?;
    let _ = end(&mut open, 0);
    Ok(searched)
}

/// Tells whether a file is met for the first time.
fn counts(met: &mut HashSet<NodeId>, hit: &Hit) -> bool {
    hit.kind == Kind::Directory || hit.row.nlink < 2 || met.insert(hit.node)
}
