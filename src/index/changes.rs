//! What a source says that changed, applied to the generation before.
//!
//! A source that knows what changed tells the present state of every node that may have: all its names, its
//! attributes, or that it is gone; and what names point to that something was moved onto. So records may come
//! twice and in any order: what is applied is a state, not a deed.
//!
//! Promises: what was not told is as it was. Names are settled before any byte is taken, so that paths are those of
//! the new tree; a renamed directory is one name closed and one opened, whatever is below it. A name in a directory
//! that nobody knows is an error that asks for a walk, never a name left out.

use super::keep::{Doubt, Keep, Outcome, keep_file};
use super::{Counts, Error};
use crate::catalog::{ChangeOps, DirEntry, GenerationWriter, NodeRow, Resume};
use crate::model::{Changes, EntryName, FileKey, Finding, Kind, NodeId, NodeState, RelPath};
use crate::monitor::Monitor;
use std::collections::{BTreeSet, HashMap};

/// A node that may have changed, and what it was.
struct Touched {
    state: NodeState,
    node: NodeId,
    base: Option<NodeRow>,
    /// It had a name (or is the root).
    lived: bool,
}

/// The names of a node, as a source tells them.
type Names = [(FileKey, EntryName)];

pub(super) struct Apply<'a, 'w> {
    writer: &'a mut GenerationWriter<'w>,
    keep: &'a mut dyn Keep,
    /// The top directory's key.
    root: FileKey,
    monitor: &'a dyn Monitor,
    nodes: HashMap<FileKey, Option<NodeId>>,
    /// Nodes that lost or got a name and may have to be told their new link count.
    relinked: BTreeSet<NodeId>,
    counts: Counts,
    entries: i64,
    size_bytes: i64,
}

impl<'a, 'w> Apply<'a, 'w> {
    pub(super) fn new(
        writer: &'a mut GenerationWriter<'w>,
        keep: &'a mut dyn Keep,
        root: FileKey,
        before: &Resume,
        monitor: &'a dyn Monitor,
    ) -> Self {
        Self {
            writer,
            keep,
            root,
            monitor,
            nodes: HashMap::new(),
            relinked: BTreeSet::new(),
            counts: Counts::default(),
            entries: before.entries as i64,
            size_bytes: before.size_bytes as i64,
        }
    }

    pub(super) fn run(mut self, changes: Changes) -> Result<Counts, Error> {
        for finding in &changes.findings {
            self.finding(finding)?;
        }
        let mut touched = Vec::with_capacity(changes.nodes.len());
        for state in changes.nodes {
            touched.push(self.know(state)?);
        }
        for (parent, name, now) in changes.names {
            self.vacate(parent, &name, now)?;
        }
        let mut moved = Vec::with_capacity(changes.moved.len());
        for (key, names) in changes.moved {
            let Some(node) = self.node_of(key)? else { continue };
            let Some(kind) = self.writer.known_kind(node)? else { continue };
            moved.push((node, kind, names));
        }
        for one in touched.iter().filter(|one| one.lived) {
            self.close_names(one.node, &one.state.names)?;
        }
        for (node, _, names) in &moved {
            self.close_names(*node, names)?;
        }
        for one in &touched {
            self.open_names(one.node, one.state.attrs.kind(), &one.state.names)?;
        }
        for (node, kind, names) in &moved {
            self.open_names(*node, *kind, names)?;
            self.relinked.insert(*node);
        }
        for key in changes.gone {
            if let Some(node) = self.node_of(key)? {
                self.close_all(node)?;
            }
        }
        self.close_below_the_dead()?;
        // From the top down, so that a copy has its directories before what is in them.
        let mut ordered = Vec::with_capacity(touched.len());
        for one in touched {
            let path = self.writer.current_path(one.node)?;
            ordered.push((path, one));
        }
        ordered.sort_by(|a, b| a.0.as_ref().map(RelPath::as_bytes).cmp(&b.0.as_ref().map(RelPath::as_bytes)));
        for (path, one) in ordered {
            if let Some(path) = path {
                self.settle(&path, one)?;
            }
            self.monitor.advance(1);
        }
        self.count_links()?;
        self.counts.entries = u64::try_from(self.entries).unwrap_or(0);
        self.counts.size_bytes = u64::try_from(self.size_bytes).unwrap_or(0);
        Ok(self.counts)
    }

