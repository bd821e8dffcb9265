//! The parts of all bricks become one tree: listings after a walk, changes otherwise.
//!
//! Of a node that several bricks tell, that copy counts which no brick of its replica set calls behind
//! (`trusted.afr.*`), which is no arbiter's and no pointer file, which agrees with most of its set, and which changed
//! last. Names are the union over bricks, without those that a brick has in a directory in which it is behind: it may not
//! know yet that they are gone.
//! Each set has its own times of a directory, of which clients are told the newest (`dht_iatt_merge`).
//!
//! Promises: a name that some brick tells and that no brick contradicts is in the result, exactly once. What a brick tells
//! counts only beside what all others of its set say: a brick that is being healed has records that they have not, and
//! they know what it lacks. A node is gone only when bricks of every set were asked and none has it; who was not asked
//! yet is in [`Merged::to_ask`]. Where copies of one node contradict each other without one being called behind, the newest
//! counts and a finding says so. Memory: one directory and the directories not yet listed, or the changes.

use super::Gfid;
use super::part::{Line, Node, NodeName, Stamp, State, Text};
use crate::model::{
    Attrs, Changes, EntryName, Finding, FindingKind, Kind, ListedEntry, Listing, NodeState, RelPath, XattrSet,
};
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::ops::ControlFlow;

/// What a merge has to know of a brick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BrickPlace {
    /// Its number in the volume, from 0.
    pub brick: u32,
    /// The number of its replica or disperse set.
    pub set: u32,
    /// It has names and attributes only.
    pub arbiter: bool,
}

/// What reads the lines of a part.
pub type Lines<'p, E> = Box<dyn Iterator<Item = Result<Line, E>> + 'p>;

/// A copy of a node on one brick.
struct CopyOf<'a> {
    place: BrickPlace,
    state: &'a State,
}

/// Tells whether one of `copies` says that `copy` lacks changes of bytes or attributes.
fn is_behind(copy: &CopyOf<'_>, copies: &[CopyOf<'_>]) -> bool {
    let accuses = |other: &CopyOf<'_>| {
        let mut behind = other.state.behind.iter().filter(|b| b.brick == copy.place.brick);
        other.place.set == copy.place.set && behind.any(|b| b.data || b.metadata)
    };
    copies.iter().any(accuses)
}

/// Tells whether more than half of the copies in the set of `copy` have the same owner, rights and attributes.
fn is_of_the_many(copy: &CopyOf<'_>, copies: &[CopyOf<'_>]) -> bool {
    let is_like = |other: &CopyOf<'_>| {
        let (a, b) = (copy.state, other.state);
        a.gfid == b.gfid && a.mode == b.mode && a.uid == b.uid && a.gid == b.gid && a.xattrs == b.xattrs
    };
    let set = copies.iter().filter(|other| other.place.set == copy.place.set && !other.state.linkto);
    let (all, like) = set.fold((0, 0), |(all, like), other| (all + 1, like + usize::from(is_like(other))));
    2 * like > all
}

/// Returns the copy that counts, and whether others contradict it.
fn best<'c, 'a>(copies: &'c [CopyOf<'a>]) -> (&'c CopyOf<'a>, bool) {
    let is_behind = |copy: &CopyOf<'_>| is_behind(copy, copies);
    let rank = |copy: &&CopyOf<'_>| {
        let file = Kind::from_mode(copy.state.mode) == Some(Kind::File);
        let whole = !(copy.place.arbiter && file);
        // Bricks are not looked at in the same moment: one that is being healed may be caught half way, with the time of
        // that on it, by when its partners call it behind no more.
        let many = is_of_the_many(copy, copies);
        let good = (!copy.state.linkto, whole, !is_behind(copy), copy.state.unreadable.is_none(), many);
        // The lowest brick of equals, so that the answer is the same every time.
        (good, copy.state.ctime, std::cmp::Reverse(copy.place.brick))
    };
    let chosen = copies.iter().max_by_key(rank).expect("somebody told of it");
    // A directory's times differ between sets by nature; files' copies are in one set.
    let blamed = is_behind(chosen) && !chosen.state.linkto;
    (chosen, blamed)
}

/// Returns the attributes of the copy that counts, or none if its mode names no kind.
fn attrs_of(chosen: &CopyOf<'_>, copies: &[CopyOf<'_>]) -> Option<Attrs> {
    let state = chosen.state;
    let kind = Kind::from_mode(state.mode)?;
    let sized = matches!(kind, Kind::File | Kind::Directory | Kind::Symlink);
    let (mut mtime, mut ctime) = (state.mtime, state.ctime);
    if kind == Kind::Directory {
        let same = |copy: &&CopyOf<'_>| copy.state.gfid == state.gfid && !is_behind(copy, copies);
        for copy in copies.iter().filter(same) {
            (mtime, ctime) = (mtime.max(copy.state.mtime), ctime.max(copy.state.ctime));
        }
    }
    Some(Attrs {
        mode: state.mode,
        uid: state.uid,
        gid: state.gid,
        size_bytes: if sized { state.size } else { 0 },
        allocated_bytes: (kind == Kind::File && state.allocated < state.size).then_some(state.allocated),
        mtime: mtime.into(),
        ctime: ctime.into(),
        nlink: state.nlink,
        rdev: if matches!(kind, Kind::CharDevice | Kind::BlockDevice) { state.rdev } else { 0 },
        xattrs: XattrSet::new(state.xattrs.iter().map(|(name, value)| (name.0.clone(), value.0.clone())).collect()),
        target: state.target.clone().map(|target| target.0).unwrap_or_default(),
    })
}

