//! Lists of changes as differences of two trees: what a consumer of an incremental backup is told.
//!
//! Promises: no log is replayed, so what came and went between the two trees is not told, and nothing that differs
//! is left out. Lines come in an order in which they can be carried out one after the other: directories made and
//! nodes moved, what makes room before what needs it; then deletions, children before parents; then what else is
//! new; then what changed. Never knows how a list is written.
//!
//! # What is told of what
//!
//! - A new node, and a new hard link: NEW, by every new name; directories before what is in them.
//! - A name that is gone: DELETE, of a removed tree every name. None where the path belongs to something else by now that is of the same kind:
//!   that is NEW or the goal of a RENAME, and takes the place of what was there (what is in a removed directory goes one by one).
//! - A node that lost a name and got another: RENAME. Of several the same names are paired first, then those in the
//!   same directory, then the rest in order. What is below a renamed directory is not told: its names did not change.
//! - Bytes, rights, owner, extended attributes or the target of a link that changed: MODIFY, by every name but those
//!   told as NEW. A directory only for its rights, owner and extended attributes: its times and size change with
//!   every name in it. A new link count is no change. The top directory is `.`.
//! - A file that was only renamed or linked is told as MODIFY too where nothing says that its bytes did not change:
//!   after a look at everything (a walk), and if it was written shortly before the window began, in a changelog
//!   that was still open then.
//!
//! An old name is told below the path that its directory has **now**, as glusterfind does it: after `d` became `e`, the
//! rename of what was `d/a` is `RENAME e/a e/b`, and what was removed from it is `DELETE e/x`. So a list can be
//! carried out on a copy line by line. Where nodes change places (two names that were swapped) one of them is moved aside first, to the
//! name `.asof-aside-1` in the top directory, and from there to its own: two lines. Below a directory that is gone it is the path that it had;
//! if another node was moved to that path, the directory is moved aside and deleted there.

use super::lines::{Each, Lines, aside_name};
use crate::catalog::{self, NodeRow, Reader, SourceRow};
use crate::clock::Clock;
use crate::jobs::take::gluster::{AGENT_DEADLINE, Error, load_started, remove_if_there};
use crate::model::{EntryName, Finding, Kind, NodeId, Time};
use crate::monitor::Monitor;
use crate::source::gluster::Settings;
use crate::source::gluster::collect::{Asking, Collected, collect};
use crate::source::gluster::list::Change;
use crate::store;
use std::collections::HashMap;
use std::ops::ControlFlow;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

/// The two trees whose difference is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// The generation before; none: nothing is known of, and everything is new.
    pub from: Option<Time>,
    /// The generation after.
    pub until: Time,
}

/// Calls `each` for every change of `window` of `source`, in the order that is told above.
///
/// Costs two queries for a changed node and its attributes, and two for each directory that changes are in. Memory:
/// the changes; with an open `from` the directories whose names are still to be told.
///
/// # Errors
/// Those of the catalog and of `each`.
pub fn list<E: From<catalog::Error>>(
    reader: &Reader,
    source: &SourceRow,
    window: Window,
    each: &mut Each<'_, E>,
) -> Result<(), E> {
    match window.from {
        Some(from) => Difference::new(reader, source, from, window.until).list(each),
        None => list_all(reader, source.root, window.until, each),
    }
}

/// Calls `each` for every name of a volume as it is now, a directory before what is in it, and returns what was found
/// amiss. `program` is this program, for agents on this machine; answers of bricks lie in `folder`, which is made and
/// removed again.
///
/// No catalog: the answers are merged as they are read. Memory: one directory and the directories not yet listed.
///
/// # Errors
/// Those of the run ([`Error`]) and of `each`.
pub fn list_volume<E: From<Error>>(
    settings: &Settings,
    program: &Path,
    folder: &Path,
    clock: &dyn Clock,
    monitor: &dyn Monitor,
    each: &mut Each<'_, E>,
) -> Result<Vec<Finding>, E> {
    let volume = load_started(settings)?;
    with_asking(settings, program, folder, |asking| {
        let why = Some("a full list was asked for".to_owned());
        let mut collected = collect(&volume, None, why, asking, clock, monitor).map_err(Error::from)?;
        list_collected(&mut collected, monitor, each)
    })
}

