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
//! - A name that is gone: DELETE, of a removed tree every name. None where the path belongs to something else by now:
//!   that is NEW or the goal of a RENAME, and takes the place of what was there.
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
//! name `.asof-aside-1` in the top directory, and from there to its own: two lines. Below a directory that is gone it is the path that it had.

use crate::catalog::{self, NodeRow, Reader, SourceRow};
use crate::clock::Clock;
use crate::jobs::take::gluster::{AGENT_DEADLINE, Error, load_started, remove_if_there};
use crate::model::{EntryName, Finding, Kind, NodeId, Time};
use crate::monitor::Monitor;
use crate::source::gluster::Settings;
use crate::source::gluster::collect::{Asking, Collected, collect};
use crate::source::gluster::list::Change;
use crate::store;
use std::collections::{HashMap, HashSet};
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

/// Takes one line of a list: the change, and what kind of node it is about.
pub type Each<'a, E> = dyn FnMut(Change, Kind) -> Result<(), E> + 'a;

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

fn list_collected<E: From<Error>>(
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

/// A directory that was made, or a node that moved.
struct Step {
    from: Option<Vec<u8>>,
    to: Vec<u8>,
    kind: Kind,
}

/// The lines of a list, until all are known.
#[derive(Default)]
pub(super) struct Lines {
    steps: Vec<Step>,
    deleted: Vec<(Vec<u8>, Kind)>,
    new: Vec<(Vec<u8>, Kind)>,
    modified: Vec<(Vec<u8>, Kind)>,
}

impl Lines {
    pub(super) fn rename(&mut self, from: Vec<u8>, to: Vec<u8>, kind: Kind) {
        // Its directory was replaced by another one of the same name.
        if from != to {
            self.steps.push(Step { from: Some(from), to, kind });
        }
    }

    pub(super) fn appear(&mut self, path: Vec<u8>, kind: Kind) {
        match kind {
            Kind::Directory => self.steps.push(Step { from: None, to: path, kind }),
            _ => self.new.push((path, kind)),
        }
    }

    pub(super) fn delete(&mut self, path: Vec<u8>, kind: Kind) {
        self.deleted.push((path, kind));
    }

    pub(super) fn modify(&mut self, path: Vec<u8>, kind: Kind) {
        self.modified.push((path, kind));
    }

    /// Tells them all in the order that is told above.
    pub(super) fn tell<E>(mut self, each: &mut Each<'_, E>) -> Result<(), E> {
        self.deleted.sort_unstable_by(|a, b| b.0.cmp(&a.0));
        self.new.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        self.modified.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        let named: HashSet<Vec<u8>> = [&self.new, &self.modified, &self.deleted]
            .into_iter()
            .flatten()
            .map(|(path, _)| path.clone())
            .chain(self.steps.iter().flat_map(|step| step.from.iter().chain([&step.to]).cloned()))
            .collect();
        for Step { from, to, kind } in aside(in_order(self.steps), &named) {
            let change = match from {
                Some(from) => Change::Rename { from, to },
                None => Change::New(to),
            };
            each(change, kind)?;
        }
        self.deleted.into_iter().try_for_each(|(path, kind)| each(Change::Delete(path), kind))?;
        self.new.into_iter().try_for_each(|(path, kind)| each(Change::New(path), kind))?;
        self.modified.into_iter().try_for_each(|(path, kind)| each(Change::Modify(path), kind))
    }
}

struct Difference<'a> {
    reader: &'a Reader,
    source: &'a SourceRow,
    from: Time,
    until: Time,
    places: HashMap<NodeId, Place>,
    lines: Lines,
}

impl<'a> Difference<'a> {
    fn new(reader: &'a Reader, source: &'a SourceRow, from: Time, until: Time) -> Self {
        let top = Place { path: Vec::new(), now: Some(source.root) };
        Self { reader, source, from, until, places: HashMap::from([(source.root, top)]), lines: Lines::default() }
    }

    fn list<E: From<catalog::Error>>(mut self, each: &mut Each<'_, E>) -> Result<(), E> {
        for node in self.reader.changed_nodes(self.source.id, self.from, self.until)? {
            self.node(node)?;
        }
        self.lines.tell(each)
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
            let place = self.place(name.0)?;
            let taken = match place.now {
                Some(dir) => self.reader.lookup(dir, name.1.as_bytes(), self.until)?,
                None => None,
            };
            if taken.is_none() {
                self.lines.delete(join(&place.path, &name.1), kind);
            }
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
            let now = match (lives, place.now) {
                (true, _) => Some(node),
                (false, None) => None,
                (false, Some(parent)) => match self.reader.lookup(parent, name.as_bytes(), self.until)? {
                    Some((node, Kind::Directory)) => Some(node),
                    _ => None,
                },
            };
            place = Place { path: join(&place.path, &name), now };
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

/// Moves aside, to a name that is none of `named`, what a step would take the name of before it has left that.
fn aside(mut steps: Vec<Step>, named: &HashSet<Vec<u8>>) -> Vec<Step> {
    let leaves = steps.iter().enumerate().filter_map(|(number, step)| Some((step.from.clone()?, number)));
    let leaves: HashMap<Vec<u8>, usize> = leaves.collect();
    let mut names =
        (1..).map(|number| format!(".asof-aside-{number}").into_bytes()).filter(|name| !named.contains(name));
    let mut before: Vec<Vec<Step>> = steps.iter().map(|_| Vec::new()).collect();
    for number in 0..steps.len() {
        let Some(later) = leaves.get(&steps[number].to).copied().filter(|later| *later > number) else { continue };
        let to = names.next().expect("there are more names than a list has");
        let from = steps[later].from.replace(to.clone());
        before[number].push(Step { from, to, kind: steps[later].kind });
    }
    before.into_iter().zip(steps).flat_map(|(before, step)| before.into_iter().chain([step])).collect()
}

/// Orders steps so that a directory is there before something is put into it or renamed below it, and a name is left
/// before something else takes it. Of a circle one step comes too early: see [`aside`].
fn in_order(mut steps: Vec<Step>) -> Vec<Step> {
    steps.sort_unstable_by(|a, b| a.to.cmp(&b.to));
    let by_to: HashMap<&[u8], usize> = steps.iter().enumerate().map(|(i, step)| (step.to.as_slice(), i)).collect();
    let by_from: HashMap<&[u8], usize> =
        steps.iter().enumerate().filter_map(|(i, step)| Some((step.from.as_deref()?, i))).collect();
    let needs = |i: usize| {
        let step: &Step = &steps[i];
        let paths = [Some(step.to.as_slice()), step.from.as_deref()].into_iter().flatten();
        let above = paths
            .flat_map(|path| path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| &path[..at]));
        let mut needed: Vec<usize> = above.filter_map(|path| by_to.get(path).copied()).collect();
        needed.extend(by_from.get(step.to.as_slice()));
        needed
    };
    let mut seen = vec![false; steps.len()];
    let mut order = Vec::with_capacity(steps.len());
    for first in 0..steps.len() {
        // A step is entered when it is met, and done when all that it needs is.
        let mut stack = vec![(first, false)];
        while let Some((step, entered)) = stack.pop() {
            if entered {
                order.push(step);
            } else if !std::mem::replace(&mut seen[step], true) {
                stack.push((step, true));
                stack.extend(needs(step).into_iter().filter(|need| !seen[*need]).map(|need| (need, false)));
            }
        }
    }
    let mut taken: Vec<Option<Step>> = steps.into_iter().map(Some).collect();
    order.into_iter().filter_map(|step| taken[step].take()).collect()
}

#[cfg(test)]
mod tests;