/// What a brick could not tell.
#[derive(Debug)]
struct Trouble {
    place: BrickPlace,
    path: Text,
    detail: String,
}

impl Trouble {
    /// Returns it as a loss, unless another brick of the set, of those at `places`, has told what this one could not.
    fn as_finding<'p>(&self, places: impl Iterator<Item = &'p BrickPlace>) -> Finding {
        let alone = places.filter(|other| other.set == self.place.set).count() < 2;
        let kind = if alone { FindingKind::Unreadable } else { FindingKind::Changed };
        // A path that is no path is still told of, at the root.
        let path = RelPath::parse(&self.path.0).unwrap_or_else(|_| RelPath::root());
        Finding { kind, path, detail: format!("brick {}: {}", self.place.brick + 1, self.detail) }
    }
}

/// Shards of a file lie on any brick.
fn note_shards(known: &mut HashMap<Gfid, Stamp>, base: Gfid, changed: Stamp) {
    let newest = known.entry(base).or_insert(changed);
    *newest = changed.max(*newest);
}

/// A write into a shard leaves the times of the file as they are: the shard's count where they are newer, in the ctime, which
/// nobody restores and which tells whether the bytes may be others.
fn touch_by_shards(attrs: &mut Attrs, changed: Option<&Stamp>) {
    if let Some(changed) = changed {
        attrs.ctime = attrs.ctime.max((*changed).into());
    }
}

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

/// A part of a walk, one directory at a time.
struct WalkPart<'p, E> {
    place: BrickPlace,
    lines: Lines<'p, E>,
    /// The next directory, its path as names.
    next: Option<Vec<Text>>,
    root: Option<State>,
    shards: HashMap<Gfid, Stamp>,
}

impl<E> WalkPart<'_, E> {
    /// Goes on to the next directory, calling `each` for the entries of the present one.
    fn advance(&mut self, mut each: impl FnMut(Text, State), troubles: &mut Vec<Trouble>) -> Result<(), E> {
        self.next = None;
        for line in self.lines.by_ref() {
            match line? {
                Line::Directory { path } => {
                    self.next = Some(path);
                    break;
                }
                Line::Entry { name, state } => each(name, state),
                Line::Node(node) => self.root = Some(node.state),
                Line::Trouble { path, detail } => troubles.push(Trouble { place: self.place, path, detail }),
                Line::Shards { base, changed } => note_shards(&mut self.shards, base, changed),
                Line::Part(_) | Line::End(_) | Line::Gone { .. } | Line::Name { .. } | Line::Recorded(_) => {}
            }
        }
        Ok(())
    }
}

