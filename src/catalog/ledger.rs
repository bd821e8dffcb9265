//! What is known of the edits of a generation so far, for its counts and for the proof before it is published.
//!
//! Promises: memory is that of nodes of which only a half was told or whose links have to be counted, and of directories that got or
//! lost names. Never reads a row.

use crate::model::{Finding, FindingKind, NodeId};
use foldhash::{HashMap, HashSet};
use std::collections::{BTreeMap, BTreeSet};

/// What is known of the edits so far, for the proof before the generation is published.
#[derive(Default)]
pub(super) struct Ledger {
    /// Names that there are more than at the base.
    pub(super) names: i64,
    /// Nodes of which only a name or only a version was told.
    pub(super) half: Halves,
    /// Nodes whose link count has to be compared with their names.
    pub(super) linked: HashSet<NodeId>,
    /// Nodes of which something was told that was taken back or told again.
    pub(super) again: BTreeSet<NodeId>,
    /// Directories that got a name.
    pub(super) parents: HashSet<NodeId>,
    /// The one of them that got the last one.
    last_parent: Option<NodeId>,
    /// Bytes of regular files that there are more than at the base: sparse ones may have 8 EiB each.
    pub(super) size_bytes: i128,
    /// Nodes of which it has to be known which name defines them, and the keys of these names: written when the generation is published, for
    /// a run that is killed leaves no note of them.
    pub(super) defined: HashMap<NodeId, i64>,
    /// Directories that lost a name.
    pub(super) lost: Vec<NodeId>,
    /// What was found amiss.
    pub(super) losses: u64,
    pub(super) notices: u64,
    pub(super) gaps: u64,
    /// How many findings of each kind are kept, and how many are counted only.
    told: BTreeMap<FindingKind, Told>,
}

/// Findings of one kind that are kept for a generation; a user who sets times in his part of a copy while it is walked makes as many as he has
/// names, each with a path as deep as he likes.
const FINDINGS_MAX: u64 = 10_000;
/// Bytes that they may have together.
const FINDINGS_BYTES_MAX: usize = 4 << 20;

/// What was told of one kind of findings.
#[derive(Default)]
struct Told {
    kept: u64,
    bytes: usize,
    /// Those after the last one that is kept.
    more: u64,
}

impl Ledger {
    /// Counts a finding, and tells whether it is to be kept: the first ones of a kind are, in the order in which they are told, which is
    /// the same whatever was indexed before.
    pub(super) fn count_finding(&mut self, finding: &Finding) -> bool {
        let more = finding.more_count();
        let count = more.unwrap_or(1);
        *if finding.kind.is_loss() { &mut self.losses } else { &mut self.notices } += count;
        self.gaps += if finding.kind == FindingKind::Gap { count } else { 0 };
        let told = self.told.entry(finding.kind).or_default();
        let bytes = told.bytes + finding.path.as_bytes().len() + finding.detail.len();
        if more.is_some() || told.more > 0 || told.kept == FINDINGS_MAX || bytes > FINDINGS_BYTES_MAX {
            told.more += count;
            return false;
        }
        (told.kept, told.bytes) = (told.kept + 1, bytes);
        true
    }

    /// Returns what stands for the findings that are not kept, once.
    pub(super) fn take_more_findings(&mut self) -> Vec<Finding> {
        let told = std::mem::take(&mut self.told).into_iter();
        told.filter(|(_, told)| told.more > 0).map(|(kind, told)| Finding::more(kind, told.more)).collect()
    }
}

/// What was told of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Half {
    Name,
    Version,
}

/// Nodes of which only a half was told. Mostly the other one comes next, so the newest stands by itself.
#[derive(Default)]
pub(super) struct Halves {
    newest: Option<(NodeId, Half)>,
    others: HashMap<NodeId, Half>,
}

impl Halves {
    pub(super) fn get(&self, node: NodeId) -> Option<Half> {
        match self.newest {
            Some((newest, half)) if newest == node => Some(half),
            _ => self.others.get(&node).copied(),
        }
    }

    fn insert(&mut self, node: NodeId, half: Half) {
        if let Some((other, half)) = self.newest.replace((node, half)) {
            self.others.insert(other, half);
        }
    }

    pub(super) fn remove(&mut self, node: NodeId) -> Option<Half> {
        match self.newest {
            Some((newest, half)) if newest == node => {
                self.newest = None;
                Some(half)
            }
            _ if self.others.is_empty() => None,
            _ => self.others.remove(&node),
        }
    }

    fn is_empty(&self) -> bool {
        self.newest.is_none() && self.others.is_empty()
    }

    /// Returns the nodes of which only `half` was told.
    pub(super) fn only(&self, half: Half) -> impl Iterator<Item = NodeId> {
        let others = self.others.iter().map(|(node, half)| (*node, *half));
        self.newest.into_iter().chain(others).filter(move |(_, other)| *other == half).map(|(node, _)| node)
    }
}

impl Ledger {
    pub(super) fn linked(&mut self, dir: NodeId, node: NodeId) {
        self.names += 1;
        if self.last_parent.replace(dir) != Some(dir) {
            self.parents.insert(dir);
        }
        match self.half.remove(node) {
            Some(Half::Version) => {}
            None => self.half.insert(node, Half::Name),
            Some(Half::Name) => {
                self.half.insert(node, Half::Name);
                self.linked.insert(node);
            }
        }
    }

    /// Returns the nodes that got a name after their version was told, or without one: their names have to be counted.
    pub(super) fn named(&self) -> impl Iterator<Item = NodeId> {
        self.half.only(Half::Name)
    }

    pub(super) fn put(&mut self, node: NodeId, has_links: bool, is_new: bool) {
        if has_links && is_new {
            self.linked.insert(node);
        }
        if !is_new && self.half.is_empty() {
            return;
        }
        match self.half.remove(node) {
            // A node of the base has other names already.
            Some(Half::Name) if !is_new => drop(self.linked.insert(node)),
            Some(Half::Name) => {}
            None if !is_new => {}
            None | Some(Half::Version) => self.half.insert(node, Half::Version),
        }
    }
}
