//! The state hash of a first generation, counted while it is told: a pass over all its rows at the end would cost a third of the load.
//!
//! Almost every node is told in one way: a new number, one name, one version. Such a node is added when its version comes, from memory.
//! All others (several names, told again, taken back, a link target) are *odd*: what was added of them is taken away before the edit that
//! makes them so, and what they are at the end is read from the tables then. Where too many are odd, the pass at the end is cheaper, and
//! this gives up.
//!
//! Promises: the sum is that of [`States::sum_of`], or none.

use super::Error;
use super::history::{Named, VersionRow};
use super::rows::{NodeRow, Place};
use super::state::{StateSum, States};
use crate::model::{EntryName, Kind, NodeId, Time};
use foldhash::{HashMap, HashSet};
use rusqlite::Connection;
use std::path::Path;

/// Odd nodes above which, and above this part of all, a pass over the rows is cheaper.
const ODD_MIN: usize = 10_000;
const ODD_PART: usize = 8;

/// What was told last: mostly a number, the name that it gets, and its version come one after the other.
#[derive(Default)]
struct Newest {
    /// None: nothing is lacking.
    node: Option<NodeId>,
    /// Its directory and type, if it has a name.
    named: Option<(NodeId, Kind)>,
    /// The name; its room is used again.
    name: Vec<u8>,
}

/// A sum that follows the edits.
pub(super) struct Running {
    sum: StateSum,
    states: States,
    root: NodeId,
    at: Time,
    /// The node that was told of last; the next two say nothing of it.
    newest: Newest,
    /// Other numbers that were given out, and have neither name nor version.
    fresh: HashSet<NodeId>,
    /// The one name of other nodes that have no version yet.
    waiting: HashMap<NodeId, (NodeId, Box<[u8]>, Kind)>,
    odd: HashSet<NodeId>,
    /// Whether the top directory has a version.
    has_root: bool,
    regular: usize,
}

impl Running {
    pub(super) fn new(path: &Path, root: NodeId, at: Time) -> Self {
        Self {
            sum: StateSum::default(),
            states: States::new(path),
            root,
            at,
            newest: Newest::default(),
            fresh: HashSet::default(),
            waiting: HashMap::default(),
            odd: HashSet::default(),
            has_root: false,
            regular: 0,
        }
    }

    /// A number was given out.
    pub(super) fn numbered(&mut self, node: NodeId) {
        self.put_by();
        self.newest.node = Some(node);
    }

    /// Keeps what is known of the newest node until it is told of again.
    fn put_by(&mut self) {
        let Some(node) = self.newest.node.take() else { return };
        match self.newest.named.take() {
            None => _ = self.fresh.insert(node),
            Some((dir, kind)) => _ = self.waiting.insert(node, (dir, self.newest.name.as_slice().into(), kind)),
        }
    }

    /// A node is about to get a name.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub(super) fn link(
        &mut self,
        c: &Connection,
        (dir, name): (NodeId, &EntryName),
        node: NodeId,
        kind: Kind,
    ) -> Result<(), Error> {
        let newest = &mut self.newest;
        if newest.node == Some(node) && newest.named.is_none() {
            newest.named = Some((dir, kind));
            newest.name.clear();
            newest.name.extend_from_slice(name.as_bytes());
            return Ok(());
        }
        match self.fresh.remove(&node) {
            true => drop(self.waiting.insert(node, (dir, name.as_bytes().into(), kind))),
            false => self.make_odd(c, node)?,
        }
        Ok(())
    }

    /// A node is about to be this version.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub(super) fn put(&mut self, c: &Connection, node: NodeId, row: &NodeRow) -> Result<(), Error> {
        self.has_root |= node == self.root;
        // What is kept in the catalog is read from there, at the end.
        let rights = match row.place {
            Place::Inline(_) => None,
            _ => self.states.rights_of(c, row.perm)?,
        };
        let is_newest = self.newest.node == Some(node);
        let named = match is_newest {
            true => self.newest.named.map(|(dir, kind)| Named { dir, name: &self.newest.name, kind }),
            false => self.waiting.get(&node).map(|(dir, name, kind)| Named { dir: *dir, name, kind: *kind }),
        };
        let (Some(rights), Some(named)) = (rights, named) else { return self.make_odd(c, node) };
        let version = VersionRow { row: *row, content: None };
        self.sum.add(&self.states.contribution(named, node, &version, &rights));
        if is_newest {
            (self.newest.node, self.newest.named) = (None, None);
        } else {
            self.waiting.remove(&node);
        }
        self.regular += 1;
        Ok(())
    }

    /// Something else is about to happen to a node, or happens to it once more.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub(super) fn make_odd(&mut self, c: &Connection, node: NodeId) -> Result<(), Error> {
        if node == self.root || !self.odd.insert(node) {
            return Ok(());
        }
        if self.newest.node == Some(node) {
            self.put_by();
        }
        // Of one that lacks its name or its version nothing was added.
        if !self.fresh.remove(&node) && self.waiting.remove(&node).is_none() {
            self.states.each_shown(c, (node, self.root), self.at, &mut |digest| self.sum.sub(digest))?;
        }
        Ok(())
    }

    /// Tells whether it is worth going on.
    pub(super) fn is_worth_it(&self) -> bool {
        self.odd.len() < ODD_MIN || self.odd.len() * ODD_PART < self.regular
    }

    /// Returns the sum, when all edits are done.
    ///
    /// # Errors
    /// [`Error::Contradiction`] at a name without a version; [`Error::Sqlite`].
    pub(super) fn end(mut self, c: &Connection) -> Result<StateSum, Error> {
        self.put_by();
        self.odd.extend(self.waiting.drain().map(|(node, _)| node));
        for node in self.odd.iter().copied().chain(self.has_root.then_some(self.root)) {
            self.states.each_shown(c, (node, self.root), self.at, &mut |digest| self.sum.add(digest))?;
        }
        Ok(self.sum)
    }
}
