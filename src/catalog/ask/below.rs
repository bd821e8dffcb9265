//! The history of a directory: what came, changed and went in it and below it, generation by generation.
//!
//! Promises: the directory is followed through its renames. Of a small one the nodes below it are looked at, of a large one the notes of
//! each generation; the answer is the same. No more is in memory than the lines of one generation, and what tells a small directory.

use super::diff::{Difference, Within};
use super::places::paths_ever;
use super::scope::Scope;
use super::story::path_of;
use crate::catalog::timeline::common;
use crate::catalog::{Error, Reader};
use crate::model::{NodeId, RelPath, Time};
use foldhash::{HashSet, HashSetExt};
use rusqlite::Connection;
use std::collections::BTreeMap;
use std::ops::{ControlFlow, Range};

/// Names of a directory, and of those below it, over all time that are looked at one by one.
const NAMES_MAX: usize = 20_000;

pub(super) const NAMES_IN: &str = "SELECT node, born, died, kind = 1 FROM dirent WHERE parent = ?1";
pub(super) const BIRTHS: &str = "SELECT born FROM inode WHERE node = ?1";

/// The nodes about which something may differ in the generation at a place.
type Turns = BTreeMap<usize, Vec<NodeId>>;

impl Reader {
    /// Calls `each` with what every generation from `since` on changed in the directory `dir` and below it, the oldest first, until it
    /// breaks. Generations that changed nothing there are left out, and the oldest of all, which is compared with nothing.
    ///
    /// # Errors
    /// As [`Reader::diff`].
    pub fn changes_below(
        &self,
        scope: &Scope,
        dir: NodeId,
        since: Time,
        each: &mut dyn FnMut(Time, Vec<Difference>) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        let (paths, turns) = self.run("following a directory", |c| {
            let paths = paths_ever(c, scope, dir)?.into_iter();
            let paths: Vec<(Range<usize>, RelPath)> =
                paths.map(|(span, path)| Ok((span, path_of(&path)?))).collect::<rusqlite::Result<_>>()?;
            Ok((paths, turns_below(c, scope, dir)?))
        })?;
        let path_at = |place: usize| paths.iter().find(|(span, _)| span.contains(&place)).map(|(_, path)| path);
        for place in scope.place(since).max(1)..scope.len() {
            let within = match (path_at(place - 1), path_at(place)) {
                (None, None) => continue,
                (before, after) => Within { before: before.cloned(), after: after.cloned() },
            };
            let times = (scope.at(place - 1), scope.at(place));
            let lines = match &turns {
                None => self.diff(scope, times, &within)?,
                Some(turns) => match turns.get(&place) {
                    Some(nodes) => self.diff_of(scope, times, &within, nodes)?,
                    None => continue,
                },
            };
            if !lines.is_empty() && each(times.1, lines).is_break() {
                break;
            }
        }
        Ok(())
    }
}

/// Returns where something may differ about a directory and what was ever below it; none if that is too much.
fn turns_below(c: &Connection, scope: &Scope, dir: NodeId) -> rusqlite::Result<Option<Turns>> {
    let (mut turns, mut looked_at, mut count) = (Turns::new(), HashSet::new(), 0);
    let mut open: Vec<(NodeId, Range<usize>)> = vec![(dir, scope.all())];
    for (span, _) in paths_ever(c, scope, dir)? {
        [span.start, span.end].into_iter().for_each(|place| turns.entry(place).or_default().push(dir));
    }
    births(c, scope, dir, &mut turns)?;
    while let Some((here, life)) = open.pop() {
        let mut statement = c.prepare_cached(NAMES_IN)?;
        let mut rows = statement.query([here.0])?;
        while let Some(row) = rows.next()? {
            let (node, span) = (NodeId(row.get(0)?), scope.span(row.get(1)?, row.get(2)?));
            let both = common(&life, &span);
            if both.is_empty() {
                continue;
            }
            count += 1;
            if count > NAMES_MAX {
                return Ok(None);
            }
            [span.start, span.end].into_iter().for_each(|place| turns.entry(place).or_default().push(node));
            if looked_at.insert(node) {
                births(c, scope, node, &mut turns)?;
            }
            if row.get(3)? {
                open.push((node, both));
            }
        }
    }
    for nodes in turns.values_mut() {
        nodes.sort_unstable();
        nodes.dedup();
    }
    Ok(Some(turns))
}

/// Adds the births of the versions of a node.
fn births(c: &Connection, scope: &Scope, node: NodeId, turns: &mut Turns) -> rusqlite::Result<()> {
    let mut statement = c.prepare_cached(BIRTHS)?;
    let mut rows = statement.query([node.0])?;
    while let Some(row) = rows.next()? {
        let place = scope.span(row.get(0)?, i64::MAX).start;
        turns.entry(place).or_default().push(node);
    }
    Ok(())
}
