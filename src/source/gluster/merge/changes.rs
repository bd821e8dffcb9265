//! The parts of a scan for changes become changes, and say whom to ask next.
//!
//! Promises: a node is gone only when bricks of every set were asked and none has it; who was not asked yet and matters is
//! in [`Merged::to_ask`]. Memory: the changes.

use super::copies::{BrickPlace, CopyOf, Lines, Trouble, attrs_of, best, note_shards, touch_by_shards};
use crate::model::{Changes, EntryName, Finding, FindingKind, Kind, NodeState, RelPath};
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
}

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
    /// Bricks that were asked about a node: one that had trouble with it says neither this nor that.
    asked: HashSet<(Gfid, u32)>,
}

impl Gathered {
    /// Notes that a brick was asked about these nodes, so that it is not asked again whatever it says.
    pub fn note_asked(&mut self, brick: u32, gfids: &BTreeSet<Gfid>) {
        self.asked.extend(gfids.iter().map(|gfid| (*gfid, brick)));
    }

    /// Adds a part.
    ///
    /// # Errors
    /// Those of `lines`.
    pub fn add<E>(&mut self, place: BrickPlace, lines: Lines<'_, E>) -> Result<(), E> {
        self.places.insert(place.brick, place);
        for line in lines {
            match line? {
                Line::Node(node) => {
                    self.asked.insert((node.state.gfid, place.brick));
                    self.nodes.entry(node.state.gfid).or_default().push((place, node));
                }
                Line::Gone { gfid } => {
                    self.asked.insert((gfid, place.brick));
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
        let behind = self.behind_directories();
        let mut merged = Merged::default();
        for (gfid, copies) in &self.nodes {
            self.merge_node(*gfid, copies, &behind, uncovered, &mut merged);
        }
        for gfid in self.gone.keys().filter(|gfid| !self.nodes.contains_key(gfid)) {
            self.merge_gone(*gfid, uncovered, &mut merged);
        }
        for ((parent, name), told) in &self.names {
            let Ok(name) = EntryName::new(&name.0) else { continue };
            let trusted = |place: &BrickPlace| !behind.contains(&(*parent, place.brick));
            let mut told = told.iter().filter(|(place, _)| trusted(place)).map(|(_, gfid)| *gfid).peekable();
            // Told by nobody but bricks that lack changes there: whoever made the change has told, or will.
            if told.peek().is_none() {
                continue;
            }
            let now = told.find_map(|gfid| gfid);
            if now.is_some() || !uncovered {
                merged.changes.names.push((parent.key(), name, now.map(Gfid::key)));
            }
        }
        let found = self.troubles.iter().map(|trouble| trouble.as_finding(self.places.values()));
        merged.changes.findings.extend(found);
        merged
    }

    /// Returns the directories in which a brick lacks changes of names.
    fn behind_directories(&self) -> HashSet<(Gfid, u32)> {
        let mut behind = HashSet::new();
        for (gfid, copies) in &self.nodes {
            for (place, node) in copies {
                for one in node.state.behind.iter().filter(|b| b.entries && b.brick != place.brick) {
                    behind.insert((*gfid, one.brick));
                }
            }
        }
        behind
    }

    fn merge_node(
        &self,
        gfid: Gfid,
        copies: &[(BrickPlace, Node)],
        behind: &HashSet<(Gfid, u32)>,
        uncovered: bool,
        merged: &mut Merged,
    ) {
        let is_directory = copies.iter().any(|(_, node)| Kind::from_mode(node.state.mode) == Some(Kind::Directory));
        let sets: BTreeSet<u32> = copies.iter().map(|(place, _)| place.set).collect();
        self.ask(gfid, merged, |place| is_directory || sets.contains(&place.set));
        self.ask_about_names(gfid, copies, merged);
        let mut names = BTreeSet::new();
        for (place, node) in copies {
            let trusted = |parent: Gfid| !behind.contains(&(parent, place.brick));
            names.extend(node.names.iter().filter(|name| trusted(name.parent)));
        }
        if names.is_empty() && gfid != Gfid::ROOT {
            return self.merge_gone(gfid, uncovered, merged);
        }
        let told: Vec<CopyOf<'_>> =
            copies.iter().map(|(place, node)| CopyOf { place: *place, state: &node.state }).collect();
        let (chosen, contradicted) = best(&told);
        if chosen.state.linkto {
            // Its names are known, the file itself is in a set that was not asked.
            return self.ask(gfid, merged, |_| true);
        }
        let Some(mut attrs) = attrs_of(chosen, &told) else { return };
        touch_by_shards(&mut attrs, self.shards.get(&gfid));
        let path = || RelPath::parse(gfid.handle().as_bytes()).expect("a handle is a path");
        if contradicted {
            let detail =
                "its copies contradict each other (split brain); the one that changed last was taken".to_owned();
            merged.changes.findings.push(Finding { kind: FindingKind::Changed, path: path(), detail });
        }
        if let Some(why) = &chosen.state.unreadable {
            merged.changes.findings.push(Finding { kind: FindingKind::Unreadable, path: path(), detail: why.clone() });
        }
        let checked = names.iter().filter_map(|n| EntryName::new(&n.name.0).ok().map(|name| (n.parent.key(), name)));
        merged.changes.nodes.push(NodeState {
            key: gfid.key(),
            attrs,
            unreadable: chosen.state.unreadable.is_some(),
            origin: chosen.place.brick,
            names: checked.collect(),
            data: copies.iter().any(|(_, node)| node.data),
            made: copies.iter().any(|(_, node)| node.made),
        });
    }

    fn merge_gone(&self, gfid: Gfid, uncovered: bool, merged: &mut Merged) {
        self.ask(gfid, merged, |_| true);
        let told = self.nodes.get(&gfid).into_iter().flatten().map(|(place, _)| place);
        let sets: BTreeSet<u32> = self.gone.get(&gfid).into_iter().flatten().chain(told).map(|p| p.set).collect();
        let all: BTreeSet<u32> = self.places.values().map(|place| place.set).collect();
        if !uncovered && sets == all {
            merged.changes.gone.push(gfid.key());
        }
    }

    /// Has bricks asked about a node, but for those that were.
    fn ask(&self, gfid: Gfid, merged: &mut Merged, whom: impl Fn(&BrickPlace) -> bool) {
        for place in self.places.values().filter(|place| whom(place) && !self.asked.contains(&(gfid, place.brick))) {
            merged.to_ask.entry(place.brick).or_default().insert(gfid);
        }
    }

    /// Where bricks of one set tell different names of a node, their directories tell who lacks changes: has them asked.
    fn ask_about_names(&self, gfid: Gfid, copies: &[(BrickPlace, Node)], merged: &mut Merged) {
        let gone = self.gone.get(&gfid).into_iter().flatten();
        for (place, node) in copies {
            let lacks = |name: &NodeName| {
                gone.clone().any(|other| other.set == place.set)
                    || copies.iter().any(|(other, node)| other.set == place.set && !node.names.contains(name))
            };
            for name in node.names.iter().filter(|name| lacks(name)) {
                self.ask(name.parent, merged, |other| other.set == place.set);
            }
        }
    }
}
