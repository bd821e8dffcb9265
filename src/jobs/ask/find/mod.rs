//! `find`: entries that fulfil tests, as of a date, over all time, or of what is gone or changed since a date.
//!
//! Promises: as of a date each directory is one range query, entries come in the order of their paths, directory by directory, and no more
//! than a part of each directory on the way is in memory. What nobody saw, because its directory could not be listed, is not found; how
//! many such directories there are is told. Over all time a path is found by its newest version that fulfils the tests.

mod expression;
mod format;
mod glob;
mod hit;
mod indexed;
mod parse;

pub use format::Format;
pub use hit::{Hit, HitRow};
pub use parse::{Asked, World, parse};

use super::row::InMount;
use crate::catalog::{DirEntry, Error, Found, NodeRow, Place, Reader, Scope, Stay};
use crate::model::{EntryName, Kind, NodeId, RelPath, Time};
use expression::Entry;
use hit::shown_path;
use std::collections::VecDeque;
use std::ops::ControlFlow;

/// Entries of a directory that are read at a time.
const BATCH: usize = 4_096;

/// Which generations are searched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// This one.
    At(Time),
    /// All.
    Ever,
    /// What is gone in the newest, and was there at this instant or later.
    DeletedSince(Time),
    /// What is there in the newest, and changed after this instant.
    ChangedSince(Time),
}

/// How a search went.
#[derive(Clone, Copy, Debug, Default)]
pub struct Searched {
    /// Whether there is, or was, what the search begins with.
    pub is_there: bool,
    /// Directories that could not be listed when they were indexed.
    pub in_doubt: u64,
}

/// A search that goes on.
struct Search<'s> {
    reader: &'s Reader,
    scope: &'s Scope,
    start: &'s RelPath,
    asked: &'s Asked,
    each: &'s mut dyn FnMut(Hit) -> ControlFlow<()>,
    searched: Searched,
}

/// Calls `each` with what is found at or below `start`, until it breaks.
///
/// # Errors
/// [`Error::NoVersion`] and others of reading.
pub fn find(
    reader: &Reader,
    scope: &Scope,
    start: &RelPath,
    when: When,
    asked: &Asked,
    each: &mut dyn FnMut(Hit) -> ControlFlow<()>,
) -> Result<Searched, Error> {
    let mut search = Search { reader, scope, start, asked, each, searched: Searched::default() };
    // Who breaks knows why.
    let _: ControlFlow<()> = match when {
        When::At(at) => search.as_of(at)?,
        When::Ever => {
            search.searched.in_doubt = newest_in_doubt(reader, scope)?;
            search.ever()?
        }
        When::DeletedSince(since) => {
            search.searched.is_there = true;
            search.searched.in_doubt = newest_in_doubt(reader, scope)?;
            search.of(reader.gone_since(scope, since)?)?
        }
        When::ChangedSince(since) => {
            search.searched.is_there = true;
            search.searched.in_doubt = newest_in_doubt(reader, scope)?;
            search.of(reader.changed_since(scope, since)?)?
        }
    };
    Ok(search.searched)
}

/// Returns how many directories the newest generation could not list.
pub fn newest_in_doubt(reader: &Reader, scope: &Scope) -> Result<u64, Error> {
    scope.instants().next_back().map_or(Ok(0), |newest| reader.doubts_at(scope, (newest, newest)))
}

/// A version that is looked at.
struct Seen<'p> {
    path: &'p RelPath,
    node: NodeId,
    kind: Kind,
    row: NodeRow,
    depth: usize,
    at: Time,
    gone_in: Option<Time>,
}

/// A directory of which a part was read.
struct Frame {
    dir: NodeId,
    path: RelPath,
    depth: usize,
    after: Option<EntryName>,
    batch: VecDeque<DirEntry>,
    is_read: bool,
}