    /// Returns the node of `key`, if any generation had it or this one has.
    fn node_of(&mut self, key: FileKey) -> Result<Option<NodeId>, Error> {
        if key == self.root {
            return Ok(Some(self.writer.root()));
        }
        if let Some(node) = key.as_node() {
            return Ok(Some(node));
        }
        if let Some(known) = self.nodes.get(&key) {
            return Ok(*known);
        }
        let node = self.writer.identified(key)?;
        self.nodes.insert(key, node);
        Ok(node)
    }

    /// Gives a node to every state.
    fn know(&mut self, state: NodeState) -> Result<Touched, Error> {
        let known = self.node_of(state.key)?;
        let lived = match known {
            Some(node) => node == self.writer.root() || !self.writer.previous_names(node)?.is_empty(),
            None => false,
        };
        if !lived && !state.made && state.attrs.kind() == Kind::Directory {
            return Err(Error::UntoldDirectory { directory: state.key });
        }
        // A node that lost all its names and has one again goes on where it stopped.
        let node = match known {
            Some(node) => node,
            None => {
                let node = self.writer.new_node()?;
                if state.key.is_lasting() {
                    self.writer.identify(state.key, node)?;
                }
                self.nodes.insert(state.key, Some(node));
                node
            }
        };
        let base = if lived { self.writer.previous_version(node)? } else { None };
        Ok(Touched { state, node, base, lived })
    }

    /// Closes `name` in `parent` where it pointed to another node than it does now.
    fn vacate(&mut self, parent: FileKey, name: &EntryName, now: Option<FileKey>) -> Result<(), Error> {
        let Some(dir) = self.node_of(parent)? else { return Ok(()) };
        let Some((before, _)) = self.writer.lookup_current(dir, name)? else { return Ok(()) };
        let now = match now {
            Some(key) => self.node_of(key)?,
            None => None,
        };
        if now == Some(before) { Ok(()) } else { self.close(dir, name, before) }
    }

    /// Closes the names that a node no longer has.
    fn close_names(&mut self, node: NodeId, names: &Names) -> Result<(), Error> {
        let mut now = Vec::with_capacity(names.len());
        for (parent, name) in names {
            now.push((self.node_of(*parent)?, name));
        }
        for (dir, name) in self.writer.current_names(node)? {
            if !now.iter().any(|(parent, text)| *parent == Some(dir) && **text == name) {
                self.close(dir, &name, node)?;
            }
        }
        Ok(())
    }

    /// Opens the names that a node has and had not.
    fn open_names(&mut self, node: NodeId, kind: Kind, names: &Names) -> Result<(), Error> {
        for (parent, name) in names {
            let Some(dir) = self.node_of(*parent)? else {
                return Err(Error::UnknownDirectory { name: name.clone(), directory: *parent });
            };
            match self.writer.lookup_current(dir, name)? {
                Some((there, _)) if there == node => continue,
                // What was there was moved over and told of by nobody.
                Some((there, _)) => self.close(dir, name, there)?,
                None => {}
            }
            self.writer.open_entry(dir, name, node, kind)?;
            self.writer.note_change(node, ChangeOps::LINKED)?;
            self.entries += 1;
        }
        Ok(())
    }

    fn close(&mut self, dir: NodeId, name: &EntryName, node: NodeId) -> Result<(), Error> {
        self.writer.close_entry(dir, name)?;
        self.writer.note_change(node, ChangeOps::UNLINKED)?;
        self.entries -= 1;
        self.relinked.insert(node);
        Ok(())
    }

    fn close_all(&mut self, node: NodeId) -> Result<(), Error> {
        for (dir, name) in self.writer.current_names(node)? {
            self.close(dir, &name, node)?;
        }
        Ok(())
    }

