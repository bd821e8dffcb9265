//! The parts of a scan for changes become changes, and say whom to ask next.
//!
//! Where bricks of one set tell different names of a node, the directories of these names tell whom to believe: a name counts if a brick
//! tells it that is believed in what is in the directory, and the directory is there itself: it has such a name, and so on up to the
//! root, each on any brick that is believed. What a brick that was away still has below a directory that is gone is not there.
//!
//! Promises: a node is gone only when bricks of every set were asked and none that is believed has it; who was not asked yet and matters
//! is in [`Merged::to_ask`]. A directory in which none is believed is in doubt. Memory: the changes.

use super::belief::{BrickPlace, CopyOf, beliefs};
use super::copies::{Lines, Trouble, attrs_of, best, note_shards, touch_by_shards};
use crate::model::{Changes, EntryName, FileKey, Finding, FindingKind, Kind, NodeState, RelPath, UNPROVEN_ORIGIN};
use crate::source::gluster::Gfid;
use crate::source::gluster::part::{Line, Node, NodeName, Stamp, Text};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

/// What the parts of a scan for changes come to.
#[derive(Debug, Default)]
pub struct Merged {
    /// What changed.
    pub changes: Changes,
    /// Nodes to be asked about, by brick: it has not told of them, and what it says of them matters.
    pub to_ask: BTreeMap<u32, BTreeSet<Gfid>>,
    /// Nodes about whose names bricks contradict each other, without blame.
    pub contradicted: BTreeSet<Gfid>,
}

/// Said of a node.
pub(super) const UNPROVEN: &str = "its copies contradict each other (split brain), or those that are up to date did not answer: nobody can \
                                   prove how it is, so it is as it was before";
/// Said of a directory.
pub(super) const NOBODY: &str = "bricks contradict each other in what is in it (split brain), or those that are up to date did not \
                                 answer: what nobody can prove is as it was before";

/// Said of a node, or of one of its names.
pub(super) const CONTRADICTED: &str = "a brick has it and another one has not, and none is blamed for that: it was taken; healing the volume \
                                       brings it back everywhere";

/// How often a brick is asked about a node while bricks that are believed contradict each other: they are not looked at in one moment.
const LOOKS_MAX: u32 = 3;

/// What each brick says that a name points to.
type Occupants = Vec<(BrickPlace, Option<Gfid>)>;

/// The parts of a scan for changes, as far as they have come.
#[derive(Debug, Default)]
pub struct Gathered {
    nodes: BTreeMap<Gfid, Vec<(BrickPlace, Node)>>,
    gone: BTreeMap<Gfid, Vec<BrickPlace>>,
    names: BTreeMap<(Gfid, Text), Occupants>,
    troubles: Vec<Trouble>,
    places: BTreeMap<u32, BrickPlace>,
    /// When shards of a file changed last.
    shards: HashMap<Gfid, Stamp>,
    /// How often bricks were asked about a node: one that had trouble with it says neither this nor that.
    asked: HashMap<(Gfid, u32), u32>,
}

impl Gathered {
    /// Notes that a brick was asked about these nodes, so that it is not asked again whatever it says.
    pub fn note_asked(&mut self, brick: u32, gfids: &BTreeSet<Gfid>) {
        for gfid in gfids {
            *self.asked.entry((*gfid, brick)).or_default() += 1;
        }
    }

    /// Notes that a brick told of a node, and forgets what it told before; returns that.
    fn tell(&mut self, gfid: Gfid, place: BrickPlace) -> Option<Node> {
        self.asked.entry((gfid, place.brick)).or_insert(1);
        if let Some(gone) = self.gone.get_mut(&gfid) {
            gone.retain(|other| other.brick != place.brick);
        }
        let copies = self.nodes.get_mut(&gfid)?;
        let known = copies.iter().position(|(other, _)| other.brick == place.brick)?;
        let (_, node) = copies.swap_remove(known);
        if copies.is_empty() {
            self.nodes.remove(&gfid);
        }
        Some(node)
    }