/// Calls `ask` with a new folder for answers, and removes that again.
pub(super) fn with_asking<T, E: From<Error>>(
    settings: &Settings,
    program: &Path,
    folder: &Path,
    ask: impl FnOnce(&Asking<'_>) -> Result<T, E>,
) -> Result<T, E> {
    let io = |source| Error::from(store::Error::CannotWrite { path: folder.to_owned(), source });
    // It must be one of our own: this is done in a place where everybody may write.
    std::fs::DirBuilder::new().mode(0o700).create(folder).map_err(io)?;
    let asked = ask(&Asking {
        template: &settings.exec,
        program: settings.program.as_deref().unwrap_or(program),
        deadline: AGENT_DEADLINE,
        folder,
    });
    remove_if_there(folder).map_err(io)?;
    asked
}

pub(super) fn list_collected<E: From<Error>>(
    collected: &mut Collected<'_>,
    monitor: &dyn Monitor,
    each: &mut Each<'_, E>,
) -> Result<Vec<Finding>, E> {
    let (mut findings, mut ended) = (Vec::new(), Ok(()));
    let walked = collected.walk(&mut |listing| {
        listing.findings.iter().for_each(|finding| monitor.finding(finding));
        findings.extend(listing.findings);
        monitor.advance(listing.entries.len() as u64);
        ended = listing
            .entries
            .into_iter()
            .try_for_each(|entry| each(Change::New(join(listing.path.as_bytes(), &entry.name)), entry.attrs.kind()));
        if ended.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    walked.map_err(Error::from)?;
    ended.map(|()| findings)
}

/// Tells every name of a tree as new, a directory before what is in it.
fn list_all<E: From<catalog::Error>>(reader: &Reader, root: NodeId, at: Time, each: &mut Each<'_, E>) -> Result<(), E> {
    let mut stack = vec![(root, Vec::new())];
    while let Some((dir, path)) = stack.pop() {
        let below = stack.len();
        let mut ended = Ok(());
        reader.list(dir, at, None, usize::MAX, |entry| {
            let path = join(&path, &entry.name);
            if entry.kind == Kind::Directory {
                stack.push((entry.node, path.clone()));
            }
            ended = each(Change::New(path), entry.kind);
            if ended.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        ended?;
        // The stack gives the last first.
        stack[below..].reverse();
    }
    Ok(())
}

pub(super) fn join(path: &[u8], name: &EntryName) -> Vec<u8> {
    let mut joined = Vec::with_capacity(path.len() + 1 + name.as_bytes().len());
    joined.extend_from_slice(path);
    if !path.is_empty() {
        joined.push(b'/');
    }
    joined.extend_from_slice(name.as_bytes());
    joined
}

/// A name in a directory.
type Named<D> = (D, EntryName);
type Name = Named<NodeId>;
/// Names that moved, from and to; names that are gone; names that are new.
type Paired<D> = (Vec<(Named<D>, Named<D>)>, Vec<Named<D>>, Vec<Named<D>>);

/// The path of the top directory.
pub(super) const TOP: &[u8] = b".";

/// Where a directory is, or was.
#[derive(Clone, Debug)]
struct Place {
    path: Vec<u8>,
    /// The directory that has this path now: itself, or the one that took its place.
    now: Option<NodeId>,
}

struct Difference<'a> {
    reader: &'a Reader,
    source: &'a SourceRow,
    from: Time,
    until: Time,
    places: HashMap<NodeId, Place>,
    lines: Lines,
    /// How many directories were moved aside.
    asides: u32,
}

impl<'a> Difference<'a> {
    fn new(reader: &'a Reader, source: &'a SourceRow, from: Time, until: Time) -> Self {
        let top = Place { path: Vec::new(), now: Some(source.root) };
        let places = HashMap::from([(source.root, top)]);
        Self { reader, source, from, until, places, lines: Lines::default(), asides: 0 }
    }

    fn list<E: From<catalog::Error>>(mut self, each: &mut Each<'_, E>) -> Result<(), E> {
        for node in self.reader.changed_nodes(self.source.id, self.from, self.until)? {
            self.node(node)?;
        }
        let (reader, root, instants) = (self.reader, self.source.root, [self.from, self.until]);
        self.lines.tell(&|name| Ok(is_used(reader, root, instants, name)?), each)
    }

    fn node(&mut self, node: NodeId) -> Result<(), catalog::Error> {
        if node == self.source.root {
            let (before, after) = (self.reader.node(node, self.from)?, self.reader.known_node(node, self.until)?);
            if before.is_some_and(|before| is_modified(&before, &after, Kind::Directory)) {
                self.lines.modify(TOP.to_vec(), Kind::Directory);
            }
            return Ok(());
        }
        let (before, after) = (self.reader.names(node, self.from)?, self.reader.names(node, self.until)?);
        let at = match (before.is_empty(), after.is_empty()) {
            // It came and went in between.
            (true, true) => return Ok(()),
            (_, false) => self.until,
            (false, true) => self.from,
        };
        let row = self.reader.known_node(node, at)?;
        let kind = self.kind(node, &row, at)?;
        let mut lost: Vec<Name> = before.iter().filter(|name| !after.contains(name)).cloned().collect();
        let mut got: Vec<Name> = after.iter().filter(|name| !before.contains(name)).cloned().collect();
        lost.sort_unstable();
        got.sort_unstable();
        let is_moved = !before.is_empty() && !after.is_empty();
        let (moved, lost, got) = if is_moved { pair(lost, got) } else { (Vec::new(), lost, got) };
        for (from, to) in moved {
            let (from, to) = (self.path_of(&from)?, self.path_of(&to)?);
            self.lines.rename(from, to, kind);
        }
        for name in lost {
            self.lost(node, kind, &name)?;
        }
        let is_modified = match self.reader.node(node, self.from)? {
            Some(before) if is_moved => is_modified(&before, &row, kind),
            _ => false,
        };
        for name in after.iter().filter(|name| is_modified && !got.contains(name)) {
            let path = self.path_of(name)?;
            self.lines.modify(path, kind);
        }
        for name in got {
            let to = self.path_of(&name)?;
            self.lines.appear(to, kind);
        }
        Ok(())
    }

    /// Tells of a name that a node does not have any more, and got no other for.
    fn lost(&mut self, node: NodeId, kind: Kind, name: &Name) -> Result<(), catalog::Error> {
        let place = self.place(name.0)?;
        let path = join(&place.path, &name.1);
        let taken = match place.now {
            Some(dir) => self.reader.lookup(dir, name.1.as_bytes(), self.until)?,
            None => None,
        };
        let Some((other, other_kind)) = taken else {
            self.lines.delete(path, kind);
            return Ok(());
        };
        let (is_dir, other_is_dir) = (kind == Kind::Directory, other_kind == Kind::Directory);
        match (is_dir, other_is_dir, self.is_new(other)?) {
            // It is replaced; or it is made where it is, and loses what is in it name by name.
            (false, false, _) | (true, true, true) => {}
            // Deletions come before what is new,
            (true, false, true) => self.lines.delete(path, kind),
            // and after directories and what moved.
            (false, true, _) => self.lines.clear(path, kind),
            (true, _, false) => {
                let aside = self.place(node)?.path;
                self.lines.rename(path, aside.clone(), kind);
                self.lines.delete(aside, kind);
            }
        }
        Ok(())
    }

    fn is_new(&self, node: NodeId) -> Result<bool, catalog::Error> {
        Ok(self.reader.names(node, self.from)?.is_empty())
    }

    /// Returns a name in the top directory that neither tree has.
    fn aside(&mut self) -> Result<Vec<u8>, catalog::Error> {
        loop {
            self.asides += 1;
            let name = aside_name(self.asides);
            if !is_used(self.reader, self.source.root, [self.from, self.until], &name)? {
                return Ok(name.as_bytes().to_vec());
            }
        }
    }

    fn kind(&self, node: NodeId, row: &NodeRow, at: Time) -> Result<Kind, catalog::Error> {
        Kind::from_mode(self.reader.perm(row.perm)?.mode).ok_or_else(|| self.contradiction("no kind", node, at))
    }

    fn contradiction(&self, what: &'static str, node: NodeId, at: Time) -> catalog::Error {
        catalog::Error::Contradiction { path: self.reader.path().to_owned(), what, node, at }
    }

    fn path_of(&mut self, name: &Name) -> Result<Vec<u8>, catalog::Error> {
        Ok(join(&self.place(name.0)?.path, &name.1))
    }

    /// Returns where a directory is, or was: see the top of this file.
    ///
    /// Climbs to a directory that is known and comes down again; not by calling itself, since trees may be deep.
    fn place(&mut self, dir: NodeId) -> Result<Place, catalog::Error> {
        let mut chain = Vec::new();
        let mut here = dir;
        let mut place = loop {
            if let Some(known) = self.places.get(&here) {
                break known.clone();
            }
            // A directory has one name.
            let (at, name) = match self.reader.names(here, self.until)?.pop() {
                Some(name) => (self.until, name),
                None => match self.reader.names(here, self.from)?.pop() {
                    Some(name) => (self.from, name),
                    None => return Err(self.contradiction("no name", here, self.until)),
                },
            };
            let parent = name.0;
            chain.push((here, at == self.until, name));
            // Every directory of a loop would be met again and again.
            if chain.len() > DEPTH_MAX {
                return Err(self.contradiction("a loop among the directories", dir, at));
            }
            here = parent;
        };
        while let Some((node, lives, (_, name))) = chain.pop() {
            let taker = match (lives, place.now) {
                (false, Some(parent)) => self.reader.lookup(parent, name.as_bytes(), self.until)?,
                _ => None,
            };
            place = match taker {
                Some((taker, _)) if !self.is_new(taker)? => Place { path: self.aside()?, now: None },
                Some((taker, Kind::Directory)) => Place { path: join(&place.path, &name), now: Some(taker) },
                _ => Place { path: join(&place.path, &name), now: lives.then_some(node) },
            };
            self.places.insert(node, place.clone());
        }
        Ok(place)
    }
}

/// The deepest directory whose path is told.
const DEPTH_MAX: usize = 65_536;

/// Tells whether two versions of one node differ in what a list tells of.
fn is_modified(before: &NodeRow, after: &NodeRow, kind: Kind) -> bool {
    let content = || match kind {
        Kind::Directory => false,
        Kind::File => {
            before.bytes != after.bytes || before.size_bytes != after.size_bytes || before.mtime != after.mtime
        }
        _ => before.place != after.place || (before.size_bytes, before.mtime) != (after.size_bytes, after.mtime),
    };
    before.perm != after.perm || content()
}

/// Pairs names that a node lost with names that it got; returns the pairs and what is left of both.
pub(super) fn pair<D: PartialEq>(lost: Vec<Named<D>>, mut got: Vec<Named<D>>) -> Paired<D> {
    let (mut lost, mut pairs) = (lost, Vec::new());
    type Rule<D> = fn(&Named<D>, &Named<D>) -> bool;
    let rules: [Rule<D>; 3] = [|a, b| a.1 == b.1, |a, b| a.0 == b.0, |_, _| true];
    for fits in rules {
        let mut rest = Vec::new();
        for from in lost {
            match got.iter().position(|to| fits(&from, to)) {
                Some(at) => pairs.push((from, got.remove(at))),
                None => rest.push(from),
            }
        }
        lost = rest;
    }
    (pairs, lost, got)
}

/// Tells whether a tree has something by a name in its top directory.
fn is_used(reader: &Reader, root: NodeId, instants: [Time; 2], name: &EntryName) -> Result<bool, catalog::Error> {
    for at in instants {
        if reader.lookup(root, name.as_bytes(), at)?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests;
