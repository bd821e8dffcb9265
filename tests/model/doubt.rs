//! Doubts: a generation that does not know all of its tree keeps names of the one before.
//!
//! What a generation saw is its walk: a closed tree (whatever it names is below something it names) and the directories in it whose
//! listing is incomplete, each alone or with everything below.
//!
//! - A directory is **in doubt** at t if the walk lists it as such, if one above it is in doubt with everything below, or if
//!   it is itself kept.
//! - The state at t is the walk plus the **kept** names: those that the state at the generation before has in a directory that
//!   is in doubt, and the walk does not have. The name of a directory that the walk saw elsewhere is not kept, because a
//!   directory has one name. That of a file is: it may be a link. The oldest generation keeps nothing.
//! - Each kept name is marked, in rows that are maximal runs like those of the names. The mark is needed: a name that was seen
//!   unchanged and a name that is kept have the same name row, but only the second follows the generation before.
//! - A node with a name that was seen has the version that was seen; its link count is the number of names that were seen. A
//!   node with kept names only has the version of the generation before, link count included. So versions do not depend
//!   on what is kept, a node that was not seen has no version row of that generation, and every version row begins at a
//!   generation that saw its node.
//! - The path of bytes in an object is made of names that were seen: the copy has no others.
//! - A name that is listed, but whose attributes cannot be read, counts as not seen.
//!
//! When a generation is put in or forgotten, those behind it are settled again ([`Catalog::settle_behind`]): one that is in doubt
//! follows the one before it, name by name, and what a directory holds comes and goes with the directory.

use super::catalog::State;
use super::runs::Beside;
use super::tree::{names_of, nodes_of};
use super::{Break, Catalog, Instant, Node, Slot, Ver};
use std::collections::{BTreeMap, BTreeSet};

impl Catalog {
    /// Returns the names of a generation: those that it saw, and those of the one before that it keeps.
    ///
    /// One pass down the tree; [`super::settle`] says the same as a fixed point.
    pub(super) fn overlay(
        &self,
        seen: &BTreeMap<Slot, Node>,
        doubts: &BTreeMap<Node, bool>,
        before: &BTreeMap<Slot, Node>,
        is_directory: impl Fn(Node) -> bool,
    ) -> BTreeMap<Slot, Node> {
        let in_dir = |dir: Node| (dir, '\0')..=(dir, char::MAX);
        let walked = nodes_of(seen);
        let mut names = seen.clone();
        let (mut todo, mut done) = (vec![(super::ROOT, false)], BTreeSet::new());
        while let Some((dir, above_in_doubt)) = todo.pop() {
            if !done.insert(dir) {
                continue; // only where a directory has two names, since a rule is left out
            }
            let is_deep = doubts.get(&dir) == Some(&true) && !self.is_without(Break::NoSubtrees);
            let all_below = above_in_doubt || is_deep;
            if all_below || doubts.contains_key(&dir) {
                for (slot, node) in before.range(in_dir(dir)) {
                    let is_elsewhere = is_directory(*node) && walked.contains(node);
                    if !is_elsewhere || self.is_without(Break::DirectoriesTwice) {
                        names.entry(*slot).or_insert(*node);
                    }
                }
            }
            for (_, node) in names.range(in_dir(dir)).filter(|(_, node)| is_directory(**node)) {
                todo.push((*node, all_below || !walked.contains(node)));
            }
        }
        names
    }

    /// Settles the generations behind `from` (None: all) again, in order, until one has no doubt or comes out as it was.
    pub(super) fn settle_behind(&mut self, from: Option<Instant>) {
        let behind: Vec<Instant> = self.gens.iter().filter(|at| from.is_none_or(|from| **at > from)).copied().collect();
        for at in behind {
            let is_settled = self.is_without(Break::DoubtsStay) || self.doubts.state(Some(at)).is_empty();
            if is_settled || !self.settle(at) || self.is_without(Break::NextOnly) {
                return;
            }
        }
    }