/// The order of a walk: by depth, then name by name.
fn walk_order(a: &[Text], b: &[Text]) -> Ordering {
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

/// A directory that was named and not yet listed.
struct Named {
    path: Vec<Text>,
    number: u64,
    /// Bricks that lack changes of its names.
    behind: Vec<u32>,
    /// Sets of which some brick has the directory.
    sets: BTreeSet<u32>,
}

/// Merges the parts of a walk over all bricks and calls `each` for every directory of the volume, breadth first (see
/// [`Listing`]), until it says to break.
///
/// # Errors
/// Those of the parts.
pub fn merge_walk<E>(
    parts: Vec<(BrickPlace, Lines<'_, E>)>,
    each: &mut dyn FnMut(Listing) -> ControlFlow<()>,
) -> Result<(), E> {
    let mut troubles = Vec::new();
    let mut walks = Vec::with_capacity(parts.len());
    for (place, lines) in parts {
        let mut walk = WalkPart { place, lines, next: None, root: None, shards: HashMap::new() };
        walk.advance(|_, _| (), &mut troubles)?;
        walks.push(walk);
    }
    let roots: Vec<(BrickPlace, State)> =
        walks.iter().filter_map(|w| w.root.clone().map(|state| (w.place, state))).collect();
    let mut shards = HashMap::new();
    for walk in &mut walks {
        for (base, changed) in std::mem::take(&mut walk.shards) {
            note_shards(&mut shards, base, changed);
        }
    }
    let mut next_number = 1;
    let mut queue = VecDeque::new();
    let root_copies: Vec<CopyOf<'_>> = roots.iter().map(|(place, state)| CopyOf { place: *place, state }).collect();
    if root_copies.is_empty() {
        return Ok(());
    }
    let mut root = attrs_of(best(&root_copies).0, &root_copies).map(|attrs| (Gfid::ROOT.key(), attrs));
    queue.push_back(named(Vec::new(), 0, &root_copies));
    while let Some(dir) = queue.pop_front() {
        let mut entries: BTreeMap<Text, Vec<(BrickPlace, State)>> = BTreeMap::new();
        let mut listed = BTreeSet::new();
        for walk in &mut walks {
            // Directories that this merge leaves out: their name is not trusted.
            while walk.next.as_ref().is_some_and(|next| walk_order(next, &dir.path) == Ordering::Less) {
                walk.advance(|_, _| (), &mut troubles)?;
            }
            if walk.next.as_ref() != Some(&dir.path) {
                continue;
            }
            let place = walk.place;
            let trusted = !dir.behind.contains(&place.brick);
            if trusted {
                listed.insert(place.set);
            }
            let put = |name, state| {
                if trusted {
                    entries.entry(name).or_default().push((place, state));
                }
            };
            walk.advance(put, &mut troubles)?;
        }
        let path = path_of(&dir.path);
        let mut findings: Vec<Finding> = Vec::new();
        let places = || walks.iter().map(|walk| &walk.place);
        findings.extend(troubles.drain(..).map(|trouble| trouble.as_finding(places())));
        let mut listing = Listing {
            number: dir.number,
            root: root.take(),
            entries: Vec::with_capacity(entries.len()),
            complete: dir.sets.is_subset(&listed),
            findings: Vec::new(),
            path,
        };
        for (name, copies) in entries {
            merge_entry(name, &copies, &dir, &mut listing, &mut findings, &mut |path, copies| {
                queue.push_back(named(path, next_number, copies));
                next_number += 1;
            });
            if let Some(entry) = listing.entries.last_mut() {
                touch_by_shards(&mut entry.attrs, shards.get(&Gfid::of_key(entry.key)));
            }
        }
        listing.findings = findings;
        if each(listing).is_break() {
            return Ok(());
        }
    }
    Ok(())
}

fn named(path: Vec<Text>, number: u64, copies: &[CopyOf<'_>]) -> Named {
    let mut behind = Vec::new();
    for copy in copies {
        let others = copy.state.behind.iter().filter(|b| b.entries && b.brick != copy.place.brick);
        behind.extend(others.map(|b| b.brick));
    }
    Named { path, number, behind, sets: copies.iter().map(|c| c.place.set).collect() }
}

fn path_of(names: &[Text]) -> RelPath {
    let mut path = RelPath::root();
    for name in names {
        // Names were checked when their directory was listed.
        if let Ok(name) = EntryName::new(&name.0) {
            path.push(&name);
        }
    }
    path
}

fn merge_entry(
    name: Text,
    copies: &[(BrickPlace, State)],
    dir: &Named,
    listing: &mut Listing,
    findings: &mut Vec<Finding>,
    directory: &mut dyn FnMut(Vec<Text>, &[CopyOf<'_>]),
) {
    let checked = EntryName::new(&name.0);
    let Ok(entry_name) = checked else {
        let detail = format!("\"{}\" is no name", crate::model::escape_bytes(&name.0));
        findings.push(Finding { kind: FindingKind::Unreadable, path: listing.path.clone(), detail });
        return;
    };
    let told: Vec<CopyOf<'_>> = copies.iter().map(|(place, state)| CopyOf { place: *place, state }).collect();
    let (chosen, contradicted) = best(&told);
    let at = listing.path.join(&entry_name);
    let mut find = |kind, detail: String| findings.push(Finding { kind, path: at.clone(), detail });
    let Some(attrs) = attrs_of(chosen, &told) else {
        find(FindingKind::Unreadable, format!("its mode {:o} names no kind of file", chosen.state.mode));
        return;
    };
    if told.iter().any(|copy| copy.state.gfid != chosen.state.gfid) {
        find(
            FindingKind::Changed,
            "bricks have different nodes of this name; the one that changed last was taken".into(),
        );
    } else if contradicted {
        find(FindingKind::Changed, "its copies contradict each other (split brain); the newest was taken".into());
    }
    if let Some(why) = &chosen.state.unreadable {
        find(FindingKind::Unreadable, why.clone());
    }
    let (gfid, origin, unreadable) = (chosen.state.gfid, chosen.place.brick, chosen.state.unreadable.is_some());
    if attrs.kind() == Kind::Directory {
        let mut path = dir.path.clone();
        path.push(name);
        let same: Vec<CopyOf<'_>> = told.into_iter().filter(|copy| copy.state.gfid == gfid).collect();
        directory(path, &same);
    }
    listing.entries.push(ListedEntry { name: entry_name, key: gfid.key(), attrs, unreadable, origin });
}

#[cfg(test)]
mod tests;
