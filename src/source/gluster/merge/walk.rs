//! The parts of a walk become listings, breadth first.
//!
//! Promises: a name that some brick tells and that no brick contradicts is in its listing, exactly once. Memory: one
//! directory and the directories not yet listed.

use super::belief::{BrickPlace, CopyOf, beliefs};
use super::changes::{CONTRADICTED, NOBODY, UNPROVEN};
use super::copies::{Lines, Trouble, attrs_of, best, note_shards, touch_by_shards};
use crate::model::{EntryName, Finding, FindingKind, Kind, ListedEntry, Listing, RelPath, UNPROVEN_ORIGIN};
use crate::source::gluster::Gfid;
use crate::source::gluster::part::{Line, Stamp, State, Text};
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::ops::ControlFlow;

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
    /// Bricks on which the path leads to it, and whether they are believed in what is in it. It is there, as bricks that are
    /// believed say; what others have by the same path is something else.
    here: BTreeMap<u32, bool>,
    /// Sets of which some brick has the directory.
    sets: BTreeSet<u32>,
}

/// A name that bricks of one set contradict each other about: all of them are believed, and some have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contradiction {
    /// Where it is.
    pub path: RelPath,
    /// What it points to.
    pub gfid: Gfid,
    /// The set.
    pub set: u32,
}

impl Contradiction {
    /// Returns what is to be said of it.
    pub fn into_finding(self) -> Finding {
        Finding { kind: FindingKind::Changed, path: self.path, detail: CONTRADICTED.to_owned() }
    }
}

