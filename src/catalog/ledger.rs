//! What is known of the edits of a generation so far, for its counts and for the proof before it is published.
//!
//! Promises: memory is that of nodes of which only a half was told or whose links have to be counted, and of directories that got or
//! lost names. Never reads a row.

use crate::model::NodeId;
use foldhash::{HashMap, HashSet};
use std::collections::BTreeSet;

/// What is known of the edits so far, for the proof before the generation is published.
#[derive(Default)]
pub(super) struct Ledger {
    /// Names that there are more than at the base.
    pub(super) names: i64,
    /// Nodes of which only a name or only a version was told.
    pub(super) half: HashMap<NodeId, Half>,
    /// Nodes whose link count has to be compared with their names.
    pub(super) linked: HashSet<NodeId>,
    /// Nodes of which something was told that was taken back or told again.
    pub(super) again: BTreeSet<NodeId>,
    /// Directories that got a name.
    pub(super) parents: HashSet<NodeId>,
    /// Bytes of regular files that there are more than at the base.
    pub(super) size_bytes: i64,
    /// Nodes of which it has to be known which name defines them, and the keys of these names: written when the generation is published, for
    /// a run that is killed leaves no note of them.
    pub(super) defined: HashMap<NodeId, i64>,
    /// Directories that lost a name.
    pub(super) lost: Vec<NodeId>,
    /// What was found amiss.
    pub(super) losses: u64,
    pub(super) notices: u64,
    pub(super) gaps: u64,
}

/// What was told of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Half {
    Name,
    Version,
}

impl Ledger {
    pub(super) fn linked(&mut self, dir: NodeId, node: NodeId) {
        self.names += 1;
        self.parents.insert(dir);
        match self.half.remove(&node) {
            Some(Half::Version) => {}
            None => drop(self.half.insert(node, Half::Name)),
            Some(Half::Name) => {
                self.half.insert(node, Half::Name);
                self.linked.insert(node);
            }
        }
    }

    /// Returns the nodes that got a name after their version was told, or without one: their names have to be counted.
    pub(super) fn named(&self) -> impl Iterator<Item = NodeId> {
        self.half.iter().filter(|(_, half)| **half == Half::Name).map(|(node, _)| *node)
    }

    pub(super) fn put(&mut self, node: NodeId, has_links: bool, is_new: bool) {
        if has_links && is_new {
            self.linked.insert(node);
        }
        if !is_new && self.half.is_empty() {
            return;
        }
        match self.half.remove(&node) {
            // A node of the base has other names already.
            Some(Half::Name) if !is_new => drop(self.linked.insert(node)),
            Some(Half::Name) => {}
            None if !is_new => {}
            None | Some(Half::Version) => drop(self.half.insert(node, Half::Version)),
        }
    }
}