    /// Adds a part.
    ///
    /// # Errors
    /// Those of `lines`.
    pub fn add<E>(&mut self, place: BrickPlace, lines: Lines<'_, E>) -> Result<(), E> {
        self.places.insert(place.brick, place);
        for line in lines {
            match line? {
                Line::Node(mut node) => {
                    if let Some(before) = self.tell(node.state.gfid, place) {
                        node.data |= before.data;
                        node.made |= before.made;
                    }
                    self.nodes.entry(node.state.gfid).or_default().push((place, node));
                }
                Line::Gone { gfid } => {
                    self.tell(gfid, place);
                    self.gone.entry(gfid).or_default().push(place);
                }
                Line::Name { parent, name, gfid } => {
                    self.names.entry((parent, name)).or_default().push((place, gfid));
                }
                Line::Trouble { path, detail } => {
                    self.troubles.push(Trouble { place, path, detail });
                }
                // Of the past: who asked for a window reads it.
                Line::Recorded(_) => {}
                Line::Shards { base, changed } => note_shards(&mut self.shards, base, changed),
                Line::Part(_) | Line::End(_) | Line::Directory { .. } | Line::Entry { .. } => {}
            }
        }
        Ok(())
    }

    /// Returns what all parts come to. `uncovered`: some set of the volume has no part, so that what no brick has may
    /// be there.
    pub fn merge(&self, uncovered: bool) -> Merged {
        let mut merging = Merging {
            told: self,
            unbelieved: self.unbelieved(),
            uncovered,
            there: HashMap::new(),
            merged: Merged::default(),
        };
        for (gfid, copies) in &self.nodes {
            merging.node(*gfid, copies);
        }
        for gfid in self.gone.keys().filter(|gfid| !self.nodes.contains_key(gfid)) {
            merging.gone(*gfid);
        }
        for ((parent, name), told) in &self.names {
            merging.name(*parent, name, told);
        }
        let mut merged = merging.merged;
        let found = self.troubles.iter().map(|trouble| trouble.as_finding(self.places.values()));
        merged.changes.findings.extend(found);
        merged
    }

    /// Returns the directories with the bricks that are not believed in what is in them.
    fn unbelieved(&self) -> HashSet<(Gfid, u32)> {
        let mut unbelieved = HashSet::new();
        for (gfid, copies) in &self.nodes {
            let told: Vec<CopyOf<'_>> = copies.iter().map(|(place, node)| copy_of(*place, node, true)).collect();
            let beliefs = beliefs(&told);
            unbelieved.extend(
                told.iter().zip(beliefs).filter(|(_, b)| !b.entries).map(|(copy, _)| (*gfid, copy.place.brick)),
            );
            // A brick may be accused that does not have it.
            for behind in told
                .iter()
                .flat_map(|copy| copy.state.behind.iter().filter(|b| b.entries && b.brick != copy.place.brick))
            {
                if !told.iter().any(|copy| copy.place.brick == behind.brick) {
                    unbelieved.insert((*gfid, behind.brick));
                }
            }
        }
        unbelieved
    }
}

fn copy_of(place: BrickPlace, node: &Node, named: bool) -> CopyOf<'_> {
    CopyOf { place, state: &node.state, named }
}

fn handle_path(gfid: Gfid) -> RelPath {
    RelPath::parse(gfid.handle().as_bytes()).expect("a handle is a path")
}

/// What is known of a name that bricks tell.
enum Claim {
    /// It is there.
    True,
    /// It is not.
    False,
    /// No brick of the set is believed in what is in this directory, which is there.
    Unknown,
}

/// The names of a node.
#[derive(Default)]
struct Names<'g> {
    there: BTreeSet<&'g NodeName>,
    /// Bricks that are believed and tell one of them.
    tellers: HashSet<u32>,
    /// Directories of which nobody can tell whether it has a name there.
    unknown: BTreeSet<Gfid>,
}

/// A merge on its way.
struct Merging<'g> {
    told: &'g Gathered,
    unbelieved: HashSet<(Gfid, u32)>,
    uncovered: bool,
    /// Directories that are there, or are not; none: being found out.
    there: HashMap<Gfid, Option<bool>>,
    merged: Merged,
}