    /// Lets a generation keep what the one before it has now, and tells whether anything changed.
    ///
    /// Its walk is what its rows say but for the kept names. The names that come out otherwise, and the nodes that do, are
    /// forgotten at this generation and put in again, one by one, by the same edits as whole generations; then the notes
    /// of these nodes here and at the next generation.
    fn settle(&mut self, at: Instant) -> bool {
        let beside = self.beside(at);
        let (before, old) = (self.state(beside.before), self.state(Some(at)));
        let doubts = self.doubts.state(Some(at));
        let seen = self.seen_but_for_kept(at, &old, &doubts);
        let mut new = self.overlay(&seen, &doubts, &before, |node| self.is_directory(node));
        if self.is_without(Break::NamesOneByOne) {
            let dirs = nodes_of(&old);
            new.retain(|(dir, _), _| dirs.contains(dir));
        }
        let edits = self.nodes_to_settle(beside, &seen, &new);
        let slots: BTreeSet<Slot> = old.keys().chain(new.keys()).copied().collect();
        for slot in slots {
            if old.get(&slot) != new.get(&slot) {
                self.names.take_out(slot, beside);
                self.names.put_in(slot, beside, new.get(&slot).copied());
            }
            let [was_kept, is_kept] = [&old, &new].map(|names| names.contains_key(&slot) && !seen.contains_key(&slot));
            if was_kept != is_kept {
                self.kept.take_out(slot, beside);
                self.kept.put_in(slot, beside, is_kept.then_some(()));
            }
        }
        let after = self.state(beside.after);
        for (node, [v_p, v_t, v_n]) in &edits {
            self.forget_version(*node, beside, [*v_p, *v_n]);
            self.insert_version(*node, beside, [*v_p, *v_t, *v_n]);
            let here = State { names: &new, version: *v_t };
            if beside.before.is_some() {
                self.note(at, *node, self.compare(*node, State { names: &before, version: *v_p }, here));
            }
            if let Some(n) = beside.after {
                self.note(n, *node, self.compare(*node, here, State { names: &after, version: *v_n }));
            }
        }
        !edits.is_empty()
    }

    fn seen_but_for_kept(
        &self,
        at: Instant,
        all: &BTreeMap<Slot, Node>,
        doubts: &BTreeMap<Node, bool>,
    ) -> BTreeMap<Slot, Node> {
        match self.setting.broken {
            Some(Break::KeptSeen) => all.clone(),
            Some(Break::KeptUnmarked) => {
                let is_seen = |(slot, _): &(&Slot, &Node)| !doubts.contains_key(&slot.0);
                all.iter().filter(is_seen).map(|(slot, node)| (*slot, *node)).collect()
            }
            _ => self.seen(at),
        }
    }

    /// Returns the nodes that are not the same at a generation once its names are `new`, each with its versions at p, t and n.
    fn nodes_to_settle(
        &self,
        beside: Beside,
        seen: &BTreeMap<Slot, Node>,
        new: &BTreeMap<Slot, Node>,
    ) -> Vec<(Node, [Option<Ver>; 3])> {
        let Beside { at, before: p, after: n } = beside;
        let (before, old, after) = (self.state(p), self.state(Some(at)), self.state(n));
        let (seen, living) = (nodes_of(seen), nodes_of(new));
        let mut edits = Vec::new();
        for node in nodes_of(&old).union(&living).copied() {
            let (v_p, was) = (self.living(node, &before, p), self.living(node, &old, Some(at)));
            let is = match (seen.contains(&node), living.contains(&node)) {
                (true, _) => was,
                (false, true) => v_p,
                (false, false) => None,
            };
            let is_same = was.map(|version| version.columns()) == is.map(|version| version.columns());
            if !is_same || names_of(&old, node) != names_of(new, node) {
                edits.push((node, [v_p, is, self.living(node, &after, n)]));
            }
        }
        edits
    }
}