impl Search<'_> {
    /// Tests one version; returns whether it was found, and whether to go on.
    fn test(&mut self, seen: &Seen<'_>) -> Result<(bool, ControlFlow<()>), Error> {
        let nothing = (false, ControlFlow::Continue(()));
        if seen.depth < self.asked.depth_min || seen.depth > self.asked.depth_max {
            return Ok(nothing);
        }
        let shown = shown_path(&self.scope.source.name, seen.path);
        let name = seen.path.names().last().unwrap_or(b".");
        let perm = self.reader.perm(seen.row.perm)?;
        let is_empty = || {
            let mut is_empty = true;
            self.reader.list(seen.node, seen.at, None, 1, |_| {
                is_empty = false;
                ControlFlow::Break(())
            })?;
            Ok(is_empty)
        };
        let entry = Entry { name, path: &shown, kind: seen.kind, row: &seen.row, perm, is_empty: &is_empty };
        if !self.asked.expression.holds(self.reader, &entry)? {
            return Ok(nothing);
        }
        let target = match (seen.kind, seen.row.place) {
            (Kind::Symlink, Place::Inline(id)) => self.reader.inline(id)?,
            _ => Vec::new(),
        };
        let hit = Hit {
            source: self.scope.source.name.clone(),
            start: self.start.clone(),
            path: seen.path.clone(),
            node: seen.node,
            kind: seen.kind,
            row: seen.row,
            perm,
            target,
            depth: seen.depth,
            at: seen.at,
            gone_in: seen.gone_in,
            restore_path: InMount::of(self.scope, seen.at, seen.path),
        };
        Ok((true, (self.each)(hit)))
    }

    fn as_of(&mut self, at: Time) -> Result<ControlFlow<()>, Error> {
        let Some((node, kind)) = self.reader.leads_to(self.scope, self.start, at)? else {
            return Ok(ControlFlow::Continue(()));
        };
        self.searched.is_there = true;
        let row = self.reader.known_node(node, at)?;
        let path = self.start.clone();
        if self.test(&Seen { path: &path, node, kind, row, depth: 0, at, gone_in: None })?.1.is_break() {
            return Ok(ControlFlow::Break(()));
        }
        // Which of the directories on the way could not be listed is told by who goes through them.
        if self.reader.doubts_at(self.scope, (at, at))? == 0
            && let Some(paths) = self.indexed()?
        {
            return self.as_of_among(paths, at);
        }
        let mut frames = Vec::new();
        self.enter(&mut frames, (node, kind, &row), path, 0);
        while let Some(frame) = frames.last_mut() {
            if frame.batch.is_empty() && !frame.is_read {
                self.read(frame, at)?;
            }
            let Some(entry) = frame.batch.pop_front() else {
                frames.pop();
                continue;
            };
            let (path, depth) = (frame.path.join(&entry.name), frame.depth + 1);
            let (node, kind, row) = (entry.node, entry.kind, entry.row);
            if self.test(&Seen { path: &path, node, kind, row, depth, at, gone_in: None })?.1.is_break() {
                return Ok(ControlFlow::Break(()));
            }
            self.enter(&mut frames, (node, kind, &row), path, depth);
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Begins with a directory, if it is one and not too deep.
    fn enter(
        &mut self,
        frames: &mut Vec<Frame>,
        (dir, kind, row): (NodeId, Kind, &NodeRow),
        path: RelPath,
        depth: usize,
    ) {
        if kind == Kind::Directory && depth < self.asked.depth_max {
            self.searched.in_doubt += u64::from(row.place == Place::Lost);
            frames.push(Frame { dir, path, depth, after: None, batch: VecDeque::new(), is_read: false });
        }
    }

    /// Reads the next part of a directory, without names that nobody saw.
    fn read(&self, frame: &mut Frame, at: Time) -> Result<(), Error> {
        while frame.batch.is_empty() && !frame.is_read {
            let mut batch = VecDeque::new();
            self.reader.list(frame.dir, at, frame.after.as_ref().map(EntryName::as_bytes), BATCH, |entry| {
                batch.push_back(entry);
                ControlFlow::Continue(())
            })?;
            frame.is_read = batch.len() < BATCH;
            frame.after = batch.back().map(|entry| entry.name.clone());
            for entry in batch {
                if !self.reader.is_kept(frame.dir, entry.name.as_bytes(), at)? {
                    frame.batch.push_back(entry);
                }
            }
        }
        Ok(())
    }

    fn ever(&mut self) -> Result<ControlFlow<()>, Error> {
        let stays = self.reader.stays(self.scope, self.start)?;
        self.searched.is_there = !stays.is_empty();
        if self.newest_that_fits(self.start, &stays, 0)?.is_break() {
            return Ok(ControlFlow::Break(()));
        }
        if let Some(paths) = self.indexed()? {
            return self.ever_among(paths);
        }
        let mut open: Vec<(RelPath, Vec<Stay>, usize)> = vec![(self.start.clone(), stays, 0)];
        while let Some((dir, stays, depth)) = open.pop() {
            let mut below = Vec::new();
            for (name, stays) in self.reader.list_ever(self.scope, &stays)? {
                let path = dir.join(&name);
                if self.newest_that_fits(&path, &stays, depth + 1)?.is_break() {
                    return Ok(ControlFlow::Break(()));
                }
                if depth + 1 < self.asked.depth_max && stays.iter().any(|stay| stay.kind == Kind::Directory) {
                    below.push((path, stays, depth + 1));
                }
            }
            below.reverse();
            open.append(&mut below);
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Finds a path by its newest version that fulfils the tests.
    fn newest_that_fits(&mut self, path: &RelPath, stays: &[Stay], depth: usize) -> Result<ControlFlow<()>, Error> {
        let gone_in = stays.last().and_then(|stay| stay.until);
        for stay in stays.iter().rev() {
            for (at, row) in self.reader.versions_in(self.scope, stay)?.into_iter().rev() {
                let (node, kind) = (stay.node, stay.kind);
                let at = self.reader.last_seen(self.scope.source.id, node, at)?;
                let (found, flow) = self.test(&Seen { path, node, kind, row, depth, at, gone_in })?;
                if found {
                    return Ok(flow);
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Tests paths that are known already.
    fn of(&mut self, paths: Vec<Found>) -> Result<ControlFlow<()>, Error> {
        let above = self.start.names().count();
        for Found { path, node, kind, last, gone_in } in paths {
            let mut names = path.names();
            if !self.start.names().all(|name| names.next() == Some(name)) {
                continue;
            }
            let (row, depth) = (self.reader.known_node(node, last)?, path.names().count() - above);
            if self.test(&Seen { path: &path, node, kind, row, depth, at: last, gone_in })?.1.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }
}