impl<'g> Merging<'g> {
    fn copies(&self, gfid: Gfid) -> &'g [(BrickPlace, Node)] {
        self.told.nodes.get(&gfid).map_or(&[], Vec::as_slice)
    }

    /// Returns the bricks that were asked and do not have the node.
    fn lacking(&self, gfid: Gfid) -> &'g [BrickPlace] {
        self.told.gone.get(&gfid).map_or(&[], Vec::as_slice)
    }

    fn is_believed_in(&self, dir: Gfid, brick: u32) -> bool {
        !self.unbelieved.contains(&(dir, brick))
    }

    fn name(&mut self, parent: Gfid, name: &Text, told: &[(BrickPlace, Option<Gfid>)]) {
        let Ok(name) = EntryName::new(&name.0) else { return };
        let believed = told.iter().filter(|(place, _)| self.is_believed_in(parent, place.brick));
        let mut believed = believed.map(|(_, gfid)| *gfid).peekable();
        // Told by nobody but bricks that lack changes there: whoever made the change has told, or will.
        if believed.peek().is_none() {
            return;
        }
        let now = believed.find_map(|gfid| gfid);
        if now.is_some() || !self.uncovered {
            self.merged.changes.names.push((parent.key(), name, now.map(Gfid::key)));
        }
    }

    fn node(&mut self, gfid: Gfid, copies: &'g [(BrickPlace, Node)]) {
        let is_directory = copies.iter().any(|(_, node)| Kind::from_mode(node.state.mode) == Some(Kind::Directory));
        let sets: BTreeSet<u32> = copies.iter().map(|(place, _)| place.set).collect();
        self.ask(gfid, |place| is_directory || sets.contains(&place.set));
        let mut names = self.names(gfid);
        for dir in &names.unknown {
            self.doubt(*dir);
        }
        if !names.unknown.is_empty() {
            // What is not told is as it was before.
            let detail = "no brick that its set believes tells what names it has; it is as it was before".to_owned();
            self.find(FindingKind::Missing, gfid, detail);
            return;
        }
        if names.there.is_empty() && gfid != Gfid::ROOT {
            return self.gone(gfid);
        }
        if is_directory && names.there.len() > 1 {
            let detail = "bricks have this directory in several places; the first one was taken".to_owned();
            self.find(FindingKind::Changed, gfid, detail);
            names.there = names.there.into_iter().take(1).collect();
        }
        let is_named = |place: &BrickPlace| gfid == Gfid::ROOT || names.tellers.contains(&place.brick);
        let told: Vec<CopyOf<'_>> = copies.iter().map(|(place, node)| copy_of(*place, node, is_named(place))).collect();
        let chosen = best(&told);
        if chosen.is_pointer || chosen.copy.state.is_bare_pointer() {
            // Its names are known, the file itself may be in a set that was not asked.
            self.ask(gfid, |_| true);
        }
        let state = chosen.copy.state;
        if chosen.is_pointer {
            let is_asked = |place: &BrickPlace| self.told.asked.contains_key(&(gfid, place.brick));
            if !self.uncovered && self.told.places.values().all(is_asked) {
                let detail = "there is a pointer to it and no file, on any brick; clients do not see it".to_owned();
                self.find(FindingKind::Changed, gfid, detail);
                self.merged.changes.gone.push(gfid.key());
            }
            return;
        }
        let Some(mut attrs) = attrs_of(chosen.copy, &told) else { return };
        touch_by_shards(&mut attrs, self.told.shards.get(&gfid));
        let mut origin = chosen.copy.place.brick;
        if chosen.unproven {
            origin = UNPROVEN_ORIGIN;
            self.find(FindingKind::Missing, gfid, UNPROVEN.to_owned());
        }
        if let Some(why) = &state.unreadable {
            self.find(FindingKind::Unreadable, gfid, why.clone());
        }
        let checked =
            names.there.iter().filter_map(|n| EntryName::new(&n.name.0).ok().map(|name| (n.parent.key(), name)));
        self.merged.changes.nodes.push(NodeState {
            key: gfid.key(),
            attrs,
            unreadable: state.unreadable.is_some(),
            origin,
            names: checked.collect(),
            data: copies.iter().any(|(_, node)| node.data),
            made: copies.iter().any(|(_, node)| node.made),
        });
    }

    fn gone(&mut self, gfid: Gfid) {
        self.ask(gfid, |_| true);
        let told = self.copies(gfid).iter().map(|(place, _)| place);
        let sets: BTreeSet<u32> = self.lacking(gfid).iter().chain(told).map(|p| p.set).collect();
        let all: BTreeSet<u32> = self.told.places.values().map(|place| place.set).collect();
        if !self.uncovered && sets == all {
            self.merged.changes.gone.push(gfid.key());
        }
    }

    /// Finds out which of the names that bricks tell of a node it has.
    fn names(&mut self, gfid: Gfid) -> Names<'g> {
        let copies = self.copies(gfid);
        let claims: BTreeSet<&NodeName> = copies.iter().flat_map(|(_, node)| &node.names).collect();
        let sets: BTreeSet<u32> = copies.iter().map(|(place, _)| place.set).collect();
        let mut names = Names::default();
        for name in claims {
            for set in &sets {
                let of_set = || copies.iter().filter(|(place, _)| place.set == *set);
                let tellers: Vec<u32> =
                    of_set().filter(|(_, n)| n.names.contains(name)).map(|(p, _)| p.brick).collect();
                if tellers.is_empty() {
                    continue;
                }
                let lacking = self.lacking(gfid).iter().filter(|place| place.set == *set).map(|place| place.brick);
                let silent = of_set().filter(|(_, node)| !node.names.contains(name)).map(|(place, _)| place.brick);
                let deniers: Vec<u32> = lacking.chain(silent).collect();
                let believed = tellers.iter().copied().filter(|brick| self.is_believed_in(name.parent, *brick));
                let believed: Vec<u32> = believed.collect();
                match self.claim(gfid, name, *set, &believed, &deniers) {
                    Claim::True => {
                        names.there.insert(name);
                        names.tellers.extend(if believed.is_empty() { &tellers } else { &believed });
                    }
                    Claim::False => {}
                    Claim::Unknown => drop(names.unknown.insert(name.parent)),
                }
            }
        }
        names
    }

    /// Finds out whether a node has a name that bricks of a set tell, of whom some are believed, and `deniers` do not.
    fn claim(&mut self, gfid: Gfid, name: &'g NodeName, set: u32, believed: &[u32], deniers: &[u32]) -> Claim {
        if deniers.is_empty() {
            return Claim::True;
        }
        let dir = name.parent;
        self.ask(dir, |other| other.set == set);
        if !self.is_there(dir) {
            return Claim::False;
        }
        let has = |brick: u32| self.copies(dir).iter().any(|(place, _)| place.brick == brick);
        let deniers_are_believed = deniers.iter().any(|brick| self.is_believed_in(dir, *brick) && has(*brick));
        match (believed.is_empty(), deniers_are_believed) {
            (false, true) => {
                self.ask_again(gfid, set);
                if self.merged.contradicted.insert(gfid) {
                    self.find(FindingKind::Changed, gfid, CONTRADICTED.to_owned());
                }
                Claim::True
            }
            (false, false) => Claim::True,
            (true, true) => Claim::False,
            (true, false) => Claim::Unknown,
        }
    }

    /// Tells whether a directory has a name on a brick that is believed, as have all above it.
    fn is_there(&mut self, dir: Gfid) -> bool {
        // Of what was not told yet somebody is being asked.
        let is_told = !self.copies(dir).is_empty() || !self.lacking(dir).is_empty();
        if dir == Gfid::ROOT || !is_told {
            return true;
        }
        if let Some(known) = self.there.get(&dir) {
            return known.unwrap_or_default();
        }
        self.there.insert(dir, None);
        let names = self.names(dir);
        let is_there = !names.there.is_empty() || !names.unknown.is_empty();
        self.there.insert(dir, Some(is_there));
        is_there
    }

    fn doubt(&mut self, dir: Gfid) {
        let doubts = &mut self.merged.changes.doubts;
        let key: FileKey = dir.key();
        if !doubts.iter().any(|(known, _)| *known == key) {
            doubts.push((key, NOBODY.to_owned()));
            self.find(FindingKind::Missing, dir, NOBODY.to_owned());
        }
    }

    fn find(&mut self, kind: FindingKind, gfid: Gfid, detail: String) {
        self.merged.changes.findings.push(Finding { kind, path: handle_path(gfid), detail });
    }

    /// Has bricks asked about a node, but for those that were.
    fn ask(&mut self, gfid: Gfid, whom: impl Fn(&BrickPlace) -> bool) {
        self.ask_up_to(gfid, 1, whom);
    }

    /// Has bricks of a set asked again: they were not looked at in one moment.
    fn ask_again(&mut self, gfid: Gfid, set: u32) {
        self.ask_up_to(gfid, LOOKS_MAX, |place| place.set == set);
    }

    fn ask_up_to(&mut self, gfid: Gfid, times: u32, whom: impl Fn(&BrickPlace) -> bool) {
        for place in self.told.places.values().filter(|place| whom(place)) {
            if self.told.asked.get(&(gfid, place.brick)).copied().unwrap_or_default() < times {
                self.merged.to_ask.entry(place.brick).or_default().insert(gfid);
            }
        }
    }
}