    /// Closes what is left below directories that have no name any more, and takes the bytes of dead files off the sum.
    fn close_below_the_dead(&mut self) -> Result<(), Error> {
        let mut dead: Vec<NodeId> = self.relinked.iter().copied().collect();
        // A file that loses several names with its directory comes here for each, and its bytes count once.
        let mut buried = BTreeSet::new();
        while let Some(node) = dead.pop() {
            if !self.writer.current_names(node)?.is_empty() || !buried.insert(node) {
                continue;
            }
            let Some(row) = self.writer.previous_version(node)? else { continue };
            match self.writer.known_kind(node)? {
                Some(Kind::Directory) => {
                    let mut below: Vec<DirEntry> = Vec::new();
                    self.writer.list_current(node, |entry| below.push(entry))?;
                    for entry in below {
                        self.close(node, &entry.name, entry.node)?;
                        dead.push(entry.node);
                    }
                }
                Some(Kind::File) => self.size_bytes -= row.size_bytes as i64,
                _ => {}
            }
        }
        Ok(())
    }

    /// Writes attributes and has the bytes taken.
    fn settle(&mut self, path: &RelPath, one: Touched) -> Result<(), Error> {
        let Touched { mut state, node, base, lived } = one;
        let mut place = None;
        let kind = state.attrs.kind();
        if kind == Kind::File {
            let doubt = if state.data { Doubt::IfTouched } else { Doubt::None };
            let what = (path, state.key, state.origin);
            match keep_file(self.keep, self.writer, what, &mut state.attrs, base.as_ref(), doubt)? {
                Outcome::Gone => {
                    self.relinked.insert(node);
                    if lived {
                        self.size_bytes -= base.map_or(0, |row| row.size_bytes as i64);
                    }
                    return self.close_all(node);
                }
                Outcome::Recorded { place: taken, finding } => {
                    place = Some(taken);
                    if let Some((kind, detail)) = finding {
                        self.finding(&Finding { kind, path: path.clone(), detail })?;
                    }
                }
            }
            for (parent, name) in state.names.iter() {
                let Some(dir) = self.node_of(*parent)? else { continue };
                let Some(mut other) = self.writer.current_path(dir)? else { continue };
                other.push(name);
                if other != *path {
                    self.keep.link(&other, state.key).map_err(Error::Keep)?;
                }
            }
            let before = if lived { base.map_or(0, |row| row.size_bytes as i64) } else { 0 };
            self.size_bytes += state.attrs.size_bytes as i64 - before;
        } else if !path.is_root() {
            self.keep.other(path, &state.attrs, base.is_none()).map_err(Error::Keep)?;
        }
        let mut row = self.writer.encode(&state.attrs, state.unreadable, base.as_ref())?;
        row.place = place.unwrap_or(row.place);
        if kind != Kind::Directory {
            row.nlink = u32::try_from(self.writer.current_names(node)?.len()).unwrap_or(u32::MAX);
        }
        self.relinked.remove(&node);
        self.write(node, row, base.as_ref())
    }

    fn write(&mut self, node: NodeId, row: NodeRow, base: Option<&NodeRow>) -> Result<(), Error> {
        let Some(base) = base else {
            self.writer.note_change(node, ChangeOps::CREATED)?;
            return Ok(self.writer.set_version(node, row)?);
        };
        let mut ops = ChangeOps::between(base, &row);
        if base.ctime != row.ctime {
            ops |= ChangeOps::ATTRIBUTES;
        }
        if ops.is_empty() {
            return Ok(());
        }
        self.writer.note_change(node, ops)?;
        Ok(self.writer.set_version(node, row)?)
    }

    /// Mends the link count of nodes that lost a name and were not told of: something was moved over them.
    fn count_links(&mut self) -> Result<(), Error> {
        for node in std::mem::take(&mut self.relinked) {
            let names = self.writer.current_names(node)?.len();
            let Some(row) = self.writer.current_version(node)? else { continue };
            // That of a directory is not its names.
            if self.writer.known_kind(node)? == Some(Kind::Directory) {
                continue;
            }
            let nlink = u32::try_from(names).unwrap_or(u32::MAX);
            if names > 0 && row.nlink != nlink {
                self.writer.note_change(node, ChangeOps::ATTRIBUTES)?;
                self.writer.set_version(node, NodeRow { nlink, ..row })?;
            }
        }
        Ok(())
    }

    fn finding(&mut self, finding: &Finding) -> Result<(), Error> {
        self.counts.count(finding.kind);
        self.monitor.finding(finding);
        Ok(self.writer.add_finding(finding)?)
    }
}