/// Merges the parts of a walk over all bricks and calls `each` for every directory of the volume, breadth first (see
/// [`Listing`]), until it says to break; and `meet` for names that bricks contradict each other about, which are in the listings. Bricks
/// are not walked in one moment, so what comes and goes meanwhile is among them.
///
/// # Errors
/// Those of the parts.
pub fn merge_walk<E>(
    parts: Vec<(BrickPlace, Lines<'_, E>)>,
    meet: &mut dyn FnMut(Contradiction),
    each: &mut dyn FnMut(Listing) -> ControlFlow<()>,
) -> Result<(), E> {
    let mut troubles = Vec::new();
    let mut walks = begin_walks(parts, &mut troubles)?;
    let shards = newest_shards(&mut walks);
    let roots: Vec<(BrickPlace, State)> =
        walks.iter().filter_map(|w| w.root.clone().map(|state| (w.place, state))).collect();
    let mut next_number = 1;
    let mut queue = VecDeque::new();
    let root_copies: Vec<CopyOf<'_>> =
        roots.iter().map(|(place, state)| CopyOf { place: *place, state, named: true }).collect();
    if root_copies.is_empty() {
        return Ok(());
    }
    let mut root = attrs_of(best(&root_copies).copy, &root_copies).map(|attrs| (Gfid::ROOT.key(), attrs));
    queue.push_back(named(Vec::new(), 0, &root_copies));
    while let Some(dir) = queue.pop_front() {
        let (entries, listed) = entries_of(&dir, &mut walks, &mut troubles)?;
        let path = path_of(&dir.path);
        let mut findings: Vec<Finding> = Vec::new();
        let places = || walks.iter().map(|walk| &walk.place);
        findings.extend(troubles.drain(..).map(|trouble| trouble.as_finding(places())));
        let mut listing = Listing {
            number: dir.number,
            root: root.take(),
            entries: Vec::with_capacity(entries.len()),
            complete: dir.sets.iter().all(|set| listed.iter().any(|place| place.set == *set)),
            findings: Vec::new(),
            path,
        };
        if dir
            .sets
            .iter()
            .any(|set| !walks.iter().any(|w| w.place.set == *set && dir.here.get(&w.place.brick) == Some(&true)))
        {
            findings.push(Finding {
                kind: FindingKind::Missing,
                path: listing.path.clone(),
                detail: NOBODY.to_owned(),
            });
        }
        for (name, copies) in entries {
            merge_entry(name, &copies, &dir, &mut listing, &mut findings, &mut |path, copies| {
                queue.push_back(named(path, next_number, copies));
                next_number += 1;
            });
            if let Some(entry) = listing.entries.last_mut() {
                let gfid = Gfid::of_key(entry.key);
                for set in contradicting(&copies, gfid, &listed) {
                    meet(Contradiction { path: listing.path.join(&entry.name), gfid, set });
                }
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

/// Brings every part to its first directory.
fn begin_walks<'p, E>(
    parts: Vec<(BrickPlace, Lines<'p, E>)>,
    troubles: &mut Vec<Trouble>,
) -> Result<Vec<WalkPart<'p, E>>, E> {
    let mut walks = Vec::with_capacity(parts.len());
    for (place, lines) in parts {
        let mut walk = WalkPart { place, lines, next: None, root: None, shards: HashMap::new() };
        walk.advance(|_, _| (), troubles)?;
        walks.push(walk);
    }
    Ok(walks)
}

/// Returns when the shards of each file changed last, on any brick.
fn newest_shards<E>(walks: &mut [WalkPart<'_, E>]) -> HashMap<Gfid, Stamp> {
    let mut shards = HashMap::new();
    for walk in walks {
        for (base, changed) in std::mem::take(&mut walk.shards) {
            note_shards(&mut shards, base, changed);
        }
    }
    shards
}

/// What a brick has by a name of a directory.
struct Sighting {
    place: BrickPlace,
    state: State,
    /// The brick is believed in what is in the directory.
    believed: bool,
}

/// What bricks have by each name of one directory.
type Entries = BTreeMap<Text, Vec<Sighting>>;

/// Returns the sets of which one brick that is believed has the node by a name of the directory, and another one has not.
fn contradicting(sightings: &[Sighting], gfid: Gfid, listed: &[BrickPlace]) -> BTreeSet<u32> {
    let tellers = || sightings.iter().filter(|sighting| sighting.state.gfid == gfid);
    let believed = tellers().filter(|sighting| sighting.believed).map(|sighting| sighting.place.set);
    let sets: BTreeSet<u32> = believed.collect();
    let denies = |place: &&BrickPlace| tellers().all(|sighting| sighting.place.brick != place.brick);
    listed.iter().filter(|place| sets.contains(&place.set)).filter(denies).map(|place| place.set).collect()
}

/// Reads one directory from all parts that have it. Returns its entries, and the bricks among them that are believed.
fn entries_of<E>(
    dir: &Named,
    walks: &mut [WalkPart<'_, E>],
    troubles: &mut Vec<Trouble>,
) -> Result<(Entries, Vec<BrickPlace>), E> {
    let mut entries = Entries::new();
    let mut listed = Vec::new();
    for walk in walks {
        // Directories that this merge leaves out: their name is not believed.
        while walk.next.as_ref().is_some_and(|next| walk_order(next, &dir.path) == Ordering::Less) {
            walk.advance(|_, _| (), troubles)?;
        }
        if walk.next.as_ref() != Some(&dir.path) {
            continue;
        }
        let place = walk.place;
        let Some(believed) = dir.here.get(&place.brick).copied() else {
            walk.advance(|_, _| (), troubles)?;
            continue;
        };
        if believed {
            listed.push(place);
        }
        walk.advance(
            |name, state| entries.entry(name).or_default().push(Sighting { place, state, believed }),
            troubles,
        )?;
    }
    Ok((entries, listed))
}

fn named(path: Vec<Text>, number: u64, copies: &[CopyOf<'_>]) -> Named {
    let here = copies.iter().zip(beliefs(copies)).map(|(copy, belief)| (copy.place.brick, belief.entries)).collect();
    Named { path, number, here, sets: copies.iter().map(|c| c.place.set).collect() }
}

/// Returns the copies of each node that has a name of a directory on a brick that is believed, the node that counts first.
fn nodes_of(sightings: &[Sighting]) -> Vec<Vec<CopyOf<'_>>> {
    let mut nodes: BTreeMap<Gfid, Vec<CopyOf<'_>>> = BTreeMap::new();
    for Sighting { place, state, believed } in sightings {
        nodes.entry(state.gfid).or_default().push(CopyOf { place: *place, state, named: *believed });
    }
    let mut nodes: Vec<_> = nodes.into_values().filter(|copies| copies.iter().any(|copy| copy.named)).collect();
    let rank = |copies: &Vec<CopyOf<'_>>| {
        let chosen = best(copies);
        (!chosen.copy.state.is_bare_pointer(), copies.iter().filter(|copy| copy.named).count(), chosen.copy.state.ctime)
    };
    nodes.sort_by_key(|copies| std::cmp::Reverse(rank(copies)));
    nodes
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
    sightings: &[Sighting],
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
    let nodes = nodes_of(sightings);
    let Some(told) = nodes.first() else { return };
    let chosen = best(told);
    let at = listing.path.join(&entry_name);
    let mut find = |kind, detail: String| findings.push(Finding { kind, path: at.clone(), detail });
    let state = chosen.copy.state;
    let Some(attrs) = attrs_of(chosen.copy, told) else {
        find(FindingKind::Unreadable, format!("its mode {:o} is not a type of file", state.mode));
        return;
    };
    if nodes.len() > 1 {
        find(
            FindingKind::Changed,
            "bricks have different nodes of this name; that of the most bricks was taken".into(),
        );
    }
    let mut origin = chosen.copy.place.brick;
    if chosen.unproven {
        origin = UNPROVEN_ORIGIN;
        find(FindingKind::Missing, UNPROVEN.to_owned());
    }
    if let Some(why) = &state.unreadable {
        find(FindingKind::Unreadable, why.clone());
    }
    if attrs.kind() == Kind::Directory {
        let mut path = dir.path.clone();
        path.push(name);
        directory(path, told);
    }
    listing.entries.push(ListedEntry {
        name: entry_name,
        key: state.gfid.key(),
        attrs,
        unreadable: state.unreadable.is_some(),
        origin,
    });
}
