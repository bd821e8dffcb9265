//! `find` by the index of names: what may fulfil a test of names is known before anything is listed.
//!
//! Promises: finds what a search without the index finds, in the same order.

use super::{Search, Seen};
use crate::catalog::Error;
use crate::model::{Kind, NodeId, RelPath, Time, folded};
use std::cmp::Ordering;
use std::ops::ControlFlow;

impl Search<'_> {
    /// Returns all paths below the start whose names may fulfil the tests, over all time, deep enough and not too deep; none if the index cannot
    /// tell, or would not help.
    pub(super) fn indexed(&self) -> Result<Option<Vec<RelPath>>, Error> {
        let pieces = self.asked.expression.pieces();
        let Some(dirs) = self.reader.directories_with(self.scope.source.id, &pieces)? else { return Ok(None) };
        let fits = |name: &[u8]| {
            let name: String = String::from_utf8_lossy(name).chars().map(folded).collect();
            pieces.iter().all(|piece| name.contains(piece.as_str()))
        };
        let is_below = |path: &RelPath| {
            let mut names = path.names();
            self.start.names().all(|name| names.next() == Some(name))
                && (1..=self.asked.depth_max).contains(&names.count())
        };
        let paths = self.reader.paths_named(self.scope, &dirs, &fits)?;
        Ok(Some(paths.into_iter().filter(is_below).collect()))
    }

    /// Tests these paths over all time.
    pub(super) fn ever_among(&mut self, mut paths: Vec<RelPath>) -> Result<ControlFlow<()>, Error> {
        paths.sort_by(by_directory);
        let above = self.start.names().count();
        for path in paths {
            let stays = self.reader.stays(self.scope, &path)?;
            if self.newest_that_fits(&path, &stays, path.names().count() - above)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Tests these paths as of `at`.
    pub(super) fn as_of_among(&mut self, mut paths: Vec<RelPath>, at: Time) -> Result<ControlFlow<()>, Error> {
        paths.sort_by(|one, other| one.names().cmp(other.names()));
        let above = self.start.names().count();
        for path in paths {
            let Some((node, kind)) = self.seen_at(&path, at)? else { continue };
            let (row, depth) = (self.reader.known_node(node, at)?, path.names().count() - above);
            if self.test(&Seen { path: &path, node, kind, row, depth, at, gone_in: None })?.1.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Returns what a path leads to as of `at` by names that were seen.
    fn seen_at(&self, path: &RelPath, at: Time) -> Result<Option<(NodeId, Kind)>, Error> {
        let (mut here, mut above) = ((self.scope.source.root, Kind::Directory), self.start.names().count());
        for name in path.names() {
            match self.reader.lookup(here.0, name, at)? {
                // Kept names above the start are no reason to leave out what was seen below it.
                Some(_) if above == 0 && self.reader.is_kept(here.0, name, at)? => return Ok(None),
                Some(found) => here = found,
                None => return Ok(None),
            }
            above = above.saturating_sub(1);
        }
        Ok(Some(here))
    }
}

/// The order of a search over all time: what is in a directory before what is below it.
fn by_directory(one: &RelPath, other: &RelPath) -> Ordering {
    let (mut left, mut right) = (one.names().peekable(), other.names().peekable());
    loop {
        match (left.next(), right.next()) {
            (None, None) => return Ordering::Equal,
            (None, _) => return Ordering::Less,
            (_, None) => return Ordering::Greater,
            (Some(a), Some(b)) => {
                let (is_last, other_is_last) = (left.peek().is_none(), right.peek().is_none());
                let order = other_is_last.cmp(&is_last).then_with(|| a.cmp(b));
                if order != Ordering::Equal {
                    return order;
                }
            }
        }
    }
}
