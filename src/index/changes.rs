//! What a source says that changed, applied to the generation before.
//!
//! A source that knows what changed tells the present state of every node that may have: all its names, its
//! attributes, or that it is gone; and what names point to that something was moved onto. So records may come
//! twice and in any order: what is applied is a state, not a deed.
//!
//! Promises: what was not told is as it was. Names are settled before any byte is taken, so that paths are those of
//! the new tree; a renamed directory is one name closed and one opened, whatever is below it. A name in a directory
//! that nobody knows is an error that asks for a walk, never a name left out.

use super::Error;
use super::keep::Keep;
use super::keep_file::{Doubt, Outcome, keep_file};
use crate::catalog::{GenerationWriter, NodeRow, Written};
use crate::model::{Changes, EntryName, FileKey, Finding, Kind, NodeId, NodeState, RelPath, UNPROVEN_ORIGIN};
use crate::monitor::Monitor;
use std::collections::HashMap;

/// A node that may have changed, and what it was.
struct Touched {
    state: NodeState,
    node: NodeId,
    /// What it was, if it lived: had a name, or is the root.
    base: Option<NodeRow>,
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
}

impl<'a, 'w> Apply<'a, 'w> {
    pub(super) fn new(
        writer: &'a mut GenerationWriter<'w>,
        keep: &'a mut dyn Keep,
        root: FileKey,
        monitor: &'a dyn Monitor,
    ) -> Self {
        Self { writer, keep, root, monitor, nodes: HashMap::new() }
    }

    pub(super) fn run(mut self, changes: Changes) -> Result<(), Error> {
        for finding in &changes.findings {
            self.finding(finding)?;
        }
        self.writer.carry_doubts()?;
        let doubts = changes.doubts;
        self.doubt(&doubts)?;
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
        for one in touched.iter().filter(|one| one.base.is_some()) {
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
        }
        for key in changes.gone {
            if let Some(node) = self.node_of(key)? {
                self.close_all(node)?;
            }
        }
        self.writer.bury()?;
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
        // Other attributes of a directory do not say what is in it.
        self.writer.carry_doubts()?;
        self.doubt(&doubts)
    }

    /// Says which directories nobody can tell the names of.
    fn doubt(&mut self, doubts: &[(FileKey, String)]) -> Result<(), Error> {
        for (key, reason) in doubts {
            if let Some(dir) = self.node_of(*key)?
                && self.writer.living(dir)?.is_some()
            {
                self.writer.doubt(dir, reason)?;
            }
        }
        Ok(())
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
        let base = match known {
            Some(node) => self.writer.living(node)?,
            None => None,
        };
        if base.is_none() && !state.made && state.attrs.kind() == Kind::Directory {
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
        Ok(Touched { state, node, base })
    }

    /// Closes `name` in `parent` where it pointed to another node than it does now.
    fn vacate(&mut self, parent: FileKey, name: &EntryName, now: Option<FileKey>) -> Result<(), Error> {
        let Some(dir) = self.node_of(parent)? else { return Ok(()) };
        let Some((before, _)) = self.writer.lookup_current(dir, name)? else { return Ok(()) };
        let now = match now {
            Some(key) => self.node_of(key)?,
            None => None,
        };
        if now == Some(before) { Ok(()) } else { self.close(dir, name) }
    }

    /// Closes the names that a node no longer has.
    fn close_names(&mut self, node: NodeId, names: &Names) -> Result<(), Error> {
        let mut now = Vec::with_capacity(names.len());
        for (parent, name) in names {
            now.push((self.node_of(*parent)?, name));
        }
        for (dir, name) in self.writer.current_names(node)? {
            if !now.iter().any(|(parent, text)| *parent == Some(dir) && **text == name) {
                self.close(dir, &name)?;
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
            self.writer.vouch(dir)?;
            match self.writer.lookup_current(dir, name)? {
                Some((there, _)) if there == node => {
                    self.writer.saw(dir, name)?;
                    continue;
                }
                // What was there was moved over and told of by nobody.
                Some(_) => self.close(dir, name)?,
                None => {}
            }
            self.writer.link(dir, name, node, kind)?;
        }
        Ok(())
    }

    fn close(&mut self, dir: NodeId, name: &EntryName) -> Result<(), Error> {
        self.writer.unlink(dir, name)?;
        Ok(())
    }

    fn close_all(&mut self, node: NodeId) -> Result<(), Error> {
        for (dir, name) in self.writer.current_names(node)? {
            self.close(dir, &name)?;
        }
        Ok(())
    }

    /// Writes attributes and has the bytes taken.
    fn settle(&mut self, path: &RelPath, one: Touched) -> Result<(), Error> {
        let Touched { mut state, node, base } = one;
        let (mut place, mut written) = (None, Written::No);
        let kind = state.attrs.kind();
        if let Some(base) = base.as_ref().filter(|_| state.origin == UNPROVEN_ORIGIN) {
            (state.attrs, state.data) = (self.writer.decode(base)?, false);
        }
        if kind == Kind::File {
            let doubt = if state.data { Doubt::IfTouched } else { Doubt::None };
            let what = (path, state.key, state.origin);
            match keep_file(
                self.keep,
                self.writer,
                what,
                &mut state.attrs,
                base.as_ref().map(|row| (node, row)),
                doubt,
            )? {
                Outcome::Gone => {
                    return self.close_all(node);
                }
                Outcome::Recorded { place: taken, written: how, finding } => {
                    (place, written) = (Some(taken), how);
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
        } else if !path.is_root() {
            self.keep.other(path, &state.attrs, base.is_none()).map_err(Error::Keep)?;
        }
        let mut row = self.writer.encode(&state.attrs, state.unreadable, base.as_ref())?;
        row.place = place.unwrap_or(row.place);
        if kind != Kind::Directory {
            row.nlink = u32::try_from(self.writer.current_names(node)?.len()).unwrap_or(u32::MAX);
        }
        self.writer.put(node, base.as_ref(), row, written)?;
        Ok(())
    }

    fn finding(&mut self, finding: &Finding) -> Result<(), Error> {
        self.monitor.finding(finding);
        Ok(self.writer.report(finding)?)
    }
}
